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
//! the library that `ADIT_ONNXRUNTIME` names. `ADIT_BENCH_SECONDS` says how long each group is
//! measured in turns.

mod case;
mod crowd;
mod device;
mod python;
mod setting;
mod ways;

use std::sync::Arc;

use adit_runtime::nn::tensor::Tensor;
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
        page(&setting),
    ]
    .map(Arc::new);
    for case in &cases {
        one_caller(c, &setting, case);
    }
    // The cheapest model shows the hand-over most, the other what a task of some size sees. A page
    // is enough for a GPU, and more than enough for a processor.
    let [silero, short, _, page] = &cases;
    let crowded = match setting.provider.is_gpu() {
        true => vec![silero, short, page],
        false => vec![silero, short],
    };
    for case in crowded {
        many_callers(c, &setting, case);
    }
}

/// Finding the lines of a page, which is enough work for a GPU. Its guest, `ocr`, does much besides.
fn page(setting: &Setting) -> Case {
    let shape = [1, 3, 736, 736];
    let values = (0..shape.iter().product::<u32>()).map(|n| (n % 251) as f32 / 125.5 - 1.0);
    let image = Tensor::from_f32(shape.to_vec(), values.collect()).expect("a tensor");
    let inputs = vec![vec![("x".to_owned(), image)]];
    Case::bare(setting, "page-736", "ppocr/det.onnx", inputs)
}

fn one_caller(c: &mut Criterion, setting: &Setting, case: &Arc<Case>) {
    let mut ways: Vec<Box<dyn Way>> = vec![
        Box::new(Direct::new(setting, case)),
        Box::new(Threads::new(setting, case)),
    ];
    if let Some(guest) = Guest::new(setting, case) {
        ways.push(Box::new(guest));
    }
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
