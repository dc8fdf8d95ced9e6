//! Amounts as the data files write them: `256MiB`, `50M`, `60s`.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A number of bytes: `512`, `64KiB`, `256MiB`, `1GiB` (powers of 1024), or a plain integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// An amount of fuel: `500`, `500k`, `50M`, `2G`, `1T` (powers of 1000), or a plain integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fuel(pub u64);

/// A span of time: `1500ms`, `60s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    /// The number times the factor of its unit; of a bare number, times 1.
    fn scaled(&self, units: &[(&str, u64)]) -> Option<u64> {
        let text = match self {
            Written::Number(number) => return Some(*number),
            Written::Text(text) => text,
        };
        let at = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(at)?;
        let number: u64 = number.replace('_', "").parse().ok()?;
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*factor)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let units = [
            ("", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
        ];
        Written::deserialize(deserializer)?
            .scaled(&units)
            .map(Bytes)
            .ok_or_else(|| D::Error::custom("write a size as 512, 64KiB, 256MiB or 1GiB"))
    }
}

impl<'de> Deserialize<'de> for Fuel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fuel, D::Error> {
        let units = [
            ("", 1),
            ("k", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("T", 1_000_000_000_000),
        ];
        Written::deserialize(deserializer)?
            .scaled(&units)
            .map(Fuel)
            .ok_or_else(|| D::Error::custom("write fuel as 500, 50M, 2G or 1T"))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        // A bare number would leave open what it counts.
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
        let written = Written::deserialize(deserializer)?;
        let millis = match written {
            Written::Number(_) => None,
            Written::Text(_) => written.scaled(&units),
        };
        millis
            .filter(|millis| *millis > 0)
            .map(|millis| Span(Duration::from_millis(millis)))
            .ok_or_else(|| D::Error::custom("write a time as 1500ms, 60s or 2m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct All {
        bytes: Bytes,
        fuel: Fuel,
        span: Span,
    }

    fn read(bytes: &str, fuel: &str, span: &str) -> Result<All, toml::de::Error> {
        toml::from_str(&format!("bytes = {bytes}\nfuel = {fuel}\nspan = {span}"))
    }

    #[test]
    fn amounts_are_read_with_and_without_units() {
        let all = read("\"256MiB\"", "\"2G\"", "\"1500ms\"").unwrap();
        assert_eq!(all.bytes, Bytes(256 << 20));
        assert_eq!(all.fuel, Fuel(2_000_000_000));
        assert_eq!(all.span, Span(Duration::from_millis(1500)));
        let all = read("1_000", "\"1_000\"", "\"2m\"").unwrap();
        assert_eq!((all.bytes, all.fuel), (Bytes(1000), Fuel(1000)));
        assert_eq!(all.span, Span(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_ambiguous_or_too_large_is_refused() {
        for (bytes, fuel, span) in [
            ("\"1MB\"", "1", "\"1s\""),
            ("\"\"", "1", "\"1s\""),
            ("-1", "1", "\"1s\""),
            ("1", "\"1MiB\"", "\"1s\""),
            ("1", "\"99999999999T\"", "\"1s\""),
            ("1", "1", "60"),
            ("1", "1", "\"0s\""),
            ("1", "1", "\"1h\""),
        ] {
            assert!(read(bytes, fuel, span).is_err(), "{bytes} {fuel} {span}");
        }
    }
}
