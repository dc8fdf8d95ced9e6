//! Values of fields that are not numbers: checked when they are read, so that what a wallet shows is
//! what is meant.

use std::fmt::{self, Display};
use std::str::FromStr;

use adit_protocol::hex;
use adit_protocol::log::key::{KeyName, NameError};

use crate::late::ASSIGNMENT_MAX;

/// Longest free text, in bytes.
const SENTENCE_MAX: usize = 512;
/// Longest address, in bytes.
const URL_MAX: usize = 512;
/// Longest word, in bytes.
const WORD_MAX: usize = 64;

/// A text for people.
pub(super) struct Sentence(pub String);

impl FromStr for Sentence {
    type Err = String;

    fn from_str(text: &str) -> Result<Sentence, String> {
        if text.is_empty() || text.len() > SENTENCE_MAX {
            return Err(format!(
                "it has {} bytes, from 1 to {SENTENCE_MAX} are allowed; leave the line out for none",
                text.len()
            ));
        }
        if text.trim() != text {
            return Err("it begins or ends with a space".to_owned());
        }
        match text.chars().find(|c| c.is_control() || is_unseen(*c)) {
            None => Ok(Sentence(text.to_owned())),
            Some(c) => Err(format!(
                "it has the character {}, which cannot be seen",
                c.escape_unicode()
            )),
        }
    }
}

/// Characters that change how the text around them is shown and are not seen themselves: someone
/// could sign something else than what a wallet seems to say.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A name of lower-case letters, digits, points and hyphens.
pub(super) struct Word(pub String);

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Word, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        match !text.is_empty() && text.len() <= WORD_MAX && text.bytes().all(fits) {
            true => Ok(Word(text.to_owned())),
            false => Err(format!(
                "it must be 1 to {WORD_MAX} lower-case letters, digits, points and hyphens"
            )),
        }
    }
}

/// An address of a node: scheme, host and port, nothing else.
pub(super) struct NodeUrl(pub String);

impl FromStr for NodeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeUrl, String> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
        match rest {
            Some(rest) if !rest.is_empty() && text.len() <= URL_MAX && rest.bytes().all(host) => {
                Ok(NodeUrl(text.to_owned()))
            }
            _ => Err("write it as https://host:port, in lower case, with nothing after".to_owned()),
        }
    }
}

/// A checker's name in its cosignatures.
pub(super) struct CosignerName(pub String);

impl FromStr for CosignerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<CosignerName, NameError> {
        text.parse::<KeyName>()?;
        Ok(CosignerName(text.to_owned()))
    }
}

/// Bytes, mostly of a signature, as `0x` and two lower-case digits for each.
pub(super) struct Digits<const N: usize = 64>(pub [u8; N]);

impl<const N: usize> Display for Digits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::prefixed(&self.0))
    }
}

impl<const N: usize> FromStr for Digits<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Digits<N>, String> {
        let wrong = || {
            let digits = N.saturating_mul(2);
            format!("it must be 0x and {digits} digits from 0 to 9 and a to f")
        };
        let bytes = text.strip_prefix("0x").and_then(hex::from_digits);
        bytes.map(Digits).ok_or_else(wrong)
    }
}

/// As [`Digits`], of 1 to [`ASSIGNMENT_MAX`] bytes.
pub(super) struct Octets(pub Vec<u8>);

impl Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::prefixed(&self.0))
    }
}

impl FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Octets, String> {
        let wrong = || {
            format!(
                "it must be 0x and two digits from 0 to 9 and a to f for each of 1 to {ASSIGNMENT_MAX} bytes"
            )
        };
        let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
        let bytes = hex::from_up_to(ASSIGNMENT_MAX, digits).ok_or_else(wrong)?;
        match bytes.is_empty() {
            true => Err(wrong()),
            false => Ok(Octets(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_refused() {
        for good in ["A node in the cellar.", "Ein Knoten für alle", "矿工"] {
            assert!(good.parse::<Sentence>().is_ok(), "{good}");
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\tb",
            "a\u{feff}b",
            "a\u{e0041}",
        ] {
            assert!(bad.parse::<Sentence>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(SENTENCE_MAX + 1).parse::<Sentence>().is_err());
    }

    #[test]
    fn words_and_addresses() {
        for good in [
            "https://node.example:4430",
            "http://127.0.0.1:80",
            "https://[::1]:1",
        ] {
            assert!(good.parse::<NodeUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://",
            "ftp://a",
            "https://a/b",
            "https://u@a",
            "https://A",
            "http://a b",
        ] {
            assert!(bad.parse::<NodeUrl>().is_err(), "{bad}");
        }
        assert!("gpu-128g-f15".parse::<Word>().is_ok());
        assert!("EU".parse::<Word>().is_err() && "".parse::<Word>().is_err());
        assert!("a b".parse::<CosignerName>().is_err());
    }

    #[test]
    fn digits() {
        let text = Digits([0xa5; 64]).to_string();
        assert_eq!(text.parse::<Digits>().map(|d| d.0), Ok([0xa5; 64]));
        assert_eq!("0x00ff".parse::<Digits<2>>().map(|d| d.0), Ok([0, 255]));
        for bad in ["", "0x", &text[2..], &text[..128], &text.to_uppercase()] {
            assert!(bad.parse::<Digits>().is_err());
        }
        let octets = |text: &str| text.parse::<Octets>().map(|octets| octets.0);
        assert_eq!(octets("0x00ff"), Ok(vec![0, 255]));
        let longest = Octets(vec![7; ASSIGNMENT_MAX]).to_string();
        assert_eq!(octets(&longest).map(|bytes| bytes.len()), Ok(480));
        for bad in ["", "0x", "00", "0x0", "0xFF", &format!("{longest}07")] {
            assert!(octets(bad).is_err());
        }
    }
}
