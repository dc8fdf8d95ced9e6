//! What magika's model sees of a file.
//!
//! The rule is that of google/magika, `python/src/magika/magika.py` and `rust/lib/src/input.rs`,
//! with the configuration of model `standard_v3_3`. Of the first and the last 4096 bytes, white
//! space is stripped at the file's begin and end; the first and the last 1024 bytes that are left
//! become 2048 numbers. Where there are fewer, the first half is padded at its end and the second
//! at its begin with 256, which is no byte.

/// How many bytes of each end of a file are looked at.
pub const BLOCK_BYTES: usize = 4096;
/// How many numbers the model takes from each end.
pub const END_FEATURES: usize = 1024;
/// How many numbers the model takes: both ends.
pub const FEATURES: usize = 2 * END_FEATURES;
/// The number that stands where there is no byte.
pub const PADDING: i32 = 256;
/// A file with fewer bytes than this after stripping tells the model nothing.
pub const BYTES_MIN: usize = 8;

/// How a file is to be classified.
#[derive(Debug, PartialEq, Eq)]
pub enum Features {
    /// By the model, from these [`FEATURES`] numbers.
    Model(Vec<i32>),
    /// By rule, as this label: it is empty, or too short to be anything but text or not.
    Rule(&'static str),
}

impl Features {
    /// What the model sees of `content`, or what rule settles it.
    pub fn extract(content: &[u8]) -> Self {
        if content.is_empty() {
            return Self::Rule("empty");
        }
        let block = content.len().min(BLOCK_BYTES);
        let first = content.get(..block).unwrap_or(content);
        let last = content.get(content.len() - block..).unwrap_or(content);
        let begin = strip_start(first);
        if begin.len() < BYTES_MIN {
            return Self::Rule(match std::str::from_utf8(first) {
                Ok(_) => "txt",
                Err(_) => "unknown",
            });
        }
        let end = strip_end(last);
        let begin = begin.get(..END_FEATURES).unwrap_or(begin);
        let end = end
            .get(end.len().saturating_sub(END_FEATURES)..)
            .unwrap_or(end);

        let mut features = Vec::with_capacity(FEATURES);
        features.extend(begin.iter().map(|&byte| i32::from(byte)));
        features.resize(FEATURES - end.len(), PADDING);
        features.extend(end.iter().map(|&byte| i32::from(byte)));
        Self::Model(features)
    }
}

/// White space as Python's `bytes.strip` has it: ASCII's and the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn strip_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_space(byte));
    start.and_then(|start| bytes.get(start..)).unwrap_or(&[])
}

fn strip_end(bytes: &[u8]) -> &[u8] {
    let last = bytes.iter().rposition(|&byte| !is_space(byte));
    last.and_then(|last| bytes.get(..=last)).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(content: &[u8]) -> Vec<i32> {
        match Features::extract(content) {
            Features::Model(features) => features,
            Features::Rule(label) => panic!("ruled {label}"),
        }
    }

    #[test]
    fn a_short_file_is_padded_between_its_ends() {
        let features = model(b"\x0b\n 12345678\t ");
        assert_eq!(features.len(), FEATURES);
        // Each half is stripped on its own side only.
        let begin: Vec<i32> = b"12345678\t ".map(i32::from).to_vec();
        let end: Vec<i32> = b"\x0b\n 12345678".map(i32::from).to_vec();
        assert_eq!(features[..10], begin);
        assert!(features[10..FEATURES - 11].iter().all(|&n| n == PADDING));
        assert_eq!(features[FEATURES - 11..], end);
    }

    #[test]
    fn a_long_file_gives_both_ends_and_is_stripped_within_its_blocks() {
        let mut content = vec![b' '; 3000];
        content.extend(std::iter::repeat_n(1, 5000));
        content.extend(std::iter::repeat_n(2, 1000));
        content.extend(std::iter::repeat_n(b'\n', 3500));
        let features = model(&content);
        assert!(features[..END_FEATURES].iter().all(|&n| n == 1));
        // 596 of the last block's 4096 bytes are left after stripping.
        let padding = FEATURES - 596;
        assert!(
            features[END_FEATURES..padding]
                .iter()
                .all(|&n| n == PADDING)
        );
        assert!(features[padding..].iter().all(|&n| n == 2));
    }

    #[test]
    fn a_file_whose_last_block_is_space_has_an_empty_second_half() {
        let mut content = vec![b'x'; 100];
        content.extend(std::iter::repeat_n(b' ', 2 * BLOCK_BYTES));
        let features = model(&content);
        assert_eq!(features[99..101], [i32::from(b'x'), i32::from(b' ')]);
        let (begin, end) = features.split_at(END_FEATURES);
        assert!(begin.iter().all(|&n| n != PADDING));
        assert!(end.iter().all(|&n| n == PADDING));
    }

    #[test]
    fn rules_settle_what_is_too_short() {
        assert_eq!(Features::extract(b""), Features::Rule("empty"));
        assert_eq!(Features::extract(b"1234567"), Features::Rule("txt"));
        assert_eq!(Features::extract(b"\xff234567"), Features::Rule("unknown"));
        let blank = vec![b' '; 10_000];
        assert_eq!(Features::extract(&blank), Features::Rule("txt"));
        assert_eq!(model(b"12345678").len(), FEATURES);
    }
}
