//! Each system call by which a registry changes what is on disk, in one append, fails once with EIO,
//! and once the process is killed in place of it; and what it answers was flushed before.
//! `cargo xtask syscalls` does it with every occurrence of every call.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::wallet::{client, next_number, post};
use crate::cluster::{asked, free_port};
use crate::ledger::{init, transfer};
use crate::network_support::Node;
use crate::support::Home;
use crate::syscalls::faults::{self, CALLS, Fault, Kind, any, on};
use crate::syscalls::strace::{Tracer, is_here, parse};
use crate::syscalls::{end_below, explained, order};

/// All of them. Others than these are found, see [`faults::unknown`].
const KINDS: &[Kind] = &[
    on("pwrite64", "data/registry.db-wal"),
    on("pwrite64", "data/registry.db-shm"),
    on("pwrite64", "data/registry.db"),
    on("openat", "data/log/tmp/new"),
    on("write", "data/log/tmp/new"),
    on("openat", "network.new"),
    on("write", "network.new"),
    any("fdatasync"),
    any("fsync"),
    any("ftruncate"),
    any("mkdir"),
    any("rename"),
    any("rmdir"),
    any("unlink"),
    any("unlinkat"),
];
/// How long one append may take, with all that goes wrong in it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry that is started for one append after the other.
struct Appends {
    home: Home,
    listen: String,
    genesis: Hash,
    runtime: Runtime,
    number: u64,
}

/// What came of one append.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stderr: String,
    /// What was answered.
    told: Option<Value>,
    /// Whether it was asked to end, since all was done.
    in_order: bool,
}

impl Appends {
    fn new() -> Appends {
        let home = Home::new();
        let options = [
            "--development",
            "--epoch",
            "1h",
            "--allocate",
            "//Alice=1000",
        ];
        let made = init(&home, &options);
        let mut appends = Appends {
            home,
            listen: format!("127.0.0.1:{}", free_port()),
            genesis: made["network"].as_str().unwrap().parse().unwrap(),
            runtime: Runtime::new().unwrap(),
            number: 0,
        };
        let (_, body) = transfer(appends.genesis, 0);
        appends.go_on(&body);
        appends
    }

    fn data(&self) -> PathBuf {
        self.home.state().join("registry")
    }

    fn command(&self) -> Command {
        self.home
            .command(&["registry", "run", "--listen", &self.listen])
    }

    fn below(&self, tracer: &Tracer) -> Node {
        let command = self.command();
        let mut traced = tracer.command();
        traced.arg(command.get_program()).args(command.get_args());
        traced.current_dir(self.home.dir.path());
        traced.env("XDG_DATA_HOME", self.home.dir.path());
        Node::start(traced)
    }

    /// One append: a transfer, and the checkpoint that covers it, and the end of the process. It may
    /// end before.
    fn append(&self, mut registry: Node, body: &Value, traced: bool) -> Ended {
        let client = client(&format!("http://{}", self.listen));
        let begun = Instant::now();
        let (mut told, mut in_order) = (None, false);
        let status = loop {
            if let Some(status) = registry.ended() {
                break status;
            }
            let done = self.runtime.block_on(async {
                match &told {
                    None => {
                        let answer = post(&client, body).await.ok()?;
                        told = Some(answer.json::<Value>().unwrap());
                        None
                    }
                    Some(told) => {
                        let answer = client.get("/log/checkpoint").send().await.ok()?;
                        let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
                        let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
                        (size > told["leaf"].as_u64().unwrap()).then_some(())
                    }
                }
            });
            if done.is_some() {
                in_order = true;
                match traced {
                    true => end_below(&mut registry),
                    false => {
                        let pid = i32::try_from(registry.id()).unwrap();
                        let pid = rustix::process::Pid::from_raw(pid).unwrap();
                        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
                    }
                }
                break registry.wait();
            }
            assert!(begun.elapsed() < PATIENCE, "no end: {}", registry.said());
            std::thread::sleep(Duration::from_millis(10));
        };
        Ended {
            code: status.code(),
            stderr: registry.said(),
            told,
            in_order,
        }
    }

    /// The same transfer without disturbance: it takes effect once, whatever was before.
    fn go_on(&mut self, body: &Value) -> Value {
        let ended = self.append(Node::start(self.command()), body, false);
        assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        self.number += 1;
        ended.told.unwrap()
    }
}

#[test]
fn each_call_of_a_transaction_may_fail_or_be_the_last() {
    if !is_here() {
        return;
    }
    let all = asked("ADIT_SYSCALLS_ALL").is_some();
    let mut appends = Appends::new();
    let output = appends.home.path("trace");
    let recorded = Tracer::new(&output, CALLS);
    let (_, body) = transfer(appends.genesis, appends.number);
    let ended = appends.append(appends.below(&recorded), &body, true);
    assert!(ended.in_order && ended.code == Some(0), "{ended:?}");
    appends.number += 1;
    let (calls, data) = (recorded.calls(), appends.data());
    let unknown = faults::unknown(KINDS, &data, &calls);
    assert!(
        unknown.is_empty(),
        "calls that are not made to fail: {unknown:#?}"
    );
    let plan = faults::plan(KINDS, &data, &calls, all);
    let total = plan.len();
    let mut reached = 0;
    for (kind, number, fault) in plan {
        let mut hit = one(&mut appends, kind, number, fault);
        // How often some calls are made depends on the times of things; the first is made always.
        if !hit && !all && number > 1 {
            hit = one(&mut appends, kind, 1, fault);
        }
        reached += usize::from(hit);
    }
    eprintln!("{reached} of {total} faults were reached");
    assert!(
        reached * 10 >= total * 7,
        "{reached} of {total} were reached"
    );
    // All of it took effect, once each.
    let mut registry = Node::start(appends.command());
    registry.line();
    let client = client(&format!("http://{}", appends.listen));
    let number = appends.runtime.block_on(next_number(&client)).unwrap();
    assert_eq!(number, appends.number);
    assert_eq!(registry.end(), Some(0));
}

/// One append with a fault, and what follows. Whether the fault was reached.
fn one(appends: &mut Appends, kind: &Kind, number: usize, fault: Fault) -> bool {
    let output = appends.home.path("trace");
    let tracer = kind.tracer(&output, &appends.data(), number, fault);
    let (_, body) = transfer(appends.genesis, appends.number);
    let ended = appends.append(appends.below(&tracer), &body, true);
    let reached = match fault {
        Fault::Error => tracer.text().contains("(INJECTED)"),
        Fault::Kill => ended.code.is_none() && !ended.in_order,
    };
    eprintln!(
        "{kind} {number} {fault:?}: reached {reached}, ended with {:?}, answered {}",
        ended.code,
        ended.told.is_some()
    );
    assert!(
        !ended.stderr.contains("panicked"),
        "{kind}: {}",
        ended.stderr
    );
    if fault == Fault::Error && !ended.in_order {
        explained(&ended.stderr, &[]);
    }
    // As it lies on disk now, it is in order, and what was answered is there.
    appends.home.adit(&["registry", "fsck"]).exits(0);
    let told = appends.go_on(&body);
    if let Some(before) = ended.told {
        assert_eq!(
            (&before["id"], &before["leaf"]),
            (&told["id"], &told["leaf"]),
            "{kind} {number}"
        );
    }
    reached
}

/// As a disk that fills under a process that works: it is its operator's to mend, and said so.
#[test]
fn a_registry_whose_disk_fills_at_work_says_so() {
    if !is_here() {
        return;
    }
    let mut appends = Appends::new();
    let wal = appends.data().join("data/registry.db-wal");
    let output = appends.home.path("trace");
    let tracer = Tracer::new(&output, "pwrite64").only(&[wal]);
    // In the midst of the append, and from then on; each thread counts its own calls.
    let tracer = tracer.inject("pwrite64:error=ENOSPC:when=3+");
    let (_, body) = transfer(appends.genesis, appends.number);
    let ended = appends.append(appends.below(&tracer), &body, true);
    assert!(!ended.in_order && ended.code == Some(1), "{ended:?}");
    eprintln!("{}", ended.stderr);
    explained(&ended.stderr, &["full"]);
    appends.home.adit(&["registry", "fsck"]).exits(0);
    let told = appends.go_on(&body);
    assert!(ended.told.is_none() || ended.told.unwrap()["id"] == told["id"]);
}

#[test]
fn a_registry_answers_once_what_it_says_is_on_disk() {
    if !is_here() {
        return;
    }
    let appends = Appends::new();
    let tracer = order::delayed(Tracer::new(&appends.home.path("trace"), order::CALLS));
    let mut registry = appends.below(&tracer);
    registry.line();
    let mut stream = TcpStream::connect(&appends.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for number in 0..3 {
        let (id, body) = transfer(appends.genesis, appends.number + number);
        let view = order::ask(&mut stream, "POST /v1/transactions", "", &body.to_string());
        assert_eq!(view["id"], id);
    }
    drop(stream);
    end_below(&mut registry);
    assert_eq!(registry.wait().code(), Some(0));
    let text = tracer.text();
    assert!(text.contains("(DELAYED)"), "no flush was delayed");
    let calls = parse(&text);
    let wal = appends.data().join("data/registry.db-wal");
    // The server looks at 24 bytes first, to tell the version of HTTP.
    let found = order::exchanges(&calls, "POST /v1/transactions ");
    assert_eq!(found.len(), 3);
    for exchange in found {
        let (asked, answered) = (exchange.asked, exchange.answered);
        assert!(
            order::was_flushed(&calls, (wal.to_str().unwrap(), ""), asked, answered),
            "it was answered before it was on disk:\n{}",
            order::excerpt(&text, asked, answered)
        );
    }
}
