//! A journal whose tables cannot be written for a while, though its write-ahead log can.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use adit_miner::journal::{
    Journal, JournalError, JournalWriter, Point, Probe, Ready, Recorded, State,
};
use adit_net::SystemClock;
use adit_protocol::Hash;

use crate::journal::{coordinator, draft, node};
use crate::support::miner_key;

const LONG: Duration = Duration::from_secs(20);

/// Lets the tables fail so many times.
struct Tables(Arc<AtomicU32>);

impl Probe for Tables {
    fn at(&mut self, point: Point) -> Result<(), JournalError> {
        let less = |left: u32| left.checked_sub(1);
        let fails = point == Point::BeforeApply
            && (self
                .0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less))
            .is_ok();
        match fails {
            true => Err(JournalError::Closed),
            false => Ok(()),
        }
    }
}

struct Signed(Mutex<mpsc::Sender<u64>>);

impl Recorded for Signed {
    fn signed(&self, ready: Ready) {
        self.0.lock().unwrap().send(ready.seq()).unwrap();
    }

    fn known(&self, assignment: Hash, _: u64, _: State) {
        panic!("{assignment}");
    }

    fn failed(&self, assignment: Hash) {
        panic!("{assignment}");
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tables_that_fail_hold_up_no_receipt_and_are_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let fails = Arc::new(AtomicU32::new(0));
    let probe = Box::new(Tables(Arc::clone(&fails)));
    let journal = Journal::with_probe(&path, node(), 1000, probe).unwrap();
    let clock = Arc::new(SystemClock);
    let (writer, thread) = JournalWriter::start(journal, miner_key(), clock).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (sender, signed) = mpsc::channel();
    let to = Arc::new(Signed(Mutex::new(sender)));
    let c = coordinator(1);
    let record = |number: u64| {
        let id = Hash::of(&number.to_le_bytes());
        writer.record(draft(c, id, number), to.clone());
        assert_eq!(signed.recv_timeout(LONG).unwrap(), number);
    };
    let fails_now = || writer.health().failing().is_some();
    let counts = || runtime.block_on(writer.ask(move |journal| journal.counts(&c)));

    fails.store(2, Ordering::SeqCst);
    record(1);
    until("the failure", fails_now);
    record(2);
    until("the end of the failure", || !fails_now());
    assert_eq!(counts().unwrap().iter().sum::<u64>(), 2);

    // Whoever asks has them written, and so ends it too.
    fails.store(1, Ordering::SeqCst);
    record(3);
    until("the failure", fails_now);
    assert_eq!(counts().unwrap().iter().sum::<u64>(), 3);
    until("the end of the failure", || !fails_now());

    // It is told where it lasts, and the next process has all that was signed.
    fails.store(u32::MAX, Ordering::SeqCst);
    record(4);
    assert!(counts().is_err());
    writer.stop();
    thread.join().unwrap();
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    assert_eq!(journal.counts(&c).unwrap().iter().sum::<u64>(), 4);
    assert_eq!(journal.head(&c).seq, 4);
}
