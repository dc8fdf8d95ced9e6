//! New figures for the data files, from what an implementation says. Everything else in a file,
//! comments included, stays as it is to the byte.

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::case::{ENGINE_FILE, Suite};
use crate::check::{Homes, check};
use crate::error::Error;
use crate::outcome::Outcome;
use crate::trials::Options;

/// What became of the data files.
#[derive(Debug, Default)]
pub struct Blessed {
    /// Names of cases whose figures are new.
    pub changed: Vec<String>,
    /// Names of cases that were left alone, and why.
    pub refused: Vec<(String, String)>,
}

/// Runs the cases whose names contain `filter`, and writes their fuel, peak memory, work units and
/// output to the data files. A status is never changed: another one is another behaviour.
///
/// # Errors
///
/// [`Error`] if a file cannot be read or written, or the program cannot be started.
pub fn bless(options: &Options, filter: &str) -> Result<Blessed, Error> {
    let suite = Suite::load(&options.cases)?;
    let homes = Homes::default();
    let mut blessed = Blessed::default();
    let mut documents: BTreeMap<&Path, DocumentMut> = BTreeMap::new();
    let mut engine = None;
    for case in &suite.cases {
        let Some(status) = case.expect.status.as_ref() else {
            continue;
        };
        if !format!("case/{}", case.name).contains(filter) {
            continue;
        }
        let report = check(&options.adit, &options.places, &homes, case)?;
        if let Some(folder) = &report.folder {
            // The figures are what is expected to differ; nobody looks into these folders.
            std::fs::remove_dir_all(folder).map_err(Error::io(folder))?;
        }
        let mut refuse = |why: String| blessed.refused.push((case.name.clone(), why));
        let Some(outcome) = &report.outcome else {
            refuse("it left no receipt".to_owned());
            continue;
        };
        if &outcome.status != status {
            refuse(format!("it ended with {}, not {status}", outcome.status));
            continue;
        }
        engine = Some(outcome.exec.spec.engine.clone());
        if !outcome.attestable {
            continue;
        }
        let path = &*case.file;
        let document = match documents.entry(path) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => new.insert(read(path)?),
        };
        if rewrite(document, &case.name, outcome) {
            blessed.changed.push(case.name.clone());
        }
    }
    for (path, document) in documents {
        std::fs::write(path, document.to_string()).map_err(Error::io(path))?;
    }
    // The figures of a part may be of another engine than those of the rest.
    if let Some(engine) = engine.filter(|_| filter.is_empty()) {
        let path = options.cases.join(ENGINE_FILE);
        std::fs::write(&path, format!("{engine}\n")).map_err(Error::io(&path))?;
    }
    Ok(blessed)
}

fn read(path: &Path) -> Result<DocumentMut, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    text.parse().map_err(|error| Error::Data {
        path: path.to_owned(),
        why: format!("{error}"),
    })
}

/// Writes the figures of one case, and says whether any was another.
fn rewrite(document: &mut DocumentMut, name: &str, outcome: &Outcome) -> bool {
    let before = document.to_string();
    let cases = document
        .get_mut("case")
        .and_then(Item::as_array_of_tables_mut);
    let case = cases.and_then(|cases| {
        cases
            .iter_mut()
            .find(|case| case.get("name").and_then(Item::as_str) == Some(name))
    });
    let expect = case.and_then(|case| case.get_mut("expect")?.as_table_like_mut());
    if let Some(expect) = expect {
        set(expect, "fuel", number(outcome.fuel));
        set(expect, "peak_memory", number(outcome.peak_memory_bytes));
        if outcome.nn.units != 0 || expect.contains_key("nn_units") {
            set(expect, "nn_units", number(outcome.nn.units));
        }
        if expect.contains_key("computations") {
            set(expect, "computations", number(outcome.nn.computations));
        }
        let output = output(expect, outcome);
        set(expect, "output", output);
    }
    document.to_string() != before
}

/// The output in the form that it has: what was written as text stays text if it can.
fn output(expect: &dyn TableLike, outcome: &Outcome) -> Value {
    let old = expect.get("output").and_then(Item::as_table_like);
    let as_hash = old.is_some_and(|output| output.contains_key("blake3"));
    let varies = old.and_then(|output| output.get("varies")?.as_str());
    let mut table = toml_edit::InlineTable::new();
    match (&outcome.output.text, varies) {
        (_, Some(varies)) => {
            table.insert("bytes", number(outcome.output.bytes));
            table.insert("varies", varies.into());
        }
        (Some(text), _) if !as_hash => {
            table.insert("text", text.as_str().into());
        }
        _ => {
            let hash = &outcome.output.hash;
            let digits = hash.strip_prefix("blake3:").unwrap_or(hash);
            table.insert("blake3", digits.into());
            table.insert("bytes", number(outcome.output.bytes));
        }
    }
    table.into()
}

/// What TOML cannot hold, above 2^63, no case has: limits bound it.
fn number(value: u64) -> Value {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

/// Sets a value if it is another, and keeps the space and comments around it.
fn set(table: &mut dyn TableLike, key: &str, mut new: Value) {
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            if plain(old) != plain(&new) {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
        }
        _ => {
            table.insert(key, Item::Value(new));
        }
    }
}

/// A value without how it is written: `1_000` and `1000` are the same.
fn plain(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.value().to_string(),
        Value::String(text) => format!("{:?}", text.value()),
        Value::InlineTable(table) => table
            .iter()
            .map(|(key, value)| format!("{key} = {}\n", plain(value)))
            .collect(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOME: &str = r#"{
        "receipt": "blake3:00", "status": "ok", "attestable": true,
        "output": {"hash": "blake3:ab", "bytes": 3, "text": "new", "base64": null},
        "task_error": null, "fuel": 7, "peak_memory_bytes": 65536,
        "nn": {"used": false, "computations": 0, "units": 0},
        "exec": {"hash": "blake3:02", "spec": {"engine": "blake3:03"}},
        "task": "blake3:04", "log": "", "detail": null
    }"#;

    const BEFORE: &str = r#"# About this file.
[[case]]
name = "other" # stays
[case.expect]
fuel = 1

[[case]]
name = "one"
[case.expect]
status = "ok"
fuel = 1_000 # measured
peak_memory = 65_536
output = { text = "old" }
"#;

    #[test]
    fn figures_change_and_nothing_else() {
        let outcome: Outcome = serde_json::from_str(OUTCOME).unwrap();
        let mut document: DocumentMut = BEFORE.parse().unwrap();
        assert!(rewrite(&mut document, "one", &outcome));
        let after = BEFORE
            .replace("1_000 # measured", "7 # measured")
            .replace("\"old\"", "\"new\"");
        assert_eq!(document.to_string(), after);
        assert!(!rewrite(&mut document, "one", &outcome));
        assert!(!rewrite(&mut document, "absent", &outcome));
    }

    #[test]
    fn a_hash_stays_a_hash() {
        let outcome: Outcome = serde_json::from_str(OUTCOME).unwrap();
        let before = BEFORE.replace("{ text = \"old\" }", "{ blake3 = \"00\", bytes = 1 }");
        let mut document: DocumentMut = before.parse().unwrap();
        assert!(rewrite(&mut document, "one", &outcome));
        let text = document.to_string();
        assert!(
            text.contains("output = { blake3 = \"ab\", bytes = 3 }"),
            "{text}"
        );
        let varying = BEFORE.replace("text = \"old\"", "bytes = 1, varies = \"x\"");
        let mut document: DocumentMut = varying.parse().unwrap();
        assert!(rewrite(&mut document, "one", &outcome));
        let text = document.to_string();
        assert!(
            text.contains("output = { bytes = 3, varies = \"x\" }"),
            "{text}"
        );
    }
}
