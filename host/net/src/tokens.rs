//! Bearer tokens of clients, and what each may use.
//!
//! The operator keeps a TOML file. It holds no token, only their hashes, so that whoever reads it
//! cannot use them:
//!
//! ```toml
//! [clients.alice]
//! token = "blake3:<hex>"        # BLAKE3 of the token's text
//! tasks_in_flight_max = 100     # all that follow can be left out
//! tasks_per_minute_max = 600
//! blob_bytes_max = 10000000000
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use adit_protocol::rand_core::{CryptoRng, RngCore};
use adit_protocol::{Code, Hash};
use axum::extract::{FromRef, FromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::Deserialize;
use thiserror::Error;

use crate::problem::Problem;

/// The longest file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most clients. All hashes are compared for each request, so that how long it takes says
/// nothing about which of them is near.
const CLIENTS_MAX: usize = 4096;

/// The longest token, in characters.
const TOKEN_CHARS_MAX: usize = 256;

/// What a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Tasks that have not ended.
    pub tasks_in_flight_max: u32,
    /// Tasks submitted in a minute, and at once after a minute without any.
    pub tasks_per_minute_max: u32,
    /// Bytes of blobs that are kept for it.
    pub blob_bytes_max: u64,
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            tasks_in_flight_max: 1000,
            tasks_per_minute_max: 6000,
            blob_bytes_max: 10_000_000_000,
        }
    }
}

/// A client that has shown its token. Extracted by handlers whose state gives an `Arc<Tokens>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Its name in the file: a-z, 0-9, `.`, `_`, `-`.
    pub name: Arc<str>,
    /// What it may use.
    pub quotas: Quotas,
}

/// Why a file of tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("{}: {source}; hint: check the path and who may read it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is too long.
    #[error("the file of tokens is longer than {FILE_BYTES_MAX} bytes; hint: is it the right one?")]
    TooLong,
    /// The file is not TOML of the right form.
    #[error("the file of tokens is not valid: {0}; hint: its form is in the documentation")]
    Form(String),
    /// A name is not one.
    #[error(
        "`{0}` is not the name of a client; hint: 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`"
    )]
    Name(String),
    /// A hash is not one.
    #[error("the token of `{name}` is no hash: {source}")]
    NotAHash {
        /// The client.
        name: String,
        /// What is wrong.
        source: adit_protocol::hash::ParseHashError,
    },
    /// Two clients have one token.
    #[error("`{0}` and `{1}` have the same token; hint: make another for one of them")]
    Shared(String, String),
    /// There are too many.
    #[error("there are {0} clients, at most {CLIENTS_MAX} are taken")]
    TooMany(usize),
}

impl TokensError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            TokensError::File { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Code::PermissionDenied
            }
            _ => Code::InvalidArgument,
        }
    }
}

/// A new token: 32 random bytes as text that is recognised when it leaks. Give it to the client,
/// and its [`token_hash`] to the file.
pub fn generate(rng: &mut (impl CryptoRng + RngCore)) -> String {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    format!("adit_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The hash of a token, for the file. Tokens are random, so that a fast hash is enough.
pub fn token_hash(token: &str) -> Hash {
    Hash::of(token.as_bytes())
}

/// The clients of a server. They can be replaced while it runs.
pub struct Tokens(RwLock<Arc<Vec<Known>>>);

struct Known {
    // blake3's type, and not the protocol's: it compares in constant time.
    hash: blake3::Hash,
    client: ClientId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    clients: BTreeMap<String, FileClient>,
}

// `deny_unknown_fields` does not go with `flatten`, so the quotas stand here once more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileClient {
    token: String,
    tasks_in_flight_max: Option<u32>,
    tasks_per_minute_max: Option<u32>,
    blob_bytes_max: Option<u64>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn load(path: &Path) -> Result<Tokens, TokensError> {
        let text = read(path)?;
        Tokens::parse(&text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn parse(text: &str) -> Result<Tokens, TokensError> {
        parse(text).map(|known| Tokens(RwLock::new(Arc::new(known))))
    }

    /// Clients that are named here, for tests and for a network of one's own.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn of(clients: &[(&str, &str, Quotas)]) -> Result<Tokens, TokensError> {
        let known = clients
            .iter()
            .map(|(name, token, quotas)| known(name, token_hash(token), *quotas))
            .collect::<Result<Vec<_>, _>>()?;
        check(&known)?;
        Ok(Tokens(RwLock::new(Arc::new(known))))
    }

    /// Takes the clients of a file in place of the present ones. If it is not valid, they stay.
    ///
    /// # Errors
    /// [`TokensError`].
    pub fn reload(&self, path: &Path) -> Result<(), TokensError> {
        let fresh = Arc::new(parse(&read(path)?)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The client that a token belongs to.
    pub fn find(&self, token: &str) -> Option<ClientId> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let known = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let hash = blake3::hash(token.as_bytes());
        let mut found = None;
        // To the end in any case.
        for one in known.iter() {
            if one.hash == hash {
                found = Some(&one.client);
            }
        }
        found.cloned()
    }

    /// The client that a request shows a token of.
    ///
    /// # Errors
    /// `unauthorized`.
    pub fn authorize(&self, parts: &Parts) -> Result<ClientId, Problem> {
        let refuse = |message: &str| Err(Problem::new(Code::Unauthorized, message));
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return refuse(
                "the request has no token, or several; hint: send one header `authorization: Bearer TOKEN`",
            );
        };
        let token = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        match token.map(|token| self.find(token)) {
            Some(Some(client)) => Ok(client),
            Some(None) => refuse(
                "the token is not known here; hint: was it copied whole? Ask the operator for a new one",
            ),
            None => refuse("the header `authorization` is not `Bearer TOKEN`; hint: write it so"),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Tokens of {} clients", known.len())
    }
}

impl<S> FromRequestParts<S> for ClientId
where
    S: Send + Sync,
    Arc<Tokens>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<ClientId, Problem> {
        Arc::<Tokens>::from_ref(state).authorize(parts)
    }
}

fn read(path: &Path) -> Result<String, TokensError> {
    let failed = |source| TokensError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(failed)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(TokensError::TooLong),
        false => Ok(text),
    }
}

fn parse(text: &str) -> Result<Vec<Known>, TokensError> {
    let file: File = toml::from_str(text).map_err(|error| {
        // toml's own message shows the line, which may hold a secret that was put there by mistake.
        TokensError::Form(error.message().to_owned())
    })?;
    let defaults = Quotas::default();
    let clients = file
        .clients
        .into_iter()
        .map(|(name, client)| {
            let hash = client
                .token
                .parse()
                .map_err(|source| TokensError::NotAHash {
                    name: name.clone(),
                    source,
                })?;
            let quotas = Quotas {
                tasks_in_flight_max: client
                    .tasks_in_flight_max
                    .unwrap_or(defaults.tasks_in_flight_max),
                tasks_per_minute_max: client
                    .tasks_per_minute_max
                    .unwrap_or(defaults.tasks_per_minute_max),
                blob_bytes_max: client.blob_bytes_max.unwrap_or(defaults.blob_bytes_max),
            };
            known(&name, hash, quotas)
        })
        .collect::<Result<Vec<_>, _>>()?;
    check(&clients)?;
    Ok(clients)
}

fn known(name: &str, hash: Hash, quotas: Quotas) -> Result<Known, TokensError> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(word) {
        return Err(TokensError::Name(name.chars().take(80).collect()));
    }
    Ok(Known {
        hash: blake3::Hash::from_bytes(*hash.as_bytes()),
        client: ClientId {
            name: name.into(),
            quotas,
        },
    })
}

fn check(clients: &[Known]) -> Result<(), TokensError> {
    if clients.len() > CLIENTS_MAX {
        return Err(TokensError::TooMany(clients.len()));
    }
    let mut names = BTreeMap::new();
    for one in clients {
        if let Some(other) = names.insert(*one.hash.as_bytes(), &one.client.name) {
            return Err(TokensError::Shared(
                other.to_string(),
                one.client.name.to_string(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use adit_protocol::rand_core::OsRng;

    use super::*;

    #[test]
    fn a_file_names_clients_by_the_hash_of_their_token() {
        let token = generate(&mut OsRng);
        let text = format!(
            "[clients.alice]\ntoken = \"{}\"\ntasks_in_flight_max = 3\n",
            token_hash(&token)
        );
        let tokens = Tokens::parse(&text).unwrap();
        let alice = tokens.find(&token).unwrap();
        assert_eq!(&*alice.name, "alice");
        assert_eq!(alice.quotas.tasks_in_flight_max, 3);
        assert_eq!(
            alice.quotas.tasks_per_minute_max,
            Quotas::default().tasks_per_minute_max
        );
        assert_eq!(tokens.find(&token[..token.len() - 1]), None);
        assert_eq!(tokens.find(""), None);
        // The hash itself opens nothing.
        assert_eq!(tokens.find(&token_hash(&token).to_string()), None);
        assert!(!format!("{tokens:?}").contains("blake3"));
    }

    #[test]
    fn files_with_faults_are_refused_without_showing_what_they_hold() {
        let hash = token_hash("x");
        for (text, part) in [
            ("[clients.a]\n", "missing field `token`"),
            ("[clients.a]\ntoken = \"adit_secret\"\n", "no hash"),
            ("[clients.A]\ntoken = \"HASH\"\n", "not the name"),
            (
                "[clients.a]\ntoken = \"HASH\"\ntask_max = 1\n",
                "unknown field",
            ),
            (
                "[clients.a]\ntoken = \"HASH\"\ntasks_in_flight_max = -1\n",
                "not valid",
            ),
            (
                "[clients.a]\ntoken = \"HASH\"\n[clients.b]\ntoken = \"HASH\"\n",
                "same token",
            ),
            ("[client.a]\ntoken = \"HASH\"\n", "unknown field"),
        ] {
            let text = text.replace("HASH", &hash.to_string());
            let error = Tokens::parse(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Tokens::parse("").is_ok());
    }
}
