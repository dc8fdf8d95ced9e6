//! Forms and checks of single fields that several documents share.

use minicbor::data::{IanaTag, Tag};
use minicbor::{Decoder, Encoder};

/// Why a document that is well encoded makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl Invalid {
    /// The refusal of a field, as the result of a check.
    ///
    /// # Errors
    /// Always: it is what a check ends with.
    pub fn new<T>(field: &'static str, detail: impl Into<String>) -> Result<T, Invalid> {
        Err(Invalid {
            field,
            detail: detail.into(),
        })
    }
}

/// Refuses more than `max` entries.
///
/// # Errors
/// [`Invalid`].
pub fn count(field: &'static str, found: usize, max: usize) -> Result<(), Invalid> {
    if found > max {
        return Invalid::new(
            field,
            format!("it has {found} entries, at most {max} are allowed"),
        );
    }
    Ok(())
}

/// Refuses a text that is longer than `max` bytes or has control characters, which could forge
/// lines on the terminal of whoever reads it.
///
/// # Errors
/// [`Invalid`].
pub fn text(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.len() > max {
        return Invalid::new(
            field,
            format!("it has {} bytes, at most {max} are allowed", text.len()),
        );
    }
    if text.chars().any(char::is_control) {
        return Invalid::new(field, "it has a control character");
    }
    Ok(())
}

/// Like [`text`], and refuses an empty one.
///
/// # Errors
/// [`Invalid`].
pub fn name(field: &'static str, name: &str, max: usize) -> Result<(), Invalid> {
    if name.is_empty() {
        return Invalid::new(field, "it is empty");
    }
    text(field, name, max)
}

/// Unsigned 128-bit integers: a plain integer up to 64 bits, above that a tag-2 bignum without
/// leading zeros (RFC 8949, 3.4.3 and 4.2.2).
pub(crate) mod amount {
    use super::*;

    pub fn encode<C, W: minicbor::encode::Write>(
        value: &u128,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match u64::try_from(*value) {
            Ok(small) => e.u64(small)?,
            Err(_) => {
                let bytes = value.to_be_bytes();
                let zeros = value.leading_zeros() as usize / 8;
                e.tag(IanaTag::PosBignum)?
                    .bytes(bytes.get(zeros..).unwrap_or(&bytes))?
            }
        };
        Ok(())
    }

    pub fn decode<'b, C>(d: &mut Decoder<'b>, _: &mut C) -> Result<u128, minicbor::decode::Error> {
        let position = d.position();
        if d.datatype()? != minicbor::data::Type::Tag {
            return Ok(u128::from(d.u64()?));
        }
        let error = |what| minicbor::decode::Error::message(what).at(position);
        if d.tag()? != Tag::from(IanaTag::PosBignum) {
            return Err(error("an amount is an unsigned integer"));
        }
        let bytes = d.bytes()?;
        if bytes.len() > 16 {
            return Err(error("an amount has at most 128 bits"));
        }
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: u128) -> Vec<u8> {
        let mut bytes = Vec::new();
        amount::encode(&value, &mut Encoder::new(&mut bytes), &mut ()).unwrap();
        bytes
    }

    #[test]
    fn amounts_take_their_shortest_form() {
        assert_eq!(encode(0), [0]);
        assert_eq!(
            encode(u64::MAX.into()),
            [0x1b, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(encode(1 << 64), [0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        for value in [0, 23, 24, u64::MAX.into(), 1 << 64, 1 << 127, u128::MAX] {
            let bytes = encode(value);
            assert_eq!(
                amount::decode(&mut Decoder::new(&bytes), &mut ()).unwrap(),
                value
            );
        }
        let long: Vec<u8> = [0xc2, 0x51].into_iter().chain([1; 17]).collect();
        assert!(amount::decode(&mut Decoder::new(&long), &mut ()).is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(name("n", "input_ids", 16).is_ok());
        assert!(name("n", "", 16).is_err());
        assert!(name("n", "a\u{1b}[2J", 16).is_err());
        assert!(name("n", &"a".repeat(17), 16).is_err());
        assert!(text("t", "", 16).is_ok());
    }
}
