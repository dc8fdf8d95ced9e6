//! How keys are written, and how foreign text is made safe to show.

use adit_protocol::hex::from_typed;
/// Bytes as `0x` and hexadecimal digits.
pub use adit_protocol::hex::prefixed as hex;

/// The inverse of [`hex`] for 32 bytes; the `0x` must be there.
pub fn unhex32(text: &str) -> Option<[u8; 32]> {
    from_typed(text.strip_prefix("0x")?)
}

/// At most `max` bytes of a text, cut between two characters.
pub fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// A text from elsewhere on one line: without control characters, which could forge lines of a log
/// or command a terminal, and of at most 512 bytes.
pub fn tame(text: &str) -> String {
    cut(text, 512)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_nothing_else_is_one() {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8 * 7);
        assert_eq!(unhex32(&hex(&key)), Some(key));
        for bad in ["", "0x", &hex(&key)[2..], &hex(&key)[..64], "0xzz"] {
            assert_eq!(unhex32(bad), None, "{bad}");
        }
    }

    #[test]
    fn foreign_text_is_one_short_line() {
        assert_eq!(tame("a\nb\u{1b}[2J"), "a b [2J");
        assert!(tame(&"\u{e9}".repeat(1000)).len() <= 512);
    }
}
