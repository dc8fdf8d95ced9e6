//! What the example tasks read. They run in the sandbox, so a panic there is a trap and no more;
//! but examples are what others copy.

use adit_sdk::{Tensor, Tensors, testing};
use file_type::features::Features;

/// Reads the bytes as a tar archive. Every file lies within the input, and none is there twice.
pub fn archive(bytes: &[u8]) {
    let Ok(listing) = file_type::files::list(bytes) else {
        return;
    };
    let input = bytes.as_ptr_range();
    let mut end = input.start;
    for file in &listing.files {
        assert!(file.name.len() <= 3 * file_type::files::NAME_BYTES_MAX);
        let content = file.content.as_ptr_range();
        assert!(content.start >= end && content.end <= input.end);
        end = content.end;
        // The features are numbers of bytes, or the padding above them.
        if let Features::Model(features) = Features::extract(file.content) {
            assert!(features.iter().all(|feature| (0..=256).contains(feature)));
        }
    }
}

/// Reads the bytes as a recording, with a model that takes loud for speech. The task answers or
/// says what is wrong; what it emitted are whole lines, and its output grows with its input.
pub fn recording(bytes: &[u8]) {
    testing::model("silero", |inputs| {
        let input = inputs.get::<f32>("input")?;
        let loudest = input.data().iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        Ok(Tensors::new()
            .with("output", Tensor::new(&[1, 1], vec![loudest.min(1.0)])?)
            .with("stateN", inputs.get::<f32>("state")?))
    });
    let run = testing::run(voice_activity::run, bytes);
    assert!(run.emitted.iter().all(|line| line.ends_with(b"\n")));
    assert!(run.output().len() <= bytes.len() + 256);
    if let Err(error) = run.result {
        // What is wrong with the recording: never that the model failed or answered nonsense.
        assert!((17..=20).contains(&error.code), "{error}");
    }
}
