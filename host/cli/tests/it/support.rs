//! What the tests share: a state folder of one's own, guests, and a way to start the program.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A temporary folder with a state folder in it.
pub struct Home {
    pub dir: tempfile::TempDir,
}

/// How a process ended and what it said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Said {
    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// stdout as one JSON value and nothing else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.text(), self.stderr))
    }

    /// Asserts the exit code, and shows everything if it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Said {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code, Some(code), "{stdout}\n{}", self.stderr);
        self
    }

    /// Asserts that stderr is an error in its three parts, with these words in it.
    #[track_caller]
    pub fn explains(self, words: &[&str]) -> Said {
        for part in ["error: ", "  why:  ", "  hint: "] {
            let has = self.stderr.lines().any(|line| line.starts_with(part));
            assert!(has, "no `{part}` in:\n{}", self.stderr);
        }
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in:\n{}",
                self.stderr
            );
        }
        self
    }
}

impl Home {
    pub fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file in the temporary folder.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The program, not yet started, in the temporary folder and with its state folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .current_dir(self.dir.path())
            .env("XDG_DATA_HOME", self.dir.path())
            .stdin(Stdio::null());
        // Options may stand anywhere before `--`.
        command.arg("--state").arg(self.state()).args(args);
        command
    }

    pub fn adit(&self, args: &[&str]) -> Said {
        ended(self.command(args))
    }

    /// `adit run` of the guest `behave`, which does what its first argument says.
    pub fn behave(&self, options: &[&str], args: &[&str]) -> Said {
        let guest = guest("guest-behave.wasm");
        let mut all = vec!["run", guest.to_str().unwrap()];
        all.extend(options);
        all.push("--");
        all.extend(args);
        self.adit(&all)
    }

    /// As JSON, with the exit code that is expected.
    pub fn behave_json(&self, options: &[&str], args: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(options);
        self.behave(&all, args).exits(code).json()
    }

    /// Where the state folder keeps a blob, given its name.
    pub fn blob(&self, name: &str) -> PathBuf {
        let digits = name.strip_prefix("blake3:").unwrap();
        self.state().join("blobs").join(&digits[..2]).join(digits)
    }

    /// Where the state folder keeps a receipt, given its id.
    pub fn receipt(&self, id: &str) -> PathBuf {
        let digits = id.strip_prefix("blake3:").unwrap();
        self.state().join(format!("receipts/{digits}.receipt"))
    }

    /// A run of a guest with a model of its own. Returns what it says as JSON.
    pub fn infer(&self) -> Value {
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/double.onnx");
        let mut input = b"own-model 1.5 -2\n".to_vec();
        input.extend(std::fs::read(fixture).unwrap());
        let input = self.file("own-model", input);
        let guest = guest("guest_infer.wasm");
        let args = ["run", guest.to_str().unwrap(), "--json", "--input"];
        self.adit(&[&args[..], &[input.to_str().unwrap()]].concat())
            .exits(0)
            .json()
    }
}

/// How long any command of the tests may take. One that waits for ever is a failure, not a test
/// run without an end.
const COMMAND: Duration = Duration::from_secs(120);

/// Starts a command and waits for its end.
pub fn ended(command: Command) -> Said {
    ended_within(command, COMMAND)
}

/// The same with another bound than the usual one.
pub fn ended_within(mut command: Command, most: Duration) -> Said {
    let shown = format!("{command:?}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let pid = child.id();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let read = |from: &mut dyn Read| {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let stdout = scope.spawn(move || read(&mut stdout));
        let stderr = scope.spawn(move || read(&mut stderr));
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > most {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("process {pid} did not end: {shown}");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Said {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: String::from_utf8_lossy(&stderr.join().unwrap()).into_owned(),
        }
    })
}

/// Copies the program, so that what is executed can be told from all else on the machine. Another
/// process does it: a file that this one holds open for writing, even for a moment, could be held
/// by the child that another test starts just then, and would not be executed.
pub fn copy_program(to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg(env!("CARGO_BIN_EXE_adit")).arg(to);
    assert!(copy.status().unwrap().success());
}

/// All files below a folder, in the order of their names.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

pub fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Whether this runs in a bundle, on a machine where nothing was built; see `cargo xtask
/// gpu-bundle`.
pub fn bundle() -> bool {
    std::env::var_os("ADIT_BUNDLE").is_some()
}

/// The program that is tested.
pub fn program() -> PathBuf {
    match std::env::var_os("ADIT_BUNDLE") {
        Some(bundle) => PathBuf::from(bundle).join("bin/adit"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_adit")),
    }
}

/// The folder that cargo builds into, or the bundle's.
pub fn target() -> PathBuf {
    // The program lies in <target>/<profile>, or in <bundle>/bin.
    program().ancestors().nth(2).unwrap().to_owned()
}

/// A guest that `cargo xtask setup` has built.
pub fn guest(name: &str) -> PathBuf {
    let path = match bundle() {
        true => target().join("guests").join(name),
        false => target().join("wasm32-wasip2/release").join(name),
    };
    assert!(
        path.is_file(),
        "{}: not there; hint: cargo xtask setup builds it",
        path.display()
    );
    path
}
