//! How values are written in JSON: hashes as `blake3:<hex>`, keys and other bytes as `0x<hex>`,
//! amounts as decimal strings in 10^-12 token, because a JSON number loses digits above 2^53.

use std::borrow::Cow;
use std::fmt;

use adit_protocol::Hash;
use adit_protocol::hex::from_typed;
/// `0x` and the digits of the bytes.
pub use adit_protocol::hex::prefixed as hex;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashText(pub Hash);

/// 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes32(pub [u8; 32]);

/// An amount in 10^-12 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount(pub u128);

/// An unsigned integer that may also be written as a string, since some languages cannot write
/// large ones as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Number(pub u64);

struct TextVisitor<T> {
    expected: &'static str,
    read: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<HashText, D::Error> {
        d.deserialize_str(TextVisitor {
            expected: "a hash as `blake3:` and 64 hexadecimal digits",
            read: |text| match text.parse() {
                Ok(hash) => Ok(HashText(hash)),
                // Its advice is in the sentence before.
                Err(error) => Err(without_hint(&error.to_string())),
            },
        })
    }
}

impl Serialize for HashText {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes32, D::Error> {
        d.deserialize_str(TextVisitor {
            expected: "`0x` and 64 hexadecimal digits",
            read: |text| {
                unhex(text)
                    .map(Bytes32)
                    .ok_or_else(|| "it is not `0x` and 64 hexadecimal digits".to_owned())
            },
        })
    }
}

impl Serialize for Bytes32 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Amount, D::Error> {
        d.deserialize_str(TextVisitor {
            expected: "an amount in 10^-12 token as a string of digits",
            read: |text| match text.bytes().all(|b| b.is_ascii_digit()) {
                true => text
                    .parse()
                    .map(Amount)
                    .map_err(|_| "it is not an amount below 2^128".to_owned()),
                false => Err("an amount is digits alone, in 10^-12 token".to_owned()),
            },
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Number, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an unsigned integer, as a number or as a string of digits")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                match text.bytes().all(|b| b.is_ascii_digit()) {
                    true => text.parse().map(Number).map_err(E::custom),
                    false => Err(E::custom("it has other characters than digits")),
                }
            }
        }
        d.deserialize_any(Either)
    }
}

/// The inverse of [`hex`] for 32 bytes.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    from_typed(text.strip_prefix("0x")?)
}

/// A message without its advice, for a place where more follows.
pub fn without_hint(message: &str) -> String {
    let end = message.find("; hint: ").unwrap_or(message.len());
    message.get(..end).unwrap_or_default().to_owned()
}

/// Schemas of values that are strings with a form of their own.
macro_rules! text_schema {
    ($($type:ident $pattern:literal $example:literal $description:literal)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some($pattern))
                    .examples([serde_json::json!($example)])
                    .description(Some($description))
                    .into()
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($type))
            }
        }
    )*};
}

text_schema! {
    HashText "^blake3:[0-9a-f]{64}$"
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        "A BLAKE3 hash."
    Bytes32 "^0x[0-9a-fA-F]{64}$"
        "0x0000000000000000000000000000000000000000000000000000000000000000"
        "32 bytes in hexadecimal digits."
    Amount "^[0-9]{1,39}$" "1000000000000" "An amount in 10^-12 token."
    Number "^[0-9]{1,20}$" "1700000000000000000"
        "An unsigned integer below 2^64, as a string or as a number."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_others_are_refused() {
        let hash = format!("\"{}\"", Hash::of(b"x"));
        let read: HashText = serde_json::from_str(&hash).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), hash);
        let bytes = format!("\"0x{}\"", "0a".repeat(32));
        let read: Bytes32 = serde_json::from_str(&bytes).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), bytes);
        let read: Amount =
            serde_json::from_str("\"340282366920938463463374607431768211455\"").unwrap();
        assert_eq!(read.0, u128::MAX);
        for text in ["7", "\"7\""] {
            assert_eq!(serde_json::from_str::<Number>(text).unwrap().0, 7);
        }
        for bad in ["7", "null", "\"blake3:00\"", "\"\u{e9}\"", "{}"] {
            assert!(serde_json::from_str::<HashText>(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<Bytes32>(bad).is_err(), "{bad}");
        }
        for bad in [
            "7",
            "\"+7\"",
            "\"-1\"",
            "\"\"",
            "\"340282366920938463463374607431768211456\"",
        ] {
            assert!(serde_json::from_str::<Amount>(bad).is_err(), "{bad}");
        }
        for bad in [
            "-1",
            "1.5",
            "\"+7\"",
            "\"18446744073709551616\"",
            "[]",
            "\"\"",
        ] {
            assert!(serde_json::from_str::<Number>(bad).is_err(), "{bad}");
        }
    }
}
