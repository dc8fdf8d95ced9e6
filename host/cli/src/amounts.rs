//! Sizes, fuel, times and seeds as they are written on the command line.
//!
//! Each function is a parser for clap, whose errors are plain sentences.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_protocol::Amount;

/// A size in bytes: `1048576`, `512KiB`, `64M` (powers of 1024), `64MB` (powers of 1000).
pub fn size(text: &str) -> Result<u64, String> {
    let units: [(&str, u64); 13] = [
        ("", 1),
        ("B", 1),
        ("K", 1 << 10),
        ("KiB", 1 << 10),
        ("KB", 1_000),
        ("M", 1 << 20),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("G", 1 << 30),
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("T", 1 << 40),
        ("TiB", 1 << 40),
    ];
    scaled(text, &units).ok_or_else(|| "write a size as 1048576, 512KiB, 64MiB or 2GiB".into())
}

/// An amount of fuel: `1000000`, `1_000_000`, `500M`, `20G` (powers of 1000).
pub fn fuel(text: &str) -> Result<u64, String> {
    let units: [(&str, u64); 5] = [
        ("", 1),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    scaled(text, &units).ok_or_else(|| "write fuel as 1000000, 1_000_000, 500M or 20G".into())
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let number: u64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim_start();
    let (_, factor) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// An amount of tokens, as `20000`, `20_000` or `0.5`, in 10^-12 token.
pub fn tokens(text: &str) -> Result<u128, String> {
    let amount: Result<Amount, _> = text.replace('_', "").parse();
    amount.map(Amount::units).map_err(|error| error.to_string())
}

/// An amount in 10^-12 token as tokens: `20000`, `0.5`.
pub fn in_tokens(units: u128) -> String {
    Amount::from_units(units).to_string()
}

/// A time span: `30s`, `500ms`, `2m 30s`, or a number of seconds. From 1 ms to 30 days.
pub fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(30 * 24 * 3600);
    let span = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "write a time as 30s, 500ms, 2m or 1h".to_owned())?,
    };
    if span < Duration::from_millis(1) || span > MAX {
        return Err("it must be from 1ms to 30 days".to_owned());
    }
    Ok(span)
}

/// A moment, in nanoseconds since 1970: `2025-01-31T12:00:00Z`, or seconds since 1970.
pub fn moment_ns(text: &str) -> Result<u64, String> {
    let since = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_rfc3339_weak(text)
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .ok_or("write a moment as 2025-01-31T12:00:00Z, or in seconds since 1970")?,
    };
    u64::try_from(since.as_nanos()).map_err(|_| "it must be before the year 2554".to_owned())
}

/// Nanoseconds since 1970 now.
pub fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A seed: a number, which becomes 32 bytes with the lowest first, or `0x` and 64 digits.
pub fn seed(text: &str) -> Result<[u8; 32], String> {
    if let Some(seed) = crate::text::unhex::<32>(text).filter(|_| text.starts_with("0x")) {
        return Ok(seed);
    }
    let number: u64 = text
        .parse()
        .map_err(|_| "write a seed as a number below 2^64, or as 0x and 64 digits")?;
    let mut seed = [0; 32];
    for (to, from) in seed.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    Ok(seed)
}

/// `NAME=FILE`.
pub fn named_file(text: &str) -> Result<(String, std::path::PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("write it as NAME=FILE, with the name by which the task loads the model".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_fuel() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("64 mib"), Ok(64 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("1kb"), Ok(1000));
        assert_eq!(fuel("1_000k"), Ok(1_000_000));
        for bad in [
            "",
            "MiB",
            "-1",
            "1.5G",
            "1Q",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_of_tokens() {
        assert_eq!(tokens("20_000"), Ok(20_000 * 10u128.pow(12)));
        assert_eq!(tokens("0.5").map(in_tokens), Ok("0.5".to_owned()));
        assert!(tokens("-1").is_err() && tokens("_").is_err());
    }

    #[test]
    fn times() {
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("0").is_err());
        assert!(duration("1 year").is_err());
        assert_eq!(moment_ns("1"), Ok(1_000_000_000));
        assert_eq!(moment_ns("1970-01-01T00:00:02Z"), Ok(2_000_000_000));
        assert!(moment_ns("1969-01-01T00:00:00Z").is_err());
        assert!(moment_ns("99999999999999").is_err());
        assert!(moment_ns("yesterday").is_err());
    }

    #[test]
    fn seeds_and_names() {
        assert_eq!(seed("258").unwrap()[..3], [2, 1, 0]);
        assert_eq!(seed(&format!("0x{}", "ab".repeat(32))), Ok([0xab; 32]));
        assert!(seed("0xab").is_err());
        assert!(seed(&"1".repeat(64)).is_err());
        assert_eq!(named_file("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(named_file("a").is_err() && named_file("=b").is_err() && named_file("a=").is_err());
    }
}
