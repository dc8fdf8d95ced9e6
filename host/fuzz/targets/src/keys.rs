//! The text forms of keys and of the short names: hashes, codes, addresses, phrases, URIs, files.

use adit_protocol::codes::Code;
use adit_protocol::hardware::HardwareClass;
use adit_protocol::hash::Hash;
use adit_protocol::keys::keystore::{Keystore, KeystoreError};
use adit_protocol::keys::mnemonic::{from_entropy, to_entropy};
use adit_protocol::keys::{Keypair, PublicKey, ss58};
use adit_protocol::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// Reads the bytes as the text of a hash, of an error code and of a class of hardware, and the first
/// as a status. What is taken is written the same way.
pub fn names(bytes: &[u8]) {
    if let Some(&byte) = bytes.first()
        && let Ok(status) = Status::try_from(byte)
    {
        assert_eq!(u8::from(status), byte);
        assert_eq!(Code::from(status).as_str(), status.name());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Hash>() {
        Ok(hash) => assert_eq!(hash.to_string(), text),
        Err(error) => assert!(error.to_string().len() < 256),
    }
    if let Ok(code) = text.parse::<Code>() {
        assert_eq!(code.as_str(), text);
    }
    match text.parse::<HardwareClass>() {
        Ok(class) => assert_eq!(class.to_string(), text),
        Err(error) => assert!(error.to_string().len() < 256),
    }
}

/// Reads the bytes as an address. A key has one address under each prefix, and an address is taken
/// under its own prefix only.
pub fn address(bytes: &[u8]) {
    // Any 32 bytes too: a key, or refused.
    if let Ok(bytes) = <&[u8; 32]>::try_from(bytes)
        && let Ok(key) = PublicKey::from_bytes(bytes)
    {
        assert_eq!(key.to_bytes(), *bytes);
        let text = ss58::encode(&key, ss58::GENERIC_PREFIX);
        assert_eq!(ss58::decode(&text, ss58::GENERIC_PREFIX), Ok(key));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok((prefix, key)) = ss58::decode_any(text) {
        assert_eq!(ss58::encode(&key, prefix), text);
        assert_eq!(ss58::decode(text, prefix), Ok(key));
        assert!(ss58::decode(text, prefix ^ 1).is_err());
    }
}

/// Reads the bytes as a recovery phrase: it is the phrase of its own entropy, but for white space.
pub fn phrase(bytes: &[u8]) {
    if let Ok(phrase) = from_entropy(bytes) {
        assert_eq!(*to_entropy(&phrase).expect("a phrase of ours"), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match to_entropy(text) {
        Ok(entropy) => {
            let again = from_entropy(&entropy).expect("entropy of a phrase");
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(*again, words.join(" "));
        }
        // A message repeats no word of what may be someone's secret.
        Err(error) => assert!(error.to_string().len() < 256),
    }
}

/// Reads the bytes as a secret URI. The same text gives the same key, and the key signs.
pub fn uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Keypair::from_uri(text) {
        Ok(pair) => {
            let rng = &mut ChaCha20Rng::from_seed([3; 32]);
            let signature = pair.sign(b"fuzz", bytes, rng);
            let public = pair.public();
            assert_eq!(public.verify(b"fuzz", bytes, &signature), Ok(()));
            assert_eq!(PublicKey::from_bytes(&public.to_bytes()), Ok(public));
            // `Debug` shows the public key; the secret part of the text is not in it.
            assert!(format!("{pair:?}").len() < 128);
            // A hard junction leads to another key.
            if let (false, Ok(child)) = (
                text.contains("///"),
                Keypair::from_uri(&format!("{text}//fuzz")),
            ) {
                assert_ne!(child.public(), public);
            }
        }
        Err(error) => assert!(error.to_string().len() < 256),
    }
}

/// Reads the bytes as a keystore file and tries to open it.
///
/// No file can ask for more than the costs that wallets use. Those are dear enough on purpose to
/// slow this down, so of the files that ask for one of them only some are opened.
pub fn keystore(bytes: &[u8]) {
    let file = match Keystore::from_json(bytes) {
        Ok(file) => file,
        Err(error) => return assert!(error.to_string().len() < 2048, "a message of any length"),
    };
    let json = file.to_json();
    assert_eq!(Keystore::from_json(json.as_bytes()).as_ref(), Ok(&file));
    assert_eq!(file.decrypt("").err(), Some(KeystoreError::EmptyPassword));
    let claimed = file.claimed_public();

    let one_in_128 = Hash::of(bytes).as_bytes()[0] < 2;
    if is_dear(&json) && !one_in_128 {
        return;
    }
    match file.decrypt(PASSWORD) {
        Ok(pair) => assert_eq!(claimed, Ok(pair.public())),
        Err(error) => assert!(error.to_string().len() < 256),
    }
}

/// The password of the files in the corpus.
const PASSWORD: &str = "fuzz";

/// Whether opening the file runs scrypt: its costs stand behind the salt, as N, p, r.
fn is_dear(json: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON of ours");
    let encoded = value["encoded"].as_str().expect("a keystore has it");
    let Ok(decoded) = STANDARD.decode(encoded) else {
        return false;
    };
    let words = decoded.get(32..44).unwrap_or_default().as_chunks::<4>().0;
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    // N, p and r that polkadot-js admits.
    [
        [1 << 13, 10, 8],
        [1 << 14, 5, 8],
        [1 << 15, 3, 8],
        [1 << 15, 1, 8],
        [1 << 16, 2, 8],
        [1 << 17, 1, 8],
    ]
    .iter()
    .any(|cost| words == cost)
}
