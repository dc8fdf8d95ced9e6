//! Data files that are taken, and those that are refused with a reason.

use super::*;

const GOOD: &str = r#"
[[case]]
name = "endless-loop"
why = "It computes for ever; fuel ends it."
guest = "behave"
args = ["loop"]
limits = { fuel = "50M", deadline = "90s" }
[case.expect]
status = "out-of-fuel"
fuel = 50000000
peak_memory = 1114112
output = { text = "" }
[case.bound]
rss = "200MiB"
seconds = 20
"#;

fn read(text: &str) -> Result<Vec<Case>, String> {
    parse(Path::new("x.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_case_has_the_defaults_that_the_readme_names() {
    let cases = read(GOOD).unwrap();
    let case = &cases[0];
    assert_eq!(case.limits.fuel, Fuel(50_000_000));
    assert_eq!(case.limits.memory, Bytes(256 << 20));
    assert_eq!(case.limits.deadline, Span(Duration::from_secs(90)));
    assert_eq!((case.clock, case.seed), (1_700_000_000, 0));
    assert_eq!(case.input, Input::default());
    assert_eq!(case.replay.expect, Verdict::Identical);
    assert!(case.replay.interpreter && !case.ends_worker && case.has_receipt());
    let empty = blake3::hash(b"").to_string();
    let output = case.expect.output.as_ref().unwrap();
    assert_eq!(output.hash(), (Some(format!("blake3:{empty}")), 0));
}

#[test]
fn each_mistake_is_refused_and_named() {
    let with = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        read(&GOOD.replacen(from, to, 1)).unwrap_err()
    };
    for (from, to, word) in [
        ("args =", "arguments =", "arguments"),
        ("fuel = 50000000", "fuel = 50000000\nmemory = 1", "memory"),
        ("seconds = 20", "seconds = 20\nminutes = 1", "minutes"),
        ("seconds = 20", "", "seconds"),
        ("deadline =", "time =", "time"),
        ("\"endless-loop\"", "\"Endless loop\"", "kebab"),
        ("\"It computes for ever; fuel ends it.\"", "\" \"", "`why`"),
        ("fuel = 50000000", "", "exact"),
        ("peak_memory = 1114112", "", "exact"),
        ("output = { text = \"\" }", "", "exact"),
        ("\"out-of-fuel\"", "\"out-of-luck\"", "no status"),
        ("\"out-of-fuel\"", "\"deadline\"", "not-performed"),
        ("status = \"out-of-fuel\"", "", "either"),
        (
            "status = \"out-of-fuel\"",
            "code = \"core-module\"",
            "no figures",
        ),
        ("status =", "code = \"core-module\"\nstatus =", "either"),
        (
            "fuel = 50000000",
            "fuel = 50000000\ntask_error = 1",
            "task_error",
        ),
        (
            "output = { text = \"\" }",
            "output = { bytes = 1 }",
            "output",
        ),
        ("\"behave\"", "{ made = \"nothing\" }", "huge-component"),
        (
            "\"behave\"",
            "{ wat = \"x\", made = \"y\" }",
            "stands alone",
        ),
        (
            "[case.bound]",
            "[case.replay]\ninterpreter = false\n[case.bound]",
            "why_not",
        ),
        (
            "[case.bound]",
            "[case.replay]\nexpect = \"not-performed\"\n[case.bound]",
            "must be identical",
        ),
    ] {
        let error = with(from, to);
        assert!(error.contains(word), "{to}: {error}");
        assert!(error.contains("hint: "), "{error}");
    }
}

#[test]
fn what_is_not_attestable_needs_no_figures() {
    let text = GOOD
        .replace("\"out-of-fuel\"", "\"deadline\"")
        .replace("fuel = 50000000\n", "")
        .replace("peak_memory = 1114112\n", "")
        .replace("output = { text = \"\" }\n", "")
        + "[case.replay]\nexpect = \"not-performed\"\n";
    let cases = read(&text).unwrap();
    assert_eq!(cases[0].replay.expect, Verdict::NotPerformed);
}

#[test]
fn a_name_is_used_once_over_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    assert!(Suite::load(folder.path()).is_err(), "there is no case");
    write("a.toml", GOOD);
    write("notes.txt", "not read");
    write(ENGINE_FILE, "blake3:12\n");
    let suite = Suite::load(folder.path()).unwrap();
    assert_eq!(suite.cases.len(), 1);
    assert_eq!(suite.engine.as_deref(), Some("blake3:12"));
    write("b.toml", GOOD);
    let error = Suite::load(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("b.toml") && error.contains("used twice"),
        "{error}"
    );
}

#[test]
fn an_output_that_varies_has_a_length_and_a_reason() {
    let with = |output: &str| read(&GOOD.replace("{ text = \"\" }", output));
    let cases = with("{ bytes = 4, varies = \"floats\" }").unwrap();
    let output = cases[0].expect.output.as_ref().unwrap();
    assert!(output.admits("blake3:00", 4) && !output.admits("blake3:00", 5));
    let cases = with("{ bytes = 4, blake3 = \"00\" }").unwrap();
    let output = cases[0].expect.output.as_ref().unwrap();
    assert!(output.admits("blake3:00", 4) && !output.admits("blake3:01", 4));
}
