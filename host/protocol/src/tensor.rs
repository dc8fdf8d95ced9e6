//! Tensors as blobs: a header that says type and shape, then the elements.
//!
//! ```text
//! dtype u8 ‖ rank u8 ‖ rank x u32 LE (dims) ‖ elements, row-major, little-endian
//! ```
//!
//! The hash of a tensor covers the header, so the same bytes in another shape or type are another
//! tensor. The list of types is that of `wasi:nn@0.2.0-rc-2024-10-28`, in its order.

use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use crate::hash::{Hash, Hasher};

/// The most dimensions that a tensor may have.
pub const MAX_RANK: usize = 8;

/// The type of a tensor's elements; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum DType {
    /// IEEE 754 binary16.
    #[n(0)]
    Fp16 = 0,
    /// IEEE 754 binary32.
    #[n(1)]
    Fp32 = 1,
    /// IEEE 754 binary64.
    #[n(2)]
    Fp64 = 2,
    /// The upper half of an IEEE 754 binary32.
    #[n(3)]
    Bf16 = 3,
    /// Unsigned 8-bit integer.
    #[n(4)]
    U8 = 4,
    /// Signed 32-bit integer.
    #[n(5)]
    I32 = 5,
    /// Signed 64-bit integer.
    #[n(6)]
    I64 = 6,
}

impl DType {
    /// Every type, by wire number.
    pub const ALL: [DType; 7] = [
        DType::Fp16,
        DType::Fp32,
        DType::Fp64,
        DType::Bf16,
        DType::U8,
        DType::I32,
        DType::I64,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::Fp16 | DType::Bf16 => 2,
            DType::Fp32 | DType::I32 => 4,
            DType::Fp64 | DType::I64 => 8,
        }
    }

    /// The name in lower case, as `fp32`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Fp16 => "fp16",
            DType::Fp32 => "fp32",
            DType::Fp64 => "fp64",
            DType::Bf16 => "bf16",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::I64 => "i64",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<u8> for DType {
    type Error = TensorError;

    fn try_from(byte: u8) -> Result<DType, TensorError> {
        DType::ALL
            .into_iter()
            .find(|d| *d as u8 == byte)
            .ok_or(TensorError::UnknownDType(byte))
    }
}

/// Why bytes are not a tensor blob.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The first byte names no element type.
    #[error("{0} is not an element type; hint: the types are numbered 0 (fp16) to 6 (i64)")]
    UnknownDType(u8),
    /// More than [`MAX_RANK`] dimensions.
    #[error("a tensor has at most 8 dimensions, this one has {0}; hint: reshape it")]
    Rank(usize),
    /// The blob ends inside its header.
    #[error(
        "the tensor's header is cut off: {found} of {expected} bytes; hint: fetch the blob again"
    )]
    ShortHeader {
        /// Bytes that the header needs.
        expected: usize,
        /// Bytes of the whole blob.
        found: usize,
    },
    /// The dimensions multiply to more than 2^64 bytes.
    #[error("the dimensions {0:?} are too large to count; hint: no such tensor can exist")]
    Overflow(Vec<u32>),
    /// The data is not as long as type and dimensions say.
    #[error(
        "the tensor's data has {found} bytes where its type and dimensions ask for {expected}; hint: it was cut off or is of another type"
    )]
    DataLength {
        /// Bytes that type and dimensions ask for.
        expected: u64,
        /// Bytes of data.
        found: u64,
    },
}

/// The number of elements of a tensor with these dimensions, `None` if it overflows 64 bits.
/// A tensor without dimensions has one element; a dimension of zero makes it empty.
pub fn element_count(dims: &[u32]) -> Option<u64> {
    // A zero anywhere makes the count zero, even where the other dimensions would overflow first.
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter()
        .try_fold(1u64, |count, dim| count.checked_mul(u64::from(*dim)))
}

/// The length of the data in bytes, `None` if it overflows 64 bits.
pub fn data_len(dtype: DType, dims: &[u32]) -> Option<u64> {
    element_count(dims)?.checked_mul(dtype.size() as u64)
}

/// Checks that `data_len` bytes are what `dtype` and `dims` ask for, and that the rank is allowed.
///
/// # Errors
/// [`TensorError::Rank`], [`TensorError::Overflow`] or [`TensorError::DataLength`].
pub fn check_shape(dtype: DType, dims: &[u32], found: usize) -> Result<(), TensorError> {
    if dims.len() > MAX_RANK {
        return Err(TensorError::Rank(dims.len()));
    }
    let expected = data_len(dtype, dims).ok_or_else(|| TensorError::Overflow(dims.to_vec()))?;
    if expected == found as u64 {
        Ok(())
    } else {
        Err(TensorError::DataLength {
            expected,
            found: found as u64,
        })
    }
}

/// The header of a tensor blob: `dtype u8 ‖ rank u8 ‖ dims u32 LE`.
///
/// More than 255 dimensions have no header of their own; the rank byte then reads 255, which
/// [`TensorBlob::decode`] refuses like every rank above [`MAX_RANK`].
pub fn tensor_header(dtype: DType, dims: &[u32]) -> Vec<u8> {
    let mut header = Vec::with_capacity(2 + dims.len() * 4);
    header.push(dtype as u8);
    header.push(u8::try_from(dims.len()).unwrap_or(u8::MAX));
    for dim in dims {
        header.extend_from_slice(&dim.to_le_bytes());
    }
    header
}

/// The hash of the tensor blob `header ‖ data`, without building it.
pub fn tensor_hash(dtype: DType, dims: &[u32], data: &[u8]) -> Hash {
    Hasher::new()
        .update(&tensor_header(dtype, dims))
        .update(data)
        .finalize()
}

/// The blob form of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct TensorBlob;

impl TensorBlob {
    /// The blob `header ‖ data`. Lengths are not checked: see [`check_shape`].
    pub fn encode(dtype: DType, dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut blob = tensor_header(dtype, dims);
        blob.extend_from_slice(data);
        blob
    }

    /// Takes a blob apart into type, dimensions and data.
    ///
    /// # Errors
    /// [`TensorError`] if the header is malformed or the data is not exactly as long as it says.
    pub fn decode(blob: &[u8]) -> Result<(DType, Vec<u32>, &[u8]), TensorError> {
        let short = |expected| TensorError::ShortHeader {
            expected,
            found: blob.len(),
        };
        let (&[dtype, rank], rest) = blob.split_first_chunk::<2>().ok_or_else(|| short(2))?;
        let dtype = DType::try_from(dtype)?;
        let rank = usize::from(rank);
        if rank > MAX_RANK {
            return Err(TensorError::Rank(rank));
        }
        let (dims, data) = rest
            .split_at_checked(rank * 4)
            .ok_or_else(|| short(2 + rank * 4))?;
        let dims: Vec<u32> = dims
            .as_chunks::<4>()
            .0
            .iter()
            .map(|dim| u32::from_le_bytes(*dim))
            .collect();
        check_shape(dtype, &dims, data.len())?;
        Ok((dtype, dims, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_has_the_documented_bytes() {
        let blob = TensorBlob::encode(DType::I32, &[2, 1], &[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(blob, [5, 2, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(
            tensor_hash(DType::I32, &[2, 1], &[1, 0, 0, 0, 2, 0, 0, 0]),
            Hash::of(&blob)
        );
        let (dtype, dims, data) = TensorBlob::decode(&blob).unwrap();
        assert_eq!(
            (dtype, dims.as_slice(), data.len()),
            (DType::I32, &[2, 1][..], 8)
        );
    }

    #[test]
    fn malformed_blobs_are_refused() {
        assert_eq!(
            TensorBlob::decode(&[1]),
            Err(TensorError::ShortHeader {
                expected: 2,
                found: 1
            })
        );
        assert_eq!(
            TensorBlob::decode(&[7, 0]),
            Err(TensorError::UnknownDType(7))
        );
        assert_eq!(TensorBlob::decode(&[4, 9]), Err(TensorError::Rank(9)));
        assert_eq!(
            TensorBlob::decode(&[4, 1, 0, 0]),
            Err(TensorError::ShortHeader {
                expected: 6,
                found: 4
            })
        );
        assert_eq!(
            TensorBlob::decode(&[4, 1, 3, 0, 0, 0, 1, 2]),
            Err(TensorError::DataLength {
                expected: 3,
                found: 2
            })
        );
        // 2^32-1 in three dimensions does not fit 64 bits.
        let huge = tensor_header(DType::U8, &[u32::MAX; 3]);
        assert_eq!(
            TensorBlob::decode(&huge),
            Err(TensorError::Overflow(vec![u32::MAX; 3]))
        );
    }

    #[test]
    fn counting_elements() {
        assert_eq!(element_count(&[]), Some(1));
        assert_eq!(element_count(&[2, 3]), Some(6));
        assert_eq!(element_count(&[u32::MAX, u32::MAX, u32::MAX, 0]), Some(0));
        assert_eq!(element_count(&[u32::MAX; 3]), None);
        assert_eq!(data_len(DType::I64, &[u32::MAX, u32::MAX]), None);
    }

    #[test]
    fn wire_numbers_follow_wasi_nn() {
        let names: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        assert_eq!(names, ["fp16", "fp32", "fp64", "bf16", "u8", "i32", "i64"]);
        for (number, dtype) in DType::ALL.into_iter().enumerate() {
            assert_eq!(DType::try_from(number as u8), Ok(dtype));
        }
    }
}
