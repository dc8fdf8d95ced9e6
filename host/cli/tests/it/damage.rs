//! Every file of the state folder is damaged in every way, and every command is judged by one
//! rule: it says what it would have said without the damage, or it ends with an error that names
//! the damaged file and says what to do.
//!
//! Cases are drawn from a seed. For more of them: `ADIT_DAMAGE_CASES=5000 ADIT_DAMAGE_SEED=7`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::receipt::Receipt;
use serde_json::Value;

use crate::support::{Home, Said, files, guest};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Cut,
    Longer,
    Empty,
    Gone,
    Swapped,
    Folder,
    DeadLink,
    Pipe,
}

const DAMAGES: [Damage; 9] = [
    Damage::Flip,
    Damage::Cut,
    Damage::Longer,
    Damage::Empty,
    Damage::Gone,
    Damage::Swapped,
    Damage::Folder,
    Damage::DeadLink,
    Damage::Pipe,
];

/// Numbers from a seed.
struct Draw {
    seed: u64,
    at: u64,
}

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.at += 1;
        let hash = Hash::of(format!("{} {}", self.seed, self.at).as_bytes());
        let number = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap());
        usize::try_from(number % bound as u64).unwrap()
    }
}

/// A state folder with three runs in it, and what the program says of it while it is whole.
struct Scene {
    home: Home,
    runs: Vec<Vec<String>>,
    ran: Vec<Value>,
    shown: Vec<Value>,
    replayed: Vec<Value>,
    verified: Vec<Value>,
}

impl Scene {
    fn new() -> Scene {
        let home = Home::new();
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/double.onnx");
        let mut input = b"own-model 1.5 -2\n".to_vec();
        input.extend(fs::read(&fixture).unwrap());
        let input = home.file("input", input).display().to_string();
        let model = format!("double={}", fixture.display());
        let behave = guest("guest-behave.wasm").display().to_string();
        let infer = guest("guest_infer.wasm").display().to_string();
        let runs: Vec<Vec<String>> = [
            vec!["run", &behave, "--clock", "1", "--", "args", "one"],
            vec![
                "run", &behave, "--clock", "1", "--seed", "7", "--", "random",
            ],
            vec![
                "run", &infer, "--clock", "1", "--input", &input, "--model", &model,
            ],
        ]
        .iter()
        .map(|run| run.iter().map(|word| (*word).to_owned()).collect())
        .collect();
        let mut scene = Scene {
            home,
            runs,
            ran: Vec::new(),
            shown: Vec::new(),
            replayed: Vec::new(),
            verified: Vec::new(),
        };
        for run in 0..scene.runs.len() {
            let ran = run_again(&scene.home, &scene.runs[run]).exits(0).json();
            scene.ran.push(ran);
        }
        for run in 0..scene.runs.len() {
            let ask = |what: &str| scene.receipt(&scene.home, what, run).exits(0).json();
            let (shown, replayed, verified) = (ask("show"), ask("replay"), ask("verify"));
            scene.shown.push(shown);
            scene.replayed.push(replayed);
            scene.verified.push(verified);
        }
        scene
    }

    fn id(&self, run: usize) -> &str {
        self.ran[run]["receipt"].as_str().unwrap()
    }

    fn receipt(&self, home: &Home, what: &str, run: usize) -> Said {
        home.adit(&["--json", "receipt", what, self.id(run)])
    }

    /// A copy of the state folder. Files are links to the same data: whatever damages one makes a
    /// new file, and so does the program.
    fn copy(&self) -> Home {
        let home = Home::new();
        for file in files(&self.home.state()) {
            let below = file.strip_prefix(self.home.state()).unwrap();
            let to = home.state().join(below);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::hard_link(&file, to).unwrap();
        }
        home
    }
}

fn run_again(home: &Home, run: &[String]) -> Said {
    let mut words = vec!["--json"];
    words.extend(run.iter().map(String::as_str));
    home.adit(&words)
}

/// Damages the file `at` (and, when two are swapped, `other`). Returns the files that are not
/// what they were.
fn damage(damage: Damage, at: &Path, other: &Path, draw: &mut Draw) -> Vec<PathBuf> {
    let whole = fs::read(at).unwrap();
    fs::remove_file(at).unwrap();
    let mut changed = vec![at.to_owned()];
    match damage {
        Damage::Flip if whole.is_empty() => fs::write(at, [0]).unwrap(),
        Damage::Flip => {
            let mut bytes = whole;
            let byte = draw.below(bytes.len());
            bytes[byte] ^= 1 << draw.below(8);
            write_private(at, &bytes);
        }
        Damage::Cut => {
            let left = draw.below(whole.len().max(1));
            write_private(at, &whole[..left]);
        }
        Damage::Longer => write_private(at, &[&whole[..], &[draw.below(256) as u8]].concat()),
        Damage::Empty => write_private(at, b""),
        Damage::Gone => {}
        Damage::Swapped => {
            let others = fs::read(other).unwrap();
            fs::remove_file(other).unwrap();
            write_private(at, &others);
            write_private(other, &whole);
            changed.push(other.to_owned());
        }
        Damage::Folder => {
            fs::create_dir(at).unwrap();
            fs::write(at.join("inside"), b"something").unwrap();
        }
        Damage::DeadLink => std::os::unix::fs::symlink("nowhere", at).unwrap(),
        Damage::Pipe => {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, at, mode).unwrap();
        }
    }
    changed
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, mode).unwrap();
}

/// Whether what a command said is right, given what it would say without the damage: its result,
/// of which `same` says whether it is the right one, or an error that names a damaged file.
fn judge(
    said: &Said,
    changed: &[PathBuf],
    same: impl FnOnce(&Value) -> Result<(), String>,
) -> Result<(), String> {
    if said.stderr.contains("panicked") {
        return Err("a panic".to_owned());
    }
    let code = said.code.ok_or("ended by a signal")?;
    if code == 0 {
        let result = serde_json::from_slice(&said.stdout).map_err(|error| error.to_string())?;
        return same(&result);
    }
    // 2 is for what nobody could have expected, and 5 accuses the miner.
    if !matches!(code, 1 | 3 | 6) {
        return Err(format!("the exit code {code}"));
    }
    let report: Value = if code == 6 && !said.stdout.is_empty() {
        serde_json::from_slice(&said.stdout).map_err(|error| error.to_string())?
    } else {
        let error: Value = serde_json::from_str(&said.stderr).map_err(|error| error.to_string())?;
        let hint = error["error"]["hint"].as_str().unwrap_or_default();
        if hint.is_empty() || hint.starts_with("see `adit explain") {
            return Err("an error without a hint of its own".to_owned());
        }
        error
    };
    let text = report.to_string();
    let named = changed.iter().any(|path| {
        // Blobs and receipts are known by their hashes.
        let name = path.file_stem().unwrap().to_str().unwrap();
        text.contains(path.to_str().unwrap()) || (name.len() == 64 && text.contains(name))
    });
    match named {
        true => Ok(()),
        false => Err(format!("an error that names none of {changed:?}")),
    }
}

/// Two values have the same fields, but for those named.
fn equal(expected: &Value, found: &Value, but: &[&str]) -> Result<(), String> {
    let (Value::Object(expected), Value::Object(found)) = (expected, found) else {
        return Err("no object".to_owned());
    };
    let keys = |object: &serde_json::Map<_, _>| object.keys().cloned().collect::<Vec<String>>();
    if keys(expected) != keys(found) {
        return Err("other fields".to_owned());
    }
    for (key, value) in expected {
        if !but.contains(&key.as_str()) && found[key] != *value {
            return Err(format!("{key} is {}, not {value}", found[key]));
        }
    }
    Ok(())
}

/// A run's result; when and how fast it ran, and its place in the series, may differ.
fn same_run(expected: &Value, found: &Value) -> Result<(), String> {
    equal(
        expected,
        found,
        &["receipt", "seq", "start_ms", "duration_us"],
    )
}

/// The fields of a receipt, and of its documents those that can be read.
fn same_show(expected: &Value, found: &Value, home: &Home) -> Result<(), String> {
    equal(
        expected,
        found,
        &["opening", "task", "exec", "environments"],
    )?;
    for part in ["task", "exec", "environments"] {
        if !found[part].is_null() && found[part] != expected[part] {
            return Err(format!("another {part}"));
        }
    }
    for part in ["input", "output", "transcript"] {
        let blob = &found["opening"][part];
        if blob.is_null() {
            continue;
        }
        if blob["hash"] != expected["opening"][part]["hash"] {
            return Err(format!("another {part}"));
        }
        let name = blob["hash"].as_str().unwrap();
        let whole = fs::symlink_metadata(home.blob(name)).is_ok_and(|about| about.is_file())
            && Hash::of(&fs::read(home.blob(name)).unwrap()).to_string() == name;
        if blob["at_hand"] != whole {
            return Err(format!(
                "{part} at hand: {}, whole: {whole}",
                blob["at_hand"]
            ));
        }
    }
    Ok(())
}

/// Of each key, each number was signed once, and links to the one before.
fn check_series<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Result<(), String> {
    let mut series = BTreeMap::<([u8; 32], u64), Receipt>::new();
    let mut ids = Vec::new();
    for folder in folders {
        for file in files(folder) {
            if file.extension().is_none_or(|e| e != "receipt") {
                continue;
            }
            if !file.symlink_metadata().unwrap().is_file() {
                continue;
            }
            let Ok(receipt) = Receipt::from_bytes(&fs::read(&file).unwrap()) else {
                continue;
            };
            if receipt.verify().is_err() {
                continue;
            }
            let key = (receipt.body.miner, receipt.body.seq);
            ids.push(receipt.id());
            if let Some(other) = series.get(&key)
                && other.id() != receipt.id()
            {
                return Err(format!("two bodies for number {}", key.1));
            }
            series.insert(key, receipt);
        }
    }
    for ((miner, seq), receipt) in &series {
        match series.get(&(*miner, seq.wrapping_sub(1))) {
            Some(before) if before.id() == receipt.body.prev => {}
            None if *seq == 1 && receipt.body.prev == Hash::ZERO => {}
            // Its file is one of the damaged ones.
            None if *seq > 1 && receipt.body.prev != Hash::ZERO => {}
            _ => return Err(format!("number {seq} does not link to the one before")),
        }
    }
    Ok(())
}

/// One case: damage, ask everything, repair, ask again.
fn check(scene: &Scene, kind: Damage, at: usize, draw: &mut Draw) -> Result<(), String> {
    let home = scene.copy();
    let all = files(&home.state());
    let path = &all[at];
    let other = &all[(at + 1 + draw.below(all.len() - 1)) % all.len()];
    let whole: Vec<_> = [path, other]
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let changed = damage(kind, path, other, draw);
    let about = |what: &str, why: String, said: &Said| {
        let below: Vec<_> = changed
            .iter()
            .map(|path| path.strip_prefix(home.state()).unwrap())
            .collect();
        let stdout = String::from_utf8_lossy(&said.stdout);
        format!(
            "{kind:?} {below:?}, {what}: {why}\n{stdout}\n{}",
            said.stderr
        )
    };

    // What only reads comes first, since a run repairs.
    let run = draw.below(scene.runs.len());
    let said = scene.receipt(&home, "verify", run);
    judge(&said, &changed, |found| {
        equal(&scene.verified[run], found, &[])
    })
    .map_err(|why| about("verify", why, &said))?;
    let said = scene.receipt(&home, "show", run);
    judge(&said, &changed, |found| {
        same_show(&scene.shown[run], found, &home)
    })
    .map_err(|why| about("show", why, &said))?;
    let said = scene.receipt(&home, "replay", run);
    judge(&said, &changed, |found| {
        equal(&scene.replayed[run], found, &[])
    })
    .map_err(|why| about("replay", why, &said))?;
    let said = home.adit(&["--json", "receipt", "show", "last"]);
    judge(&said, &changed, |found| {
        same_show(&scene.shown[2], found, &home)
    })
    .map_err(|why| about("show last", why, &said))?;
    let name = path.file_name().unwrap().to_str().unwrap();
    if name.len() == 64 {
        let hash = format!("blake3:{name}");
        let said = home.adit(&["--json", "inspect", &hash]);
        judge(&said, &changed, |found| {
            match found["hash"] == hash.as_str() {
                true => Ok(()),
                false => Err("another hash".to_owned()),
            }
        })
        .or_else(|why| {
            // Some blobs are nothing that can be inspected, damaged or not.
            let known = said.stderr.contains("nothing that this program knows");
            let intact = fs::read(path).is_ok_and(|bytes| Hash::of(&bytes).to_string() == hash);
            (known && intact).then_some(()).ok_or(why)
        })
        .map_err(|why| about("inspect", why, &said))?;
    }
    let run = draw.below(scene.runs.len());
    let said = run_again(&home, &scene.runs[run]);
    judge(&said, &changed, |found| same_run(&scene.ran[run], found))
        .map_err(|why| about("run", why, &said))?;
    let kept = home.dir.path().join("kept");
    copy_receipts(&home, &kept);
    check_series([&*scene.home.state().join("receipts"), &kept])
        .map_err(|why| about("run", why, &said))?;

    // The file comes back as from a backup, unless the program has made it good itself.
    for (path, bytes) in [path, other].into_iter().zip(whole) {
        let key = home.state().join("keys/local");
        let newer = ["head", "local"].iter().any(|name| path.ends_with(name)) || *path == key;
        if changed.contains(path) && !(newer && said.code == Some(0)) {
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                let _ = fs::remove_file(path);
            }
            write_private(path, &bytes);
        }
    }
    let said = run_again(&home, &scene.runs[run]);
    if said.code != Some(0) {
        return Err(about(
            "the run after the repair",
            "failed".to_owned(),
            &said,
        ));
    }
    same_run(&scene.ran[run], &said.json()).map_err(|why| about("repaired", why, &said))?;
    copy_receipts(&home, &kept);
    check_series([&*scene.home.state().join("receipts"), &kept])
        .map_err(|why| about("repaired", why, &said))
}

/// Keeps all receipts that were ever there, also those that are overwritten by the repair.
fn copy_receipts(home: &Home, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (number, file) in files(&home.state().join("receipts")).iter().enumerate() {
        let is_file = file.symlink_metadata().unwrap().is_file();
        if is_file && file.extension().is_some_and(|e| e == "receipt") {
            let count = files(to).len();
            fs::copy(file, to.join(format!("{count}-{number}.receipt"))).unwrap();
        }
    }
}

/// Runs cases on both processors, and reports all that fail.
fn check_all(scene: &Scene, cases: &[(Damage, usize)], seed: u64) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((kind, at)) = cases.get(number) else {
                        return;
                    };
                    let mut draw = Draw {
                        seed: seed ^ ((number as u64) << 32),
                        at: 0,
                    };
                    if let Err(why) = check(scene, *kind, *at, &mut draw) {
                        failed.lock().unwrap().push(format!("case {number}: {why}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} cases, seed {seed}:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

#[test]
fn flipped_bits_anywhere_are_made_good_or_named() {
    let scene = Scene::new();
    let count = files(&scene.home.state()).len();
    let seed = number("ADIT_DAMAGE_SEED", 1);
    let mut draw = Draw { seed, at: 0 };
    let cases: Vec<_> = (0..number("ADIT_DAMAGE_CASES", 100))
        .map(|_| (Damage::Flip, draw.below(count)))
        .collect();
    check_all(&scene, &cases, seed);
}

#[test]
fn every_file_damaged_in_every_way_is_made_good_or_named() {
    let scene = Scene::new();
    let count = files(&scene.home.state()).len();
    let seed = number("ADIT_DAMAGE_SEED", 1);
    let cases: Vec<_> = (0..count)
        .flat_map(|at| DAMAGES.map(|kind| (kind, at)))
        .collect();
    check_all(&scene, &cases, seed);
}

/// The judge itself is judged: it accepts what is right and nothing else.
#[test]
fn the_rule_refuses_wrong_results_panics_and_errors_that_name_nothing() {
    let changed = [PathBuf::from("/state/receipts/head")];
    let said = |code: i32, stdout: &str, stderr: &str| Said {
        code: Some(code),
        stdout: stdout.as_bytes().to_vec(),
        stderr: stderr.to_owned(),
    };
    let expected = serde_json::json!({ "output": "right", "seq": 1, "receipt": "a",
        "start_ms": 0, "duration_us": 0 });
    let verdict = |said: &Said| judge(said, &changed, |found| same_run(&expected, found));
    let result = |output: &str| {
        format!(r#"{{"output":"{output}","seq":9,"receipt":"b","start_ms":7,"duration_us":7}}"#)
    };
    let error = |what: &str, hint: &str| {
        format!(r#"{{"error":{{"what":"{what}","why":"","hint":"{hint}"}}}}"#)
    };
    verdict(&said(0, &result("right"), "")).unwrap();
    let named = error("/state/receipts/head is damaged", "restore it");
    verdict(&said(1, "", &named)).unwrap();
    for (wrong, why) in [
        (said(0, &result("wrong"), ""), "output is"),
        (said(0, "{}", ""), "other fields"),
        (said(0, "no json", ""), "expected"),
        (said(2, "", &named), "the exit code 2"),
        (said(5, "", &named), "the exit code 5"),
        (said(1, "", &error("something", "restore it")), "names none"),
        (
            said(1, "", &error("/state/receipts/head", "")),
            "without a hint",
        ),
        (said(1, "", "thread main panicked at x"), "a panic"),
    ] {
        let found = verdict(&wrong).unwrap_err();
        assert!(found.contains(why), "{found}, not {why}");
    }
}

/// As above for the series: two bodies with one number are seen, and so is a broken link.
#[test]
fn a_second_body_for_a_number_would_be_seen() {
    let home = Home::new();
    for _ in 0..2 {
        home.behave(&[], &["args"]).exits(0);
    }
    let folder = home.state().join("receipts");
    check_series([&*folder]).unwrap();
    // 0x, then the digits.
    let seed = fs::read_to_string(home.state().join("keys/local")).unwrap();
    let seed: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&seed[2 * at + 2..2 * at + 4], 16).unwrap())
        .collect();
    let key = adit_protocol::keys::Keypair::from_seed(seed.try_into().unwrap());
    let last = home.adit(&["--json", "receipt", "show", "last"]).json();
    let path = home.receipt(last["id"].as_str().unwrap());
    let good = Receipt::from_bytes(&fs::read(path).unwrap()).unwrap().body;
    let forged = folder.join("forged.receipt");
    let write = |body: &adit_protocol::receipt::ReceiptBody| {
        let receipt = body.sign(&key, &mut rand_core::OsRng);
        fs::write(&forged, receipt.to_bytes()).unwrap();
    };
    let mut again = good.clone();
    again.fuel += 1;
    write(&again);
    assert!(check_series([&*folder]).unwrap_err().contains("two bodies"));
    let mut unlinked = good;
    unlinked.seq = 3;
    write(&unlinked);
    assert!(check_series([&*folder]).unwrap_err().contains("link"));
}
