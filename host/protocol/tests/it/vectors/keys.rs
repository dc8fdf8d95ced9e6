//! Secret URIs and recovery phrases. Every secret here is public: none may hold anything of value.

use adit_protocol::keys::mnemonic::{self, MnemonicError};
use adit_protocol::keys::uri::UriError;
use adit_protocol::keys::{Keypair, ss58};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, bytes, hex, json_file, names, parse, text};

names! { MnemonicError, PHRASE_ERRORS:
    MnemonicError::WordCount(found) => "word-count" {"found": found}
    MnemonicError::UnknownWord(word) => "unknown-word" {"word": word}
    MnemonicError::Checksum => "checksum" null
    MnemonicError::TooLong => "phrase-too-long" null
    MnemonicError::EntropyLength(found) => "entropy-length" {"found": found}
}

const URI_ERRORS: &[&str] = &["seed", "empty-junction", "uri-too-long"];

impl From<UriError> for Refusal {
    fn from(error: UriError) -> Refusal {
        match error {
            UriError::Phrase(error) => error.into(),
            UriError::Seed => Refusal::new("seed"),
            UriError::EmptyJunction => Refusal::new("empty-junction"),
            UriError::TooLong => Refusal::new("uri-too-long"),
        }
    }
}

/// The first vector of BIP39.
const ZEROS: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
const SEED: &str = "0x1111111111111111111111111111111111111111111111111111111111111111";

pub fn kind() -> Kind {
    let mut good: Vec<Good> = uris()
        .into_iter()
        .map(|(name, uri)| {
            let key = Keypair::from_uri(&uri).unwrap_or_else(|error| panic!("{name}: {error}"));
            Good::new(name, file("uri", &uri), public(&key))
        })
        .collect();
    for (words, length) in [(12, 16u8), (15, 20), (18, 24), (21, 28), (24, 32)] {
        let entropy: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37)).collect();
        let phrase = mnemonic::from_entropy(&entropy).expect("the length is allowed");
        let value = json!({ "entropy": hex(&entropy) });
        good.push(Good::new(
            &format!("phrase-{words}-words"),
            file("phrase", &phrase),
            value,
        ));
        let value = json!({ "phrase": *phrase });
        let name = format!("entropy-{length}-bytes");
        good.push(Good::new(&name, file("entropy", &hex(&entropy)), value));
    }
    let spaced = format!(" {}", ZEROS.replace(' ', "  "));
    let value = json!({ "entropy": hex([0; 16]) });
    good.push(Good::new(
        "phrase-with-wide-spaces",
        file("phrase", &spaced),
        value,
    ));
    Kind {
        name: "keys",
        extension: "json",
        about: "Secret URIs and the public keys they make; recovery phrases and their entropy. Every secret here is public.",
        good,
        bad: bad(),
        check,
        errors: &[("UriError", URI_ERRORS), ("MnemonicError", PHRASE_ERRORS)],
    }
}

fn uris() -> Vec<(&'static str, String)> {
    vec![
        ("uri-seed", SEED.into()),
        ("uri-seed-in-capitals", format!("0x{}", "AB".repeat(32))),
        ("uri-seed-with-path", format!("{SEED}//x/y")),
        ("uri-seed-with-password", format!("{SEED}///no effect")),
        ("uri-alice", "//Alice".into()),
        ("uri-hard-hard", "//Alice//stash".into()),
        ("uri-hard-soft", "//Alice/soft".into()),
        ("uri-soft-hard", format!("{SEED}/soft//Alice")),
        ("uri-number", "//7".into()),
        ("uri-number-with-zeros", "//007".into()),
        ("uri-largest-number", "//18446744073709551615".into()),
        ("uri-name-of-31-bytes", format!("//{}", "n".repeat(31))),
        ("uri-name-of-32-bytes", format!("//{}", "n".repeat(32))),
        (
            "uri-name-of-100-bytes",
            format!("{SEED}/{}", "n".repeat(100)),
        ),
        ("uri-name-not-ascii", "//é".into()),
        ("uri-phrase", ZEROS.into()),
        ("uri-phrase-with-path", format!("{ZEROS}//hard/soft")),
        ("uri-phrase-with-password", format!("{ZEROS}///Substrate")),
        (
            "uri-phrase-with-all",
            format!("{ZEROS}//hard/7///pass word/with//slashes"),
        ),
        ("uri-password-empty", "//Alice///".into()),
        ("uri-password-not-ascii", "//Alice///pässword".into()),
    ]
}

fn bad() -> Vec<Bad> {
    let uri = |name, uri: &str, error: UriError, why| Bad::new(name, file("uri", uri), error, why);
    let phrase = |name, phrase: &str, error: MnemonicError, why| {
        Bad::new(name, file("phrase", phrase), error, why)
    };
    let entropy = |name, bytes: &[u8], why| {
        let error = MnemonicError::EntropyLength(bytes.len());
        Bad::new(name, file("entropy", &hex(bytes)), error, why)
    };
    vec![
        uri(
            "uri-seed-short",
            &SEED[..65],
            UriError::Seed,
            "a digit of the seed is missing",
        ),
        uri(
            "uri-seed-long",
            &format!("{SEED}1"),
            UriError::Seed,
            "there is a digit too many",
        ),
        uri(
            "uri-seed-not-hexadecimal",
            &SEED.replacen("0x1", "0xg", 1),
            UriError::Seed,
            "g is no hexadecimal digit",
        ),
        uri(
            "uri-no-name",
            "//",
            UriError::EmptyJunction,
            "the hard junction has no name",
        ),
        uri(
            "uri-slash-at-the-end",
            "//Alice/",
            UriError::EmptyJunction,
            "the soft junction has no name",
        ),
        uri(
            "uri-65-junctions",
            &"/a".repeat(65),
            UriError::TooLong,
            "65 junctions are one too many",
        ),
        uri(
            "uri-4097-bytes",
            &format!("//{}", "a".repeat(4095)),
            UriError::TooLong,
            "4097 bytes are one too many",
        ),
        uri(
            "uri-not-a-phrase",
            "one two",
            UriError::Phrase(MnemonicError::WordCount(2)),
            "two words are no phrase, though some wallets would pad them to a seed",
        ),
        phrase(
            "phrase-word-missing",
            ZEROS.trim_end_matches(" about"),
            MnemonicError::WordCount(11),
            "the last word is missing",
        ),
        phrase(
            "phrase-unknown-word",
            &ZEROS.replacen("abandon", "abandom", 1),
            MnemonicError::UnknownWord(1),
            "the first word is not on the list",
        ),
        phrase(
            "phrase-in-capitals",
            &ZEROS.replacen("about", "ABOUT", 1),
            MnemonicError::UnknownWord(12),
            "the words of the list are in lower case",
        ),
        phrase(
            "phrase-checksum",
            &ZEROS.replacen("about", "abandon", 1),
            MnemonicError::Checksum,
            "every word is on the list but the checksum does not fit",
        ),
        phrase(
            "phrase-swapped-words",
            &ZEROS.replacen("abandon about", "about abandon", 1),
            MnemonicError::Checksum,
            "the last two words are in the wrong order",
        ),
        phrase(
            "phrase-too-long",
            &ZEROS.repeat(6),
            MnemonicError::TooLong,
            "no phrase is longer than 512 bytes",
        ),
        entropy("entropy-15-bytes", &[0; 15], "a byte is missing"),
        entropy("entropy-33-bytes", &[0; 33], "there is a byte too many"),
        entropy(
            "entropy-12-bytes",
            &[0; 12],
            "BIP39 has no phrases of nine words",
        ),
    ]
}

fn file(what: &str, content: &str) -> Vec<u8> {
    json_file(json!({ what: content }))
}

fn public(key: &Keypair) -> Value {
    let public = key.public();
    json!({
        "public": hex(public.to_bytes()),
        "address": ss58::encode(&public, ss58::GENERIC_PREFIX),
    })
}

fn check(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let file = parse(file);
    if file["uri"].is_string() {
        Ok(public(&Keypair::from_uri(text(&file, "uri"))?))
    } else if file["phrase"].is_string() {
        let entropy = mnemonic::to_entropy(text(&file, "phrase"))?;
        Ok(json!({ "entropy": hex(&*entropy) }))
    } else {
        let phrase = mnemonic::from_entropy(&bytes(&file, "entropy"))?;
        Ok(json!({ "phrase": *phrase }))
    }
}
