//! How figures and foreign text are written for people.

use adit_protocol::hex::from_typed;
/// Bytes as `0x` and hexadecimal digits.
pub use adit_protocol::hex::prefixed as hex;

/// Text that may come from anywhere, without the control characters by which it could command a
/// terminal. Line breaks stay.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => c,
            '\t' => ' ',
            // Characters that turn the direction of writing can make a text look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// As [`printable`], on one line.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// A number with its digits in groups of three: `1,234,567`.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in bytes: `512 B`, `1.5 KiB`, `20.0 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A time in microseconds: `850 us`, `12.5 ms`, `3.20 s`.
pub fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us} us"),
        1_000..=999_999 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// Milliseconds since 1970 as a date, or as a number where no calendar has one.
pub fn date_ms(ms: u64) -> String {
    // The year 9999, beyond which the formatter would panic.
    const MAX_MS: u64 = 253_402_300_799_999;
    if ms > MAX_MS {
        return format!("{ms} ms after 1970");
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// An amount in 10^-12 token, in tokens: `20,000`, `0.5`.
pub fn tokens(amount: u128) -> String {
    const TOKEN: u128 = 1_000_000_000_000;
    let whole =
        u64::try_from(amount / TOKEN).map_or_else(|_| (amount / TOKEN).to_string(), grouped);
    match amount % TOKEN {
        0 => whole,
        part => format!("{whole}.{}", format!("{part:012}").trim_end_matches('0')),
    }
}

/// `1 call`, `2 calls`.
pub fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", grouped(number))
}

/// The inverse of [`hex`] for exactly `N` bytes; the `0x` may be left out.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_typed(text.strip_prefix("0x").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(grouped(0u64), "0");
        assert_eq!(grouped(999u64), "999");
        assert_eq!(grouped(1_234_567u64), "1,234,567");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(micros(999), "999 us");
        assert_eq!(micros(12_500), "12.5 ms");
        assert_eq!(tokens(20_000_000_000_000_000), "20,000");
        assert_eq!(tokens(500_000_000_001), "0.500000000001");
        assert_eq!(
            tokens(u128::MAX),
            "340282366920938463463374607.431768211455"
        );
        assert_eq!(count(1, "call"), "1 call");
        assert_eq!(date_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date_ms(u64::MAX), format!("{} ms after 1970", u64::MAX));
    }

    #[test]
    fn foreign_text_cannot_command_a_terminal() {
        assert_eq!(
            printable("a\u{1b}[31m\u{9b}b\rc\n"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}c\n"
        );
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
    }

    #[test]
    fn hexadecimal_round_trips_and_is_bounded() {
        assert_eq!(unhex::<3>(&hex(&[0, 171, 255])), Some([0, 171, 255]));
        assert_eq!(unhex::<3>("0x00abf"), None);
        assert_eq!(unhex::<2>("00zz"), None);
        assert_eq!(unhex::<2>("é00"), None);
    }
}
