//! Vectors that the command line can check by itself: receipts, documents, keystores, addresses.
//!
//! The folder `vectors/v1/<kind>` has `good/*`, `bad/*` and `index.json`, which says of each file
//! what is given with it, and of a good one what it means. What no command reads by itself is
//! checked by the tests of the protocol crate and by a program in another language.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;
use crate::outcome::Refused;
use crate::process::Finished;
use crate::trials::Options;

/// The version of the formats.
const VERSION: &str = "v1";
/// Longest time and most memory of one process.
const LIMIT: Duration = Duration::from_secs(60);
const RSS_BYTES_MAX: u64 = 256 << 20;

/// Which command reads a kind of vectors.
#[derive(Clone, Copy)]
enum Reader {
    /// `receipt verify FILE`.
    Receipt,
    /// `inspect FILE`, which must take it for this.
    Document(&'static str),
    /// `key sign FILE --key KEYSTORE --password-file FILE`.
    Keystore,
    /// `key show ADDRESS`.
    Address,
    /// None.
    Nobody,
}

/// Every kind; one that is not here is a test that fails.
const KINDS: [(&str, Reader); 56] = [
    ("receipts", Reader::Receipt),
    ("task-specs", Reader::Document("task spec")),
    ("exec-specs", Reader::Document("exec spec")),
    ("model-manifests", Reader::Document("model manifest")),
    ("transcripts", Reader::Document("transcript")),
    (
        "environment-documents",
        Reader::Document("environment document"),
    ),
    ("engine-documents", Reader::Document("engine document")),
    ("receipt-openings", Reader::Document("receipt opening")),
    ("hardware-records", Reader::Document("hardware record")),
    (
        "signed-hardware-records",
        Reader::Document("signed hardware record"),
    ),
    ("device-reports", Reader::Document("device report")),
    ("tensors", Reader::Document("tensor")),
    ("keystores", Reader::Keystore),
    ("addresses", Reader::Address),
    ("acceptances", Reader::Nobody),
    ("active-untils", Reader::Nobody),
    ("assignments", Reader::Nobody),
    ("audited-logs", Reader::Nobody),
    ("checkpoints", Reader::Nobody),
    ("commitments", Reader::Nobody),
    ("consistency-proofs", Reader::Nobody),
    ("cosignatures", Reader::Nobody),
    ("countersignatures", Reader::Nobody),
    ("draws", Reader::Nobody),
    ("echoes", Reader::Nobody),
    ("entry-bundles", Reader::Nobody),
    ("genesis-documents", Reader::Nobody),
    ("hand-in-answers", Reader::Nobody),
    ("hand-ins", Reader::Nobody),
    ("hardware-classes", Reader::Nobody),
    ("hash-names", Reader::Nobody),
    ("hellos", Reader::Nobody),
    ("inclusion-proofs", Reader::Nobody),
    ("keys", Reader::Nobody),
    ("localities", Reader::Nobody),
    ("log-entries", Reader::Nobody),
    ("log-origins", Reader::Nobody),
    ("memberships", Reader::Nobody),
    ("miner-records", Reader::Nobody),
    ("network-files", Reader::Nobody),
    ("poll-answers", Reader::Nobody),
    ("polls", Reader::Nobody),
    ("progress-reports", Reader::Nobody),
    ("roster-entries", Reader::Nobody),
    ("roster-weights", Reader::Nobody),
    ("rosters", Reader::Nobody),
    ("signatures", Reader::Nobody),
    ("signed-notes", Reader::Nobody),
    ("tile-lists", Reader::Nobody),
    ("tile-paths", Reader::Nobody),
    ("tiles", Reader::Nobody),
    ("tolerances", Reader::Nobody),
    ("transcript-chains", Reader::Nobody),
    ("verifier-keys", Reader::Nobody),
    ("welcomes", Reader::Nobody),
    ("witness-requests", Reader::Nobody),
];

/// What `index.json` says of a kind.
#[derive(Deserialize)]
struct Index {
    good: BTreeMap<String, Entry>,
    bad: BTreeMap<String, Entry>,
}

/// What it says of one file; an entry of `bad` has an `error`, one of `good` a `value`.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    given: Value,
    #[serde(default)]
    value: Value,
    error: Option<String>,
}

/// One trial for each kind that a command reads, and one for whether all kinds are known.
///
/// # Errors
///
/// [`Error::Missing`] if there are no vectors.
pub fn trials(options: &Options) -> Result<Vec<Trial>, Error> {
    let folder = options.places.suite_file(&format!("vectors/{VERSION}"))?;
    let mut trials = Vec::new();
    for (kind, reader) in KINDS {
        if matches!(reader, Reader::Nobody) {
            continue;
        }
        let (options, folder) = (options.clone(), folder.join(kind));
        trials.push(Trial::test(format!("vectors/{kind}"), move || {
            check(&options, &folder, reader)
        }));
    }
    trials.push(Trial::test("vectors/every-kind-is-known", move || {
        let strangers = strangers(&folder)?;
        match strangers.is_empty() {
            true => Ok(()),
            false => Err(Failed::from(format!(
                "the runner does not know these kinds of vectors: {}",
                strangers.join(", ")
            ))),
        }
    }));
    Ok(trials)
}

fn strangers(folder: &Path) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !KINDS.iter().any(|(kind, _)| *kind == name) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Has the program read each file of a kind.
fn check(options: &Options, folder: &Path, reader: Reader) -> Result<(), Failed> {
    let path = folder.join("index.json");
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| Error::Data {
        path,
        why: error.to_string(),
    })?;
    let own = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let mut wrong = Vec::new();
    for (good, name, entries) in [(true, "good", &index.good), (false, "bad", &index.bad)] {
        if entries.is_empty() {
            wrong.push(format!("index.json names no {name} file"));
        }
        for (file, entry) in entries {
            let path = folder.join(name).join(file);
            // The command line reads an address of any network, and shows which one it is.
            if matches!(reader, Reader::Address) && entry.error.as_deref() == Some("prefix") {
                continue;
            }
            let args = arguments(reader, &path, entry, own.path())?;
            let finished = options.adit.run(own.path(), &args, LIMIT)?;
            let found = match good {
                true => accepted(reader, entry, &finished),
                false => refused(reader, &finished),
            };
            if let Some(why) = found.or_else(|| orderly(&finished)) {
                let command = options.adit.shown(&args);
                wrong.push(format!("{name}/{file}: {why}\n  $ {command}"));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failed::from(wrong.join("\n"))),
    }
}

fn arguments(
    reader: Reader,
    path: &Path,
    entry: &Entry,
    own: &Path,
) -> Result<Vec<OsString>, Error> {
    let write = |name: &str, text: &str| -> Result<PathBuf, Error> {
        let path = own.join(name);
        std::fs::write(&path, text).map_err(Error::io(&path))?;
        Ok(path)
    };
    let state = own.join("state");
    let mut args: Vec<OsString> = vec!["--json".into(), "--state".into(), state.into()];
    match reader {
        Reader::Receipt => args.extend(["receipt".into(), "verify".into(), path.into()]),
        Reader::Document(_) => args.extend(["inspect".into(), path.into()]),
        Reader::Keystore => {
            let password = entry.given["password"].as_str().unwrap_or_default();
            let message = write("message", "a message")?;
            let password = write("password", password)?;
            args.extend(["key".into(), "sign".into(), message.into()]);
            args.extend(["--key".into(), path.into()]);
            args.extend(["--password-file".into(), password.into()]);
        }
        Reader::Address => {
            let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
            let vector: Value = serde_json::from_str(&text).unwrap_or_default();
            let address = vector["address"].as_str().ok_or_else(|| Error::Data {
                path: path.to_owned(),
                why: "it has no `address`".to_owned(),
            })?;
            args.extend(["key".into(), "show".into(), address.into()]);
        }
        Reader::Nobody => {}
    }
    Ok(args)
}

/// What is wrong with how a good file was read.
fn accepted(reader: Reader, entry: &Entry, finished: &Finished) -> Option<String> {
    if finished.exit != Some(0) {
        let said = finished.stderr.lines().next_back().unwrap_or_default();
        return Some(format!(
            "it is good, and the exit code is {:?}: {said}",
            finished.exit
        ));
    }
    let said: Value = match serde_json::from_slice(&finished.stdout) {
        Ok(said) => said,
        Err(error) => return Some(format!("stdout is not one JSON object: {error}")),
    };
    let differs = |field: &str, expected: &Value| {
        let got = &said[field];
        (expected.is_null() || got != expected)
            .then(|| format!("`{field}` should be {expected} and is {got}"))
    };
    match reader {
        Reader::Receipt => differs("exit", &Value::from(0)),
        Reader::Document(kind) => differs("kind", &Value::from(kind)),
        Reader::Keystore | Reader::Address => differs("public_key", &entry.value["public"]),
        Reader::Nobody => None,
    }
}

/// What is wrong with how a bad file was refused.
fn refused(reader: Reader, finished: &Finished) -> Option<String> {
    let exit = finished.exit;
    match reader {
        Reader::Receipt => {
            (exit != Some(3)).then(|| format!("it is bad, and the exit code is {exit:?}, not 3"))
        }
        _ if exit == Some(0) => Some("it is bad, and the exit code is 0".to_owned()),
        _ if !finished.stdout.is_empty() => Some("it is bad, and there is a result".to_owned()),
        _ => {
            let last = finished.stderr.lines().next_back().unwrap_or_default();
            let said: Result<Refused, _> = serde_json::from_str(last);
            let error = said.map_err(|error| error.to_string());
            match error {
                Ok(refused) if Some(refused.error.exit) == exit => None,
                Ok(refused) => Some(format!(
                    "the error object says exit code {}, and it is {exit:?}",
                    refused.error.exit
                )),
                Err(why) => Some(format!("stderr does not end with an error object: {why}")),
            }
        }
    }
}

/// What is wrong with a process, whatever it read.
fn orderly(finished: &Finished) -> Option<String> {
    finished.wrong.clone().or_else(|| {
        (finished.rss > RSS_BYTES_MAX).then(|| {
            format!(
                "it took {} bytes of memory, more than {RSS_BYTES_MAX}",
                finished.rss
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finished(exit: i32, stdout: &str, stderr: &str) -> Finished {
        Finished {
            exit: Some(exit),
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.to_owned(),
            rss: 1,
            took: Duration::ZERO,
            wrong: None,
        }
    }

    #[test]
    fn a_good_file_must_be_read_as_what_it_is() {
        let entry = Entry {
            given: Value::Null,
            value: json!({"public": "0x12"}),
            error: None,
        };
        let count =
            |reader, exit, stdout| accepted(reader, &entry, &finished(exit, stdout, "")).is_some();
        assert!(!count(Reader::Receipt, 0, "{\"exit\": 0}"));
        assert!(count(Reader::Receipt, 0, "{}"));
        assert!(count(Reader::Receipt, 3, "{\"exit\": 0}"));
        assert!(!count(Reader::Document("a"), 0, "{\"kind\": \"a\"}"));
        assert!(count(Reader::Document("a"), 0, "{\"kind\": \"b\"}"));
        assert!(!count(Reader::Keystore, 0, "{\"public_key\": \"0x12\"}"));
        assert!(count(Reader::Address, 0, "{\"public_key\": \"0x13\"}"));
        assert!(count(Reader::Address, 0, "no JSON"));
    }

    #[test]
    fn a_bad_file_must_be_refused_with_an_error_object() {
        let error = "{\"error\": {\"code\": \"bad-key\", \"hint\": \"x\", \"exit\": 1}}";
        let count = |reader, exit, stdout, stderr| {
            refused(reader, &finished(exit, stdout, stderr)).is_some()
        };
        assert!(!count(Reader::Receipt, 3, "{}", ""));
        for exit in [0, 1, 2, 6] {
            assert!(count(Reader::Receipt, exit, "{}", ""), "{exit}");
        }
        assert!(!count(Reader::Address, 1, "", error));
        assert!(count(Reader::Address, 0, "", error));
        assert!(count(Reader::Address, 2, "", error));
        assert!(count(Reader::Address, 1, "{}", error));
        assert!(count(Reader::Address, 1, "", "refused"));
        assert!(orderly(&finished(0, "", "")).is_none());
        let mut large = finished(0, "", "");
        large.rss = RSS_BYTES_MAX + 1;
        assert!(orderly(&large).is_some());
    }

    #[test]
    fn a_kind_that_is_not_known_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["receipts", "horoscopes"] {
            std::fs::create_dir(folder.path().join(kind)).unwrap();
        }
        assert_eq!(strangers(folder.path()).unwrap(), ["horoscopes"]);
    }
}
