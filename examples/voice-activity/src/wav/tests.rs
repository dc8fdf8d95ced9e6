use super::*;

/// A WAV file as its format has it: `RIFF`, a `fmt ` chunk of 16 bytes, then `data`.
fn file(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * (bits / 8);
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0");
    file.extend(tag.to_le_bytes());
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(block)).to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn int16(samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    file(1, 1, 16_000, 16, &data)
}

fn float32(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    file(3, 1, 16_000, 32, &data)
}

fn windows(file: &[u8]) -> Result<Vec<[f32; WINDOW]>, Failure> {
    Recording::parse(file)?.windows().collect()
}

fn failure(file: &[u8]) -> Failure {
    windows(file).unwrap_err()
}

#[test]
fn integers_are_scaled_and_the_last_window_is_filled_with_silence() {
    let mut samples = vec![0_i16; WINDOW];
    samples[0] = i16::MIN;
    samples[511] = 16_384;
    samples.push(-8_192);
    let file = int16(&samples);
    assert_eq!(Recording::parse(&file).unwrap().length(), 513);
    let windows = windows(&file).unwrap();
    assert_eq!(windows.len(), 2);
    assert_eq!((windows[0][0], windows[0][511]), (-1.0, 0.5));
    assert_eq!(windows[1][0], -0.25);
    assert!(windows[1][1..].iter().all(|&sample| sample == 0.0));
}

#[test]
fn floats_are_taken_as_they_are() {
    let windows = windows(&float32(&[0.125, -1.5])).unwrap();
    assert_eq!(windows[0][..3], [0.125, -1.5, 0.0]);
}

#[test]
fn a_whole_number_of_windows_has_no_further_one() {
    assert_eq!(windows(&int16(&[1; 1_024])).unwrap().len(), 2);
    assert_eq!(windows(&int16(&[])).unwrap().len(), 0);
}

#[test]
fn other_chunks_around_the_samples_are_passed_over() {
    let plain = int16(&[7; 600]);
    let mut file = plain[..36].to_vec();
    file.extend(b"LIST\x04\0\0\0INFO");
    file.extend(&plain[36..]);
    file.extend(b"id3 \x02\0\0\0ab");
    assert_eq!(windows(&file).unwrap(), windows(&plain).unwrap());
}

#[test]
fn the_sample_of_this_crate_can_be_read() {
    let file = include_bytes!("../../sample.wav");
    let recording = Recording::parse(file).unwrap();
    assert_eq!(recording.length(), 56_841);
    let windows: Vec<_> = recording.windows().map(Result::unwrap).collect();
    assert_eq!(windows.len(), 112);
    let loudest = windows
        .iter()
        .flatten()
        .fold(0.0_f32, |a, b| a.max(b.abs()));
    assert!((0.3..1.0).contains(&loudest), "{loudest}");
}

#[test]
fn another_format_is_refused_with_what_it_is_and_how_to_convert_it() {
    let cases = [
        (
            file(1, 2, 44_100, 16, &[0; 8]),
            "44100 Hz, 2 channels, 16-bit integers",
        ),
        (
            file(1, 1, 8_000, 16, &[0; 8]),
            "8000 Hz, 1 channel, 16-bit integers",
        ),
        (
            file(1, 1, 16_000, 8, &[0; 8]),
            "16000 Hz, 1 channel, 8-bit integers",
        ),
        (
            file(1, 1, 16_000, 24, &[0; 6]),
            "16000 Hz, 1 channel, 24-bit integers",
        ),
        (
            file(3, 2, 16_000, 32, &[0; 8]),
            "16000 Hz, 2 channels, 32-bit floats",
        ),
    ];
    for (file, words) in cases {
        let failure = failure(&file);
        let found = words.to_string();
        assert_eq!(failure, Failure::Format { found });
        let message = failure.to_string();
        assert!(
            message.contains("sox input.wav -r 16000 -c 1 -b 16 output.wav"),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_wav_file_is_refused() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "found in its 0 bytes"),
        (b"RIFF", "found in its 4 bytes"),
        (b"fLaC\0\0\0\0", "no RIFF tag"),
        (b"RIFF\0\0\0\0AVI LIST", "no WAVE tag"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "missing fmt chunk"),
    ];
    for (file, words) in cases {
        let failure = failure(file);
        assert!(matches!(failure, Failure::NotWav { .. }), "{failure}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
    // mu-law
    let failure = failure(&file(7, 1, 16_000, 8, &[0; 8]));
    assert!(failure.to_string().contains("compressed"), "{failure}");
}

#[test]
fn every_cut_of_a_file_is_an_error() {
    let whole = int16(&[5; 600]);
    for length in 0..whole.len() {
        let failure = failure(&whole[..length]);
        if length < 44 {
            assert!(
                matches!(failure, Failure::NotWav { .. }),
                "{length}: {failure}"
            );
        } else {
            let present = length as u64 - 44;
            let promised = 1_200;
            assert_eq!(failure, Failure::CutOff { promised, present });
        }
    }
}

#[test]
fn a_promise_of_gigabytes_is_an_error() {
    for (promise, words) in [
        (0xffff_fffe_u32, "promises 4294967294 bytes"),
        (0xffff_ffff, "not a multiple"),
    ] {
        let mut file = int16(&[5; 600]);
        file[40..44].copy_from_slice(&promise.to_le_bytes());
        let failure = failure(&file);
        assert!(failure.to_string().contains(words), "{failure}");
    }
    let mut file = int16(&[5; 600]);
    file[12..20].copy_from_slice(b"junk\xff\xff\xff\xff");
    assert!(matches!(failure(&file), Failure::NotWav { .. }));
}

#[test]
fn samples_that_are_no_numbers_are_errors() {
    let mut samples = vec![0.0; 700];
    samples[600] = f32::INFINITY;
    let failure = failure(&float32(&samples));
    let (index, value) = (600, f32::INFINITY);
    assert_eq!(failure, Failure::NotFinite { index, value });
    assert!(failure.to_string().contains("sample 600"), "{failure}");
}

#[test]
fn samples_of_16_bits_in_wider_containers_are_an_error() {
    let mut file = int16(&[5; 600]);
    file[28..32].copy_from_slice(&64_000_u32.to_le_bytes());
    file[32..34].copy_from_slice(&4_u16.to_le_bytes());
    let failure = failure(&file);
    assert!(
        matches!(failure, Failure::Unreadable { index: 0, .. }),
        "{failure}"
    );
}

#[test]
fn no_change_of_a_header_makes_it_panic() {
    let mut samples = vec![0.25_f32; 20];
    samples[3] = -0.5;
    for whole in [int16(&[5; 40]), float32(&samples)] {
        for position in 0..44 {
            for value in 0..=255 {
                let mut file = whole.clone();
                file[position] = value;
                // Either is right: the header may have become that of another file.
                if let Ok(windows) = windows(&file) {
                    assert!(windows.len() <= 1, "{position} {value}");
                }
            }
        }
    }
}
