//! Processes that are really killed, at each step of the journal.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use adit_miner::journal::{
    Answer, Journal, JournalError, JournalWriter, Point, Probe, Ready, Recorded, Settled, State,
};
use adit_net::SystemClock;
use adit_protocol::Hash;

use crate::journal::{coordinator, draft, node};
use crate::support::miner_key;

const FOLDER: &str = "ADIT_TEST_CRASH_FOLDER";
const POINT: &str = "ADIT_TEST_CRASH_POINT";
/// Assignments of each process, of which the first half is the same in all.
const RUNS: u64 = 40;

/// Ends the process without any cleaning up.
struct Abort {
    point: usize,
    left: u32,
}

impl Probe for Abort {
    fn at(&mut self, point: Point) -> Result<(), JournalError> {
        if Point::ALL.iter().position(|p| *p == point) == Some(self.point) {
            if self.left == 0 {
                std::process::abort();
            }
            self.left -= 1;
        }
        Ok(())
    }
}

struct Out(Mutex<mpsc::Sender<Ready>>);

impl Recorded for Out {
    fn signed(&self, ready: Ready) {
        self.0.lock().unwrap().send(ready).unwrap();
    }

    fn known(&self, _: Hash, _: u64, _: State) {}

    fn failed(&self, assignment: Hash) {
        panic!("{assignment}");
    }
}

/// Writes down what was sent, as the other side of a network would have it.
fn sent(folder: &Path, ready: &Ready) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("sent"))
        .unwrap();
    file.write_all(&ready.receipt.to_bytes()).unwrap();
}

/// Not a test by itself: what the processes of the test below do.
#[test]
fn the_process_that_is_killed() {
    let (Ok(folder), Ok(point)) = (std::env::var(FOLDER), std::env::var(POINT)) else {
        return;
    };
    let folder = Path::new(&folder);
    let numbers: Vec<u32> = point.split(',').map(|n| n.parse().unwrap()).collect();
    let [point, left, life] = numbers.try_into().unwrap();
    let probe = Abort {
        point: point as usize,
        left,
    };
    let path = folder.join("journal.db");
    let journal = Journal::with_probe(&path, node(), 0, Box::new(probe)).unwrap();
    let clock = Arc::new(SystemClock);
    let (writer, thread) = JournalWriter::start(journal, miner_key(), clock).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let c = coordinator(0);
    // What the process before has left is sent first.
    let left_over = runtime
        .block_on(writer.ask(move |journal| journal.unsettled(&c, 0, 1000)))
        .unwrap();
    for ready in &left_over {
        sent(folder, ready);
    }
    let (sender, receiver) = mpsc::channel();
    let out = Arc::new(Out(Mutex::new(sender)));
    for run in 0..RUNS {
        // The second half belongs to this life alone.
        let number = if run < RUNS / 2 {
            run
        } else {
            run + u64::from(life) * RUNS
        };
        let id = Hash::of(&number.to_le_bytes());
        writer.record(draft(c, id, u64::from(life)), out.clone());
        if run % 5 == 4 {
            while let Ok(ready) = receiver.recv_timeout(Duration::from_millis(20)) {
                sent(folder, &ready);
                writer.settle(vec![Settled {
                    coordinator: c,
                    seq: ready.seq(),
                    at_ms: 1,
                    answer: Answer::Acknowledged {
                        leaf: ready.seq(),
                        countersignature: [1; 64],
                    },
                }]);
            }
        }
    }
    writer.stop();
    thread.join().unwrap();
    while let Ok(ready) = receiver.try_recv() {
        sent(folder, &ready);
    }
}

#[test]
fn a_process_that_is_killed_at_any_step_never_signs_twice() {
    let dir = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut killed = 0;
    let mut life = 0u32;
    let mut run = |point: usize, left: u32| {
        life += 1;
        let status = Command::new(&program)
            .args([
                "crash::the_process_that_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(FOLDER, dir.path())
            .env(POINT, format!("{point},{left},{life}"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        status.success()
    };
    for point in 0..Point::ALL.len() {
        for left in [0, 1, 4] {
            killed += usize::from(!run(point, left));
        }
    }
    assert!(killed >= 10, "only {killed} processes were killed");
    assert!(run(99, 0), "the last one lives");

    let bytes = std::fs::read(dir.path().join("sent")).unwrap();
    let mut by_assignment = HashMap::new();
    let mut by_number = HashMap::new();
    let (receipts, rest) = bytes.as_chunks::<520>();
    assert!(rest.is_empty());
    for receipt in receipts {
        let receipt = adit_protocol::receipt::Receipt::from_bytes(receipt).unwrap();
        receipt.verify_miner().unwrap();
        let bytes = receipt.to_bytes()[..456].to_vec();
        let body = &receipt.body;
        let first = by_assignment
            .entry(body.assignment)
            .or_insert(bytes.clone());
        assert_eq!(*first, bytes, "two receipts for {}", body.assignment);
        let first = by_number.entry(body.seq).or_insert(bytes.clone());
        assert_eq!(*first, bytes, "two receipts with number {}", body.seq);
    }
    // Every number was sent in the end.
    let mut journal = Journal::open(&dir.path().join("journal.db"), node(), 0).unwrap();
    let head = journal.head(&coordinator(0)).seq;
    assert!(head >= RUNS, "{head}");
    let missing: Vec<u64> = (1..=head).filter(|n| !by_number.contains_key(n)).collect();
    assert!(missing.is_empty(), "{missing:?} of {head}");
    assert_eq!(journal.counts(&coordinator(0)).unwrap()[0], 0);
}
