//! The keys that an argument names: key files, keystores, addresses, development keys.
//!
//! Secrets come from files, from the terminal or from standard input, and never from the command
//! line, which every user of a machine can read.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::keys::keystore::{Keystore, MAX_FILE};
use adit_protocol::keys::{Keypair, PublicKey, ss58};
use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::input::read_file;
use crate::state::{State, key_file};
use crate::text::{one_line, unhex};
use crate::ui::Ui;

/// Longest password or secret URI, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;
/// Names of keys that derive from the development phrase and that tools and examples use.
const WELL_KNOWN: [&str; 16] = [
    "//Alice",
    "//Bob",
    "//Charlie",
    "//Dave",
    "//Eve",
    "//Ferdie",
    "//One",
    "//Two",
    "//Alice//stash",
    "//Bob//stash",
    "//Charlie//stash",
    "//Dave//stash",
    "//Eve//stash",
    "//Ferdie//stash",
    "//Faucet",
    "",
];

/// Where a password comes from that is not to be asked for.
#[derive(clap::Args, Clone)]
pub struct PasswordFile {
    /// Read the keystore's password from the first line of this file instead of the terminal
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// A keypair, and whether everyone has it.
pub struct Secret {
    /// The keypair.
    pub keypair: Keypair,
    /// It derives from the development phrase.
    pub development: bool,
}

/// The keypair that an argument names. A keystore is opened only where a password can be given.
///
/// # Errors
///
/// When there is no such key, or it cannot be read.
pub fn secret(
    ui: &Ui,
    state: &State,
    key: &str,
    password: Option<&PasswordFile>,
) -> anyhow::Result<Secret> {
    let own = |keypair: Keypair| Secret {
        development: is_well_known(&keypair.public()),
        keypair,
    };
    if key == "local" {
        return state.local_key().map(own);
    }
    if key == "-" {
        return Ok(own(Keypair::from_uri(&secret_uri()?)?));
    }
    // What derives from the development phrase is no secret. A single slash would take a mistyped
    // path for such a key.
    if key.starts_with("//") && !key.contains("///") {
        ui.note("note: this is a development key; everyone has it");
        return Ok(Secret {
            keypair: Keypair::from_uri(key)?,
            development: true,
        });
    }
    let path = Path::new(key);
    if path.is_file() {
        let beginning = read_file(path, MAX_FILE as u64, "the key")?;
        if beginning.starts_with(b"0x") {
            return key_file(path).map(own);
        }
        if let Some(password) = password {
            let keystore = Keystore::from_json(&beginning)?;
            return Ok(own(keystore.decrypt(&password.ask(false)?)?));
        }
    }
    // The text is not repeated: it may be a phrase.
    Failure::new(Code::BadKey, "there is no such key")
        .why("the argument is no key file, and secrets are not taken from the command line")
        .hint("give a file, `local`, //Name, or - and the phrase or URI on stdin")
        .into_err()
}

/// The public key that an argument names: an address, 0x and 64 digits, a key file or keystore,
/// `local`, or a development key. Says too whether it is of a development key.
///
/// # Errors
///
/// When it is none of these.
pub fn public(state: &State, key: &str) -> anyhow::Result<(PublicKey, bool)> {
    let path = Path::new(key);
    let public = if key == "local" {
        state.local_key()?.public()
    } else if key.starts_with("//") && !key.contains("///") {
        return Ok((Keypair::from_uri(key)?.public(), true));
    } else if path.is_file() {
        let bytes = read_file(path, MAX_FILE as u64, "the key")?;
        match bytes.starts_with(b"0x") {
            true => key_file(path)?.public(),
            false => Keystore::from_json(&bytes)?.claimed_public()?,
        }
    } else if let Some(bytes) = unhex::<32>(key).filter(|_| key.starts_with("0x")) {
        PublicKey::from_bytes(&bytes).map_err(|error| {
            Failure::new(Code::BadKey, "the public key cannot be used").because(error)
        })?
    } else if let Ok((_, public)) = ss58::decode_any(key) {
        public
    } else {
        return Failure::new(Code::BadKey, format!("`{}` is no public key", shown(key)))
            .why("it is no address, no file, and not 0x and 64 digits")
            .hint("`adit key show` prints the address and the public key of a key")
            .into_err();
    };
    Ok((public, is_well_known(&public)))
}

/// Whether a public key is that of a development key that tools and examples use.
pub fn is_well_known(key: &PublicKey) -> bool {
    let known = |uri: &&str| match uri.is_empty() {
        true => Keypair::from_uri(adit_protocol::keys::uri::DEV_PHRASE),
        false => Keypair::from_uri(uri),
    };
    WELL_KNOWN
        .iter()
        .filter_map(|uri| known(uri).ok())
        .map(|known| known.public())
        .chain(adit_devnet::keys::all())
        .any(|known| known == *key)
}

/// A text that may be a secret by mistake: no more of it is shown than tells which one it is.
fn shown(key: &str) -> String {
    match key.chars().count() {
        0..=24 => one_line(key),
        _ => format!("{}...", one_line(&key.chars().take(6).collect::<String>())),
    }
}

/// A secret URI from standard input; typed unseen if that is a terminal.
fn secret_uri() -> anyhow::Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        return prompt("secret phrase or URI: ");
    }
    first_line(std::io::stdin().lock()).context("the secret URI could not be read")
}

impl PasswordFile {
    /// The password: from the file, else from the terminal, twice if it is a new one.
    ///
    /// # Errors
    ///
    /// When neither gives one, or the two differ.
    pub fn ask(&self, new: bool) -> anyhow::Result<Zeroizing<String>> {
        if let Some(path) = &self.password_file {
            let failed = || format!("the password file {} could not be read", path.display());
            let file = std::fs::File::open(path).with_context(failed)?;
            return first_line(std::io::BufReader::new(file)).with_context(failed);
        }
        let password = prompt("password: ")?;
        if new && *prompt("the same again: ")? != *password {
            return Failure::new(Code::BadPassphrase, "no key was made")
                .why("the two passwords differ")
                .hint("try again")
                .into_err();
        }
        Ok(password)
    }
}

fn prompt(text: &str) -> anyhow::Result<Zeroizing<String>> {
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .map_err(|error| {
            Failure::argument("nothing could be asked for")
                .why(format!("there is no terminal: {error}"))
                .hint("use --password-file for a password, or stdin for a secret URI")
                .into()
        })
}

fn first_line(from: impl std::io::BufRead) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    from.take(SECRET_BYTES_MAX).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_keys_are_known_by_their_public_keys() {
        let state = State::at(None);
        for uri in WELL_KNOWN.iter().filter(|uri| !uri.is_empty()) {
            let keypair = Keypair::from_uri(uri).unwrap();
            let digits = crate::text::hex(&keypair.public().to_bytes());
            let (public, development) = self::public(&state, &digits).unwrap();
            assert!(development && public == keypair.public(), "{uri}");
        }
        let other = Keypair::from_seed([7; 32]).public();
        assert!(!is_well_known(&other));
        let address = ss58::encode(&other, ss58::GENERIC_PREFIX);
        assert_eq!(self::public(&state, &address).unwrap(), (other, false));
        let zero = format!("0x{}", "00".repeat(32));
        for bad in ["", "0x12", "nobody", &zero] {
            assert!(self::public(&state, bad).is_err(), "{bad}");
        }
    }
}
