//! Inference through `wasi:nn`, its record, and its replay without a model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::World;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::status::Status;
use adit_protocol::tensor::{DType, TensorBlob};
use adit_protocol::transcript::{Op, Transcript};
use adit_runtime::admission::compile;
use adit_runtime::engine::{EngineOptions, Target, compiler};
use adit_runtime::executor::{Executor, Run};
use adit_runtime::live::{Device, Live, NoSink, environment_document};
use adit_runtime::nn::backend::{Backend, BackendError, BackendInfo, LoadedModel, ModelFiles};
use adit_runtime::nn::cache::ModelCache;
use adit_runtime::nn::host::ModelEntry;
use adit_runtime::nn::pool::InferencePool;
use adit_runtime::nn::rten::RtenBackend;
use adit_runtime::outcome::Outcome;
use adit_runtime::record::Answerer;
use adit_runtime::replay::{Rechecker, Replay};
use adit_runtime::state::NoEvents;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Task};

use crate::support::{Bench, guest, target, text};

const WORK: &[u8] = include_bytes!("../fixtures/work.onnx");
const DOUBLE: &[u8] = include_bytes!("../fixtures/double.onnx");

/// A run of the guest `infer` with the speech model under the name `silero`.
pub fn speech(bench: &Bench, command: &str) -> (Task, Hash) {
    let path = target().join("models/silero/model.onnx");
    let model = std::fs::read(&path).unwrap_or_else(|e| {
        panic!(
            "{}: {e}; hint: cargo xtask setup fetches it",
            path.display()
        )
    });
    let file = bench.blobs.put(&model).unwrap();
    let manifest = manifest_from_onnx(&model, "model.onnx", &OnnxLimits::default()).unwrap();
    let mut task = bench.task(
        &guest("guest_infer.wasm"),
        World::Task,
        command.as_bytes(),
        &[],
    );
    let bytes = manifest.to_cbor();
    task.spec.models = [("silero".to_owned(), bench.blobs.put(&bytes).unwrap())]
        .into_iter()
        .collect();
    task.manifests = BTreeMap::from([("silero".to_owned(), bytes)]);
    (task, file)
}

pub fn transcript(ran: &Ran) -> Transcript {
    Transcript::from_cbor(&ran.transcript).unwrap()
}

pub fn replaying(bench: &Bench, task: &Task, transcript: &[u8], every: u64) -> Task {
    let transcript = bench.blobs.put(transcript).unwrap();
    Task {
        mode: Mode::Replay { transcript, every },
        ..task.clone()
    }
}

#[test]
fn a_run_is_replayed_without_its_model() {
    let bench = Bench::new();
    let (task, file) = speech(&bench, "speech silero 20");
    let ran = bench.run(&task);
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    assert_eq!(ran.output.len(), 20 * 4);
    assert!(ran.nn_units > 0);
    let calls = transcript(&ran).calls;
    assert_eq!(calls.len(), 22);
    assert_eq!(calls[2].op, Op::Compute);
    let names: Vec<_> = calls[2].inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["input", "state", "sr"], "the manifest's order");

    // A fresh process, and no model anywhere.
    std::fs::remove_file(bench.blobs.path(&file)).unwrap();
    let other = Bench::over(&bench);
    let again = other.run(&replaying(&other, &task, &ran.transcript, 0));
    assert_eq!(again.status, Status::Ok, "{:?}", again.detail);
    assert_eq!(again.output, ran.output);
    assert_eq!(
        (again.fuel, again.peak_memory, again.nn_units),
        (ran.fuel, ran.peak_memory, ran.nn_units)
    );
    assert_eq!(again.transcript, ran.transcript);
    assert_eq!(again.divergence, None);

    // Level 3 needs the model, and says so.
    let level3 = other.run(&replaying(&other, &task, &ran.transcript, 1));
    assert_eq!(level3.status, Status::Unavailable);
    assert!(level3.detail.unwrap().contains(&file.to_string()));
}

#[test]
fn level_three_makes_every_computation_again() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "speech silero 6");
    let ran = bench.run(&task);
    let again = bench.run(&replaying(&bench, &task, &ran.transcript, 1));
    assert_eq!(again.rechecks.len(), 6);
    assert!(again.rechecks.iter().all(|r| r.exact && r.accepted));
    let sample = bench.run(&replaying(&bench, &task, &ran.transcript, 3));
    let indices: Vec<_> = sample.rechecks.iter().map(|r| r.index).collect();
    assert_eq!(indices, [2, 5]);
}

#[test]
fn a_forged_answer_is_found_by_level_three_only() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "speech silero 3");
    let ran = bench.run(&task);
    let mut forged = transcript(&ran);
    // The last answer, so that no later input depends on it: a probability of 0.9.
    let tensor = TensorBlob::encode(DType::Fp32, &[1, 1], &0.9f32.to_le_bytes());
    forged.calls[4].outputs[0].hash = bench.blobs.put(&tensor).unwrap();
    let forged = forged.to_cbor();
    let level2 = bench.run(&replaying(&bench, &task, &forged, 0));
    assert_eq!(level2.divergence, None);
    assert_ne!(level2.output, ran.output);
    let level3 = bench.run(&replaying(&bench, &task, &forged, 1));
    let accepted: Vec<_> = level3.rechecks.iter().map(|r| r.accepted).collect();
    assert_eq!(accepted, [true, true, false]);
}

#[test]
fn a_replay_names_the_first_call_that_diverges() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "speech silero 4");
    let ran = bench.run(&task);
    let original = transcript(&ran);
    let diverge = |change: &dyn Fn(&mut Transcript)| {
        let mut changed = original.clone();
        change(&mut changed);
        let task = replaying(&bench, &task, &changed.to_cbor(), 0);
        bench.run(&task).divergence.expect("a divergence")
    };

    let other = Hash::of(b"other");
    let input = diverge(&|t| t.calls[3].inputs[1].hash = other);
    assert_eq!((input.index, input.operation.as_str()), (3, "compute"));
    assert_eq!(input.expected, other.to_string());
    assert_eq!(input.actual, original.calls[3].inputs[1].hash.to_string());

    // Another answer changes what the guest asks next.
    let answer = diverge(&|t| t.calls[2].outputs[1] = t.calls[4].outputs[1].clone());
    assert_eq!(answer.index, 3);
    assert_eq!(answer.what, "input `state`");

    assert_eq!(diverge(&|t| t.calls.truncate(4)).index, 4);
    let extra = diverge(&|t| t.calls.push(t.calls[5].clone()));
    assert_eq!(
        (extra.index, extra.actual.as_str()),
        (6, "the end of the run")
    );
    let renamed = diverge(&|t| t.calls[0].name = Some("other".to_owned()));
    assert_eq!((renamed.index, renamed.what.as_str()), (0, "model name"));
    // An output that the manifest rules out: integers, where it promises floats.
    let blob = TensorBlob::encode(DType::I32, &[1, 1], &[0; 4]);
    let blob = bench.blobs.put(&blob).unwrap();
    let shape = diverge(&|t| t.calls[2].outputs[0].hash = blob);
    assert_eq!((shape.index, shape.what.as_str()), (2, "outputs"));
    assert!(
        shape.expected.contains("does not fit the manifest"),
        "{shape}"
    );
    let none = diverge(&|t| t.calls[2].outputs.clear());
    assert_eq!((none.index, none.what.as_str()), (2, "outputs"));
    let units = diverge(&|t| t.calls[2].nn_units += 1);
    assert_eq!((units.index, units.what.as_str()), (2, "nn_units"));
}

#[test]
fn missing_and_damaged_recorded_tensors_are_named() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "speech silero 2");
    let ran = bench.run(&task);
    let tensor = transcript(&ran).calls[2].outputs[1].hash;
    let path = bench.blobs.path(&tensor);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for what in ["damaged", "not in the store"] {
        let again = bench.run(&replaying(&bench, &task, &ran.transcript, 0));
        assert_eq!(again.status, Status::Unavailable);
        let detail = again.detail.unwrap();
        assert!(detail.contains(what), "{detail}");
        assert!(detail.contains(&tensor.to_hex()), "{detail}");
        let _ = std::fs::remove_file(&path);
    }
}

#[test]
fn mistakes_get_the_same_answers_from_any_backend() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "errors");
    let ran = bench.run(&task);
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    let expected = "unknown name: 6 not-found
garbage: 1 invalid-encoding
two parts: 0 invalid-argument
gpu: 4 unsupported-operation
encoding: 1 invalid-encoding
nothing: 0 invalid-argument
one missing: 0 invalid-argument
one too many: 0 invalid-argument
twice: 0 invalid-argument
ragged: 0 invalid-argument
type: 0 invalid-argument
rank: 0 invalid-argument
huge: 0 invalid-argument
good: ok
positions: ok
mixed: ok
leading zero: 0 invalid-argument
sign: 0 invalid-argument
too far: 0 invalid-argument
position and name: 0 invalid-argument
";
    assert_eq!(text(&ran), expected);
    // Whatever a guest calls its inputs, the record has the manifest's names.
    let calls = transcript(&ran).calls;
    let computed: Vec<_> = calls.iter().filter(|c| !c.outputs.is_empty()).collect();
    assert_eq!(computed.len(), 3);
    for call in &computed {
        let names: Vec<_> = call.inputs.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["input", "state", "sr"]);
        assert_eq!(call.inputs, computed[0].inputs);
    }
    let again = bench.run(&replaying(&bench, &task, &ran.transcript, 0));
    assert_eq!(text(&again), expected);
    assert_eq!(again.transcript, ran.transcript);
}

#[test]
fn a_guest_can_bring_its_own_model() {
    let bench = Bench::new();
    let input = [b"own-model 1.5 -2\n", DOUBLE].concat();
    let task = bench.task(&guest("guest_infer.wasm"), World::Task, &input, &[]);
    let ran = bench.run(&task);
    let expected: Vec<u8> = [3.0f32, -4.0]
        .iter()
        .flat_map(|f| f.to_le_bytes())
        .collect();
    assert_eq!(
        (ran.status, &ran.output),
        (Status::Ok, &expected),
        "{:?}",
        ran.detail
    );
    let again = bench.run(&replaying(&bench, &task, &ran.transcript, 0));
    assert_eq!((again.status, again.output), (Status::Ok, expected));

    let mut small = task.clone();
    small.spec.limits.model_bytes = 10;
    assert_eq!(bench.run(&small).status, Status::LimitExceeded);
}

#[test]
fn a_missing_model_is_unavailable_and_a_damaged_one_is_refused() {
    let bench = Bench::new();
    let (task, file) = speech(&bench, "speech silero 1");
    let path = bench.blobs.path(&file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(bench.run(&task).status, Status::HostFault);
    std::fs::remove_file(&path).unwrap();
    let ran = bench.run(&task);
    assert_eq!(ran.status, Status::Unavailable);
    assert!(ran.detail.unwrap().contains(&file.to_string()));
}

#[test]
fn limits_on_what_a_task_emits_returns_and_holds() {
    let bench = Bench::new();
    let infer = |command: &str| {
        let mut task = bench.task(
            &guest("guest_infer.wasm"),
            World::Task,
            command.as_bytes(),
            &[],
        );
        task.spec.limits.emit_bytes = 10_000;
        task.spec.limits.output_bytes = 20_000;
        task.spec.limits.tensor_bytes_held = 50_000;
        task.spec.limits.handles = 100;
        let ran = bench.run(&task);
        let again = bench.run(&task);
        assert_eq!(
            (ran.status, &ran.output, ran.fuel),
            (again.status, &again.output, again.fuel)
        );
        (ran.status, ran.output.len(), ran.detail.unwrap_or_default())
    };
    assert_eq!(infer("emit 10").1, 10_000);
    let (status, len, detail) = infer("emit 11");
    assert_eq!((status, len), (Status::LimitExceeded, 10_000));
    assert!(detail.contains("emit_bytes"), "{detail}");
    assert_eq!(infer("return 20000").0, Status::Ok);
    assert_eq!(infer("return 20001").0, Status::LimitExceeded);
    // More than one call may move between guest and host at all.
    assert_eq!(infer("return 20000000").0, Status::LimitExceeded);
    assert_eq!(infer("hold 100 10").0, Status::Ok);
    let (status, _, detail) = infer("hold 101 10");
    assert_eq!(status, Status::LimitExceeded);
    assert!(detail.contains("handles"), "{detail}");
    let (status, _, detail) = infer("hold 10 5000");
    assert_eq!(status, Status::LimitExceeded);
    assert!(detail.contains("tensor_bytes_held"), "{detail}");

    let ran = bench.run(&bench.task(
        &guest("guest_infer.wasm"),
        World::Task,
        b"emit-and-fail",
        &[],
    ));
    assert_eq!(
        (ran.status, text(&ran).as_str()),
        (Status::TaskError, "first second")
    );
    assert_eq!(ran.task_error, Some((42, "as asked".to_owned())));
}

/// A run whose model multiplies square matrices of `side` 60 times.
fn work(bench: &Bench, side: u32) -> Task {
    let input = [format!("own-model {side} {side}\n").as_bytes(), WORK].concat();
    bench.task(&guest("guest_infer.wasm"), World::Task, &input, &[])
}

#[test]
fn an_endless_inference_is_ended_at_the_deadline_and_others_go_on() {
    let bench = Bench::new();
    assert_eq!(bench.run(&work(&bench, 100)).status, Status::Ok);
    let pid = bench.supervisor.worker_pid();
    let (stuck, neighbour) = std::thread::scope(|scope| {
        let stuck = scope.spawn(|| {
            let mut task = work(&bench, 4000);
            task.deadline = Duration::from_millis(1500);
            bench.run(&task)
        });
        let neighbour = scope.spawn(|| {
            // Several seconds of computing, in the other slot of the same worker.
            let mut task = bench.behave(&["count", "1500000000"]);
            task.spec.limits.fuel = u64::MAX / 4;
            bench.run(&task)
        });
        (stuck.join().unwrap(), neighbour.join().unwrap())
    });
    assert_eq!(stuck.status, Status::Deadline, "{:?}", stuck.detail);
    assert_eq!(neighbour.status, Status::Ok, "{:?}", neighbour.detail);
    assert_ne!(bench.supervisor.worker_pid(), pid);
    assert_eq!(bench.run(&work(&bench, 100)).status, Status::Ok);
}

#[test]
fn an_inference_that_takes_all_memory_ends_its_worker_only() {
    let bench = Bench::with(WorkerOptions {
        memory_bytes: 1 << 30,
        ..WorkerOptions::default()
    });
    let ran = bench.run(&work(&bench, 20_000));
    assert_eq!(ran.status, Status::HostFault, "{:?}", ran.detail);
    assert_eq!(bench.run(&work(&bench, 100)).status, Status::Ok);
}

/// A backend that must not be called.
struct Forbidden;

impl Backend for Forbidden {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: "forbidden".to_owned(),
            version: String::new(),
            build: String::new(),
            execution_provider: String::new(),
            device: String::new(),
            driver: String::new(),
            precision: String::new(),
            threads: 1,
            cpu_baseline: String::new(),
            gpu: false,
            options: Default::default(),
        }
    }

    fn load(&self, _: &ModelManifest, _: ModelFiles) -> Result<Arc<dyn LoadedModel>, BackendError> {
        panic!("a replay asked a backend for a model")
    }
}

#[test]
fn level_two_asks_no_backend() {
    let bench = Bench::new();
    let (task, _) = speech(&bench, "speech silero 5");
    let ran = bench.run(&task);

    // In this process, with a backend that panics within reach.
    let executor = Executor::new(EngineOptions {
        slots: 1,
        ..EngineOptions::default()
    })
    .unwrap();
    let code = compile(
        &compiler(Target::Processor).unwrap(),
        &guest("guest_infer.wasm"),
    )
    .unwrap();
    // SAFETY: the code comes from the line before.
    let prepared = unsafe { executor.prepare(&code) }.unwrap();
    let blobs = bench.blobs.clone();
    let device = Arc::new(Device {
        pool: InferencePool::new(Arc::new(Forbidden), 1).unwrap(),
        cache: ModelCache::new(1 << 30),
        files: Box::new(move |hash: &Hash, len: u64| {
            blobs.get(hash, len).map_err(|e| e.to_string())
        }),
        environment: environment_document(Hash::ZERO, &RtenBackend::new(1).unwrap().describe()),
    });
    let manifest = &task.manifests["silero"];
    let models = BTreeMap::from([(
        "silero".to_owned(),
        ModelEntry {
            hash: Hash::of(manifest),
            manifest: Arc::new(ModelManifest::from_cbor(manifest).unwrap()),
            brought: false,
        },
    )]);
    let models = Arc::new(models);
    let findings = Arc::new(Mutex::new(Vec::new()));
    let run = |answerer: Box<dyn Answerer>| -> Outcome {
        let run = Run {
            spec: &task.spec,
            input: Arc::from(&b"speech silero 5"[..]),
            models: models.clone(),
            answerer,
            events: Box::new(NoEvents),
            deadline: None,
        };
        executor.run(&prepared, run)
    };
    struct Source(adit_runtime::store::blobs::BlobStore);
    impl adit_runtime::replay::TensorSource for Source {
        fn tensor(&mut self, hash: &Hash) -> Result<Vec<u8>, String> {
            self.0.get(hash, 1 << 30).map_err(|e| e.to_string())
        }
    }
    let replay = |rechecker| {
        let tensors = Box::new(Source(bench.blobs.clone()));
        run(Box::new(Replay::new(transcript(&ran), tensors, rechecker)))
    };
    let live = || Box::new(Live::new(device.clone(), device.clone(), Box::new(NoSink)));

    let level2 = replay(None);
    assert_eq!(
        (level2.status, level2.output),
        (Status::Ok, ran.output.clone())
    );
    assert_eq!(level2.fuel, ran.fuel);
    // The same backend is reached, and its panic contained, when something does ask it.
    let level3 = replay(Some(Rechecker {
        backend: live(),
        every: 1,
        findings,
    }));
    assert_eq!(level3.status, Status::HostFault);
    assert_eq!(run(live()).status, Status::HostFault);
}
