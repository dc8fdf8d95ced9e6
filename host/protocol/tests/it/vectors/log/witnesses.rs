//! Requests to cosign a checkpoint, and what a witness says to them.

use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::proof::consistency;
use adit_protocol::log::witness::{
    AddCheckpoint, MAX_LEN, Refusal as WitnessRefusal, RequestError, State, judge,
};
use adit_protocol::{Hash, log::key::NoteKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::kind::{Bad, Good, Kind, Refusal};
use super::signed::given_key;
use super::{checkpoint, log, log_key, origin, root, subtree};
use crate::fixtures::{miner, rng};

const REQUEST_ERRORS: &[&str] = &[
    "request-length",
    "old-line",
    "separator",
    "proof-line",
    "proof-lines",
];
const REFUSALS: &[&str] = &[
    "unknown-log",
    "not-signed",
    "old-size",
    "conflict",
    "forked",
    "proof",
];

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Refusal {
        let (error, detail) = match error {
            RequestError::Length { found } => ("request-length", json!({ "found": found })),
            RequestError::Old => ("old-line", Value::Null),
            RequestError::Separator => ("separator", Value::Null),
            RequestError::Hash { line } => ("proof-line", json!({ "line": line })),
            RequestError::Proof => ("proof-lines", Value::Null),
            RequestError::Checkpoint(error) => return error.into(),
        };
        Refusal { error, detail }
    }
}

/// With the status, and the size that goes into the body of a 409.
fn refusal(error: WitnessRefusal) -> Refusal {
    let (status, known_size) = (error.status(), error.known_size());
    let (error, rule) = match error {
        WitnessRefusal::Malformed(error) => {
            let Refusal { error, mut detail } = error.into();
            if detail.is_null() {
                detail = json!({});
            }
            detail["status"] = status.into();
            return Refusal { error, detail };
        }
        WitnessRefusal::UnknownLog { .. } => ("unknown-log", None),
        WitnessRefusal::NotSigned(error) => ("not-signed", Some(Refusal::from(error).error)),
        WitnessRefusal::OldSize { .. } => ("old-size", None),
        WitnessRefusal::Conflict { .. } => ("conflict", None),
        WitnessRefusal::Forked { .. } => ("forked", None),
        WitnessRefusal::Proof(error) => ("proof", Some(Refusal::from(error).error)),
    };
    let detail = json!({ "status": status, "known_size": known_size, "rule": rule });
    Refusal { error, detail }
}

fn check(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let request = AddCheckpoint::parse(file).map_err(|error| refusal(error.into()))?;
    assert_eq!(request.to_string().as_bytes(), file);
    let key = (!given["key"].is_null()).then(|| given_key(given));
    let state = given["state"].as_object().map(|state| State {
        size: state["size"].as_u64().expect("a number"),
        root: state["root"]
            .as_str()
            .expect("a text")
            .parse()
            .expect("a hash"),
    });
    let accepted = judge(&request, key.as_ref(), state).map_err(refusal)?;
    Ok(json!({ "status": 200, "size": accepted.size, "root": accepted.root }))
}

fn given(key: Option<&NoteKey>, state: Option<(u64, Hash)>) -> Value {
    let state = state.map(|(size, root)| json!({ "size": size, "root": root }));
    json!({ "key": key.map(NoteKey::to_string), "state": state })
}

fn signed(size: u64) -> SignedCheckpoint {
    checkpoint(size).sign(&log(), &mut rng())
}

fn request(old: u64, new: u64) -> AddCheckpoint {
    AddCheckpoint {
        old,
        proof: consistency(&mut subtree, old, new).expect("small trees"),
        checkpoint: signed(new),
    }
}

pub fn kind() -> Kind {
    let key = log_key();
    let known = |size| Some((size, root(size)));
    let good = |name: &str, request: &AddCheckpoint, state| {
        let (text, given) = (request.to_string(), given(Some(&key), state));
        let value = check(text.as_bytes(), &given).expect("it is cosigned");
        Good::new(name, text, value).given(given)
    };
    let bad_for = |name: &str, key: Option<&NoteKey>, text: &[u8], state, why: &str| {
        let given = given(key, state);
        let refusal = check(text, &given).expect_err("it is not cosigned");
        Bad::new(name, text, refusal, why).given(given)
    };
    let bad = |name: &str, text: &str, why: &str| {
        bad_for(name, Some(&key), text.as_bytes(), known(3), why)
    };
    let plain = request(3, 7);
    let text = plain.to_string();
    let with = |from: &str, to: &str| {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text, "{from}");
        other
    };
    let hash = format!("{}\n", STANDARD.encode(plain.proof[0].as_bytes()));
    let judged = |name: &str, request: &AddCheckpoint, state, why: &str| {
        bad_for(name, Some(&key), request.to_string().as_bytes(), state, why)
    };
    let other = |change: &dyn Fn(&mut AddCheckpoint)| {
        let mut request = plain.clone();
        change(&mut request);
        request
    };
    let forged = |size| {
        let mut checkpoint = checkpoint(size);
        checkpoint.root = Hash::of(b"another history");
        checkpoint.sign(&log(), &mut rng())
    };
    Kind {
        name: "witness-requests",
        extension: "txt",
        about: "Bodies of `POST add-checkpoint` (C2SP tlog-witness): `old N`, a consistency proof, a blank line, a checkpoint. `given` is what the witness knows: the key that it trusts for the log, and what it last cosigned.",
        good: vec![
            good("new-log", &request(0, 5), None),
            good("new-log-without-entries", &request(0, 0), None),
            good("first-entries", &request(0, 5), known(0)),
            good("continues", &plain, known(3)),
            good("again", &request(7, 7), known(7)),
            good("over-a-tile", &request(255, 257), known(255)),
        ],
        bad: vec![
            bad("no-bytes", "", "there is nothing"),
            bad(
                "old-missing",
                &with("old 3\n", ""),
                "the first line is missing",
            ),
            bad(
                "old-with-zero",
                &with("old 3", "old 03"),
                "a leading zero would be a second form",
            ),
            bad(
                "old-with-sign",
                &with("old 3", "old +3"),
                "a sign would be a second form",
            ),
            bad("old-in-upper-case", &with("old 3", "OLD 3"), "it is `old`"),
            bad(
                "old-two-spaces",
                &with("old 3", "old  3"),
                "there are two spaces",
            ),
            bad(
                "carriage-return",
                &with("old 3\n", "old 3\r\n"),
                "a line ends as on Windows",
            ),
            bad(
                "no-blank-line",
                &format!("old 3\n{hash}"),
                "nothing follows the proof",
            ),
            bad(
                "proof-line-cut-off",
                &with("=\n", "\n"),
                "a line of the proof has no padding",
            ),
            bad(
                "proof-as-names",
                &with(&hash, &format!("{}\n", plain.proof[0])),
                "a hash is written as a name, not in base64",
            ),
            bad(
                "sixty-four-lines",
                &with(&hash, &hash.repeat(64 - plain.proof.len() + 1)),
                "the proof has 64 lines",
            ),
            bad(
                "no-checkpoint",
                "old 3\n\n",
                "no checkpoint follows the blank line",
            ),
            bad(
                "checkpoint-malformed",
                &with("\n7\n", "\n07\n"),
                "the checkpoint's size has a leading zero",
            ),
            bad(
                "too-long",
                &format!("old 3\n\n{}", "a".repeat(MAX_LEN)),
                "it is longer than any request",
            ),
            bad_for(
                "unknown-log",
                None,
                text.as_bytes(),
                None,
                "the witness does not watch the log",
            ),
            bad_for(
                "other-key",
                Some(&origin().key(&miner(1).public())),
                text.as_bytes(),
                known(3),
                "another key than the log's signed the checkpoint",
            ),
            bad(
                "altered-after-signing",
                &with("\n7\n", "\n8\n"),
                "the checkpoint's size was changed after signing",
            ),
            judged(
                "old-size",
                &other(&|r| r.old = 8),
                known(3),
                "the old size is larger than the new",
            ),
            judged(
                "behind",
                &request(2, 7),
                known(3),
                "the witness knows more entries",
            ),
            judged(
                "ahead",
                &plain,
                None,
                "the witness knows nothing of the log yet",
            ),
            judged(
                "asks-for-the-size",
                &request(0, 7),
                known(3),
                "the log asks what the witness knows",
            ),
            judged(
                "forked",
                &AddCheckpoint {
                    old: 3,
                    proof: vec![],
                    checkpoint: forged(3),
                },
                known(3),
                "the checkpoint has the size that the witness knows, and another root",
            ),
            judged(
                "rewritten",
                &other(&|r| r.checkpoint = forged(7)),
                known(3),
                "the proof does not lead to the root",
            ),
            judged(
                "witness-knows-another",
                &plain,
                Some((3, root(4))),
                "the proof does not lead to the root that the witness knows",
            ),
            judged(
                "no-proof",
                &other(&|r| r.proof.clear()),
                known(3),
                "the proof is missing",
            ),
            judged(
                "proof-for-a-new-log",
                &AddCheckpoint {
                    proof: vec![root(5)],
                    ..request(0, 5)
                },
                None,
                "there is a proof where there is nothing to prove",
            ),
        ],
        check,
        errors: &[("RequestError", REQUEST_ERRORS), ("Refusal", REFUSALS)],
    }
}
