//! A disk that is full, files that may not grow, folders that cannot be written to, keys that
//! cannot be read.
//!
//! Small disks and read-only ones are mounted in a user and mount namespace of their own, which
//! many machines let everyone make. Where one does not, these tests say so and do nothing; under
//! CI that is a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, Said, copy_program, ended, files, guest};

/// A user that owns nothing and to whom modes apply, as they do not to root.
const NOBODY: u32 = 65534;

/// Whether a namespace can be made in which to mount. Where not, it is said that a test is left
/// out.
pub fn can_mount() -> bool {
    let allowed = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        let why = "no user and mount namespace can be made here; hint: sysctl user.max_user_namespaces, or run as root";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    allowed
}

/// Runs a shell script in a namespace where it may mount. `$1` is the program, `$2` the guest,
/// `$3` the state folder. `None` where that is not allowed.
fn mounting(home: &Home, script: &str) -> Option<Said> {
    fs::create_dir_all(home.state()).unwrap();
    if !can_mount() {
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-ec", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_adit"))
        .arg(guest("guest-behave.wasm"))
        .arg(home.state())
        .current_dir(home.dir.path());
    Some(ended(command))
}

/// The error that `--json` has printed on stderr.
fn error(text: &str) -> Value {
    let line = text.lines().find(|line| line.starts_with("{\"error\""));
    let line = line.unwrap_or_else(|| panic!("no error in {text:?}"));
    serde_json::from_str::<Value>(line).unwrap()["error"].clone()
}

#[test]
fn a_full_disk_is_named_leaves_nothing_half_written_and_does_no_lasting_harm() {
    let home = Home::new();
    // How much a run needs, in KiB; then disks with no room for anything to room for all but the
    // last file. Each is filled, met by a run, freed, and met by the same run again.
    let script = r#"
        mount -t tmpfs -o size=4M,mode=700 none "$3"
        "$1" run "$2" --state "$3" --clock 1 -- args > out 2> err
        need=$(du -sk "$3" | cut -f 1)
        umount "$3"
        for level in 8 250 900 $(seq $((need - 44)) 8 $((need + 12))); do
            mount -t tmpfs -o size=4M,mode=700 none "$3"
            head -c $(( (4096 - level) * 1024 )) /dev/zero > "$3/filler"
            first=0
            "$1" --json run "$2" --state "$3" --clock 1 -- args > out 2> err || first=$?
            echo "level $level exit $first"
            cat err
            find "$3" -name '.new*' | sed 's/^/remnant /'
            for blob in $(find "$3/blobs" -type f 2>/dev/null || true); do
                echo "blob $blob $(wc -c < "$blob")"
            done
            rm "$3/filler"
            "$1" --json run "$2" --state "$3" --clock 1 -- args > out2 2> err2 || { cat err2; exit 1; }
            "$1" receipt replay last --state "$3" > out3 2> err3 || { cat out3 err3; exit 1; }
            "$1" --json receipt show last --state "$3" > shown
            printf 'again %s\n' "$(cat out2)"
            umount "$3"
        done"#;
    let Some(said) = mounting(&home, script) else {
        return;
    };
    let said = said.exits(0);
    let text = said.text();
    let whole = fs::metadata(guest("guest-behave.wasm")).unwrap().len();
    let component = adit_protocol::Hash::of(&fs::read(guest("guest-behave.wasm")).unwrap());
    let (mut full, mut enough) = (0, 0);
    for part in text.split("level ").skip(1) {
        assert!(!part.contains("remnant"), "{part}");
        let exit: i32 = part.split_whitespace().nth(2).unwrap().parse().unwrap();
        let blob = part
            .lines()
            .find(|l| l.starts_with("blob ") && l.contains(&component.to_hex()));
        if let Some(blob) = blob {
            assert!(blob.ends_with(&format!(" {whole}")), "{part}");
        }
        let again = part.lines().find_map(|l| l.strip_prefix("again ")).unwrap();
        let again: Value = serde_json::from_str(again).unwrap();
        assert_eq!(again["status"], "ok");
        if exit == 0 {
            assert_eq!(again["seq"], 2, "{part}");
            enough += 1;
            continue;
        }
        full += 1;
        assert_eq!(exit, 1, "{part}");
        let error = error(part);
        assert_eq!(error["code"], "disk-full", "{part}");
        let words = error.to_string();
        for word in [
            "No space left",
            home.state().to_str().unwrap(),
            "free disk space",
        ] {
            assert!(words.contains(word), "no {word:?} in {part}");
        }
        // How much was needed and how much there is.
        assert!(words.contains(" bytes, and "), "{part}");
        // A number may have been given out before the disk was full; never one twice.
        assert!(again["seq"] == 1 || again["seq"] == 2, "{part}");
    }
    assert!(
        full >= 5 && enough >= 1,
        "{full} full, {enough} not:\n{text}"
    );
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_not_the_end_by_a_signal() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm").display().to_string();
    let mut stopped = 0;
    // In blocks of 512 bytes: nothing, the key but no component, all but the compiled code.
    for blocks in [0, 1, 2, 100, 1000] {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_adit"))
            .args(["--json", "run", &guest, "--clock", "1", "--state"])
            .arg(home.state())
            .args(["--", "args"]);
        let said = ended(command);
        if said.code == Some(0) {
            continue;
        }
        stopped += 1;
        assert_eq!(said.code, Some(1), "{blocks}: {}", said.stderr);
        let error = error(&said.stderr);
        assert_eq!(error["code"], "disk-full", "{blocks}: {error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("ulimit -f"), "{blocks}: {error}");
        assert!(error.to_string().contains(home.state().to_str().unwrap()));
        for file in files(&home.state()) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with(".new"), "{blocks}: {name}");
        }
    }
    assert!(stopped >= 4, "{stopped}");
    let ran = home.behave_json(&["--clock", "1"], &["args"], 0);
    assert_eq!(ran["seq"], 1);
    home.adit(&["receipt", "replay", "last"]).exits(0);
}

#[test]
fn a_read_only_state_folder_can_be_read() {
    let home = Home::new();
    home.behave(&["--clock", "1"], &["args"]).exits(0);
    let script = r#"
        mount --bind "$3" "$3"
        mount -o remount,ro,bind "$3"
        "$1" receipt show last --state "$3"
        "$1" receipt verify last --state "$3"
        "$1" receipt replay last --state "$3"
        code=0
        "$1" --json run "$2" --state "$3" -- args || code=$?
        echo "exit $code"
        code=0
        "$1" --json run "$2" --state "$3/none" -- args || code=$?
        echo "exit $code""#;
    let Some(said) = mounting(&home, script) else {
        return;
    };
    let said = said.exits(0);
    let text = said.text();
    assert!(text.contains("the replay is identical"), "{text}");
    assert_eq!(text.matches("exit 1").count(), 2, "{text}\n{}", said.stderr);
    for line in said.stderr.lines() {
        let error = error(line);
        assert_eq!(error["code"], "permission-denied", "{line}");
        assert!(line.contains(home.state().to_str().unwrap()), "{line}");
        assert!(line.contains("--state"), "{line}");
    }
    assert_eq!(said.stderr.lines().count(), 2);
    // Nothing of it is remembered.
    assert_eq!(home.behave_json(&[], &["args"], 0)["seq"], 2);
}

/// A state folder of a user to whom permissions apply, with the program and the guest at hand.
struct Unprivileged {
    home: Home,
    program: PathBuf,
    guest: PathBuf,
}

impl Unprivileged {
    fn new() -> Unprivileged {
        let home = Home::new();
        // These may lie where only their owner can go.
        let program = home.path("adit");
        copy_program(&program);
        let copied = home.path("guest.wasm");
        fs::copy(guest("guest-behave.wasm"), &copied).unwrap();
        give_away(home.dir.path());
        let made = Unprivileged {
            program,
            guest: copied,
            home,
        };
        made.run(&[]).exits(0);
        made
    }

    fn adit(&self, words: &[&str]) -> Said {
        let mut command = Command::new(&self.program);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
            .current_dir(self.home.dir.path())
            .arg("--state")
            .arg(self.home.state())
            .args(words);
        ended(command)
    }

    fn run(&self, options: &[&str]) -> Said {
        let mut words = vec!["run", self.guest.to_str().unwrap()];
        words.extend(options);
        words.extend(["--", "args"]);
        self.adit(&words)
    }

    fn mode(&self, below: &str, mode: u32) {
        fs::set_permissions(self.home.path(below), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Receipts in the journal.
    fn receipts(&self) -> usize {
        let all = files(&self.home.state().join("receipts"));
        let is = |file: &&PathBuf| file.extension().is_some_and(|e| e == "receipt");
        all.iter().filter(is).count()
    }
}

/// Root gives a folder to nobody; anyone else keeps it.
fn give_away(folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let own = |path: &Path| std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    own(folder);
    for entry in fs::read_dir(folder).unwrap() {
        own(&entry.unwrap().path());
    }
}

#[test]
fn what_may_not_be_written_is_refused_before_the_run() {
    let them = Unprivileged::new();
    for (below, hint) in [
        ("state/receipts", "make the folder writable"),
        ("state/blobs", "make the folder writable"),
        ("state/code", "make the folder writable"),
    ] {
        them.mode(below, 0o500);
        // In the cache nothing need be written.
        let said = them.run(&["--seed", "5"]);
        if below == "state/code" {
            said.exits(0);
        } else {
            let path = them.home.path(below);
            said.exits(1).explains(&[path.to_str().unwrap(), hint]);
        }
        them.mode(below, 0o700);
    }
    let receipts = them.receipts();
    fs::create_dir(them.home.path("closed")).unwrap();
    give_away(them.home.dir.path());
    them.mode("closed", 0o500);
    them.run(&["--receipt", "closed/r"])
        .exits(1)
        .explains(&["the receipt cannot go to closed/r", "writable"]);
    assert_eq!(them.receipts(), receipts, "refused before the run");
    them.mode("closed", 0o700);
    them.run(&["--receipt", "closed/r"]).exits(0);
    assert_eq!(fs::metadata(them.home.path("closed/r")).unwrap().len(), 520);

    // A folder that does not let anyone in, and one that cannot be made.
    them.mode("state", 0o000);
    them.run(&[])
        .exits(1)
        .explains(&["state folder", "--state"]);
    them.mode("state", 0o700);
    them.run(&[]).exits(0);
}

#[test]
fn a_key_that_is_not_ones_own_is_not_used() {
    let them = Unprivileged::new();
    let key = them.home.path("state/keys/local");
    let name = key.to_str().unwrap();
    them.mode("state/keys/local", 0o000);
    them.run(&[])
        .exits(1)
        .explains(&[name, "Permission denied"]);
    for mode in [0o640, 0o604, 0o660, 0o666] {
        them.mode("state/keys/local", mode);
        them.run(&[])
            .exits(1)
            .explains(&[name, "others may read it", "chmod 600"]);
    }
    them.mode("state/keys/local", 0o600);
    them.run(&[]).exits(0);
    assert_eq!(them.receipts(), 2);

    if rustix::process::geteuid().is_root() {
        // Root can read every key; that of another user in root's own folder is still not its own.
        let home = Home::new();
        home.behave(&[], &["args"]).exits(0);
        let key = home.state().join("keys/local");
        std::os::unix::fs::chown(&key, Some(NOBODY), None).unwrap();
        home.behave(&[], &["args"]).exits(1).explains(&[
            key.to_str().unwrap(),
            "belongs to another user",
            "chown",
        ]);
    }
}
