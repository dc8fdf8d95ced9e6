//! How values that JSON has no form for are written in it: bytes as `0x` and hexadecimal digits,
//! amounts as decimal strings, because a JSON number loses digits above 2^53.

use minicbor::bytes::ByteVec;
use serde::Serializer;

use crate::hex::prefixed;

/// `0x` and the digits of the bytes.
pub(crate) fn bytes<S: Serializer>(value: &impl AsRef<[u8]>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&prefixed(value.as_ref()))
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
    s.collect_seq(value.iter().map(|item| prefixed(item)))
}

/// An amount as a decimal string.
pub(crate) fn decimal<S: Serializer>(value: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}
