//! Every way in which a guest can end, through the real worker process, twice and identically.

use std::time::Duration;

use adit_conformance::made::wasm::slow_to_compile;
use adit_protocol::exec::World;
use adit_protocol::status::Status;
use adit_runtime::admission::Refusal;
use adit_runtime::worker::compile::CompileLimits;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Task};

use crate::support::{Bench, facts, guest, text};

/// Run in two processes, and demand that everything a receipt holds is the same.
fn twice(make: impl Fn(&Bench) -> Task) -> Ran {
    let [a, b] = [(), ()].map(|()| {
        let bench = Bench::new();
        let task = make(&bench);
        let ran = bench.run(&task);
        // The same worker again: what the first run left behind must not show.
        let again = bench.run(&task);
        assert_eq!(
            facts(&ran),
            facts(&again),
            "{:?} {:?}",
            ran.detail,
            again.detail
        );
        ran
    });
    assert_eq!(facts(&a), facts(&b));
    a
}

#[test]
fn input_goes_in_and_output_comes_out() {
    let input: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let ran = twice(|b| {
        b.task(
            &guest("guest-behave.wasm"),
            World::Command,
            &input,
            &["echo"],
        )
    });
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    assert!(ran.output == input);
    assert!(ran.fuel > 1_000_000 && ran.peak_memory > 1 << 20);
}

#[test]
fn arguments_come_from_the_spec_and_nothing_else_from_outside() {
    let ran = twice(|b| b.behave(&["args", "--x", "y z"]));
    assert_eq!(text(&ran), "[\"task\", \"args\", \"--x\", \"y z\"]\n");
    let ran = twice(|b| b.behave(&["world"]));
    assert_eq!(ran.status, Status::Ok, "{:?}", ran.detail);
    let seen = text(&ran);
    assert!(seen.starts_with("vars 0\n"), "{seen}");
    assert_eq!(seen.matches("Err(").count(), 5, "{seen}");
    assert!(!seen.contains("Ok("), "{seen}");
}

#[test]
fn time_is_virtual() {
    let ran = twice(|b| b.behave(&["clock"]));
    assert_eq!(
        text(&ran),
        "1700000000000001000 1000 250002000\n",
        "{:?}",
        ran.detail
    );
    let ran = twice(|b| b.behave(&["sleep", "3600"]));
    assert_eq!(text(&ran), "3600\n");
    assert!(ran.duration_us < 60_000_000);
}

#[test]
fn randomness_is_the_seeds() {
    let ran = twice(|b| b.behave(&["random"]));
    let other = twice(|b| {
        let mut task = b.behave(&["random"]);
        task.spec.seed = [6; 32];
        task
    });
    assert_ne!(ran.output, other.output);
}

#[test]
fn floats_are_the_same_everywhere() {
    let ran = twice(|b| b.behave(&["float"]));
    assert_eq!(
        text(&ran),
        "4000000000000 7ff8000000000000 7ff8000000000000\n2aaaab\n"
    );
}

#[test]
fn fuel_ends_a_loop_and_is_counted_exactly() {
    let ran = twice(|b| b.behave(&["loop"]));
    assert_eq!((ran.status, ran.fuel), (Status::OutOfFuel, 2_000_000_000));
    let fuel = |n| twice(|b| b.behave(&["count", n])).fuel;
    let (a, b, c) = (fuel("100000"), fuel("200000"), fuel("300000"));
    assert_eq!(b - a, c - b);
}

#[test]
fn a_trap_costs_the_whole_limit() {
    for how in ["panic", "divide"] {
        let ran = twice(|b| b.behave(&[how]));
        assert_eq!(
            (ran.status, ran.fuel),
            (Status::Trap, 2_000_000_000),
            "{how}"
        );
    }
    let ran = twice(|b| b.behave(&["panic"]));
    assert!(String::from_utf8_lossy(&ran.log).contains("as asked"));
}

#[test]
fn exit_codes_are_mapped() {
    let ran = twice(|b| b.behave(&["exit", "0"]));
    assert_eq!(ran.status, Status::Ok);
    let ran = twice(|b| b.behave(&["exit", "7"]));
    assert_eq!(ran.status, Status::TaskError);
    assert!(ran.fuel < 2_000_000_000);
}

#[test]
fn memory_is_bounded_and_its_peak_is_deterministic() {
    let ran = twice(|b| b.behave(&["memory", "100000000"]));
    assert_eq!(ran.status, Status::Ok);
    assert!(
        (100_000_000..110_000_000).contains(&ran.peak_memory),
        "{}",
        ran.peak_memory
    );
    let ran = twice(|b| b.behave(&["memory", "300000000"]));
    assert_eq!(ran.status, Status::Trap);
    assert!(ran.peak_memory <= 256 << 20);
    assert!(ran.detail.unwrap().contains("refused memory"));
    let ran = twice(|b| {
        let mut task = b.behave(&["exit", "0"]);
        task.spec.limits.memory_bytes = 1 << 16;
        task
    });
    assert_eq!((ran.status, ran.fuel), (Status::LimitExceeded, 0));
}

#[test]
fn output_and_log_are_bounded() {
    let ran = twice(|b| {
        let mut task = b.behave(&["stdout", "100000"]);
        task.spec.limits.output_bytes = 50_000;
        task
    });
    assert_eq!(ran.status, Status::LimitExceeded);
    assert!(ran.output.len() <= 50_000 && ran.output.len() > 40_000);
    let ran = twice(|b| {
        let mut task = b.behave(&["stderr", "100000"]);
        task.spec.limits.stderr_bytes = 5_000;
        task
    });
    assert_eq!(ran.status, Status::LimitExceeded);
    assert!(ran.log.len() <= 5_000);
}

#[test]
fn a_deadline_ends_a_guest_and_the_worker_lives_on() {
    let bench = Bench::new();
    let mut task = bench.behave(&["loop"]);
    task.spec.limits.fuel = u64::MAX / 4;
    task.deadline = Duration::from_millis(200);
    let ran = bench.run(&task);
    assert_eq!(ran.status, Status::Deadline, "{:?}", ran.detail);
    let pid = bench.supervisor.worker_pid();
    assert_eq!(bench.run(&bench.behave(&["exit", "0"])).status, Status::Ok);
    assert_eq!(bench.supervisor.worker_pid(), pid);
}

#[test]
fn deep_recursion_is_a_stack_overflow() {
    let ran = Bench::new();
    let ran = ran.run(&ran.behave(&["recurse", "100000000"]));
    // Rust's own stack is in linear memory, which a deep recursion may use up first.
    assert!(
        matches!(ran.status, Status::StackOverflow | Status::Trap),
        "{:?} {:?}",
        ran.status,
        ran.detail
    );
}

#[test]
fn what_is_no_component_is_refused_with_a_reason() {
    let bench = Bench::new();
    let refuse = |bytes: &[u8]| {
        let ran = bench.run(&bench.task(bytes, World::Command, b"", &[]));
        assert_eq!(ran.status, Status::InvalidComponent);
        ran.refusal.unwrap()
    };
    assert_eq!(refuse(b""), Refusal::NotWasm);
    assert_eq!(refuse(b"#!/bin/sh"), Refusal::NotWasm);
    assert_eq!(refuse(b"\0asm\x01\0\0\0"), Refusal::CoreModule);
    assert!(matches!(
        refuse(b"\0asm\x0d\0\x01\0rubbish"),
        Refusal::Invalid(_)
    ));
    assert_eq!(refuse(b"\0asm\x0d\0\x01\0"), Refusal::MissingExport);
    let whole = guest("guest-behave.wasm");
    for cut in [whole.len() / 2, whole.len() - 1] {
        assert!(matches!(refuse(&whole[..cut]), Refusal::Invalid(_)));
    }
}

/// Whoever submits says which world it is. That it is another follows from component and spec, and no
/// miner is to be blamed for it.
#[test]
fn a_component_of_another_world_is_invalid() {
    for (name, world) in [
        ("guest-behave.wasm", World::Task),
        ("guest_infer.wasm", World::Command),
    ] {
        let ran = twice(|b| b.task(&guest(name), world, b"", &[]));
        assert_eq!(ran.status, Status::InvalidComponent, "{:?}", ran.detail);
        assert_eq!((ran.fuel, ran.peak_memory), (0, 0));
        let detail = ran.detail.unwrap_or_default();
        assert!(detail.contains("one of another"), "{detail}");
    }
}

/// Each limit on the compiler by itself; without them the same component compiles and runs.
#[test]
fn compiling_is_bounded_in_cpu_time_on_the_clock_and_in_memory() {
    let slow = slow_to_compile(2000, 100);
    let run = |compile: CompileLimits| {
        let bench = Bench::with(WorkerOptions {
            compile,
            ..WorkerOptions::default()
        });
        let ran = bench.run(&bench.task(&slow, World::Command, b"", &[]));
        (ran.status, ran.detail.unwrap_or_default(), ran.refusal)
    };
    let limits = CompileLimits::default();
    let (status, detail, refusal) = run(limits);
    // It compiles; that it exports nothing is found out afterwards.
    assert_eq!(status, Status::InvalidComponent, "{detail}");
    assert_eq!(refusal, Some(Refusal::MissingExport));
    for (how, limits) in [
        (
            ["signal 24"].as_slice(),
            CompileLimits {
                cpu_seconds: 1,
                ..limits
            },
        ),
        (
            &["time is up"],
            CompileLimits {
                clock_seconds: 1,
                ..limits
            },
        ),
        (
            // Where stderr is a file, which the child must not write, saying why ends it first.
            &["signal 6", "signal 25"],
            CompileLimits {
                memory_bytes: 128 << 20,
                ..limits
            },
        ),
    ] {
        let (status, detail, _) = run(limits);
        assert_eq!(status, Status::CompileLimit, "{how:?}: {detail}");
        assert!(
            how.iter().any(|how| detail.contains(how)),
            "{how:?}: {detail}"
        );
    }
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    let bench = Bench::with(WorkerOptions {
        slots: 1,
        ..WorkerOptions::default()
    });
    let task = bench.behave(&["exit", "0"]);
    assert_eq!(bench.run(&task).status, Status::Ok);
    let pid = bench.supervisor.worker_pid().unwrap();
    let kill = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    // Whether the supervisor has noticed yet or not, the run succeeds or is reported as lost.
    let ran = bench.run(&task);
    assert!(matches!(ran.status, Status::Ok | Status::HostFault));
    assert_eq!(bench.run(&task).status, Status::Ok);
    assert_ne!(bench.supervisor.worker_pid().unwrap(), pid);
}
