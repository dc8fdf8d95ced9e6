//! A worker that was taken over, against its supervisor.
//!
//! The supervisor here is the real one. Its worker is this test program, started again to run
//! only [`hostile_worker_entry`]: it says that it is ready, takes a job, and does what an attacker
//! would, by way of a small script that passes on what to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::status::Status;
use adit_runtime::engine_document::engine_document;
use adit_runtime::worker::channel::{Channel, Receiver, Sender};
use adit_runtime::worker::messages::{
    BlobReply, Done, FromWorker, Hello, Job, Kind, PART_BYTES, Stream, ToWorker,
};
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Task};

use crate::inference::{replaying, speech, transcript};
use crate::support::{Bench, guest};

const ASK: &str = "ADIT_TEST_HOSTILE_WORKER";

/// The child's side. Without the variable this is an ordinary test that has nothing to do.
#[test]
fn hostile_worker_entry() {
    let Ok(ask) = std::env::var(ASK) else {
        return;
    };
    let (mut sender, mut receiver) = Channel::from_stdin().unwrap().split();
    let ready = FromWorker::Ready(Hello {
        engine: engine_document().hash(),
        compatibility: [7; 32],
        environment: Vec::new(),
        gpu: false,
        sandbox: String::new(),
        device_memory_bytes: 0,
        interpreter: false,
    });
    say(&mut sender, &ready);
    while let Some(ToWorker::Run(job)) = hear(&mut receiver) {
        let (kind, hash) = ask.split_once(' ').unwrap();
        if kind == "say" {
            break_the_rules(&mut sender, hash, job.job);
            // The supervisor is to end this process, not the other way round.
            while hear(&mut receiver).is_some() {}
            break;
        }
        let kind = match kind {
            "blob" => Kind::Blob,
            "code" => Kind::Code,
            other => panic!("no kind {other:?}"),
        };
        let hash = hash.parse().unwrap();
        leak(&mut sender, &mut receiver, &job, kind, hash);
    }
    // The runner would print to a closed channel.
    std::process::exit(0);
}

fn say(sender: &mut Sender, message: &FromWorker) {
    let _ = sender.send(&minicbor::to_vec(message).unwrap(), &[]);
}

fn hear(receiver: &mut Receiver) -> Option<ToWorker> {
    let frame = receiver.recv().ok()?;
    Some(minicbor::decode(&frame.payload).unwrap())
}

/// Ask for something, and give it away as the output of the job.
fn leak(sender: &mut Sender, receiver: &mut Receiver, job: &Job, kind: Kind, hash: Hash) {
    let need = FromWorker::Need {
        request: 0,
        kind,
        hash,
    };
    say(sender, &need);
    let bytes = match hear(receiver) {
        Some(ToWorker::Blob { blob, .. }) => match blob {
            BlobReply::Inline(bytes) => bytes,
            BlobReply::File(len) => format!("a file of {len} bytes").into_bytes(),
            BlobReply::Missing(why) => why.into_bytes(),
        },
        // The supervisor is gone.
        _ => return,
    };
    let part = FromWorker::Part {
        job: job.job,
        stream: Stream::Output,
        bytes,
        more: false,
    };
    say(sender, &part);
    let done = FromWorker::Done(Done {
        job: job.job,
        status: Status::Ok as u8,
        refusal: None,
        fuel: 0,
        nn_units: 0,
        peak_memory: 0,
        duration_us: 0,
        task_error_code: None,
        task_error_message: None,
        detail: None,
        divergence: None,
        rechecks: Vec::new(),
    });
    say(sender, &done);
}

/// Send what no worker may.
fn break_the_rules(sender: &mut Sender, how: &str, job: u64) {
    let part = |length| FromWorker::Part {
        job,
        stream: Stream::Output,
        bytes: vec![b'x'; length],
        more: false,
    };
    let payload = match how {
        "nothing" => Vec::new(),
        "text" => b"let me out".to_vec(),
        "overlong" => minicbor::to_vec(part(PART_BYTES + 1)).unwrap(),
        "trailing" => [minicbor::to_vec(part(1)).unwrap(), vec![0]].concat(),
        // A request with a field that there is not: lists in lists in lists, without an end.
        "nested" => [vec![0x82, 1, 0x84, 0, 0], vec![0x9f; 30 << 20]].concat(),
        "code" => minicbor::to_vec(FromWorker::Code(vec![1])).unwrap(),
        other => panic!("no way {other:?}"),
    };
    let _ = sender.send(&payload, &[]);
}

/// A program for a supervisor: compiles as the real worker does, and runs this one with `ask`.
fn script(folder: &Path, ask: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let real = env!("CARGO_BIN_EXE_adit-worker");
    // A shell adds variables to the environment, which the real worker refuses.
    let text = format!(
        "#!/bin/sh\n\
         if [ \"$2\" = compile ]; then exec env -i '{real}' \"$@\"; fi\n\
         {ASK}='{ask}' exec '{}' hostile_worker::hostile_worker_entry --exact --nocapture\n",
        this.display()
    );
    let (written, program) = (folder.join("script.txt"), folder.join("worker"));
    std::fs::write(&written, text).unwrap();
    // A copy by another process: a file that this one has had open for writing may still be open
    // in a child that another test is just starting, and could not be executed then.
    let installed = Command::new("install")
        .args(["-m", "755"])
        .args([&written, &program])
        .status()
        .unwrap();
    assert!(installed.success());
    program
}

/// What comes of `task` in a worker that asks for something and gives it away.
fn asked(bench: &Bench, task: &Task, kind: &str, what: &dyn std::fmt::Display) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), &format!("{kind} {what}"));
    let hostile = Bench::of(program, &bench.blobs, WorkerOptions::default());
    hostile.run(task)
}

fn given(ran: &Ran) -> Vec<u8> {
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    ran.output.clone()
}

fn refused(ran: &Ran, hash: &Hash) {
    assert_eq!(ran.status, Status::HostFault, "{:?}", ran.detail);
    assert!(ran.output.is_empty());
    let detail = ran.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("none of its jobs names"), "{detail}");
    assert!(detail.contains(&hash.to_string()), "{detail}");
}

#[test]
fn a_worker_gets_what_its_job_names_and_no_other_blob() {
    let bench = Bench::new();
    let (task, file) = speech(&bench, "speech silero 1");
    let secret = bench.blobs.put(b"somebody else's input").unwrap();

    let input = asked(&bench, &task, "blob", &task.spec.input);
    assert_eq!(given(&input), b"speech silero 1");
    let model = asked(&bench, &task, "blob", &file);
    assert!(given(&model).starts_with(b"a file of "));
    let code = asked(&bench, &task, "code", &task.spec.component);
    assert!(given(&code).starts_with(b"a file of "));

    refused(&asked(&bench, &task, "blob", &secret), &secret);
    // Its component is there as code, not to be read, and its manifest has come with the job.
    let component = task.spec.component;
    refused(&asked(&bench, &task, "blob", &component), &component);
    let other = bench.blobs.put(&guest("guest-behave.wasm")).unwrap();
    refused(&asked(&bench, &task, "code", &other), &other);
    // What is nowhere is refused in the same words: it cannot be told from what is there.
    let nowhere = Hash::of(b"nowhere");
    refused(&asked(&bench, &task, "blob", &nowhere), &nowhere);
}

#[test]
fn a_replaying_worker_gets_its_transcript_and_the_outputs_recorded_there() {
    let bench = Bench::new();
    let (task, file) = speech(&bench, "speech silero 2");
    let ran = bench.run(&task);
    let calls = transcript(&ran).calls;
    let output = calls[2].outputs[1].hash;
    let level2 = replaying(&bench, &task, &ran.transcript, 0);
    let level3 = replaying(&bench, &task, &ran.transcript, 1);
    let own = bench.blobs.put(&ran.transcript).unwrap();

    given(&asked(&bench, &level2, "blob", &own));
    given(&asked(&bench, &level2, "blob", &output));
    refused(&asked(&bench, &level2, "blob", &file), &file);
    given(&asked(&bench, &level3, "blob", &file));
    // In the run itself, its transcript and what it will produce are nobody's to read yet.
    refused(&asked(&bench, &task, "blob", &own), &own);
    refused(&asked(&bench, &task, "blob", &output), &output);
}

#[test]
fn a_worker_that_breaks_the_rules_is_ended_with_the_reason() {
    let bench = Bench::new();
    let task = bench.behave(&["exit", "0"]);
    for (how, why) in [
        ("nothing", "malformed"),
        ("text", "malformed"),
        ("overlong", "1048576 are the most"),
        ("trailing", "1 bytes follow the message"),
        ("nested", "unknown length at byte 5"),
        ("code", "not its to send"),
    ] {
        let ran = asked(&bench, &task, "say", &how);
        assert_eq!(ran.status, Status::HostFault, "{how}");
        let detail = ran.detail.unwrap();
        assert!(detail.contains(why), "{how}: {detail}");
        assert!(ran.output.is_empty(), "{how}");
    }
}
