//! Networks that tests start: processes that end with the test, however it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Home, Said, ended};

/// How long a node may take to be ready, on a machine that does much else.
pub const START: Duration = Duration::from_secs(120);

/// A process that runs until it is told to end; killed when it is dropped.
pub struct Node {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- what a node said:\n{}", self.said());
        }
    }
}

impl Node {
    /// Starts a process and reads what it says on stderr, so that it never waits for that.
    pub fn start(mut command: Command) -> Node {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let from = child.stderr.take().unwrap();
        let into = Arc::clone(&stderr);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = into.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Node {
            child,
            stderr,
            reader,
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The same, to be asked while the process is waited for.
    pub fn stderr(&self) -> impl Fn() -> String + use<> {
        let stderr = Arc::clone(&self.stderr);
        move || stderr.lock().unwrap().clone()
    }

    /// The first line that it says on stdout.
    pub fn line(&mut self) -> String {
        let stdout = self.child.stdout.take().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = String::new();
            let _ = reader.read_line(&mut line);
            let _ = sender.send(line);
            let _ = reader.read_to_end(&mut Vec::new());
        });
        let line = receiver
            .recv_timeout(START)
            .unwrap_or_else(|_| panic!("nothing on stdout:\n{}", self.said()));
        assert!(!line.is_empty(), "it ended:\n{}", self.said());
        line.trim().to_owned()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits. Its exit code.
    pub fn end(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.wait().code()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        if status.is_some() {
            // What it said last is read. Its own children may have the same stderr, and go on.
            let begun = Instant::now();
            while !self.reader.is_finished() && begun.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        status
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begun.elapsed() < START, "it does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until something is so, and fails with what the node said.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut is: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(value) = is() {
                return value;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{what}: it ended with {status}:\n{}", self.said());
            }
            assert!(begun.elapsed() < START, "{what}: not yet:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An `adit dev`, and a home from which it is used.
pub struct Dev {
    pub home: Home,
    pub node: Node,
    pub ports: Value,
}

impl Dev {
    /// Starts one with these options, whose state is kept in the home.
    pub fn start(options: &[&str]) -> Dev {
        Dev::start_in(Home::new(), options)
    }

    pub fn start_in(home: Home, options: &[&str]) -> Dev {
        let path = home.path("ports.json");
        let _ = std::fs::remove_file(&path);
        let mut args = vec!["dev", "--ports-file", path.to_str().unwrap()];
        args.extend(options);
        let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
        command
            .current_dir(home.dir.path())
            .env("XDG_DATA_HOME", home.dir.path())
            .env_remove("ADIT_COORDINATOR")
            .env_remove("ADIT_TOKEN")
            .arg("--state")
            .arg(home.path("net"))
            .args(&args);
        let mut node = Node::start(command);
        let ports = node.until("the ports file", || read_json(&path));
        Dev { home, node, ports }
    }

    pub fn url(&self) -> &str {
        self.ports["url"].as_str().unwrap()
    }

    /// A command of a client, which finds the network by itself.
    pub fn adit(&self, args: &[&str]) -> Said {
        ended(self.command(args))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.home.command(args);
        command
            .env_remove("ADIT_COORDINATOR")
            .env_remove("ADIT_TOKEN");
        command
    }

    /// Submits the guest `behave`.
    pub fn behave(&self, options: &[&str], args: &[&str]) -> Said {
        let guest = crate::support::guest("guest-behave.wasm");
        let mut all = vec!["task", "submit", guest.to_str().unwrap()];
        all.extend(options);
        all.push("--");
        all.extend(args);
        self.adit(&all)
    }

    /// A task as the coordinator shows it.
    pub fn show(&self, id: &str) -> Value {
        self.adit(&["--json", "task", "show", id]).exits(0).json()
    }

    /// Kills it as a power cut would, and keeps its folder.
    pub fn kill(self) -> Home {
        self.node.kill();
        self.home
    }
}

/// A file that was written whole.
pub fn read_json(path: &PathBuf) -> Option<Value> {
    let bytes = std::fs::read(path).ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}
