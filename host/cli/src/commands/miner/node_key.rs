//! The miner's node key: `miner/keys/node` in the state folder, mode 0600. In the form of other key
//! files, or with a secret phrase or URI in the first line and the public key in the second.

use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use adit_protocol::keys::uri::DEV_PHRASE;
use adit_runtime::store::{open_file, sweep};
use anyhow::Context as _;
use zeroize::Zeroizing;

use super::setup;
use crate::error::Failure;
use crate::keyring::is_well_known;
use crate::state::{State, make_key, parse_key, parsed, private_folder, read_private, write_key};
use crate::text::{hex, unhex};

/// What to do about one that cannot be used.
const INSTEAD: &str = "move the folder `miner` away, and make and register a new key";

fn path(state: &State) -> anyhow::Result<PathBuf> {
    Ok(setup::folder(state)?.join("keys").join("node"))
}

/// The key.
///
/// # Errors
///
/// When there is none, or the file is damaged or readable by others.
pub fn load(state: &State) -> anyhow::Result<Keypair> {
    let path = path(state)?;
    if std::fs::symlink_metadata(&path).is_err() {
        return Failure::new(Code::BadKey, "there is no node key in this state folder")
            .why(format!("{} does not exist", path.display()))
            .hint("`adit miner init` makes one")
            .into_err();
    }
    parsed(&path, &read_private(&path, INSTEAD)?, parse, INSTEAD)
}

/// Makes the key, unless there is one: from the first line of `from`, which is a seed, a secret
/// phrase or a secret URI, else from the system's randomness. Keys that everyone has are taken only
/// where `development` says so.
///
/// # Errors
///
/// When `from` holds no key or another one than there is, or the file cannot be made.
pub fn make(state: &State, from: Option<&Path>, development: bool) -> anyhow::Result<Keypair> {
    let path = path(state)?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
    private_folder(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    sweep(&folder);
    let Some(from) = from else {
        if std::fs::symlink_metadata(&path).is_err() {
            make_key(&folder, &path)?;
        }
        return load(state);
    };
    let what = || format!("the key file {} cannot be used", from.display());
    let mut text = Zeroizing::new(Vec::with_capacity(8192));
    {
        use std::io::Read as _;
        let file = open_file(from).with_context(what)?;
        file.take(8192).read_to_end(&mut text).with_context(what)?;
    }
    let unusable = |why: &str| {
        Failure::new(Code::BadKey, what())
            .why(why)
            .hint("its first line is a seed as 0x and 64 digits, or a secret phrase or URI; of a keystore file take the phrase instead, since a node starts without anyone there to type a password")
    };
    let (line, _) = lines(&text);
    let line = line.trim_end_matches('\r');
    let key = parse_secret(line, development).map_err(unusable)?;
    if std::fs::symlink_metadata(&path).is_err() {
        let public = hex(&key.public().to_bytes());
        let text = Zeroizing::new(format!("{line}\n{public}\n"));
        write_key(&folder, &path, text.as_bytes())?;
    }
    let there = load(state)?;
    if there.public() != key.public() {
        return Failure::new(
            Code::BadKey,
            "there is another node key in this state folder",
        )
        .why(format!(
            "{} has the public key {}",
            path.display(),
            hex(&there.public().to_bytes())
        ))
        .hint("use another state folder (--state), or move the folder `miner` away")
        .into_err();
    }
    Ok(there)
}

/// The key of the file. A phrase or URI must be followed by its public key: an empty or shortened
/// URI is one too, of another key.
fn parse(text: &[u8]) -> Result<Keypair, &'static str> {
    let (first, rest) = lines(text);
    if unhex::<32>(first).is_some() {
        return parse_key(text);
    }
    let key = Keypair::from_uri(first).map_err(
        |_| "the file begins neither with 64 hexadecimal digits nor with a secret phrase",
    )?;
    match rest.map(unhex::<32>) {
        Some(Some(public)) if public == key.public().to_bytes() => Ok(key),
        _ => Err(
            "its second line is not the public key of the secret in the first: one of them is damaged",
        ),
    }
}

/// The first line, and what follows it if anything does.
fn lines(text: &[u8]) -> (&str, Option<&str>) {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text);
    match text.split_once('\n') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

/// The key of a secret that its owner gives: a seed, a phrase or a URI, on one line.
fn parse_secret(line: &str, development: bool) -> Result<Keypair, &'static str> {
    let key = match unhex::<32>(line).map(Zeroizing::new) {
        Some(seed) => Keypair::from_seed(*seed),
        None if line.is_empty() => return Err("its first line is empty"),
        None => Keypair::from_uri(line)
            .map_err(|_| "its first line is no seed, phrase or secret URI")?,
    };
    // What derives from the phrase that everyone has is no secret.
    let derived = line.starts_with('/') || line.starts_with(DEV_PHRASE);
    match (derived || is_well_known(&key.public())) && !development {
        true => Err("it is a development key, which everyone has, and this network has value"),
        false => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_damaged_is_no_other_key() {
        let public = Keypair::from_uri("//Alice").unwrap().public();
        let good = format!("//Alice\n{}\n", hex(&public.to_bytes())).into_bytes();
        assert_eq!(parse(&good).unwrap().public(), public);
        for length in 0..good.len() {
            if let Ok(read) = parse(&good[..length]) {
                assert_eq!(read.public(), public, "{length} bytes");
            }
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = parse(&bad) {
                assert_eq!(read.public(), public, "bit {bit}");
            }
        }
    }

    #[test]
    fn development_keys_are_for_development() {
        let soft = format!("{DEV_PHRASE}/0");
        for secret in ["//Alice", "/Alice", DEV_PHRASE, &soft] {
            assert!(parse_secret(secret, true).is_ok());
            assert!(parse_secret(secret, false).is_err());
        }
        assert!(parse_secret("", true).is_err() && parse_secret("0xab", true).is_err());
        let seed = hex(&[7; 32]);
        let key = parse_secret(&seed, false).unwrap();
        assert_eq!(key.public(), Keypair::from_seed([7; 32]).public());
    }
}
