//! What miners and coordinators send each other.

use adit_protocol::cbor::{Document, Reason};
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, HandInItem, HandInResult, Hello, OfferedDevice, Poll, PollAnswer,
    Progress, ProgressReport, Welcome, Work,
};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::signed::Signable;

use super::leases::{acceptance, active_until, assignment};
use super::sample_genesis;
use crate::fixtures::{coordinator, miner, receipt, rng};
use crate::vectors::documents::samples::h;
use crate::vectors::documents::{invalid, kind, mistyped, replaced};
use crate::vectors::kind::{Bad, Kind};

pub fn kinds() -> Vec<Kind> {
    vec![
        hellos(),
        welcomes(),
        echoes(),
        polls(),
        poll_answers(),
        progress_reports(),
        hand_ins(),
        hand_in_answers(),
    ]
}

/// A document whose list at `path` claims more entries than any reader takes.
fn long_list<D: Document>(good: &D, path: &[usize], name: &str) -> Bad {
    let offset = crate::vectors::cbor::Node::parse(&good.to_cbor()).offset(path);
    let reason = Reason::OverBound {
        offset,
        what: "array",
        found: 4097,
        max: 4096,
    };
    let bytes = replaced(good, path, &[0x99, 0x10, 0x01]);
    Bad::new(name, bytes, reason, "it claims 4097 entries")
}

fn device() -> OfferedDevice {
    OfferedDevice {
        environment: b"an environment document".to_vec(),
        gpu: true,
        memory_bytes: 24 << 30,
    }
}

fn hello() -> Hello {
    Hello {
        genesis: sample_genesis().hash(),
        software: "0.1.0".into(),
        engine: h("engine"),
        devices: vec![device()],
        slots: 4,
        hardware: Some(b"a signed hardware record".to_vec().into()),
    }
}

fn hellos() -> Kind {
    let good = vec![
        ("plain", hello()),
        (
            "least",
            Hello {
                software: "0".into(),
                devices: vec![OfferedDevice {
                    environment: vec![],
                    gpu: false,
                    memory_bytes: 0,
                }],
                slots: 1,
                hardware: None,
                ..hello()
            },
        ),
        (
            "most",
            Hello {
                software: "0".repeat(64),
                devices: vec![device(); 64],
                slots: 4096,
                ..hello()
            },
        ),
    ];
    let broken = |name, change: fn(&mut Hello), field, why| {
        let mut document = hello();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let bad = vec![
        broken(
            "no-version",
            |d| d.software.clear(),
            "software",
            "the version of the software is empty",
        ),
        broken(
            "no-device",
            |d| d.devices.clear(),
            "devices",
            "nothing could run",
        ),
        broken(
            "devices-65",
            |d| d.devices = vec![device(); 65],
            "devices",
            "65 devices are one too many",
        ),
        broken("no-slot", |d| d.slots = 0, "slots", "it takes nothing"),
        broken(
            "slots-4097",
            |d| d.slots = 4097,
            "slots",
            "4097 assignments at one time are one too many",
        ),
        mistyped(
            "gpu-as-a-number",
            &hello(),
            &[3, 0, 1],
            &[1],
            "whether it is a GPU is a boolean",
        ),
        mistyped(
            "hardware-as-a-map",
            &hello(),
            &[5],
            &[0xa0],
            "the hardware record is there as a map, and not as bytes",
        ),
    ];
    kind(
        "hellos",
        "A miner begins to work for a coordinator. Documents inside are bytes, and not looked into.",
        good,
        bad,
    )
}

fn welcome() -> Welcome {
    Welcome {
        active: active_until().sign(&coordinator(), &mut rng()),
        last_seq: 6,
        last_receipt: h("receipt"),
        open: vec![assignment().hash(), h("another assignment")],
        echo: [7; 32],
    }
}

fn welcomes() -> Kind {
    let good = vec![
        ("plain", welcome()),
        (
            "to-a-new-one",
            Welcome {
                last_seq: 0,
                last_receipt: adit_protocol::Hash::ZERO,
                open: vec![],
                ..welcome()
            },
        ),
    ];
    let w = welcome();
    let bad = vec![
        long_list(&w, &[3], "open-4097"),
        mistyped(
            "active-without-signature",
            &w,
            &[0],
            &active_until().to_cbor(),
            "the time until which it is active is not signed",
        ),
        mistyped(
            "echo-of-31-bytes",
            &w,
            &[4],
            &[&[0x58, 31][..], &[7; 31]].concat(),
            "a byte to be sent back is missing",
        ),
    ];
    kind(
        "welcomes",
        "The coordinator's answer to a hello. Whether what is signed in it holds is another matter.",
        good,
        bad,
    )
}

fn echoes() -> Kind {
    let echo = |byte| Echo { echo: [byte; 32] };
    let good = vec![("plain", echo(7)), ("zeros", echo(0))];
    let bad = vec![
        mistyped(
            "of-33-bytes",
            &echo(7),
            &[0],
            &[&[0x58, 33][..], &[7; 33]].concat(),
            "there is a byte too many",
        ),
        Bad::new(
            "of-65-bytes",
            [&[0xa1, 0, 0x58, 65][..], &[7; 60]].concat(),
            Reason::OverBound {
                offset: 2,
                what: "byte string",
                found: 65,
                max: 64,
            },
            "it claims 65 bytes",
        ),
        Bad::new(
            "too-long",
            [0; 65],
            Reason::TooLong { found: 65, max: 64 },
            "it is longer than any echo",
        ),
    ];
    kind(
        "echoes",
        "Sends back 32 bytes, so that the round trip can be measured.",
        good,
        bad,
    )
}

fn poll() -> Poll {
    Poll {
        want: 3,
        wait_ms: 20_000,
        accepted: vec![acceptance().sign(&miner(1), &mut rng())],
        working: vec![assignment().hash()],
    }
}

fn polls() -> Kind {
    let good = vec![
        ("plain", poll()),
        (
            "paused",
            Poll {
                want: 0,
                wait_ms: 0,
                accepted: vec![],
                working: vec![],
            },
        ),
        (
            "largest-numbers",
            Poll {
                want: u32::MAX,
                wait_ms: u32::MAX,
                working: (0..200)
                    .map(|n: u8| adit_protocol::Hash::of(&[n]))
                    .collect(),
                ..poll()
            },
        ),
    ];
    // A body of no acceptance is not looked into here, and keeps the file small.
    let small = |count| {
        let signed = [&[0xa2, 0, 0x40, 1, 0x58, 64][..], &[3; 64]].concat();
        let list = [
            &[0x99, 1, count][..],
            &signed.repeat(256 + usize::from(count)),
        ]
        .concat();
        replaced(&poll(), &[2], &list)
    };
    let bad = vec![
        Bad::new(
            "accepted-257",
            small(1),
            Reason::Invalid {
                field: "accepted",
                detail: String::new(),
            },
            "257 acceptances are one too many",
        ),
        long_list(&poll(), &[3], "working-4097"),
        mistyped(
            "want-of-33-bits",
            &poll(),
            &[0],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "how many it wants has 32 bits",
        ),
        Bad::new(
            "acceptance-over-bound",
            replaced(&poll(), &[2, 0, 0], &[&[0x58, 129][..], &[7; 129]].concat()),
            Reason::OverBound {
                offset: crate::vectors::cbor::Node::parse(&poll().to_cbor()).offset(&[2, 0, 0]),
                what: "byte string",
                found: 129,
                max: 128,
            },
            "what was accepted is longer than an acceptance can be",
        ),
    ];
    kind("polls", "A miner asks for work.", good, bad)
}

fn poll_answer() -> PollAnswer {
    let work = Work {
        assignment: assignment().sign(&coordinator(), &mut rng()),
        task: b"a task spec".to_vec(),
        exec: b"an exec spec".to_vec(),
        blobs: vec![b"an input".to_vec().into(), Vec::<u8>::new().into()],
        traceparent: None,
    };
    PollAnswer {
        active: active_until().sign(&coordinator(), &mut rng()),
        work: vec![work],
        ended: vec![h("another assignment")],
        idle: None,
        echo: Some(vec![7; 32].into()),
    }
}

fn poll_answers() -> Kind {
    let a = poll_answer();
    let good = vec![
        ("plain", poll_answer()),
        (
            "idle",
            PollAnswer {
                work: vec![],
                ended: vec![],
                idle: Some("not-drawn".into()),
                echo: None,
                ..poll_answer()
            },
        ),
        (
            "traced",
            PollAnswer {
                work: vec![Work {
                    traceparent: Some(
                        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
                    ),
                    ..a.work[0].clone()
                }],
                ..poll_answer()
            },
        ),
        (
            "body-that-is-no-assignment",
            PollAnswer {
                work: vec![Work {
                    assignment: {
                        use adit_protocol::signed::Signed;
                        let empty = super::assembled(&[], &[3; 64]);
                        Signed::from_cbor(&empty).expect("a body that is not looked into")
                    },
                    blobs: vec![],
                    ..a.work[0].clone()
                }],
                ..poll_answer()
            },
        ),
    ];
    let bad = vec![
        long_list(&a, &[1], "work-4097"),
        mistyped(
            "assignment-without-signature",
            &a,
            &[1, 0, 0],
            &assignment().to_cbor(),
            "an assignment is not signed",
        ),
        mistyped(
            "work-without-task",
            &a,
            &[1, 0],
            &[0xa0],
            "a piece of work is empty",
        ),
        mistyped(
            "blob-as-a-text",
            &a,
            &[1, 0, 3, 0],
            &[0x61, b'a'],
            "a blob is a text",
        ),
    ];
    kind(
        "poll-answers",
        "The coordinator's answer to a poll: assignments with what is needed to begin. What is signed or encoded inside is not looked into; its JSON is null where it is malformed.",
        good,
        bad,
    )
}

fn progress_reports() -> Kind {
    let progress = || Progress {
        assignment: assignment().hash(),
        number: 1,
        done: 5,
        total: 20,
        note: "layer 5 of 20 ™".into(),
        chunk: Some(b"chunk".to_vec().into()),
    };
    let report = |reports| ProgressReport { reports };
    let plain = report(vec![
        progress(),
        Progress {
            number: 2,
            total: 0,
            note: String::new(),
            chunk: None,
            ..progress()
        },
    ]);
    let large = Progress {
        number: u64::MAX,
        done: u64::MAX,
        total: u64::MAX,
        note: "n".repeat(4096),
        ..progress()
    };
    let least = Progress {
        note: String::new(),
        chunk: None,
        ..progress()
    };
    let bad = vec![
        invalid(
            "reports-257",
            &report(vec![least; 257]),
            "reports",
            "257 reports are one too many",
        ),
        long_list(&plain, &[0], "reports-4097"),
        Bad::new(
            "note-of-4097-bytes",
            replaced(&plain, &[0, 0, 4], &[0x79, 0x10, 0x01]),
            Reason::OverBound {
                offset: crate::vectors::cbor::Node::parse(&plain.to_cbor()).offset(&[0, 0, 4]),
                what: "text",
                found: 4097,
                max: 4096,
            },
            "it claims a note of 4097 bytes",
        ),
        mistyped(
            "chunk-as-a-text",
            &plain,
            &[0, 0, 5],
            &[0x61, b'a'],
            "a chunk is a text",
        ),
    ];
    let good = vec![
        ("plain", plain),
        ("nothing", report(vec![])),
        ("largest-numbers", report(vec![large])),
    ];
    kind(
        "progress-reports",
        "How far tasks are, for their clients.",
        good,
        bad,
    )
}

fn hand_ins() -> Kind {
    let item = || HandInItem {
        receipt: receipt(&miner(1), 6).to_bytes().to_vec(),
        opening: ReceiptOpening {
            input: h("input"),
            output: h("output"),
            transcript: h("transcript"),
        },
        blobs: vec![b"output".to_vec().into(), b"transcript".to_vec().into()],
        detail: Some("it ended ™".into()),
        log: Some(b"stderr \xff".to_vec().into()),
    };
    let least = || HandInItem {
        receipt: vec![],
        blobs: vec![],
        detail: None,
        log: None,
        ..item()
    };
    let hand_in = |items| HandIn { items };
    let plain = hand_in(vec![item(), least()]);
    let bad = vec![
        invalid(
            "items-257",
            &hand_in(vec![least(); 257]),
            "items",
            "257 receipts are one too many",
        ),
        long_list(&plain, &[0, 0, 2], "blobs-4097"),
        Bad::new(
            "blob-over-bound",
            replaced(&plain, &[0, 0, 2, 0], &[0x5a, 0, 1, 0, 1]),
            Reason::OverBound {
                offset: crate::vectors::cbor::Node::parse(&plain.to_cbor()).offset(&[0, 0, 2, 0]),
                what: "byte string",
                found: 65_537,
                max: 65_536,
            },
            "a blob claims 65537 bytes, and has to be uploaded by itself",
        ),
        mistyped(
            "opening-without-transcript",
            &plain,
            &[0, 0, 1],
            &[0xa0],
            "the opening is empty",
        ),
    ];
    let good = vec![("plain", plain), ("nothing", hand_in(vec![]))];
    kind(
        "hand-ins",
        "A miner hands in receipts with what is behind them. Receipts are bytes, and not looked into.",
        good,
        bad,
    )
}

fn hand_in_answers() -> Kind {
    let taken = HandInResult {
        leaf: Some(u64::MAX),
        countersignature: Some(vec![3; 64].into()),
        refused: None,
        detail: None,
        missing: vec![],
    };
    let refused = HandInResult {
        leaf: None,
        countersignature: None,
        refused: Some("blob-missing".into()),
        detail: Some("d".repeat(4096)),
        missing: vec![h("blob"), h("another blob")],
    };
    let answer = |results| HandInAnswer { results };
    let plain = answer(vec![taken, refused]);
    let bad = vec![
        long_list(&plain, &[0], "results-4097"),
        mistyped(
            "missing-as-one-hash",
            &plain,
            &[0, 0, 2],
            &[&[0x58, 32][..], &[7; 32]].concat(),
            "what is missing is a hash in place of a list",
        ),
        mistyped(
            "leaf-negative-in-a-text",
            &plain,
            &[0, 0, 0],
            &[0x62, b'-', b'1'],
            "the leaf is a text",
        ),
    ];
    let good = vec![("plain", plain), ("nothing", answer(vec![]))];
    kind(
        "hand-in-answers",
        "What became of receipts that were handed in.",
        good,
        bad,
    )
}
