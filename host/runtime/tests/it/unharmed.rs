//! After each hostile guest of the conformance suite the next task in the same worker runs as if
//! nothing had been.

use std::collections::BTreeMap;

use adit_conformance::case::{Case, Suite};
use adit_conformance::places::{self, Places};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::World;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::status::Status;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Task};

use crate::support::{Bench, guest, target};

const DOUBLE: &[u8] = include_bytes!("../fixtures/double.onnx");

/// What a small task gives: its status, output, fuel, peak memory and work units.
type Known = (Status, Vec<u8>, u64, u64, u64);

fn known(ran: Ran) -> Known {
    (
        ran.status,
        ran.output,
        ran.fuel,
        ran.peak_memory,
        ran.nn_units,
    )
}

/// Two small tasks: one that only computes, one with an inference.
fn small(bench: &Bench) -> [Known; 2] {
    let input = b"what the next tenant sends";
    let args = ["echo"];
    let echo = bench.task(&guest("guest-behave.wasm"), World::Command, input, &args);
    let input = [b"own-model 1.5 -2\n", DOUBLE].concat();
    let infer = bench.task(&guest("guest_infer.wasm"), World::Task, &input, &[]);
    [echo, infer].map(|task| known(bench.run(&task)))
}

/// The task of a case, or nothing if its models are no models: then there is nothing to run.
fn task(bench: &Bench, places: &Places, case: &Case) -> Option<Task> {
    let mut component = Vec::new();
    case.guest.write(places, &mut component).unwrap();
    let mut input = Vec::new();
    case.input.write(places, &mut input).unwrap();
    // As the command line does it: the world that a component exports, a task before a command.
    let name = b"wasi:cli/run@0.2.";
    let world = match component.windows(name.len()).any(|window| window == name) {
        true => World::Command,
        false => World::Task,
    };
    let args: Vec<&str> = case.args.iter().map(String::as_str).collect();
    let mut task = bench.task(&component, world, &input, &args);
    let mut models = Vec::new();
    for (name, model) in &case.models {
        let mut bytes = Vec::new();
        model.write(places, &mut bytes).unwrap();
        let manifest = manifest_from_onnx(&bytes, "model.onnx", &OnnxLimits::default()).ok()?;
        bench.blobs.put(&bytes).unwrap();
        models.push((name.clone(), manifest.to_cbor()));
    }
    task.manifests = models.into_iter().collect::<BTreeMap<_, _>>();
    let hash = |(name, bytes): (&String, &Vec<u8>)| (name.clone(), bench.blobs.put(bytes).unwrap());
    task.spec.models = task.manifests.iter().map(hash).collect();
    for (to, from) in task.spec.seed.iter_mut().zip(
        // A number becomes a seed with its lowest byte first.
        case.seed.to_le_bytes().into_iter().chain([0; 24]),
    ) {
        *to = from;
    }
    task.spec.clock_start_ns = case.clock * 1_000_000_000;
    task.spec.limits.fuel = case.limits.fuel.0;
    task.spec.limits.memory_bytes = case.limits.memory.0;
    if let Some(output) = case.limits.output {
        task.spec.limits.output_bytes = output.0;
        task.spec.limits.emit_bytes = output.0;
    }
    task.deadline = case.limits.deadline.0;
    Some(task)
}

/// The outcome must be the one of the data file here too, where nothing but the runtime has a say.
fn check(case: &Case, ran: &Ran) {
    let name = &case.name;
    let expect = &case.expect;
    let Some(status) = &expect.status else {
        // What the command line refuses, the runtime does not run either.
        assert_eq!(ran.status, Status::InvalidComponent, "{name}");
        return;
    };
    assert_eq!(ran.status.name(), status, "{name}: {:?}", ran.detail);
    let fuel = expect.fuel.unwrap_or(ran.fuel);
    let peak = expect.peak_memory.unwrap_or(ran.peak_memory);
    assert_eq!((ran.fuel, ran.peak_memory), (fuel, peak), "{name}");
    assert_eq!(ran.nn_units, expect.nn_units, "{name}");
    if let Some(output) = &expect.output {
        let hash = Hash::of(&ran.output).to_string();
        assert!(output.admits(&hash, ran.output.len() as u64), "{name}");
    }
}

#[test]
fn the_next_task_in_the_same_worker_runs_unharmed() {
    let places = Places::of_target(&target());
    let suite = Suite::load(&places::suite().join("cases")).unwrap();
    // One slot, so that the next task is the next one in the same thread too.
    let bench = Bench::with(WorkerOptions {
        slots: 1,
        ..WorkerOptions::default()
    });
    let before = small(&bench);
    assert_eq!(before[0].0, Status::Ok);
    let doubled: Vec<u8> = [3.0f32, -4.0].map(f32::to_le_bytes).concat();
    assert_eq!((before[1].0, &before[1].1), (Status::Ok, &doubled));
    for case in &suite.cases {
        let pid = bench.supervisor.worker_pid().unwrap();
        match task(&bench, &places, case) {
            Some(task) => check(case, &bench.run(&task)),
            None => assert!(!case.has_receipt(), "{}: its model is none", case.name),
        }
        assert_eq!(small(&bench), before, "after {}", case.name);
        let now = bench.supervisor.worker_pid().unwrap();
        assert_eq!(now != pid, case.ends_worker, "after {}", case.name);
    }
}
