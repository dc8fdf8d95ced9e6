//! The interpreter as a second opinion: the same runs as native code and as bytecode, through the
//! real worker process, with everything that a receipt holds compared.

use adit_protocol::exec::World;
use adit_protocol::status::Status;
use adit_runtime::worker::supervisor::{Ran, Task};

use crate::inference::{replaying, speech, transcript};
use crate::support::{Bench, facts, guest, text};

/// A supervisor for each target, over the same blobs and the same folder of compiled code.
fn pair() -> (Bench, Bench) {
    let native = Bench::new();
    let interpreter = Bench::interpreter(&native);
    assert!(!native.supervisor.hello().unwrap().interpreter);
    assert!(interpreter.supervisor.hello().unwrap().interpreter);
    (native, interpreter)
}

/// Run on both, and demand that everything a receipt holds is the same.
fn both((native, interpreter): &(Bench, Bench), task: &Task) -> Ran {
    let ran = native.run(task);
    let again = interpreter.run(task);
    assert_eq!(
        facts(&ran),
        facts(&again),
        "{:?} {:?}",
        ran.detail,
        again.detail
    );
    assert_eq!(ran.log, again.log);
    assert_eq!(ran.task_error, again.task_error);
    ran
}

#[test]
fn the_engine_id_is_the_same_and_compiled_code_is_kept_apart() {
    let pair = pair();
    let hellos = [&pair.0, &pair.1].map(|b| b.supervisor.hello().unwrap());
    assert_eq!(hellos[0].engine, hellos[1].engine);
    assert_eq!(hellos[0].environment, hellos[1].environment);
    assert_ne!(hellos[0].compatibility, hellos[1].compatibility);
    let compiled = || {
        let code = pair.0.dir.path().join("code");
        let names = std::fs::read_dir(code).unwrap();
        names
            .filter(|f| f.as_ref().unwrap().path().extension() == Some("cwasm".as_ref()))
            .count()
    };
    let task = pair.0.behave(&["exit", "0"]);
    assert_eq!(pair.0.run(&task).status, Status::Ok);
    assert_eq!(compiled(), 1);
    assert_eq!(pair.1.run(&task).status, Status::Ok);
    assert_eq!(compiled(), 2);
}

#[test]
fn commands_end_alike_in_the_interpreter() {
    let pair = pair();
    let behave = |args: &[&str]| {
        let mut task = pair.0.behave(args);
        task.spec.limits.fuel = 30_000_000;
        task
    };
    let float = both(&pair, &behave(&["float"]));
    assert!(text(&float).starts_with("4000000000000 7ff8000000000000 7ff8000000000000\n"));
    both(&pair, &behave(&["args", "a b", "\u{e9}"]));
    both(&pair, &behave(&["world"]));
    both(&pair, &behave(&["clock"]));
    both(&pair, &behave(&["sleep", "3600"]));
    both(&pair, &behave(&["random"]));
    let counted = both(&pair, &behave(&["count", "1000000"]));
    assert_eq!(counted.status, Status::Ok, "{:?}", counted.detail);
    for (args, status) in [
        (&["loop"][..], Status::OutOfFuel),
        (&["panic"], Status::Trap),
        (&["divide", "0"], Status::Trap),
        (&["exit", "7"], Status::TaskError),
        (&["memory", "10000000"], Status::Ok),
        // Over the limit on memory: the growth is refused, and the guest gives up.
        (&["memory", "300000000"], Status::Trap),
    ] {
        let ran = both(&pair, &behave(args));
        assert_eq!(ran.status, status, "{args:?}: {:?}", ran.detail);
    }
    let mut small = behave(&["stdout", "100000"]);
    small.spec.limits.output_bytes = 50_000;
    assert_eq!(both(&pair, &small).status, Status::LimitExceeded);

    let input: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let task = pair.0.task(
        &guest("guest-behave.wasm"),
        World::Command,
        &input,
        &["echo"],
    );
    assert_eq!(both(&pair, &task).output, input);
}

#[test]
fn fuel_runs_out_at_the_same_place_in_the_interpreter() {
    let pair = pair();
    // The output shows how far the guest came, the limit at which it stops: step by step.
    for fuel in (200_000..1_400_000).step_by(150_001) {
        let mut task = pair.0.behave(&["stdout", "50000"]);
        task.spec.limits.fuel = fuel;
        both(&pair, &task);
    }
}

#[test]
fn tasks_and_inference_are_the_same_in_the_interpreter() {
    let pair = pair();
    let (task, file) = speech(&pair.0, "speech silero 8");
    let ran = both(&pair, &task);
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    assert_eq!(transcript(&ran).calls.len(), 10);
    let errors = both(&pair, &speech(&pair.0, "errors").0);
    assert!(text(&errors).contains("good: ok\n"), "{}", text(&errors));

    // Level 3, then level 2 without the model.
    let level3 = replaying(&pair.1, &task, &ran.transcript, 1);
    let again = pair.1.run(&level3);
    assert_eq!(facts(&again), facts(&ran));
    assert_eq!(again.rechecks.len(), 8);
    std::fs::remove_file(pair.0.blobs.path(&file)).unwrap();
    let level2 = replaying(&pair.1, &task, &ran.transcript, 0);
    let again = pair.1.run(&level2);
    assert_eq!(facts(&again), facts(&ran), "{:?}", again.detail);
    assert_eq!(again.divergence, None);
}

#[test]
fn a_stack_overflow_in_the_interpreter_harms_nobody() {
    let (_native, interpreter) = pair();
    let ran = interpreter.run(&interpreter.behave(&["recurse", "100000000"]));
    // Where the stack ends differs between targets, so the outcome is not attestable. Rust's own
    // stack is in linear memory, which a deep recursion may use up first.
    assert!(
        matches!(ran.status, Status::StackOverflow | Status::Trap),
        "{:?} {:?}",
        ran.status,
        ran.detail
    );
    let pid = interpreter.supervisor.worker_pid();
    let ran = interpreter.run(&interpreter.behave(&["exit", "0"]));
    assert_eq!(ran.status, Status::Ok);
    assert_eq!(interpreter.supervisor.worker_pid(), pid);
}
