//! Keys, and the facts about schnorrkel that the code relies on.

use adit_protocol::keys::keystore::{Keystore, KeystoreError, MAX_FILE, ScryptCost};
use adit_protocol::keys::{BadSignature, Keypair, PublicKey, PublicKeyError, mnemonic, ss58};

use crate::fixtures::rng;

const ALICE: [u8; 32] = [
    0xd4, 0x35, 0x93, 0xc7, 0x15, 0xfd, 0xd3, 0x1c, 0x61, 0x14, 0x1a, 0xbd, 0x04, 0xa9, 0x9f, 0xd6,
    0x82, 0x2c, 0x85, 0x58, 0x85, 0x4c, 0xcd, 0xe3, 0x9a, 0x56, 0x84, 0xe7, 0xa5, 0x6d, 0xa2, 0x7d,
];

/// Made by @polkadot/keyring from `//Alice//keystore/fixture`; the password is `correct horse`.
pub const FIXTURE: &str = include_str!("polkadot-js.json");

#[test]
fn alice_is_alice() {
    let key = Keypair::from_uri("//Alice").unwrap().public();
    assert_eq!(key.to_bytes(), ALICE);
    let address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    assert_eq!(ss58::encode(&key, ss58::GENERIC_PREFIX), address);
}

#[test]
fn a_signature_of_polkadot_js_verifies() {
    // keyring.addFromUri('//Alice').sign('<Bytes>hello</Bytes>')
    let signature = hex64(
        "9e293a8adbbc27960e6db6942bbea50a0a84bc41bc9aed5fd292c97886000544\
         d69d5c33f35b82fd2477ef2cc255606f54d945182ce1b408299f86677ce13089",
    );
    let alice = PublicKey::from_bytes(&ALICE).unwrap();
    assert_eq!(
        alice.verify(b"substrate", b"<Bytes>hello</Bytes>", &signature),
        Ok(())
    );
    assert_eq!(
        alice.verify(b"substrate", b"<Bytes>hallo</Bytes>", &signature),
        Err(BadSignature)
    );
    assert_eq!(
        alice.verify(b"other", b"<Bytes>hello</Bytes>", &signature),
        Err(BadSignature)
    );
}

fn hex64(digits: &str) -> [u8; 64] {
    assert_eq!(digits.len(), 128);
    std::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn schnorrkel_takes_the_zero_key_and_we_do_not() {
    // Under the identity, R = s*B verifies for any s and any message; s = 0 gives R = 0. If this
    // stops being so in schnorrkel, the refusal here is still right.
    let zero = schnorrkel::PublicKey::from_bytes(&[0; 32]).unwrap();
    let mut forged = [0; 64];
    forged[63] = 128;
    let signature = schnorrkel::Signature::from_bytes(&forged).unwrap();
    let transcript = schnorrkel::signing_context(b"substrate").bytes(b"anything");
    assert!(zero.verify(transcript, &signature).is_ok());
    assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(PublicKeyError::Zero));
}

#[test]
fn bytes_that_are_no_point_are_no_key() {
    assert_eq!(
        PublicKey::from_bytes(&[255; 32]),
        Err(PublicKeyError::NotAPoint)
    );
    // An odd ("negative") encoding is not canonical.
    let mut odd = [0; 32];
    odd[0] = 1;
    assert_eq!(PublicKey::from_bytes(&odd), Err(PublicKeyError::NotAPoint));
}

#[test]
fn signatures_are_randomised_and_bound_to_context() {
    let key = Keypair::from_seed([5; 32]);
    let mut rng = rng();
    let (one, two) = (
        key.sign(b"a", b"m", &mut rng),
        key.sign(b"a", b"m", &mut rng),
    );
    assert_ne!(one, two);
    for signature in [one, two] {
        assert_eq!(key.public().verify(b"a", b"m", &signature), Ok(()));
        assert_eq!(
            key.public().verify(b"b", b"m", &signature),
            Err(BadSignature)
        );
    }
    let other = Keypair::generate(&mut rng);
    assert_ne!(other.public(), key.public());
    assert_eq!(other.public().verify(b"a", b"m", &one), Err(BadSignature));
}

#[test]
fn a_new_phrase_makes_a_key() {
    let phrase = mnemonic::from_entropy(&[9; 32]).unwrap();
    let one = Keypair::from_uri(&phrase).unwrap();
    let two = Keypair::from_uri(&format!("{}///password", *phrase)).unwrap();
    assert_ne!(one.public(), two.public());
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", Keypair::from_uri("//Alice").unwrap());
    assert!(shown.starts_with("Keypair(0xd43593c7") && shown.ends_with("secret not shown)"));
}

#[test]
fn a_keystore_of_polkadot_js_opens() {
    let keystore = Keystore::from_json(FIXTURE.as_bytes()).unwrap();
    assert_eq!(keystore.meta["name"], "fixture");
    let keypair = keystore.decrypt("correct horse").unwrap();
    let expected = Keypair::from_uri("//Alice//keystore/fixture").unwrap();
    assert_eq!(keypair.public(), expected.public());
    let signature = keypair.sign(b"substrate", b"m", &mut rng());
    assert_eq!(
        expected.public().verify(b"substrate", b"m", &signature),
        Ok(())
    );
}

#[test]
fn our_keystores_open_again_and_only_with_their_password() {
    let key = Keypair::from_seed([6; 32]);
    let keystore =
        Keystore::encrypt(&key, "pässword", "mine", ScryptCost::LIGHT, &mut rng()).unwrap();
    let read = Keystore::from_json(keystore.to_json().as_bytes()).unwrap();
    assert_eq!(read, keystore);
    assert_eq!(read.decrypt("pässword").unwrap().public(), key.public());
    assert_eq!(
        read.decrypt("password").unwrap_err(),
        KeystoreError::Password
    );
    assert_eq!(read.decrypt("").unwrap_err(), KeystoreError::EmptyPassword);
    let empty = Keystore::encrypt(&key, "", "mine", ScryptCost::LIGHT, &mut rng());
    assert_eq!(empty.unwrap_err(), KeystoreError::EmptyPassword);

    let mut stolen = read;
    stolen.address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".into();
    assert!(matches!(
        stolen.decrypt("pässword"),
        Err(KeystoreError::Mismatch { .. })
    ));
}

#[test]
fn keystores_that_are_not_ours_to_read_are_refused() {
    let error = |json: &str| match Keystore::from_json(json.as_bytes()) {
        Ok(keystore) => keystore.decrypt("x").unwrap_err(),
        Err(error) => error,
    };
    let replaced = |from: &str, to: &str| {
        let changed = FIXTURE.replace(from, to);
        assert_ne!(changed, FIXTURE);
        error(&changed)
    };
    assert!(matches!(error("{}"), KeystoreError::Json(_)));
    assert!(matches!(
        error(&" ".repeat(MAX_FILE + 1)),
        KeystoreError::TooLong(65537)
    ));
    assert!(matches!(
        replaced(r#""3""#, r#""2""#),
        KeystoreError::Unsupported { .. }
    ));
    assert!(matches!(
        replaced("sr25519", "ed25519"),
        KeystoreError::Unsupported { .. }
    ));
    assert!(matches!(
        replaced("xsalsa20-poly1305", "none"),
        KeystoreError::Unsupported { .. }
    ));
    assert_eq!(replaced("elRbsxwS", ""), KeystoreError::Malformed);
    assert_eq!(replaced("elRbsxwS", "!"), KeystoreError::Malformed);
    // N = 2^17 becomes 2^25, which would take 32 GiB.
    assert_eq!(
        replaced("VEAAAIAAQAAAAgAAAA", "VEAAAACAQAAAAgAAAA"),
        KeystoreError::Cost
    );
}
