//! The whole task, with a model that takes loud for speech.

use adit_sdk::{Tensor, Tensors, testing};

use super::*;

/// A probability from the loudness of the window, so that the wiring and not the model is tested.
fn loudness_model() {
    testing::model("silero", |inputs| {
        let input = inputs.get::<f32>("input")?;
        let loudest = input.data()[64..]
            .iter()
            .fold(0.0_f32, |a, b| a.max(b.abs()));
        let state = inputs.get::<f32>("state")?;
        Ok(Tensors::new()
            .with("output", Tensor::new(&[1, 1], vec![loudest])?)
            .with("stateN", state))
    });
}

/// A WAV file whose windows have the given loudness, `extra` samples longer.
fn recording(runs: &[(usize, i16)], extra: usize) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    for &(windows, loudness) in runs {
        for _ in 0..windows * WINDOW {
            writer.write_sample(loudness).unwrap();
        }
    }
    for _ in 0..extra {
        writer.write_sample(0_i16).unwrap();
    }
    writer.finalize().unwrap();
    file.into_inner()
}

const LOUD: i16 = 29_491;
const QUIET: i16 = 3;

#[test]
fn segments_are_emitted_one_by_one_before_the_summary() {
    loudness_model();
    let runs = [(5, QUIET), (20, LOUD), (10, QUIET), (30, LOUD), (20, QUIET)];
    let run = testing::run(run, recording(&runs, 100));
    assert_eq!(
        run.emitted,
        [&b"     0.130      0.830\n"[..], b"     1.090      2.110\n",]
    );
    let summary = b"2 segments, 1.720 s of speech in 2.726 s of audio\n";
    assert_eq!(run.result.as_deref(), Ok(&summary[..]));
    let steps: Vec<_> = run.progress.iter().map(|p| (p.done, p.total)).collect();
    assert_eq!(steps, [(1, 3), (2, 3), (3, 3)]);
}

#[test]
fn a_speech_that_lasts_to_the_end_is_emitted_too() {
    loudness_model();
    let run = testing::run(run, recording(&[(5, QUIET), (27, LOUD)], 0));
    assert_eq!(run.emitted, [b"     0.130      1.024\n"]);
}

#[test]
fn arguments_choose_json_and_the_threshold() {
    loudness_model();
    let file = recording(&[(5, QUIET), (20, 20_000), (10, QUIET)], 0);
    testing::set_args(["--json"]);
    assert_eq!(
        String::from_utf8(testing::run(run, &file).output()).unwrap(),
        "{\"type\":\"segment\",\"start\":0.130,\"end\":0.830}\n\
         {\"type\":\"summary\",\"segments\":1,\"speech\":0.700,\"audio\":1.120}\n"
    );
    testing::set_args(["--json", "--threshold", "0.7"]);
    assert_eq!(
        String::from_utf8(testing::run(run, &file).output()).unwrap(),
        "{\"type\":\"summary\",\"segments\":0,\"speech\":0.000,\"audio\":1.120}\n"
    );
    testing::set_args(["--loud"]);
    assert_eq!(testing::run(run, &file).result.unwrap_err().code, 16);
}

#[test]
fn a_recording_without_samples_has_no_segments() {
    loudness_model();
    let run = testing::run(run, recording(&[], 0));
    assert_eq!(
        run.output(),
        b"0 segments, 0.000 s of speech in 0.000 s of audio\n"
    );
    assert_eq!(run.progress, []);
}

#[test]
fn a_bad_recording_is_refused_before_any_inference() {
    testing::model("silero", |_| panic!("inference on a bad recording"));
    let mut cut = recording(&[(30, LOUD)], 0);
    cut.truncate(20_000);
    for (code, input) in [(17, &b"no recording"[..]), (19, &cut)] {
        let run = testing::run(run, input);
        assert_eq!(run.result.unwrap_err().code, code);
        assert_eq!(run.emitted, Vec::<Vec<u8>>::new());
    }
}
