//! Starting the two nodes, and ending them.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_net::http::client::{Client, ClientConfig};
use serde_json::Value;
use url::Url;

/// How long the miner may take to become a candidate.
const READY: Duration = Duration::from_secs(60);

/// A coordinator and a miner.
pub struct Pair {
    coordinator: Node,
    miner: Node,
    folder: tempfile::TempDir,
    /// Where the coordinator is.
    pub url: String,
    /// The token of its client.
    pub token: String,
    /// Asks it, in the ordinary way.
    pub client: Client,
}

/// A process that is ended with this.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    /// Starts a role and waits for its line.
    fn start(args: &[&str]) -> (Node, String) {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut node = Node(child);
        let stdout = node.0.stdout.take().expect("stdout");
        let mut line = String::new();
        (std::io::BufReader::new(stdout).read_line(&mut line)).expect("a line");
        assert!(!line.is_empty(), "{args:?} ended before it was ready");
        (node, line.trim().to_owned())
    }

    /// Closes its stdin, and waits for it.
    fn end(mut self) {
        drop(self.0.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if self.0.try_wait().expect("a process").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Pair {
    /// Starts both, and waits until the miner can be drawn.
    pub async fn start(folder: Option<&Path>) -> Pair {
        let folder = match folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        }
        .expect("a folder");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        let (coordinator, url) = Node::start(&["--role=coordinator", &root]);
        let (miner, _) = Node::start(&["--role=miner", &root, &url]);
        let token = std::fs::read_to_string(folder.path().join("token")).expect("a token");
        let config = ClientConfig {
            token: Some(token.trim().to_owned()),
            ..ClientConfig::new(Url::parse(&url).expect("a URL"))
        };
        let pair = Pair {
            client: Client::new(config).expect("a client"),
            token: token.trim().to_owned(),
            coordinator,
            miner,
            folder,
            url,
        };
        let begun = Instant::now();
        while !pair.ready().await {
            assert!(begun.elapsed() < READY, "the miner cannot be drawn");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pair
    }

    async fn ready(&self) -> bool {
        let Ok(answer) = self.client.get("/v1/miners").send().await else {
            return false;
        };
        let miners: Value = answer.json().expect("JSON");
        let drawn = |miner: &Value| miner["weight"].as_u64().is_some_and(|weight| weight > 0);
        miners["items"]
            .as_array()
            .is_some_and(|m| m.iter().any(drawn))
    }

    /// The processes, by what they are.
    pub fn pids(&self) -> [(&'static str, u32); 2] {
        [
            ("coordinator", self.coordinator.0.id()),
            ("miner", self.miner.0.id()),
        ]
    }

    /// A folder or file of theirs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends both in order.
    pub async fn end(self) {
        self.coordinator.end();
        self.miner.end();
    }
}
