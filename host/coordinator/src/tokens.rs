//! Tokens by which clients prove who they are, and what each may use up.
//!
//! ```toml
//! [[token]]
//! name = "app"                  # tasks belong to the name: a renewed token sees the old one's
//! hash = "blake3:..."           # of the token itself, which is kept nowhere
//! created-ms = 1700000000000
//! tasks-in-flight = 1000        # the quotas may be left out
//! tasks-per-minute = 6000
//! blob-bytes-per-day = 10000000000
//! ```
//!
//! A token is 32 random bytes, so that a plain hash gives nothing away and needs no salt.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use adit_protocol::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How each token begins, so that secret scanners find one that was published by mistake.
pub const PREFIX: &str = "adit_";
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 128;
/// The longest file of tokens, in bytes, and the most tokens in it.
const FILE_BYTES_MAX: u64 = 16 << 20;
const TOKENS_MAX: usize = 100_000;

/// What a client may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Tasks that have not ended, at one time.
    pub tasks_in_flight: u32,
    /// Tasks submitted in a minute.
    pub tasks_per_minute: u32,
    /// Bytes of blobs uploaded in a day.
    pub blob_bytes_per_day: u64,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            tasks_in_flight: 10_000,
            tasks_per_minute: 600_000,
            blob_bytes_per_day: 100 << 30,
        }
    }
}

/// A token in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Whose it is.
    pub name: String,
    /// Hash of the token, as text.
    pub hash: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// See [`Quota::tasks_in_flight`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_in_flight: Option<u32>,
    /// See [`Quota::tasks_per_minute`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_per_minute: Option<u32>,
    /// See [`Quota::blob_bytes_per_day`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_bytes_per_day: Option<u64>,
}

/// The file as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The tokens, in the order of their making.
    #[serde(default, rename = "token")]
    pub tokens: Vec<Entry>,
}

/// Why tokens cannot be read or changed.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The system refuses the file.
    #[error("the tokens {} cannot be used: {source}; hint: check that the file belongs to this user", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Others may change it.
    #[error(
        "the tokens {} can be changed by others (mode {mode:03o}); hint: chmod 600 the file",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not what this program writes.
    #[error("the tokens {} cannot be read: {why}; hint: correct the file, or restore it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is one of that name.
    #[error("there is a token for `{name}` already; hint: remove it first, or choose another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is none of that name.
    #[error("there is no token for `{name}`; hint: `adit coordinator token list` shows them all")]
    Missing {
        /// The name.
        name: String,
    },
    /// The name is not one.
    #[error(
        "`{name}` cannot be a client's name; hint: 1 to 64 characters, letters, digits, - _ . @"
    )]
    Name {
        /// The name.
        name: String,
    },
}

impl TokenFile {
    /// Reads a file; without one there are no tokens.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn load(path: &Path) -> Result<TokenFile, TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(TokenFile::default());
            }
            Err(error) => return Err(io(error)),
        };
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(TokenError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let malformed = |why: String| TokenError::Malformed {
            path: path.to_owned(),
            why,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(malformed(format!(
                "it has more than {FILE_BYTES_MAX} bytes"
            )));
        }
        let tokens: TokenFile = toml::from_str(&text).map_err(|e| malformed(e.to_string()))?;
        if tokens.tokens.len() > TOKENS_MAX {
            return Err(malformed(format!("it has more than {TOKENS_MAX} tokens")));
        }
        for token in &tokens.tokens {
            check_name(&token.name)?;
            Hash::from_str(&token.hash)
                .map_err(|error| malformed(format!("the hash of `{}`: {error}", token.name)))?;
        }
        Ok(tokens)
    }

    /// Writes the file: whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// [`TokenError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), TokenError> {
        let io = |source| TokenError::Io {
            path: path.to_owned(),
            source,
        };
        let text = toml::to_string(self).map_err(|error| io(std::io::Error::other(error)))?;
        let unfinished = path.with_extension("new");
        let write = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)
        };
        write().map_err(io)
    }

    /// Makes a token for a client, and returns it: it is kept nowhere.
    ///
    /// # Errors
    /// [`TokenError::Exists`], [`TokenError::Name`].
    pub fn add(
        &mut self,
        name: &str,
        now_ms: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<(String, &mut Entry), TokenError> {
        check_name(name)?;
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Exists {
                name: name.to_owned(),
            });
        }
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let entry = Entry {
            name: name.to_owned(),
            hash: Hash::of(token.as_bytes()).to_string(),
            created_ms: now_ms,
            tasks_in_flight: None,
            tasks_per_minute: None,
            blob_bytes_per_day: None,
        };
        Ok((token, self.tokens.push_mut(entry)))
    }

    /// Withdraws a client's token.
    ///
    /// # Errors
    /// [`TokenError::Missing`].
    pub fn remove(&mut self, name: &str) -> Result<(), TokenError> {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        match self.tokens.len() < before {
            true => Ok(()),
            false => Err(TokenError::Missing {
                name: name.to_owned(),
            }),
        }
    }
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(allowed) {
        true => Ok(()),
        false => Err(TokenError::Name {
            name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
        }),
    }
}

/// Something that fills up again with time.
#[derive(Debug)]
struct Bucket {
    left: f64,
    at: tokio::time::Instant,
}

impl Bucket {
    /// Takes `amount`, of which `per_second` come back, up to `most`. Otherwise the seconds until
    /// there is enough.
    fn take(&mut self, amount: f64, per_second: f64, most: f64) -> Result<(), u32> {
        let now = tokio::time::Instant::now();
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * per_second).min(most);
        self.at = now;
        if self.left >= amount {
            self.left -= amount;
            return Ok(());
        }
        let wait = (amount - self.left) / per_second;
        Err(wait.ceil().clamp(1.0, 86_400.0) as u32)
    }
}

/// A client, as long as its token holds.
#[derive(Debug)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// What it may use up.
    pub quota: Quota,
    used: Arc<Used>,
}

/// What a client has used up. It outlives a change of its token.
#[derive(Debug)]
struct Used {
    tasks: Mutex<Bucket>,
    bytes: Mutex<Bucket>,
}

impl Client {
    /// A client of this name, whose token was not looked at: for tests and for `adit dev`.
    pub fn new(name: &str, quota: Quota) -> Client {
        Client {
            name: name.to_owned(),
            quota,
            used: Arc::new(Used::full(&quota)),
        }
    }

    /// Counts a task that is submitted.
    ///
    /// # Errors
    /// Seconds to wait, if there are too many a minute.
    pub fn take_task(&self) -> Result<(), u32> {
        let most = f64::from(self.quota.tasks_per_minute);
        lock(&self.used.tasks).take(1.0, (most / 60.0).max(1e-6), most)
    }

    /// Counts bytes that are uploaded.
    ///
    /// # Errors
    /// Seconds to wait, if there are too many a day.
    pub fn take_bytes(&self, bytes: u64) -> Result<(), u32> {
        let most = self.quota.blob_bytes_per_day as f64;
        lock(&self.used.bytes).take(bytes as f64, (most / 86_400.0).max(1e-6), most)
    }
}

impl Used {
    fn full(quota: &Quota) -> Used {
        let bucket = |left| {
            Mutex::new(Bucket {
                left,
                at: tokio::time::Instant::now(),
            })
        };
        Used {
            tasks: bucket(f64::from(quota.tasks_per_minute)),
            bytes: bucket(quota.blob_bytes_per_day as f64),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tokens of a coordinator that runs. The file is read again when it has changed.
pub struct Tokens {
    path: PathBuf,
    defaults: Quota,
    table: RwLock<Table>,
}

struct Table {
    modified: Option<SystemTime>,
    clients: HashMap<Hash, Arc<Client>>,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(path: &Path, defaults: Quota) -> Result<Tokens, TokenError> {
        let tokens = Tokens {
            path: path.to_owned(),
            defaults,
            table: RwLock::new(Table {
                modified: None,
                clients: HashMap::new(),
            }),
        };
        tokens.read()?;
        Ok(tokens)
    }

    /// The client whose token this is. What is compared are hashes, so that the time it takes
    /// tells nothing about the tokens there are.
    pub fn client(&self, token: &str) -> Option<Arc<Client>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.clients.get(&Hash::of(token.as_bytes())).cloned()
    }

    /// Reads the file again if it has changed. If it cannot be read, what was known stays.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn refresh(&self) -> Result<(), TokenError> {
        let known = self
            .table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .modified;
        match modified(&self.path) == known {
            true => Ok(()),
            false => self.read(),
        }
    }

    fn read(&self) -> Result<(), TokenError> {
        // Looked at before the file, so that what is written in between is read next time.
        let modified = modified(&self.path);
        let file = TokenFile::load(&self.path)?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let used: HashMap<String, Arc<Used>> = table
            .clients
            .drain()
            .map(|(_, client)| (client.name.clone(), Arc::clone(&client.used)))
            .collect();
        for entry in file.tokens {
            let quota = Quota {
                tasks_in_flight: entry
                    .tasks_in_flight
                    .unwrap_or(self.defaults.tasks_in_flight),
                tasks_per_minute: entry
                    .tasks_per_minute
                    .unwrap_or(self.defaults.tasks_per_minute),
                blob_bytes_per_day: entry
                    .blob_bytes_per_day
                    .unwrap_or(self.defaults.blob_bytes_per_day),
            };
            let used = used.get(&entry.name).cloned();
            let client = Client {
                used: used.unwrap_or_else(|| Arc::new(Used::full(&quota))),
                name: entry.name,
                quota,
            };
            if let Ok(hash) = entry.hash.parse() {
                table.clients.insert(hash, Arc::new(client));
            }
        }
        table.modified = modified;
        Ok(())
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::OsRng;

    #[test]
    fn a_token_is_known_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let tokens = Tokens::open(&path, Quota::default()).unwrap();
        let mut file = TokenFile::load(&path).unwrap();
        let (token, entry) = file.add("app", 5, &mut OsRng).unwrap();
        entry.tasks_in_flight = Some(3);
        assert!(matches!(
            file.add("app", 5, &mut OsRng),
            Err(TokenError::Exists { .. })
        ));
        file.save(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&token), "the token itself must not be kept");

        assert!(tokens.client(&token).is_none());
        tokens.refresh().unwrap();
        let client = tokens.client(&token).unwrap();
        assert_eq!(
            (client.name.as_str(), client.quota.tasks_in_flight),
            ("app", 3)
        );
        for wrong in ["", "adit_", &token[1..], &token.repeat(10)] {
            assert!(tokens.client(wrong).is_none());
        }

        let mut file = TokenFile::load(&path).unwrap();
        file.remove("app").unwrap();
        assert!(matches!(
            file.remove("app"),
            Err(TokenError::Missing { .. })
        ));
        file.save(&path).unwrap();
        // File systems keep times coarsely.
        let later = SystemTime::now() + std::time::Duration::from_secs(2);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        tokens.refresh().unwrap();
        assert!(tokens.client(&token).is_none());
    }

    #[test]
    fn a_file_that_others_may_change_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        for text in ["[[token]]\nname = 'x'\n", "token = 3", "[[tokn]]", "\0"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(TokenFile::load(&path), Err(TokenError::Malformed { .. })),
                "{text}"
            );
        }
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(
            TokenFile::load(&path),
            Err(TokenError::Exposed { .. })
        ));
        for name in ["", "a b", "\u{1b}[2J", &"x".repeat(65)] {
            let added = TokenFile::default().add(name, 0, &mut OsRng).map(|_| ());
            assert!(matches!(added, Err(TokenError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn what_is_used_up_comes_back_with_time() {
        let quota = Quota {
            tasks_per_minute: 2,
            blob_bytes_per_day: 100,
            ..Quota::default()
        };
        let client = Client::new("app", quota);
        assert_eq!(client.take_task(), Ok(()));
        assert_eq!(client.take_task(), Ok(()));
        let wait = client.take_task().unwrap_err();
        assert!((1..=30).contains(&wait), "{wait}");
        lock(&client.used.tasks).at -= std::time::Duration::from_secs(30);
        assert_eq!(client.take_task(), Ok(()));
        assert_eq!(client.take_bytes(60), Ok(()));
        assert!(client.take_bytes(60).is_err());
        assert_eq!(client.take_bytes(40), Ok(()));
    }
}
