//! What the sandbox adds to ONNX Runtime, measured beside ONNX Runtime itself.
//!
//! The same models compute the same inputs, with one thread, in several ways:
//!
//! - `ort`: the crate `ort`, called directly, with the session options of our backend;
//! - `threads`: our backend on inference threads, without a guest;
//! - `guest`: through `wasi:nn` from a guest in the sandbox, recorded;
//! - `python`: the Python package of the same library, where `cargo xtask bench` has set it up.
//!
//! Criterion measures each by itself. Machines are noisy over the minutes that this takes, so after
//! each group the ways are measured in turns, and the table that is printed has the ratios within
//! these turns.
//!
//! It is said where the time goes, and then several callers compute at the same time.
//!
//! The library is the one that `cargo xtask setup` fetched; without it nothing is measured. With
//! `ADIT_BENCH_DEVICE=cuda` or another provider's name the same is measured on that device, with
//! the library that `ADIT_ONNXRUNTIME` names.

mod case;
mod crowd;
mod device;
mod python;
mod setting;
mod ways;

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};

use case::Case;
use crowd::{DirectCrowd, PoolCrowd};
use python::Python;
use setting::Setting;
use ways::{Direct, Guest, Threads, Way, measure};

/// Callers that compute at the same time.
const CALLERS: [usize; 3] = [1, 4, 16];

/// About 16 tokens, and more than the 128 that MiniLM reads.
const SHORT: &str = "the cat sat on the mat and the dog lay on the rug\n";
const LONG: &str = "the cat sat on the mat and the dog lay on the rug while ";

fn inference(c: &mut Criterion) {
    let setting = match Setting::new() {
        Ok(setting) => setting,
        Err(why) => {
            println!("inference: skipped, {why}");
            return;
        }
    };
    println!("{}", setting.shown());
    let long = format!("{}\n", LONG.repeat(12));
    let cases = [
        Case::new(
            &setting,
            "silero",
            "guest_infer",
            "silero",
            "speech silero 400",
        ),
        Case::new(
            &setting,
            "minilm-short",
            "embed_text",
            "minilm",
            &SHORT.repeat(50),
        ),
        Case::new(
            &setting,
            "minilm-128",
            "embed_text",
            "minilm",
            &long.repeat(16),
        ),
    ]
    .map(Arc::new);
    for case in &cases {
        one_caller(c, &setting, case);
    }
    // The cheapest model shows the hand-over most, the other what a task of some size sees.
    for case in &cases[..2] {
        many_callers(c, &setting, case);
    }
}

fn one_caller(c: &mut Criterion, setting: &Setting, case: &Arc<Case>) {
    let mut ways: Vec<Box<dyn Way>> = vec![
        Box::new(Direct::new(setting, case)),
        Box::new(Threads::new(setting, case)),
        Box::new(Guest::new(setting, case)),
    ];
    match Python::start(setting, case) {
        Ok(python) => ways.push(Box::new(python)),
        Err(why) => println!("python: left out, {why}"),
    }
    let group = format!("inference {}{}", case.name, setting.on());
    if measure(c, &group, &mut ways) {
        device::report(setting, case);
    }
}

fn many_callers(c: &mut Criterion, setting: &Setting, case: &Arc<Case>) {
    // As many computations at a time as there are processors, and as there are callers.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for callers in CALLERS {
        let mut ways: Vec<Box<dyn Way>> = vec![
            Box::new(DirectCrowd::new(setting, case, callers)),
            Box::new(PoolCrowd::new(setting, case, callers, processors)),
        ];
        if callers != processors {
            ways.push(Box::new(PoolCrowd::new(setting, case, callers, callers)));
        }
        let group = format!("{callers} callers {}{}", case.name, setting.on());
        measure(c, &group, &mut ways);
    }
}

criterion_group!(benches, inference);
criterion_main!(benches);
