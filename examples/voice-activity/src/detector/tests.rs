use std::cell::RefCell;
use std::rc::Rc;

use adit_sdk::{NnError, NnErrorCode, Tensors, testing};

use super::*;

/// The inputs `input` and `state` of each call, in order.
type Calls = Rc<RefCell<Vec<(Vec<f32>, Vec<f32>)>>>;

/// A model that answers `probability` and a state of the number of calls, and keeps its inputs.
fn remember(probability: f32) -> Calls {
    let seen = Calls::default();
    let kept = Rc::clone(&seen);
    testing::model("silero", move |inputs| {
        assert_eq!(inputs.names().collect::<Vec<_>>(), ["input", "state", "sr"]);
        let input = inputs.get::<f32>("input")?;
        let state = inputs.get::<f32>("state")?;
        let rate = inputs.get::<i64>("sr")?;
        assert_eq!(input.dims(), [1, 576]);
        assert_eq!(state.dims(), [2, 1, 128]);
        assert_eq!((rate.dims(), rate.data()), (&[1][..], &[16_000][..]));
        kept.borrow_mut()
            .push((input.into_data(), state.into_data()));
        let calls = kept.borrow().len() as f32;
        Ok(Tensors::new()
            .with("output", Tensor::new(&[1, 1], vec![probability])?)
            .with("stateN", Tensor::new(&STATE, vec![calls; 256])?))
    });
    seen
}

/// A window whose samples are `first`, `first + 1`, ...
fn ramp(first: u16) -> [f32; WINDOW] {
    let mut next = first;
    [(); WINDOW].map(|()| {
        next += 1;
        f32::from(next - 1)
    })
}

#[test]
fn context_and_state_go_from_each_window_to_the_next() {
    let seen = remember(0.25);
    let mut detector = Detector::new().unwrap();
    for first in [1_000, 2_000, 3_000] {
        assert_eq!(detector.speech_probability(&ramp(first)), Ok(0.25));
    }
    let seen = seen.borrow();
    assert_eq!(seen[0].0[..64], [0.0; 64]);
    assert_eq!(seen[0].0[64..], ramp(1_000));
    assert_eq!(seen[0].1, [0.0; 256]);
    // The last 64 of 512 samples.
    assert_eq!(seen[1].0[..64], ramp(1_448)[..64]);
    assert_eq!(seen[1].0[64..], ramp(2_000));
    assert_eq!(seen[1].1, [1.0; 256]);
    assert_eq!(seen[2].0[..64], ramp(2_448)[..64]);
    assert_eq!(seen[2].1, [2.0; 256]);
}

#[test]
fn an_answer_that_is_no_probability_is_an_error() {
    for value in [f32::NAN, -0.001, 1.001, f32::INFINITY] {
        remember(value);
        let mut detector = Detector::new().unwrap();
        let error = detector.speech_probability(&ramp(0)).unwrap_err();
        assert_eq!(error.code, 21, "{error}");
    }
    for value in [0.0, 1.0] {
        remember(value);
        let mut detector = Detector::new().unwrap();
        assert_eq!(detector.speech_probability(&ramp(0)), Ok(value));
    }
}

#[test]
fn answers_in_other_shapes_are_errors() {
    let cases: [(&str, &[usize], &[usize]); 4] = [
        ("[1, 1]", &[2, 1], &STATE),
        ("[1, 1]", &[1], &STATE),
        ("[2, 1, 128]", &[1, 1], &[2, 2, 64]),
        ("[2, 1, 128]", &[1, 1], &[0]),
    ];
    for (words, output, state) in cases {
        testing::model("silero", move |_| {
            let zeros = |dims: &[usize]| Tensor::new(dims, vec![0.0_f32; dims.iter().product()]);
            Ok(Tensors::new()
                .with("output", zeros(output)?)
                .with("stateN", zeros(state)?))
        });
        let mut detector = Detector::new().unwrap();
        let error = detector.speech_probability(&ramp(0)).unwrap_err();
        assert_eq!(error.code, Error::INFERENCE);
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn a_missing_model_and_a_failed_inference_are_errors() {
    let error = Detector::new().err().unwrap();
    assert_eq!(error.code, Error::INFERENCE);
    assert!(error.message.contains("--model silero=FILE"), "{error}");

    testing::model("silero", |_| Err(NnError::new(NnErrorCode::Timeout, "5 s")));
    let mut detector = Detector::new().unwrap();
    let error = detector.speech_probability(&ramp(0)).unwrap_err();
    assert_eq!(error.message, "timeout: run model `silero`: 5 s");
}
