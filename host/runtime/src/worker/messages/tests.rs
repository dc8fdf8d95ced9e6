//! Messages from a hostile end: whatever is in a frame, reading it ends, and takes little memory.

use std::sync::LazyLock;

use adit_protocol::Hash;
use proptest::prelude::*;

use super::super::counting::peak_bytes;
use super::*;

/// What reading may take: a list is held in elements of up to three times their encoded length,
/// and twice while it grows.
fn bound(payload: usize) -> usize {
    10 * payload + 4096
}

/// Reads in both directions, within the bound.
fn read_both(payload: &[u8]) -> (bool, bool) {
    let (one, peak) = peak_bytes(|| read::<FromWorker>(payload));
    assert!(peak <= bound(payload.len()), "{peak} bytes: {one:?}");
    let (other, peak) = peak_bytes(|| read::<ToWorker>(payload));
    assert!(peak <= bound(payload.len()), "{peak} bytes: {other:?}");
    (one.is_ok(), other.is_ok())
}

fn recheck(index: u64) -> Recheck {
    Recheck {
        index,
        exact: index.is_multiple_of(2),
        accepted: true,
        max_abs: 1e-3,
        model: adit_protocol::Hash::ZERO,
        recorded: Some(adit_protocol::Hash::ZERO),
        environment: None,
        max_rel: f64::INFINITY,
    }
}

fn done() -> Done {
    Done {
        job: 7,
        status: 2,
        fuel: u64::MAX,
        nn_units: 1,
        peak_memory: 65_536,
        duration_us: 12,
        task_error_code: Some(42),
        task_error_message: Some("as asked".to_owned()),
        detail: Some("it trapped".to_owned()),
        divergence: Some(Divergence {
            index: 3,
            operation: "compute".to_owned(),
            what: "outputs".to_owned(),
            expected: "one".to_owned(),
            actual: "another".to_owned(),
        }),
        rechecks: (0..20).map(recheck).collect(),
        refusal: Some(Refusal::TooLarge { bytes: 1 << 40 }),
    }
}

/// One message of each kind that a worker sends.
fn from_worker() -> Vec<FromWorker> {
    let part = |stream, more| FromWorker::Part {
        job: 1,
        stream,
        bytes: vec![0x9f; 300],
        more,
    };
    vec![
        FromWorker::Ready(Hello {
            engine: Hash::of(b"engine"),
            compatibility: [9; 32],
            environment: vec![1; 50],
            gpu: true,
            sandbox: "seccomp".to_owned(),
            device_memory_bytes: 0,
            interpreter: false,
        }),
        FromWorker::Need {
            request: 5,
            kind: Kind::Code,
            hash: Hash::of(b"component"),
        },
        part(Stream::Output, false),
        part(Stream::Blob, true),
        FromWorker::Progress {
            job: 1,
            done: 2,
            total: 3,
            note: "halfway".to_owned(),
        },
        FromWorker::Done(done()),
        FromWorker::Refused(Refusal::NotWasm),
        FromWorker::Code(vec![7; 100]),
    ]
}

/// One message of each kind that a supervisor sends.
fn to_worker() -> Vec<ToWorker> {
    let named = |name: &str| NamedBytes {
        name: name.to_owned(),
        bytes: vec![3; 20],
    };
    let job = |mode| Job {
        job: 1,
        spec: vec![1; 200],
        manifests: vec![named("a"), named("b")],
        deadline_ms: 1000,
        mode,
        input: Some(b"input".to_vec()),
    };
    let replay = Mode::Replay {
        transcript: Hash::of(b"transcript"),
        every: 2,
    };
    let blob = |blob| ToWorker::Blob { request: 9, blob };
    vec![
        ToWorker::Run(job(Mode::Live)),
        ToWorker::Run(job(replay)),
        ToWorker::Cancel { job: 1 },
        blob(BlobReply::Inline(vec![5; 40])),
        blob(BlobReply::File(1 << 33)),
        blob(BlobReply::Missing("it is not there".to_owned())),
        ToWorker::Compile { wasm: vec![0; 10] },
    ]
}

/// Real payloads in both directions.
static REAL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let up = from_worker().into_iter().map(minicbor::to_vec);
    let down = to_worker().into_iter().map(minicbor::to_vec);
    up.chain(down).map(Result::unwrap).collect()
});

#[test]
fn every_message_is_read_as_it_was_written_and_no_prefix_of_it_is() {
    for message in from_worker() {
        let payload = minicbor::to_vec(&message).unwrap();
        let again: FromWorker = read(&payload).unwrap();
        assert_eq!(minicbor::to_vec(again).unwrap(), payload);
    }
    for message in to_worker() {
        let payload = minicbor::to_vec(&message).unwrap();
        let again: ToWorker = read(&payload).unwrap();
        assert_eq!(minicbor::to_vec(again).unwrap(), payload);
    }
    for payload in REAL.iter() {
        assert_ne!(read_both(payload), (false, false));
        for cut in 0..payload.len() {
            assert_eq!(read_both(&payload[..cut]), (false, false));
        }
        let longer = [payload, &[0][..]].concat();
        assert_eq!(read_both(&longer), (false, false));
    }
}

#[test]
fn what_may_wait_in_memory_is_bounded_more_tightly_than_a_frame() {
    let part = |length| FromWorker::Part {
        job: 1,
        stream: Stream::Output,
        bytes: vec![0; length],
        more: false,
    };
    let note = |length| FromWorker::Progress {
        job: 1,
        done: 0,
        total: 0,
        note: "n".repeat(length),
    };
    let refused = |message: &FromWorker| {
        let payload = minicbor::to_vec(message).unwrap();
        match read::<FromWorker>(&payload) {
            Ok(_) => None,
            Err(MessageError::TooLong { what, .. }) => Some(what),
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(refused(&part(PART_BYTES)), None);
    assert_eq!(refused(&part(PART_BYTES + 1)), Some("part"));
    assert_eq!(refused(&note(PROGRESS_NOTE_BYTES)), None);
    assert_eq!(refused(&note(PROGRESS_NOTE_BYTES + 1)), Some("note"));
    let code = FromWorker::Code(vec![0; PART_BYTES + 1]);
    assert_eq!(refused(&code), Some("code"));
}

#[test]
fn nested_items_without_length_cost_nothing() {
    // An unknown field beside that of a cancellation: a pair of items, the first of them a deep
    // nest of lists without a length.
    let nest = 100_000;
    let mut payload = vec![0x82, 1, 0x82, 1, 0x82];
    payload.extend(vec![0x9f; nest]);
    // This is what the check before the decoder is there for.
    let (unchecked, peak) = peak_bytes(|| minicbor::decode::<ToWorker>(&payload));
    assert!(unchecked.is_err() && peak > 16 * nest, "{peak}");
    let (refused, peak) = peak_bytes(|| read::<ToWorker>(&payload));
    let error = refused.unwrap_err();
    assert!(matches!(error, MessageError::Indefinite { offset: 5 }));
    assert!(peak < 4096, "{peak}");

    // Definite ones are skipped in place, however deep.
    let mut definite = vec![0x82, 1, 0x82, 1];
    definite.extend(vec![0x81; 2 * nest]);
    definite.push(0);
    let (result, peak) = peak_bytes(|| read::<ToWorker>(&definite));
    assert!(matches!(result, Ok(ToWorker::Cancel { job: 1 })));
    assert!(peak < 4096, "{peak}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_within_the_bound(payload in prop::collection::vec(any::<u8>(), 0..600)) {
        read_both(&payload);
    }

    /// Heads of CBOR items, which random bytes seldom make sense as.
    #[test]
    fn random_items_are_read_within_the_bound(
        kind in 0u8..7,
        items in prop::collection::vec(
            (0u8..8, prop_oneof![0u8..24, Just(24u8), Just(27), Just(31)], any::<u8>()),
            0..300,
        ),
    ) {
        let mut payload = vec![0x82, kind, 0x8c];
        for (major, info, byte) in items {
            payload.push(major << 5 | info);
            if info >= 24 {
                payload.push(byte);
            }
        }
        read_both(&payload);
    }

    #[test]
    fn flipped_bits_are_read_within_the_bound(
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
    ) {
        let mut payload = which.get(&REAL).clone();
        for (at, bit) in flips {
            let at = at.index(payload.len());
            payload[at] ^= 1 << bit;
        }
        read_both(&payload);
    }

    #[test]
    fn spliced_messages_are_read_within_the_bound(
        (one, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        (from, to) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let (one, other) = (one.get(&REAL), other.get(&REAL));
        let payload = [&one[..from.index(one.len())], &other[to.index(other.len())..]].concat();
        read_both(&payload);
    }
}
