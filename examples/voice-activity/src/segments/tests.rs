use super::*;

/// What silero_vad_16k_op15.onnx of silero-vad 6.2.3 answers on ONNX Runtime for the windows of
/// sample.wav, one a line.
const SAMPLE: &str = include_str!("sample.txt");
/// The length of sample.wav.
const SAMPLE_LENGTH: u64 = 56_841;

/// Runs of equal probabilities: (how many windows, probability).
type Runs<'a> = &'a [(usize, f32)];

fn windows(runs: Runs) -> Vec<f32> {
    runs.iter()
        .flat_map(|&(count, probability)| std::iter::repeat_n(probability, count))
        .collect()
}

/// All segments as pairs, for a recording of `length` samples.
fn segments(threshold: f64, probabilities: &[f32], length: u64) -> Vec<(u64, u64)> {
    let mut segmenter = Segmenter::new(threshold);
    let mut found: Vec<Segment> = probabilities
        .iter()
        .filter_map(|&probability| segmenter.push(probability))
        .collect();
    found.extend(segmenter.finish(length));
    found
        .iter()
        .map(|segment| (segment.start, segment.end))
        .collect()
}

fn full_windows(runs: Runs) -> Vec<(u64, u64)> {
    let probabilities = windows(runs);
    let length = (probabilities.len() * WINDOW) as u64;
    segments(0.5, &probabilities, length)
}

#[test]
fn the_sample_has_the_segments_of_silero_vad() {
    let probabilities: Vec<f32> = SAMPLE.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(probabilities.len() as u64, SAMPLE_LENGTH.div_ceil(512));
    let at = |threshold| segments(threshold, &probabilities, SAMPLE_LENGTH);
    // The values that its `get_speech_timestamps_from_probs` returned for the same probabilities.
    assert_eq!(at(0.5), [(4_128, 20_448), (32_800, 48_608)]);
    assert_eq!(at(0.97), [(4_640, 20_448), (33_824, 48_096)]);
    assert_eq!(at(0.2), [(4_128, 21_472), (32_800, 49_120)]);
}

#[test]
fn a_segment_is_padded_and_known_once_silence_lasted_100_ms() {
    let mut segmenter = Segmenter::new(0.5);
    let probabilities = windows(&[(4, 0.1), (10, 0.9), (20, 0.1)]);
    let known = probabilities
        .iter()
        .position(|&probability| segmenter.push(probability).is_some());
    // Silence begins with window 14; 4 windows later 2048 samples of it, over 1600, are past.
    assert_eq!(known, Some(18));
    let all = full_windows(&[(4, 0.1), (10, 0.9), (20, 0.1)]);
    assert_eq!(all, [(4 * 512 - 480, 14 * 512 + 480)]);
}

#[test]
fn padding_stays_within_the_recording() {
    assert_eq!(full_windows(&[(10, 0.9)]), [(0, 5_120)]);
    // The end of the recording counts, not that of its last window.
    let probabilities = windows(&[(10, 0.9)]);
    assert_eq!(segments(0.5, &probabilities, 4_700), [(0, 4_700)]);
}

#[test]
fn silence_shorter_than_100_ms_does_not_end_a_speech() {
    let short = full_windows(&[(10, 0.9), (4, 0.1), (10, 0.9), (10, 0.1)]);
    assert_eq!(short, [(0, 24 * 512 + 480)]);
    let long = full_windows(&[(10, 0.9), (5, 0.1), (10, 0.9), (10, 0.1)]);
    assert_eq!(long, [(0, 5_600), (15 * 512 - 480, 25 * 512 + 480)]);
    // At the end of the recording such a silence belongs to the speech.
    assert_eq!(full_windows(&[(10, 0.9), (4, 0.1)]), [(0, 14 * 512)]);
}

#[test]
fn a_probability_between_the_thresholds_changes_nothing() {
    assert_eq!(full_windows(&[(20, 0.4)]), []);
    let held = full_windows(&[(10, 0.9), (30, 0.4), (10, 0.9), (10, 0.1)]);
    assert_eq!(held, [(0, 50 * 512 + 480)]);
    // It neither ends a silence that has begun nor is it the window at which one ends a speech.
    let begun = full_windows(&[(10, 0.9), (1, 0.1), (30, 0.4), (1, 0.1), (9, 0.4)]);
    assert_eq!(begun, [(0, 10 * 512 + 480)]);
}

#[test]
fn a_threshold_is_reached_by_equality_and_silence_is_below() {
    let exact = [(10, 0.5), (5, 0.1)];
    assert_eq!(full_windows(&exact), [(0, 5_600)]);
    assert_eq!(full_windows(&[(10, 0.499_999), (5, 0.1)]), []);
    // 0.75 - 0.15 is 0.6 in 64 bits, just below the 0.6 of 32 bits.
    let above = windows(&[(10, 0.75), (10, 0.6)]);
    assert_eq!(segments(0.75, &above, 10_240), [(0, 10_240)]);
    let below = windows(&[(10, 0.75), (10, 0.599_999)]);
    assert_eq!(segments(0.75, &below, 10_240), [(0, 5_600)]);
}

#[test]
fn a_speech_must_last_longer_than_250_ms() {
    // 7 windows are 224 ms, 8 are 256 ms.
    assert_eq!(full_windows(&[(7, 0.9), (10, 0.1)]), []);
    assert_eq!(full_windows(&[(8, 0.9), (10, 0.1)]), [(0, 4_576)]);
    // At the end of the recording single samples count.
    let probabilities = windows(&[(8, 0.9)]);
    assert_eq!(segments(0.5, &probabilities, 4_000), []);
    assert_eq!(segments(0.5, &probabilities, 4_001), [(0, 4_001)]);
}

#[test]
fn a_low_threshold_keeps_one_for_silence_above_zero() {
    let probabilities = windows(&[(10, 0.2), (10, 0.009)]);
    assert_eq!(segments(0.1, &probabilities, 10_240), [(0, 5_600)]);
    let probabilities = windows(&[(10, 0.2), (10, 0.011)]);
    assert_eq!(segments(0.1, &probabilities, 10_240), [(0, 10_240)]);
}

#[test]
fn no_windows_have_no_segments() {
    assert_eq!(segments(0.5, &[], 0), []);
}
