//! `adit build` of programs for the wasi-nn of WASI preview 1.
//!
//! Most of these are calls that [`Script`] has a small program make, with the errno and the bytes
//! that are to come of them.

mod script;

use std::path::Path;

use crate::support::{Home, guest};

use script::{CALL_BYTES, CALLS, DATA, F32, IMAGE, SUCCESS, Script, double};

const INVALID_ARGUMENT: u32 = 1;
const INVALID_ENCODING: u32 = 2;
const RUNTIME_ERROR: u32 = 5;
const UNSUPPORTED_OPERATION: u32 = 6;
const TOO_LARGE: u32 = 7;
const NOT_FOUND: u32 = 8;

#[test]
fn inputs_stay_until_they_are_set_again_and_outputs_until_the_next_computation() {
    let mut script = Script::default();
    script.load_by_name("double", SUCCESS, 0);
    script.context(0, SUCCESS, 0);
    script.input(0, 0, &[1.5, -2.0], SUCCESS);
    script.compute(0, SUCCESS);
    script.output(0, 0, &[3.0, -4.0]);
    script.compute(0, SUCCESS);
    script.output(0, 0, &[3.0, -4.0]);
    script.output(0, 0, &[3.0, -4.0]);
    // Another length, set twice; the outputs are still those of what was computed.
    script.input(0, 0, &[7.0; 5], SUCCESS);
    script.input(0, 0, &[1.0, 2.0, 3.0, 4.0], SUCCESS);
    script.output(0, 0, &[3.0, -4.0]);
    script.compute(0, SUCCESS);
    script.output(0, 0, &[2.0, 4.0, 6.0, 8.0]);
    script.input(0, 0, &[], SUCCESS);
    script.compute(0, SUCCESS);
    script.output(0, 0, &[]);
    script.holds();
}

#[test]
fn outputs_are_given_back_to_the_host() {
    // Far more than the host lets a program hold at a time.
    let mut script = Script::default();
    script.load_by_name("double", SUCCESS, 0);
    script.context(0, SUCCESS, 0);
    script.input(0, 0, &[1.0], SUCCESS);
    for _ in 0..5000 {
        script.compute(0, SUCCESS);
    }
    script.output(0, 0, &[2.0]);
    // The errors of refused computations too.
    script.input(0, 1, &[1.0], SUCCESS);
    for _ in 0..2500 {
        script.compute(0, INVALID_ARGUMENT);
    }
    script.holds();
}

#[test]
fn each_mistake_has_its_errno() {
    let mut script = Script::default();
    // Before there is anything.
    script.context(0, INVALID_ARGUMENT, 0);
    script.input(0, 0, &[1.0], INVALID_ARGUMENT);
    script.compute(0, INVALID_ARGUMENT);
    script.no_output(0, 0, 32, INVALID_ARGUMENT);
    script.load_by_name("treble", NOT_FOUND, 0);
    script.context(0, INVALID_ARGUMENT, 0);
    script.load_by_name("double", SUCCESS, 0);
    script.load_by_name("", NOT_FOUND, 0);
    script.context(1, INVALID_ARGUMENT, 0);
    script.context(u32::MAX, INVALID_ARGUMENT, 0);
    script.input(0, 0, &[1.0], INVALID_ARGUMENT);
    script.context(0, SUCCESS, 0);
    script.compute(1, INVALID_ARGUMENT);
    script.compute(u32::MAX, INVALID_ARGUMENT);

    // No input, another one, one too many.
    script.no_output(0, 0, 32, RUNTIME_ERROR);
    script.compute(0, INVALID_ARGUMENT);
    script.no_output(0, 0, 32, RUNTIME_ERROR);
    script.input(0, 0, &[1.0, 2.0], SUCCESS);
    script.compute(0, SUCCESS);
    script.no_output(0, 1, 32, INVALID_ARGUMENT);
    script.no_output(0, u32::MAX, 32, INVALID_ARGUMENT);
    script.no_output(0, 0, 7, TOO_LARGE);
    script.no_output(0, 0, 0, TOO_LARGE);
    script.output(0, 0, &[2.0, 4.0]);
    script.input(0, u32::MAX, &[1.0], SUCCESS);
    script.compute(0, INVALID_ARGUMENT);
    // What was computed before is not taken for the result of what failed.
    script.no_output(0, 0, 32, RUNTIME_ERROR);

    // Types and lengths.
    script.context(0, SUCCESS, 1);
    let dims = script.put_words(&[2]);
    for unknown in [6, 0xff] {
        script.raw_input(1, 0, [dims, 1, unknown, DATA, 8], INVALID_ARGUMENT);
    }
    for (bytes, rank) in [
        (u32::MAX, 1),
        (8, u32::MAX),
        (8, 0x4000_0000),
        (0x7fff_0000, 0),
    ] {
        script.raw_input(1, 0, [dims, rank, F32, DATA, bytes], TOO_LARGE);
    }
    script.compute(1, INVALID_ARGUMENT);
    for (tensor, errno) in [
        ([dims, 1, F32, DATA, 7], INVALID_ARGUMENT),
        ([dims, 0, F32, DATA, 8], INVALID_ARGUMENT),
        // As long, but of other types: u8, i32 and f64.
        ([dims, 1, 3, DATA, 2], INVALID_ARGUMENT),
        ([dims, 1, 4, DATA, 8], INVALID_ARGUMENT),
        ([dims, 1, 2, DATA, 16], INVALID_ARGUMENT),
        ([dims, 1, F32, DATA, 8], SUCCESS),
    ] {
        script.raw_input(1, 0, tensor, SUCCESS);
        script.compute(1, errno);
    }
    script.holds();
}

#[test]
fn a_program_may_bring_its_own_model() {
    let model = std::fs::read(double()).unwrap();
    let mut script = Script::default();
    script.load(&model, 6, 0, INVALID_ENCODING, 0);
    script.load(&model, u32::MAX, 0, INVALID_ENCODING, 0);
    script.load(&model, 1, 4, INVALID_ARGUMENT, 0);
    script.load(&model, 0, 0, INVALID_ENCODING, 0);
    script.load(&model, 1, 1, UNSUPPORTED_OPERATION, 0);
    script.load(&model, 1, 2, UNSUPPORTED_OPERATION, 0);
    script.load(b"no model", 1, 0, INVALID_ENCODING, 0);
    script.load(&model, 1, 0, SUCCESS, 0);
    script.load(&model, 5, 3, SUCCESS, 1);
    for graph in 0..2 {
        script.context(graph, SUCCESS, graph);
        script.input(graph, 0, &[0.5], SUCCESS);
        script.compute(graph, SUCCESS);
        script.output(graph, 0, &[1.0]);
    }
    script.holds();
}

/// Contexts with inputs of all lengths, in any order, while the program takes pages in between.
#[test]
fn many_contexts_do_not_disturb_each_other() {
    const CONTEXTS: u32 = 150;
    let mut script = Script::default();
    script.load_by_name("double", SUCCESS, 0);
    for context in 0..CONTEXTS {
        script.context(0, SUCCESS, context);
    }
    let mut inputs: Vec<Vec<f32>> = vec![Vec::new(); CONTEXTS as usize];
    let mut outputs: Vec<Option<Vec<f32>>> = vec![None; CONTEXTS as usize];
    // Numerical Recipes' generator; the upper bits are the good ones.
    let mut state = 1u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for round in 0..700 {
        let context = random(CONTEXTS);
        let at = context as usize;
        let length = match random(10) {
            0 => 1000 + random(2000),
            _ => random(40),
        };
        inputs[at] = (0..length).map(|value| (value + round) as f32).collect();
        script.input(context, 0, &inputs[at], SUCCESS);
        if random(20) == 0 {
            script.grow();
        }
        if random(2) == 0 {
            script.compute(context, SUCCESS);
            outputs[at] = Some(inputs[at].iter().map(|value| value + value).collect());
        }
        let other = random(CONTEXTS);
        match &outputs[other as usize] {
            Some(values) if values.len() < 40 => script.output(other, 0, values),
            Some(values) => script.no_output(other, 0, values.len() as u32 * 4 - 1, TOO_LARGE),
            None => script.no_output(other, 0, 32, RUNTIME_ERROR),
        }
    }
    script.holds();
}

#[test]
fn what_leaves_the_memory_is_a_trap_and_what_does_not_fit_is_too_large() {
    let begin = || {
        let mut script = Script::default();
        script.load_by_name("double", SUCCESS, 0);
        script.context(0, SUCCESS, 0);
        script
    };
    let home = Home::new();
    let mut outside = begin();
    outside.raw_input(0, 0, [u32::MAX - 3, 1, F32, DATA, 4], SUCCESS);
    outside.run(&home, &[]).exits(1).explains(&["trap"]);

    let mut outside = begin();
    outside.input(0, 0, &[1.0], SUCCESS);
    outside.compute(0, SUCCESS);
    outside.call(5, &[0, 0, u32::MAX - 3, 4, DATA], SUCCESS);
    outside.run(&home, &[]).exits(1).explains(&["trap"]);

    // An address in the memory that the adapter would have to copy to where there is no more.
    let mut large = begin();
    let dims = large.put_words(&[200_000]);
    large.raw_input(0, 0, [dims, 1, F32, DATA, 800_000], TOO_LARGE);
    let said = large.run(&home, &["--memory", "1600KiB"]).exits(0);
    let at = (CALLS - IMAGE + 2 * CALL_BYTES) as usize;
    assert_eq!(said.stdout[at..at + 4], TOO_LARGE.to_le_bytes());
}

#[test]
fn the_adapted_program_says_what_it_imports_and_other_functions_are_refused() {
    let home = Home::new();
    Script::default().run(&home, &[]).exits(0);
    let facts = home
        .adit(&["--json", "inspect", "player.wasm"])
        .exits(0)
        .json();
    let list = |field: &str| facts[field].as_array().unwrap().clone();
    let imports = list("imports");
    for interface in ["tensor", "errors", "inference", "graph"] {
        let name = format!("wasi:nn/{interface}@0.2.0-rc-2024-10-28");
        assert!(imports.contains(&name.as_str().into()), "{imports:?}");
    }
    assert_eq!(facts["world"], "wasi:cli/command");
    let producers = list("producers");
    assert!(
        producers.contains(&"processed-by: adit-wasi-nn-adapter 1".into()),
        "{producers:?}"
    );

    let module = r#"(module
        (import "wasi_ephemeral_nn" "compute_single" (func (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")))"#;
    home.file("other.wasm", wat::parse_str(module).unwrap());
    home.adit(&["build", "other.wasm", "--out", "x.wasm"])
        .exits(1)
        .explains(&["compute_single", "load_by_name", "get_output"]);
    assert!(!home.path("x.wasm").exists());
}

#[test]
fn a_program_for_the_crate_wasi_nn_runs_unchanged() {
    let home = Home::new();
    let program = guest("speech-meter.wasm");
    let target = program.ancestors().nth(3).unwrap();
    let model = target.join("models/silero/model.onnx");
    assert!(
        model.is_file(),
        "{}: not there; hint: cargo xtask setup fetches it",
        model.display()
    );
    let recording =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/voice-activity/sample.wav");
    let model = format!("silero={}", model.display());
    let args = ["run", program.to_str().unwrap(), "--input"];
    let run = |input: &Path, options: &[&str]| {
        home.adit(&[&args[..], &[input.to_str().unwrap()], options].concat())
    };
    let said = run(&recording, &["--model", &model]).exits(0);
    // What `voice-activity` finds in it: speech from 0.258 to 1.278 s and from 2.05 to 3.038 s.
    let expected = "   0 s  0.71  ##############\n   1 s  0.23  #####\n\
                    \x20  2 s  0.87  #################\n   3 s  0.02\n\
                    speech 0.51 of 3.6 s\n";
    assert_eq!(said.text(), expected);
    home.adit(&["receipt", "replay", "last"]).exits(0);

    let said = run(&recording, &[]).exits(1);
    assert!(said.stderr.contains("Not Found"), "{}", said.stderr);
    let other = format!("silero={}", double().display());
    let said = run(&recording, &["--model", &other]).exits(1);
    assert!(said.stderr.contains("invalid argument"), "{}", said.stderr);
}
