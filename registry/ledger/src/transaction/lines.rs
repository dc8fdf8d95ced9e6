//! Texts of lines `name: value`, written and read field by field in a fixed order.

use std::fmt::{Display, Write as _};
use std::str::{FromStr, Split};
use std::time::{Duration, UNIX_EPOCH};

use super::text_error::TextError;

/// Longest value of a field, in bytes.
const VALUE_MAX: usize = 1024;

/// Writes lines.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    /// A line of its own, without a name.
    pub fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// A field.
    pub fn field(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name}: {value}");
    }

    /// A field that is left out when it is absent.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    /// The text. The last line has no end of line: wallets would show an empty one.
    pub fn finish(mut self) -> String {
        self.0.truncate(self.0.trim_end_matches('\n').len());
        self.0
    }
}

/// Reads lines.
pub(super) struct Reader<'a> {
    lines: Split<'a, char>,
    /// The line that was looked at and not taken.
    ahead: Option<&'a str>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader {
            lines: text.split('\n'),
            ahead: None,
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.ahead.take().or_else(|| self.lines.next())
    }

    /// A line that must be this one.
    pub fn line(&mut self, expected: &'static str) -> Result<(), TextError> {
        match self.next() {
            Some(line) if line == expected => Ok(()),
            found => Err(TextError::Line {
                expected,
                found: shown(found.unwrap_or_default()),
            }),
        }
    }

    /// The value of the field that must come next.
    pub fn text(&mut self, name: &'static str) -> Result<&'a str, TextError> {
        self.optional_text(name)?.ok_or_else(|| TextError::Missing {
            name,
            found: shown(self.ahead.unwrap_or_default()),
        })
    }

    /// The value of a field if it comes next.
    pub fn optional_text(&mut self, name: &'static str) -> Result<Option<&'a str>, TextError> {
        let Some(line) = self.next() else {
            return Ok(None);
        };
        let value = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(": "));
        match value {
            None => {
                self.ahead = Some(line);
                Ok(None)
            }
            Some(value) if value.len() > VALUE_MAX => Err(TextError::Value {
                name,
                why: format!(
                    "it has {} bytes, at most {VALUE_MAX} are allowed",
                    value.len()
                ),
            }),
            Some(value) => Ok(Some(value)),
        }
    }

    /// The field that must come next, as something that a text stands for.
    pub fn field<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<T, TextError> {
        parse(name, self.text(name)?)
    }

    /// As [`Reader::field`], if the field comes next.
    pub fn optional<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, TextError> {
        let text = self.optional_text(name)?;
        text.map(|text| parse(name, text)).transpose()
    }

    /// There must be no more lines.
    pub fn end(mut self) -> Result<(), TextError> {
        match self.next() {
            None => Ok(()),
            Some(line) => Err(TextError::Left { found: shown(line) }),
        }
    }
}

/// Parses the value of a field.
pub(super) fn parse<T: FromStr<Err: Display>>(
    name: &'static str,
    text: &str,
) -> Result<T, TextError> {
    text.parse().map_err(|error: T::Err| TextError::Value {
        name,
        why: error.to_string(),
    })
}

/// The beginning of a line that somebody else wrote, fit for a message.
fn shown(line: &str) -> String {
    let line: String = line.chars().take(60).collect();
    line.escape_debug().to_string()
}

/// A moment in milliseconds since 1970 as RFC 3339 in UTC, with as many digits as it needs.
pub(super) fn moment(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms.min(MOMENT_MS_MAX)));
    let time = time.unwrap_or(UNIX_EPOCH);
    match ms % 1000 {
        0 => humantime::format_rfc3339_seconds(time).to_string(),
        _ => humantime::format_rfc3339_millis(time).to_string(),
    }
}

/// The last moment that is written, in the year 9999.
pub(super) const MOMENT_MS_MAX: u64 = 253_402_300_799_999;

/// The inverse of [`moment`].
pub(super) fn parse_moment(name: &'static str, text: &str) -> Result<u64, TextError> {
    let time = humantime::parse_rfc3339(text).ok();
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .ok_or_else(|| TextError::Value {
            name,
            why: "write a moment as 2026-01-31T12:00:00Z".to_owned(),
        })
}

/// A share in parts per million, as text a percentage: `10%`, `0.25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(
    /// Parts per million.
    pub u32,
);

impl Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        match part {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{}%", format!("{whole}.{part:04}").trim_end_matches('0')),
        }
    }
}

impl FromStr for Percent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Percent, &'static str> {
        const WRONG: &str = "write a share as 10% or 0.25%, from 0% to 100%, with at most 4 digits \
                             after the point";
        let number = text.strip_suffix('%').ok_or(WRONG)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 4 || whole.len() > 3 {
            return Err(WRONG);
        }
        let whole: u32 = whole.parse().map_err(|_| WRONG)?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| WRONG)?;
        match whole * 10_000 + part {
            ppm @ 0..=1_000_000 => Ok(Percent(ppm)),
            _ => Err(WRONG),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        for (text, ppm) in [
            ("0%", 0),
            ("10%", 100_000),
            ("0.25%", 2_500),
            ("100%", 1_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Percent(ppm)));
            assert_eq!(Percent(ppm).to_string(), text);
        }
        for bad in [
            "",
            "%",
            "10",
            "100.0001%",
            "101%",
            "-1%",
            ".5%",
            "1.%",
            "0.00001%",
        ] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn moments() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-27T06:00:00Z", 1_795_759_200_000),
            ("2026-11-27T06:00:00.001Z", 1_795_759_200_001),
            ("9999-12-31T23:59:59.999Z", MOMENT_MS_MAX),
        ] {
            assert_eq!(parse_moment("expires", text), Ok(ms));
            assert_eq!(moment(ms), text);
        }
        // No panic beyond what can be written.
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59.999Z");
        for bad in ["", "now", "2026-11-27", "2026-13-01T00:00:00Z"] {
            assert!(parse_moment("expires", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_come_in_their_order() {
        let mut reader = Reader::new("first\na: 1\nc: 3");
        reader.line("first").unwrap();
        assert_eq!(reader.field::<u8>("a"), Ok(1));
        assert_eq!(reader.optional::<u8>("b"), Ok(None));
        assert!(matches!(
            reader.field::<u8>("b"),
            Err(TextError::Missing { name: "b", .. })
        ));
        assert!(matches!(
            Reader::new("a: x").field::<u8>("a"),
            Err(TextError::Value { name: "a", .. })
        ));
        assert_eq!(reader.field::<u8>("c"), Ok(3));
        assert_eq!(reader.end(), Ok(()));
        assert!(Reader::new("a: 1").end().is_err());
    }
}
