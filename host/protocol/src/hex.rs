//! Bytes as hexadecimal digits.

/// Two lower-case digits for each byte.
pub fn digits(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// `0x` and the digits, as documents and texts for people have bytes.
pub fn prefixed(bytes: &[u8]) -> String {
    format!("0x{}", digits(bytes))
}

/// The bytes of as many lower-case digits, the inverse of [`digits`]; `None` for other texts.
pub fn from_digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    match has_upper_case(text) {
        true => None,
        false => from_typed(text),
    }
}

/// As [`from_digits`] for at most so many bytes.
pub fn from_up_to(max: usize, text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    match pairs.len() > max || has_upper_case(text) {
        true => None,
        false => pairs.iter().map(byte).collect(),
    }
}

/// As [`from_digits`] for what people type: upper-case digits are as good.
pub fn from_typed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, pair) in bytes.iter_mut().zip(pairs) {
        *place = byte(pair)?;
    }
    Some(bytes)
}

fn has_upper_case(text: &str) -> bool {
    text.bytes().any(|digit| digit.is_ascii_uppercase())
}

fn byte([high, low]: &[u8; 2]) -> Option<u8> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    Some(value(*high)? << 4 | value(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back() {
        let all: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let text = digits(&all);
        assert_eq!(&text[..8], "00010203");
        assert_eq!(from_digits(&text), Some(all));
        assert_eq!(prefixed(&all), format!("0x{text}"));
        let upper = text.to_uppercase();
        assert_eq!(from_digits::<256>(&upper), None);
        assert_eq!(from_up_to(256, &text), Some(all.to_vec()));
        assert_eq!(
            (from_up_to(255, &text), from_up_to(256, &upper)),
            (None, None)
        );
        assert_eq!(from_typed(&upper), Some(all));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["0", "000", "0000", "0g", "g0", "é", "+1", " 0"] {
            assert_eq!(from_typed::<1>(text), None, "{text}");
        }
        assert_eq!(from_digits::<0>(""), Some([]));
    }
}
