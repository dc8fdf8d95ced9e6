//! Notes, whoever signed them, and how keys and logs are named.

use adit_protocol::keys::PublicKey;
use adit_protocol::log::key::{KeyId, KeyKind, NoteKey, NoteKeyError};
use adit_protocol::log::note::{LineError, MAX_LEN, Note, NoteError, NoteSignature};
use adit_protocol::log::origin::{Origin, OriginError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::kind::{Bad, Good, Kind, Refusal, hex, json_file, names, parse, text};
use super::super::signatures::NEGATIVE;
use super::{NAME_ERRORS, key_rule, log, log_key, name, note_key, origin};

names! { LineError, LINE_ERRORS:
    LineError::Form => "line-form" null
    LineError::Name(_) => "line-name" null
    LineError::Signature => "line-signature" null
}

/// All of [`NoteError`] that a reader can meet; a text without a newline at its end is the writer's.
const NOTE_ERRORS: &[&str] = &[
    "note-length",
    "note-utf8",
    "note-control",
    "note-unsigned",
    "note-signatures",
    "note-line",
];

impl From<NoteError> for Refusal {
    fn from(error: NoteError) -> Refusal {
        let (error, detail) = match error {
            NoteError::Length { found } => ("note-length", json!({ "found": found })),
            NoteError::Utf8 { position } => ("note-utf8", json!({ "position": position })),
            NoteError::Control { position } => ("note-control", json!({ "position": position })),
            NoteError::Text => unreachable!("a text is read up to its last newline"),
            NoteError::Unsigned => ("note-unsigned", Value::Null),
            NoteError::Signatures => ("note-signatures", Value::Null),
            NoteError::Line { line, error } => {
                let rule = Refusal::from(error).error;
                ("note-line", json!({ "line": line, "rule": rule }))
            }
        };
        Refusal { error, detail }
    }
}

/// The lines of a note, as the index has them.
pub fn lines(note: &Note) -> Value {
    let line = |line: &NoteSignature| json!({ "name": line.name, "id": hex(line.id.0), "signature": hex(&line.signature) });
    note.signatures().iter().map(line).collect()
}

fn line(name: &str, id: u8, signature: &[u8]) -> String {
    let line = NoteSignature {
        name: name.parse().expect("a name"),
        id: KeyId([id; 4]),
        signature: signature.to_vec(),
    };
    line.to_string()
}

pub fn notes() -> Kind {
    let good = |name: &str, text: String| {
        let note = Note::parse(text.as_bytes()).expect("a note");
        assert_eq!(note.to_string(), text);
        let value = json!({ "text": note.text(), "signatures": lines(&note) });
        Good::new(name, text, value)
    };
    let bad = |name: &str, bytes: &[u8], why: &str| {
        let error = Note::parse(bytes).expect_err("no note");
        Bad::new(name, bytes, error, why)
    };
    let signed = format!("a text\n\n{}", line("example.com/a", 1, b"signature"));
    let with = |from: &str, to: &str| {
        let text = signed.replacen(from, to, 1);
        assert_ne!(text, signed, "{from}");
        text.into_bytes()
    };
    let many = |count| {
        let lines: String = (0..count).map(|i| line("a", i, b"s")).collect();
        format!("a text\n\n{lines}")
    };
    let base64 = STANDARD.encode(b"\x01\x01\x01\x01signature");
    let mut bad = vec![
        bad("no-bytes", b"", "there is nothing"),
        bad(
            "not-signed",
            b"a text\n",
            "no blank line and no signature follow",
        ),
        bad(
            "no-lines",
            b"a text\n\n",
            "no signature follows the blank line",
        ),
        bad(
            "cut-off",
            signed.trim_end().as_bytes(),
            "the last line does not end with a newline",
        ),
        bad(
            "blank-line-at-the-end",
            format!("{signed}\n").as_bytes(),
            "a blank line follows, and no signature after that",
        ),
        bad(
            "carriage-return",
            &with("text\n", "text\r\n"),
            "a line ends as on Windows",
        ),
        bad("tab", &with("a text", "a\ttext"), "there is a tab in it"),
        bad(
            "nul",
            &with("a text", "a\0text"),
            "there is a zero byte in it",
        ),
        bad(
            "hyphen",
            &with("\u{2014}", "-"),
            "the line begins with a hyphen",
        ),
        bad(
            "no-space-after-the-dash",
            &with("\u{2014} ", "\u{2014}"),
            "a space is missing",
        ),
        bad(
            "two-spaces",
            &with("com/a ", "com/a  "),
            "there are two spaces before the signature",
        ),
        bad(
            "no-signature",
            &with(&format!(" {base64}"), ""),
            "the line has a name only",
        ),
        bad("no-name", &with("example.com/a", ""), "the name is empty"),
        bad(
            "plus-in-the-name",
            &with("com/a", "com+a"),
            "the name has a plus in it",
        ),
        bad(
            "space-in-the-name",
            &with("com/a", "com\u{a0}a"),
            "the name has a space of Unicode in it",
        ),
        bad(
            "long-name",
            &with("example.com/a", &"a".repeat(256)),
            "the name has 256 bytes",
        ),
        bad(
            "not-base64",
            &with(&base64, "*"),
            "the signature is no base64",
        ),
        bad("without-padding", &with("==", ""), "the padding is missing"),
        bad(
            "bits-beyond-the-end",
            &with("ZQ==", "ZR=="),
            "the last bits, which belong to no byte, are set: a second form",
        ),
        bad(
            "other-alphabet",
            &with("AQEB", "_-EB"),
            "it is the base64 of URLs",
        ),
        bad(
            "only-an-id",
            &with(&base64, &STANDARD.encode([1; 4])),
            "nothing follows the key's id",
        ),
        bad(
            "sixty-five-lines",
            many(65).as_bytes(),
            "there are 65 signatures",
        ),
        bad(
            "not-utf8",
            &[b"a \xff", &signed.as_bytes()[3..]].concat(),
            "a byte begins no character",
        ),
        bad(
            "too-long",
            &vec![b'a'; MAX_LEN + 1],
            "it has more than 65536 bytes",
        ),
    ];
    bad.sort_by(|a, b| a.name.cmp(&b.name));
    Kind {
        name: "signed-notes",
        extension: "txt",
        about: "Notes (C2SP signed-note), whoever signed them: a text, a blank line, and lines of an em dash, a name, and the base64 of a key's id and a signature.",
        good: vec![
            good("one-signature", signed.clone()),
            good(
                "blank-lines-in-the-text",
                format!("one\n\ntwo\n\n\n{}", line("a", 1, b"s")),
            ),
            good(
                "another-script",
                format!("\u{65e5}\u{672c}\n\n{}", line("\u{436}", 255, &[0])),
            ),
            good(
                "same-key-twice",
                format!("x\n\n{}{}", line("a", 1, b"s"), line("a", 1, b"t")),
            ),
            good(
                "longest-name",
                format!("x\n\n{}", line(&"a".repeat(255), 1, b"s")),
            ),
            good("sixty-four-lines", many(64)),
        ],
        bad,
        check: |file, _| {
            let note = Note::parse(file)?;
            assert_eq!(note.to_string().as_bytes(), file);
            Ok(json!({ "text": note.text(), "signatures": lines(&note) }))
        },
        errors: &[("NoteError", NOTE_ERRORS)],
    }
}

const NOTE_KEY_ERRORS: &[&str] = &["form", "kind", "key", "id"];

impl From<NoteKeyError> for Refusal {
    fn from(error: NoteKeyError) -> Refusal {
        match error {
            NoteKeyError::Form => Refusal::new("form"),
            NoteKeyError::Name(error) => error.into(),
            NoteKeyError::Kind => Refusal::new("kind"),
            NoteKeyError::Key(error) => key_rule(error),
            NoteKeyError::Id { expected, found } => Refusal {
                error: "id",
                detail: json!({ "expected": hex(expected.0), "found": hex(found.0) }),
            },
        }
    }
}

fn key_value(key: &NoteKey) -> Value {
    json!({
        "name": key.name(), "id": hex(key.id().0), "kind": key.kind().identifier(),
        "public": hex(key.key().to_bytes()),
    })
}

pub fn verifier_keys() -> Kind {
    let file = |text: &str| json_file(json!({ "verifier_key": text }));
    let good = |name: &str, key: &NoteKey| Good::new(name, file(&key.to_string()), key_value(key));
    let bad = |name: &str, text: String, why: &str| {
        let error = text.parse::<NoteKey>().expect_err("no key");
        Bad::new(name, file(&text), error, why)
    };
    let witness = note_key("example.com/w1", KeyKind::Cosignature, &log());
    let plain = witness.to_string();
    let parts: Vec<&str> = plain.splitn(3, '+').collect();
    let [name_part, id, key] = parts[..] else {
        unreachable!("three parts");
    };
    let encoded = |key: &[u8]| format!("{name_part}+{id}+{}", STANDARD.encode(key));
    let of_kind = |kind: &str, key: &[u8]| encoded(&[&[255], kind.as_bytes(), key].concat());
    let mirror = KeyKind::Mirror.identifier();
    let public = log().public().to_bytes();
    Kind {
        name: "verifier-keys",
        extension: "json",
        about: "Keys of notes as text: name, id and key with pluses between. The key is ff, the name of the kind, and 32 bytes of sr25519; the id is the first four bytes of SHA-256 of name, newline and key.",
        good: vec![
            good("log", &log_key()),
            good("witness", &witness),
            good(
                "mirror",
                &note_key("example.com/w1", KeyKind::Mirror, &log()),
            ),
            good(
                "longest-name",
                &note_key(&"a".repeat(255), KeyKind::Mirror, &log()),
            ),
        ],
        bad: vec![
            bad("no-key", format!("{name_part}+{id}"), "the key is missing"),
            bad(
                "id-in-upper-case",
                format!("{name_part}+{}+{key}", "ABCDEF01"),
                "the id is in upper case",
            ),
            bad(
                "id-of-7-digits",
                format!("{name_part}+{}+{key}", &id[1..]),
                "a digit of the id is missing",
            ),
            bad(
                "not-base64",
                format!("{name_part}+{id}+{key}*"),
                "the key is no base64",
            ),
            bad("no-name", format!("+{id}+{key}"), "the name is empty"),
            bad(
                "long-name",
                format!("{}+{id}+{key}", "a".repeat(256)),
                "the name has 256 bytes",
            ),
            bad(
                "space-in-the-name",
                format!("a b+{id}+{key}"),
                "the name has a space in it",
            ),
            bad(
                "ed25519",
                encoded(&[&[1], &public[..]].concat()),
                "the key is of the kind Ed25519",
            ),
            bad(
                "unknown-kind",
                of_kind("adit/sr25519-other/v1", &public),
                "there is no such kind",
            ),
            bad(
                "key-of-31-bytes",
                of_kind(mirror, &public[1..]),
                "a byte of the key is missing",
            ),
            bad(
                "key-of-33-bytes",
                of_kind(mirror, &[&public[..], &[0]].concat()),
                "the key has a byte too many",
            ),
            bad(
                "zero-key",
                of_kind(mirror, &[0; 32]),
                "the key is the identity, under which anyone can sign",
            ),
            bad(
                "not-a-point",
                of_kind(mirror, &NEGATIVE),
                "the key is odd, which Ristretto does not allow as the form of a point",
            ),
            bad(
                "other-id",
                format!("{name_part}+00000000+{key}"),
                "the id is not that of name and key",
            ),
            bad(
                "renamed",
                format!("example.com/w2+{id}+{key}"),
                "the id is that of another name",
            ),
        ],
        check: |file, _| {
            let file = parse(file);
            let text = text(&file, "verifier_key");
            let key: NoteKey = text.parse()?;
            assert_eq!(key.to_string(), text);
            Ok(key_value(&key))
        },
        errors: &[
            ("NoteKeyError", NOTE_KEY_ERRORS),
            ("NameError", NAME_ERRORS),
        ],
    }
}

names! { OriginError, ORIGIN_ERRORS: OriginError => "origin" null }

pub fn origins() -> Kind {
    let file = |text: &str| json_file(json!({ "origin": text }));
    let good = |name: &str, origin: Origin| {
        Good::new(name, file(&origin.to_string()), origin_value(&origin))
    };
    let bad = |name: &str, text: String, why: &str| {
        let error = text.parse::<Origin>().expect_err("no origin");
        Bad::new(name, file(&text), error, why)
    };
    let plain = origin().to_string();
    let key = hex(origin().coordinator.to_bytes());
    let key = key.trim_start_matches("0x");
    let genesis = hex(origin().genesis);
    let genesis = genesis.trim_start_matches("0x");
    Kind {
        name: "log-origins",
        extension: "json",
        about: "Names of coordinators' logs: the first 8 bytes of the network's genesis hash, the coordinator's node key, and the hash function.",
        good: vec![
            good("plain", origin()),
            good(
                "other-log",
                Origin {
                    genesis: [0; 8],
                    coordinator: log().public(),
                },
            ),
        ],
        bad: vec![
            bad(
                "other-hash",
                plain.replace("blake3", "sha256"),
                "the log hashes otherwise",
            ),
            bad(
                "other-system",
                plain.replace("adit/", "edit/"),
                "it is no log of ours",
            ),
            bad(
                "upper-case",
                plain.replace(key, &key.to_uppercase()),
                "upper-case digits would be a second form",
            ),
            bad(
                "genesis-of-15-digits",
                plain.replacen(genesis, &genesis[1..], 1),
                "a digit of the genesis hash is missing",
            ),
            bad(
                "key-of-63-digits",
                plain.replace(key, &key[1..]),
                "a digit of the key is missing",
            ),
            bad(
                "with-0x",
                plain.replace(key, &format!("0x{key}")),
                "digits have no prefix here",
            ),
            bad(
                "zero-key",
                plain.replace(key, &"0".repeat(64)),
                "the key is the identity, under which anyone can sign",
            ),
            bad(
                "part-too-many",
                format!("{plain}/x"),
                "there is a fifth part",
            ),
        ],
        check: |file, _| {
            let file = parse(file);
            let text = text(&file, "origin");
            let origin: Origin = text.parse()?;
            assert_eq!(origin.name(), name(text));
            Ok(origin_value(&origin))
        },
        errors: &[("OriginError", ORIGIN_ERRORS)],
    }
}

fn origin_value(origin: &Origin) -> Value {
    let coordinator: &PublicKey = &origin.coordinator;
    json!({ "genesis": hex(origin.genesis), "coordinator": hex(coordinator.to_bytes()) })
}

#[test]
fn every_rule_of_a_line_is_shown() {
    let bad = notes().bad;
    let rules = bad.iter().map(|bad| &bad.refusal.detail["rule"]);
    let rules: Vec<&str> = rules.filter_map(Value::as_str).collect();
    assert!(LINE_ERRORS.iter().all(|rule| rules.contains(rule)));
}
