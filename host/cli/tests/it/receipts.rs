//! `adit receipt`: what holds, what does not, and what could not be checked.

use std::fs;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::tensor::{DType, TensorBlob};
use adit_protocol::transcript::Transcript;
use serde_json::Value;

use crate::support::Home;

/// The checks of a report, as `level name: result`.
pub fn checks(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap();
    let line = |c: &Value| {
        format!(
            "{} {}: {}",
            c["level"],
            c["name"].as_str().unwrap(),
            c["result"].as_str().unwrap()
        )
    };
    checks.iter().map(line).collect()
}

#[test]
fn a_receipt_is_shown_verified_and_replayed() {
    let home = Home::new();
    home.behave(&["--receipt", "r"], &["args", "a"]).exits(0);
    let shown = home.adit(&["receipt", "show", "r"]).exits(0).text();
    for words in [
        "status         ok",
        "fuel ",
        "a claim of the miner",
        "miner          5",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    let verified = home.adit(&["receipt", "verify", "r"]).exits(0).text();
    assert!(
        verified.contains("passed         level 1  miner signature"),
        "{verified}"
    );
    assert!(
        verified.contains("not performed  level 1  log inclusion"),
        "{verified}"
    );

    let report = home
        .adit(&["--json", "receipt", "replay", "r"])
        .exits(0)
        .json();
    let checks = checks(&report);
    for name in ["status", "output", "fuel", "peak memory", "transcript"] {
        assert!(checks.contains(&format!("2 {name}: passed")), "{checks:?}");
    }
    assert_eq!(report["exit"], 0);
}

#[test]
fn receipts_are_named_by_file_id_beginning_and_last() {
    let home = Home::new();
    let ran = home.behave_json(&["--receipt", "r"], &["args"], 0);
    let id = ran["receipt"].as_str().unwrap();
    for name in ["r", id, &id[7..19], "last"] {
        let shown = home
            .adit(&["--json", "receipt", "show", name])
            .exits(0)
            .json();
        assert_eq!(shown["id"], id, "{name}");
    }
    home.adit(&["receipt", "show", "nothing"])
        .exits(1)
        .explains(&["there is no receipt"]);
    home.adit(&["receipt", "show", "../../etc"])
        .exits(1)
        .explains(&[]);
}

#[test]
fn an_altered_receipt_is_refused_wherever_it_is_altered() {
    let home = Home::new();
    home.behave(&["--receipt", "r"], &["args"]).exits(0);
    let good = fs::read(home.path("r")).unwrap();
    // Each field of the body, and both signatures.
    let offsets = (0..72).step_by(4).chain((72..520).step_by(16));
    for offset in offsets {
        let mut bad = good.clone();
        bad[offset] ^= 0x10;
        home.file("bad", &bad);
        let said = home.adit(&["receipt", "verify", "bad"]).exits(3);
        assert!(said.text().contains("failed"), "{offset}: {}", said.text());
        home.adit(&["receipt", "replay", "bad"]).exits(3);
    }
    let forged = home.adit(&["receipt", "verify", "bad"]).text();
    assert!(forged.contains("signature"), "{forged}");
    for length in [0, 1, 519, 521] {
        let mut bad = good.clone();
        bad.resize(length, 0);
        home.file("bad", &bad);
        home.adit(&["receipt", "verify", "bad"]).exits(3);
        home.adit(&["receipt", "show", "bad"])
            .exits(3)
            .explains(&["is not a receipt"]);
    }
}

#[test]
fn what_is_missing_is_named_and_nothing_is_called_valid() {
    let home = Home::new();
    let ran = home.behave_json(&["--receipt", "r"], &["args"], 0);
    let exec = ran["exec"]["hash"].as_str().unwrap();
    for name in [
        ran["component"].as_str().unwrap(),
        ran["input"].as_str().unwrap(),
        exec,
        ran["task"].as_str().unwrap(),
    ] {
        let path = home.blob(name);
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        // The compiled component would do in its place, and must not.
        let said = home.adit(&["receipt", "replay", "r"]).exits(6);
        let text = said.text();
        assert!(text.contains(name), "{name}:\n{text}");
        assert!(text.contains("NOT CHECKED"), "{text}");
        fs::write(&path, kept).unwrap();
    }
    home.adit(&["receipt", "replay", "r"]).exits(0);
    // On a machine that has nothing.
    let other = Home::new();
    other.file("r", fs::read(home.path("r")).unwrap());
    other.adit(&["receipt", "verify", "r"]).exits(0);
    other.adit(&["receipt", "replay", "r"]).exits(6);
}

#[test]
fn an_inference_is_replayed_without_the_model_and_checked_with_it() {
    let home = Home::new();
    let ran = home.infer();
    assert_eq!(ran["nn"]["computations"], 1);
    // 1.5 and -2.0, doubled, as little-endian floats.
    assert_eq!(ran["output"]["bytes"], 8);
    let report = home
        .adit(&["--json", "receipt", "replay", "last"])
        .exits(0)
        .json();
    let found = checks(&report);
    assert!(
        found.contains(&"2 transcript: passed".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"3 inference: not performed".to_owned()),
        "{found:?}"
    );
    let report = home
        .adit(&["--json", "receipt", "replay", "last", "--inference", "all"])
        .exits(0)
        .json();
    let found = checks(&report);
    assert!(
        found.contains(&"3 inference: passed".to_owned()),
        "{found:?}"
    );
}

#[test]
fn a_replay_in_the_interpreter_is_a_second_opinion_and_says_so() {
    let home = Home::new();
    home.infer();
    let replay = |more: &[&str], code| {
        let args = [&["--json", "receipt", "replay", "last"], more].concat();
        home.adit(&args).exits(code).json()
    };
    let native = replay(&[], 0);
    assert_eq!(native["executed_on"], "processor");
    let second = replay(&["--interpreter", "--inference", "all"], 0);
    assert_eq!(second["executed_on"], "interpreter");
    let found = checks(&second);
    for name in [
        "2 status",
        "2 output",
        "2 fuel",
        "2 peak memory",
        "2 transcript",
        "3 inference",
    ] {
        assert!(found.contains(&format!("{name}: passed")), "{found:?}");
    }
    let said = home
        .adit(&["receipt", "replay", "last", "--interpreter"])
        .exits(0);
    assert!(
        said.text()
            .contains("the replay in the interpreter is identical"),
        "{}",
        said.text()
    );
    // What nothing executed, nothing is claimed for.
    let verified = home
        .adit(&["--json", "receipt", "verify", "last"])
        .exits(0)
        .json();
    assert!(verified["executed_on"].is_null());
    let help = home.adit(&["receipt", "replay", "--help"]).exits(0).text();
    assert!(help.contains("second opinion"), "{help}");
}

#[test]
fn a_changed_transcript_or_tensor_is_detected() {
    let home = Home::new();
    home.infer();
    let shown = home
        .adit(&["--json", "receipt", "show", "last"])
        .exits(0)
        .json();
    let transcript = shown["opening"]["transcript"]["hash"].as_str().unwrap();
    let inspected = home
        .adit(&["--json", "inspect", transcript])
        .exits(0)
        .json();
    let calls = inspected["document"]["calls"].as_array().unwrap();
    let output = calls[2]["outputs"][0]["hash"].as_str().unwrap();
    for name in [transcript, output] {
        let path = home.blob(name);
        let kept = fs::read(&path).unwrap();
        let mut changed = kept.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, changed).unwrap();
        // A damaged copy proves nothing against the miner: it is a check that could not be made.
        let said = home.adit(&["receipt", "replay", "last"]).exits(6);
        assert!(!said.text().contains("identical"), "{}", said.text());
        let digits = name.strip_prefix("blake3:").unwrap();
        assert!(said.text().contains(digits), "{}", said.text());
        fs::write(&path, kept).unwrap();
    }
    home.adit(&["receipt", "replay", "last"]).exits(0);
}

#[test]
fn an_opening_of_another_receipt_is_found_out() {
    let home = Home::new();
    let one = home.infer();
    let two = home.behave_json(&[], &["args"], 0);
    let opening = |ran: &Value| {
        home.receipt(ran["receipt"].as_str().unwrap())
            .with_extension("opening")
    };
    fs::copy(opening(&two), opening(&one)).unwrap();
    let id = one["receipt"].as_str().unwrap();
    // Nobody signs an opening: a wrong one proves nothing against the miner.
    home.adit(&["receipt", "replay", id])
        .exits(6)
        .explains(&["opening", opening(&one).to_str().unwrap()]);
    fs::write(opening(&one), b"garbage").unwrap();
    home.adit(&["receipt", "replay", id])
        .exits(1)
        .explains(&["damaged"]);
}

#[test]
fn two_receipts_are_compared() {
    let home = Home::new();
    let options = ["--clock", "1", "--receipt"];
    home.behave(&[&options[..], &["a"]].concat(), &["args"])
        .exits(0);
    home.behave(&[&options[..], &["b"]].concat(), &["args"])
        .exits(0);
    home.behave(&[&options[..], &["c"]].concat(), &["args", "more"])
        .exits(0);
    let same = home.adit(&["receipt", "diff", "a", "b"]).exits(0).text();
    assert!(same.contains("came to the same result"), "{same}");
    assert!(same.contains("seq"), "{same}");
    let other = home.adit(&["receipt", "diff", "a", "c"]).exits(0).text();
    assert!(other.contains("different specs"), "{other}");
    let itself = home.adit(&["receipt", "diff", "a", "a"]).exits(0).text();
    assert!(itself.contains("say the same"), "{itself}");
}

/// Stores bytes as the program would.
fn put(home: &Home, bytes: &[u8]) -> Hash {
    let hash = Hash::of(bytes);
    let path = home.blob(&hash.to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    hash
}

/// A receipt like the last one, by a miner who made up the model's answer; with `consistent`, the
/// output is the one that the answer leads to.
fn cheat(home: &Home, name: &str, consistent: bool) {
    let id = home.adit(&["--json", "receipt", "show", "last"]).json()["id"].clone();
    let path = home.receipt(id.as_str().unwrap());
    let mut body = Receipt::from_bytes(&fs::read(&path).unwrap()).unwrap().body;
    let opening = fs::read(path.with_extension("opening")).unwrap();
    let mut opening = ReceiptOpening::from_cbor(&opening).unwrap();
    let recorded = fs::read(home.blob(&opening.transcript.to_string())).unwrap();
    let mut transcript = Transcript::from_cbor(&recorded).unwrap();

    let made_up: Vec<u8> = [3.5f32, -4.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let tensor = TensorBlob::encode(DType::Fp32, &[2], &made_up);
    transcript.calls[2].outputs[0].hash = put(home, &tensor);
    opening.transcript = put(home, &transcript.to_cbor());
    body.transcript = opening.transcript.commit(&[0; 32]);
    if consistent {
        opening.output = put(home, &made_up);
        body.output = opening.output.commit(&[0; 32]);
    }
    let key = Keypair::from_seed([9; 32]);
    body.miner = key.public().to_bytes();
    let receipt = body.sign(&key, &mut rand_core::OsRng);
    home.file(&format!("{name}.receipt"), receipt.to_bytes());
    home.file(&format!("{name}.opening"), opening.to_cbor());
}

#[test]
fn a_made_up_answer_is_found_by_the_level_that_can_find_it() {
    let home = Home::new();
    home.infer();
    home.adit(&["--json", "receipt", "replay", "last"]).exits(0);
    // An answer that does not lead to the output: the execution shows it.
    cheat(&home, "crude", false);
    home.adit(&["receipt", "verify", "crude.receipt"]).exits(0);
    let crude = home
        .adit(&["--json", "receipt", "replay", "crude.receipt"])
        .exits(5)
        .json();
    assert!(
        checks(&crude).contains(&"2 output: failed".to_owned()),
        "{crude}"
    );
    // One that does: only the model can tell.
    cheat(&home, "subtle", true);
    home.adit(&["receipt", "replay", "subtle.receipt"]).exits(0);
    let args = [
        "--json",
        "receipt",
        "replay",
        "subtle.receipt",
        "--inference",
        "all",
    ];
    let subtle = home.adit(&args).exits(5).json();
    assert!(
        checks(&subtle).contains(&"3 inference: failed".to_owned()),
        "{subtle}"
    );

    let diff = home
        .adit(&["receipt", "diff", "last", "subtle.receipt"])
        .exits(5)
        .text();
    for words in [
        "first difference is at call 2",
        "output `y`",
        "largest difference 5e-1",
    ] {
        assert!(diff.contains(words), "{words}:\n{diff}");
    }
}
