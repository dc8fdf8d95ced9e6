//! How values that JSON has no form for are written in it: bytes as `0x` and hexadecimal digits,
//! amounts as decimal strings, because a JSON number loses digits above 2^53.

use minicbor::bytes::ByteVec;
use serde::Serializer;

/// Lower-case hexadecimal digits, two for each byte.
pub(crate) fn hex_digits(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes of as many lower-case hexadecimal digits; `None` for other texts.
pub(crate) fn from_hex_digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?))
        .collect::<Option<Vec<u8>>>();
    bytes?.try_into().ok()
}

/// `0x` and the digits of the bytes.
pub(crate) fn bytes<S: Serializer>(value: &impl AsRef<[u8]>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format!("0x{}", hex_digits(value.as_ref())))
}

/// As [`bytes`]; null where there are none.
pub(crate) fn optional_bytes<S: Serializer>(
    value: &Option<ByteVec>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => bytes(&value.as_slice(), s),
        None => s.serialize_none(),
    }
}

/// A list of [`bytes`].
pub(crate) fn bytes_list<S: Serializer>(value: &[ByteVec], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(value.iter().map(|item| format!("0x{}", hex_digits(item))))
}

/// An amount as a decimal string.
pub(crate) fn decimal<S: Serializer>(value: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}
