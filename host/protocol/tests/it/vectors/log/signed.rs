//! Checkpoints and cosignatures, and the ways to alter them.

use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::{
    CONTEXT, Checkpoint, CheckpointError, SignedCheckpoint, VerifyError,
};
use adit_protocol::log::cosignature::Cosignature;
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::note::NoteSignature;
use adit_protocol::log::tree::SIZE_MAX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::kind::{Bad, Good, Kind, Refusal, text};
use super::super::signatures::{flipped, unmarked};
use super::{checkpoint, log, log_key, nested, note_key, origin, root};
use crate::fixtures::{miner, rng};

const CHECKPOINT_ERRORS: &[&str] = &["lines", "origin-name", "size", "root-form", "extension"];
const VERIFY_ERRORS: &[&str] = &["key-kind", "other-log", "missing", "signature"];

impl From<CheckpointError> for Refusal {
    fn from(error: CheckpointError) -> Refusal {
        match error {
            CheckpointError::Note(error) => error.into(),
            CheckpointError::Lines => Refusal::new("lines"),
            CheckpointError::Origin(error) => nested("origin-name", error.into()),
            CheckpointError::Size => Refusal::new("size"),
            CheckpointError::Range(error) => error.into(),
            CheckpointError::Root => Refusal::new("root-form"),
            CheckpointError::Extension => Refusal::new("extension"),
        }
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Refusal {
        let (error, detail) = match error {
            VerifyError::Kind { found, .. } => ("key-kind", json!({ "found": found.identifier() })),
            VerifyError::Origin { expected, found } => {
                ("other-log", json!({ "expected": expected, "found": found }))
            }
            VerifyError::Missing { name } => ("missing", json!({ "name": name })),
            VerifyError::Signature { name } => ("signature", json!({ "name": name })),
        };
        Refusal { error, detail }
    }
}

fn given(key: &NoteKey) -> Value {
    json!({ "key": key.to_string() })
}

/// The key that a reader is given.
pub fn given_key(given: &Value) -> NoteKey {
    text(given, "key").parse().expect("a verifier key")
}

fn check_checkpoint(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let signed = SignedCheckpoint::parse(file)?;
    assert_eq!(signed.to_string().as_bytes(), file);
    let checkpoint = signed.verify(&given_key(given))?;
    Ok(json!({
        "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root,
        "signatures": signed.note().signatures().len(),
    }))
}

/// A line of the log's key.
fn own_line(signature: &[u8]) -> NoteSignature {
    let key = log_key();
    NoteSignature {
        name: key.name().clone(),
        id: key.id(),
        signature: signature.to_vec(),
    }
}

/// A note of a text that the log signs, whatever it is.
fn signed_text(text: &str) -> String {
    let signature = log().sign(CONTEXT, text.as_bytes(), &mut rng());
    format!("{text}\n{}", own_line(&signature))
}

pub fn checkpoints() -> Kind {
    let good = |name: &str, text: String| {
        let given = given(&log_key());
        let value = check_checkpoint(text.as_bytes(), &given).expect("a checkpoint");
        Good::new(name, text, value).given(given)
    };
    let bad_for = |name: &str, key: &NoteKey, text: &str, why: &str| {
        let given = given(key);
        let refusal = check_checkpoint(text.as_bytes(), &given).expect_err("no checkpoint");
        Bad::new(name, text, refusal, why).given(given)
    };
    let bad = |name: &str, text: &str, why: &str| bad_for(name, &log_key(), text, why);
    let signed = checkpoint(300).sign(&log(), &mut rng());
    let plain = signed.to_string();
    let text = checkpoint(300).text();
    // Signed, so that the text alone is what is wrong.
    let with = |from: &str, to: &str| {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        signed_text(&other)
    };
    let root = STANDARD.encode(root(300).as_bytes());
    let own: &[u8] = &signed.note().signatures()[0].signature;
    let signature: [u8; 64] = own.try_into().expect("64 bytes");
    let line = |signature: &[u8]| format!("{text}\n{}", own_line(signature));
    let largest = Checkpoint {
        size: SIZE_MAX,
        ..checkpoint(1)
    };
    let stranger = "\u{2014} example.com/stranger AAAAAAECAw==\n";
    let message_of_a_wallet = format!("<Bytes>{text}</Bytes>");
    Kind {
        name: "checkpoints",
        extension: "txt",
        about: "Checkpoints (C2SP tlog-checkpoint): notes of an origin, a size and a root, signed with the key in `given` by sr25519 under `substrate`. Lines after the third are signed too. One of several signatures of the key must fit.",
        good: vec![
            good("plain", plain.clone()),
            good(
                "empty-log",
                checkpoint(0).sign(&log(), &mut rng()).to_string(),
            ),
            good("largest-log", largest.sign(&log(), &mut rng()).to_string()),
            good(
                "more-lines",
                signed_text(&format!("{text}more\n and more\n")),
            ),
            good("with-a-strangers-line", format!("{plain}{stranger}")),
            good(
                "with-a-forged-line-before",
                line(&[1; 64]) + &own_line(&signature).to_string(),
            ),
        ],
        bad: vec![
            bad("not-signed", &text, "no signature follows"),
            bad(
                "two-lines",
                &with(&format!("{root}\n"), ""),
                "the root is missing",
            ),
            bad(
                "no-origin",
                &with(&origin().to_string(), ""),
                "the origin is empty",
            ),
            bad(
                "space-in-the-origin",
                &with("adit/", "adit "),
                "the origin has a space in it",
            ),
            bad(
                "size-with-zero",
                &with("300", "0300"),
                "a leading zero would be a second form",
            ),
            bad(
                "size-with-sign",
                &with("300", "+300"),
                "a sign would be a second form",
            ),
            bad(
                "size-in-hexadecimal",
                &with("300", "0x12c"),
                "the size is not decimal",
            ),
            bad("no-size", &with("300", ""), "the size is empty"),
            bad(
                "size-above-64-bits",
                &with("300", "18446744073709551616"),
                "the size is no number of 64 bits",
            ),
            bad(
                "size-of-no-log",
                &with("300", "4611686018427387905"),
                "no log has more than 2^62 entries",
            ),
            bad(
                "root-of-31-bytes",
                &with(&root, &STANDARD.encode([1; 31])),
                "the root is too short",
            ),
            bad(
                "root-without-padding",
                &with("=\n", "\n"),
                "the padding is missing",
            ),
            bad(
                "root-as-a-name",
                &with(&root, &super::root(300).to_string()),
                "the root is not in base64",
            ),
            bad(
                "empty-line",
                &signed_text(&format!("{text}\nmore\n")),
                "an empty line follows the root",
            ),
            bad(
                "other-size",
                &plain.replacen("300", "301", 1),
                "the size was changed after signing",
            ),
            bad(
                "other-root",
                &plain.replacen(&root, &STANDARD.encode([1; 32]), 1),
                "the root was changed after signing",
            ),
            bad(
                "line-added",
                &plain.replacen("=\n", "=\nmore\n", 1),
                "a line was added after signing",
            ),
            bad(
                "flipped-bit",
                &line(&flipped(signature, 3)),
                "a bit of the signature is flipped",
            ),
            bad(
                "unmarked",
                &line(&unmarked(signature)),
                "the highest bit, which marks sr25519, is not set",
            ),
            bad(
                "signature-of-63-bytes",
                &line(&signature[1..]),
                "a byte of the signature is missing",
            ),
            bad(
                "signature-with-a-time",
                &line(&[&[0; 8], &signature[..]].concat()),
                "the signature has the form of a cosignature",
            ),
            bad(
                "other-context",
                &line(&log().sign(b"adit-request-v1", text.as_bytes(), &mut rng())),
                "it was signed under the context `adit-request-v1`",
            ),
            bad(
                "as-a-wallet-signs",
                &line(&log().sign(CONTEXT, message_of_a_wallet.as_bytes(), &mut rng())),
                "the text was signed between `<Bytes>` and `</Bytes>`",
            ),
            bad(
                "blank-line-signed",
                &line(&log().sign(CONTEXT, format!("{text}\n").as_bytes(), &mut rng())),
                "the blank line was signed too",
            ),
            bad_for(
                "other-key",
                &origin().key(&miner(1).public()),
                &plain,
                "the log's key is another",
            ),
            bad_for(
                "other-log",
                &note_key("example.com/log", KeyKind::Checkpoint, &log()),
                &plain,
                "the checkpoint is of another log than the key",
            ),
            bad_for(
                "key-of-a-witness",
                &note_key(&origin().to_string(), KeyKind::Cosignature, &log()),
                &plain,
                "the key is one for cosignatures",
            ),
        ],
        check: check_checkpoint,
        errors: &[
            ("CheckpointError", CHECKPOINT_ERRORS),
            ("VerifyError", VERIFY_ERRORS),
        ],
    }
}

const WITNESS: &str = "witness.example/w1";

fn witness() -> Keypair {
    Keypair::from_seed([11; 32])
}

fn check_cosignature(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let signed = SignedCheckpoint::parse(file)?;
    let Cosignature { time_s } = signed.verify_cosignature(&given_key(given))?;
    Ok(json!({ "time_s": time_s }))
}

pub fn cosignatures() -> Kind {
    const TIME_S: u64 = 1_700_000_000;
    let signed = checkpoint(300).sign(&log(), &mut rng());
    let key = |kind| note_key(WITNESS, kind, &witness());
    let line = |signed: &SignedCheckpoint, kind, time_s| {
        let name = WITNESS.parse().expect("a name");
        signed
            .cosign(kind, &name, &witness(), time_s, &mut rng())
            .expect("a cosignature")
    };
    let (by_witness, by_mirror) = (KeyKind::Cosignature, KeyKind::Mirror);
    let with = |lines: &[NoteSignature]| {
        lines
            .iter()
            .fold(signed.to_string(), |note, line| format!("{note}{line}"))
    };
    let good = |name: &str, kind, text: String| {
        let given = given(&key(kind));
        let value = check_cosignature(text.as_bytes(), &given).expect("a cosignature");
        Good::new(name, text, value).given(given)
    };
    let bad = |name: &str, key: &NoteKey, text: String, why: &str| {
        let given = given(key);
        let refusal = check_cosignature(text.as_bytes(), &given).expect_err("no cosignature");
        Bad::new(name, text, refusal, why).given(given)
    };
    let plain = line(&signed, by_witness, TIME_S);
    // The line of a key, with its bytes changed.
    let as_of = |key: &NoteKey, change: &dyn Fn(&mut Vec<u8>)| {
        let mut signature = plain.signature.clone();
        change(&mut signature);
        with(&[NoteSignature {
            name: key.name().clone(),
            id: key.id(),
            signature,
        }])
    };
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>), why: &str| {
        let key = key(by_witness);
        bad(name, &key, as_of(&key, change), why)
    };
    // A message of another form under the key.
    let message = |name: &str, text: String, why: &str| {
        let signature = witness().sign(CONTEXT, text.as_bytes(), &mut rng());
        let signature = [&TIME_S.to_be_bytes(), &signature[..]].concat();
        changed(name, &|bytes| bytes.clone_from(&signature), why)
    };
    let text = signed.note().text();
    let renamed = note_key("witness.example/w2", by_witness, &witness());
    let mut altered = line(&signed, by_witness, TIME_S + 9);
    altered.signature[20] ^= 1;
    let longer = signed_text(&format!("{}more\n", checkpoint(300).text()));
    let mut longer = SignedCheckpoint::parse(longer.as_bytes()).expect("a checkpoint");
    longer.add(line(&longer, by_witness, TIME_S)).expect("room");
    Kind {
        name: "cosignatures",
        extension: "txt",
        about: "Cosignatures of checkpoints with the key in `given`: u64 BE time in seconds, and sr25519 under `substrate` over `cosignature/v1` or `mirror/v1`, `time` and the time, `cosigner` and the name, and the checkpoint's text, each on its line. The latest that fits counts. The log's own signature is not looked at.",
        good: vec![
            good("witness", by_witness, with(std::slice::from_ref(&plain))),
            good(
                "mirror",
                by_mirror,
                with(&[line(&signed, by_mirror, TIME_S)]),
            ),
            good(
                "both",
                by_mirror,
                with(&[plain.clone(), line(&signed, by_mirror, TIME_S + 1)]),
            ),
            good(
                "the-latest-that-fits",
                by_witness,
                with(&[
                    line(&signed, by_witness, TIME_S - 1),
                    line(&signed, by_witness, TIME_S + 1),
                    plain.clone(),
                    altered,
                ]),
            ),
            good(
                "earliest",
                by_witness,
                with(&[line(&signed, by_witness, 0)]),
            ),
            good(
                "latest-of-all",
                by_witness,
                with(&[line(&signed, by_witness, i64::MAX as u64)]),
            ),
            good("more-lines", by_witness, longer.to_string()),
        ],
        bad: vec![
            bad(
                "missing",
                &key(by_witness),
                signed.to_string(),
                "only the log signed",
            ),
            bad(
                "of-the-mirror-alone",
                &key(by_witness),
                with(&[line(&signed, by_mirror, TIME_S)]),
                "the key's holder signed as a mirror, which has another id",
            ),
            bad(
                "witness-as-mirror",
                &key(by_mirror),
                as_of(&key(by_mirror), &|_| {}),
                "the signature of a witness stands under the id of a mirror",
            ),
            bad(
                "renamed",
                &renamed,
                as_of(&renamed, &|_| {}),
                "it was made under another name",
            ),
            changed(
                "other-time",
                &|bytes| bytes[7] ^= 1,
                "the time was changed after signing",
            ),
            changed(
                "flipped-bit",
                &|bytes| bytes[11] ^= 1,
                "a bit of the signature is flipped",
            ),
            changed(
                "no-time",
                &|bytes| drop(bytes.drain(..8)),
                "the time is missing",
            ),
            changed(
                "byte-missing",
                &|bytes| bytes.truncate(71),
                "the last byte is missing",
            ),
            changed(
                "byte-too-many",
                &|bytes| bytes.push(0),
                "there is a byte too many",
            ),
            changed(
                "time-little-endian",
                &|bytes| bytes[..8].reverse(),
                "the time is written with the lowest byte first",
            ),
            message(
                "without-a-name",
                format!("cosignature/v1\ntime {TIME_S}\n{text}"),
                "the cosigner's name was not signed, as with Ed25519",
            ),
            message(
                "text-alone",
                text.to_owned(),
                "the text was signed as the log does it",
            ),
            message(
                "time-with-zero",
                format!("cosignature/v1\ntime 0{TIME_S}\ncosigner {WITNESS}\n{text}"),
                "the time was signed with a leading zero",
            ),
            bad(
                "after-2-to-the-63",
                &key(by_witness),
                {
                    let time_s = 1u64 << 63;
                    let text = format!("cosignature/v1\ntime {time_s}\ncosigner {WITNESS}\n{text}");
                    let signature = witness().sign(CONTEXT, text.as_bytes(), &mut rng());
                    let signature = [&time_s.to_be_bytes(), &signature[..]].concat();
                    as_of(&key(by_witness), &|bytes| bytes.clone_from(&signature))
                },
                "there is no such time",
            ),
            bad(
                "key-of-a-log",
                &note_key(WITNESS, KeyKind::Checkpoint, &witness()),
                with(std::slice::from_ref(&plain)),
                "the key is one for checkpoints",
            ),
            bad(
                "not-a-checkpoint",
                &key(by_witness),
                signed_text("text\n"),
                "the text is no checkpoint",
            ),
        ],
        check: check_cosignature,
        errors: &[("VerifyError", &["key-kind", "missing", "signature"])],
    }
}
