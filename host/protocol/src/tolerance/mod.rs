//! When two tensors that should be the same are the same, and a pure function that decides it.
//!
//! | file | subject |
//! |---|---|
//! | this file | the profiles, their encoding, the verdict |
//! | `elements` | elements as numbers |
//! | `differences` | the largest differences, and cosine similarity |
//! | `top_k` | the largest elements of rows |
//! | `difference_hash` | the perceptual hash of images |

mod difference_hash;
mod differences;
mod elements;
#[cfg(test)]
mod tests;
mod top_k;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::Serialize;
use thiserror::Error;

use crate::cbor::fields::Invalid;
use crate::tensor::{DType, TensorError, check_shape};

/// What a model's answers must have in common on two machines. Parts are integers, so that every
/// reader has the same numbers: billionths (nano) and millionths (ppm).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// The same bytes.
    Exact,
    /// For each element |a - b| <= max(abs, rel x max(|a|, |b|)).
    MaxAbsRel {
        /// Absolute difference, in 10^-9.
        abs_nano: u64,
        /// Relative difference, in 10^-6.
        rel_ppm: u64,
    },
    /// Cosine similarity of the whole tensors is at least this.
    Cosine {
        /// Smallest similarity, in 10^-6; at most 1,000,000.
        min_ppm: u64,
    },
    /// The same elements are the largest ones: for classifiers and for the scores of tokens, where
    /// the order counts and not the numbers.
    ///
    /// A tensor is rows along its last dimension; without dimensions it is one row of one element.
    /// Of each row the places of the k largest elements are compared, of all of them if it is
    /// shorter. Equal elements go by their index, the lower first; NaN is below everything. The
    /// share of places that both tensors chose, over all rows, is at least `min_ppm`. Nothing is
    /// said of the order among the k, nor of the numbers themselves.
    TopK {
        /// Elements of each row, from 1.
        k: u32,
        /// Smallest common share, in 10^-6; at most 1,000,000.
        min_ppm: u64,
    },
    /// The images look alike: for tensors whose last two dimensions are height and width (NCHW).
    ///
    /// Each plane of at least 8 rows and 9 columns has a difference hash of 64 bits. The plane is
    /// reduced to 9 columns and 8 rows; cell i of n covers the elements from i x length / n to
    /// (i + 1) x length / n, rounded down, and is their sum in row-major order over their number.
    /// A bit is set where a cell is greater than its left neighbour. In no plane may more than
    /// `max_bits` bits of the two hashes differ.
    ///
    /// It is a coarse measure. Flat areas hash to noise, since there the least difference decides
    /// a bit; detail smaller than a cell is not seen, and neither is a change of brightness or
    /// contrast, nor one channel against another. With the channels last (NHWC) it measures
    /// nothing.
    PerceptualHash {
        /// Most bits that may differ, from 0 to 64.
        max_bits: u32,
    },
}

/// How far two tensors agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Largest |a - b|; infinite where one of the two is not a finite number.
    pub max_abs: f64,
    /// Largest |a - b| / max(|a|, |b|), from 0 to 2; infinite where one is not finite.
    pub max_rel: f64,
    /// Cosine similarity, from -1 to 1. Two tensors of zeros have 1, one of zeros and another 0.
    pub cosine: f64,
    /// For [`Tolerance::TopK`] the common share of the largest elements, from 0 to 1.
    pub top_k: Option<f64>,
    /// For [`Tolerance::PerceptualHash`] the most bits that differ in a plane.
    pub hash_bits: Option<u32>,
    /// Whether the tolerance accepts the pair.
    pub accepted: bool,
}

/// Why two tensors cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ToleranceError {
    /// The shapes differ.
    #[error(
        "the tensors have the dimensions {a:?} and {b:?}; hint: tensors of different shapes never agree"
    )]
    ShapesDiffer {
        /// Dimensions of the first.
        a: Vec<u32>,
        /// Dimensions of the second.
        b: Vec<u32>,
    },
    /// A perceptual hash was asked of tensors that are no images.
    #[error(
        "a tensor of the dimensions {dims:?} has no height and width to hash; hint: give the model's manifest another tolerance"
    )]
    NoPlanes {
        /// Their dimensions, fewer than two.
        dims: Vec<u32>,
    },
    /// A perceptual hash was asked of images that are too small for one.
    #[error(
        "an image of {height} rows and {width} columns is too small for a perceptual hash, which needs 8 and 9; hint: give the model's manifest another tolerance, or put the channels first (NCHW)"
    )]
    PlaneTooSmall {
        /// Rows of a plane.
        height: u32,
        /// Columns of a plane.
        width: u32,
    },
    /// One of them is malformed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Tolerance {
    /// Compares two tensors of one type.
    ///
    /// Numbers that are not finite are compared one by one: NaN agrees with NaN whatever its bits,
    /// an infinity with itself. Such pairs take no part in the figures. NaN or infinity against
    /// anything else makes the differences infinite, and the pair is refused whatever the
    /// tolerance. `Exact` looks at bytes alone.
    ///
    /// All arithmetic is IEEE 754 binary64 in the order of the elements, so that every machine
    /// comes to the same verdict. Differences of integers are exact, and so is their order; the
    /// averages of a perceptual hash take them as binary64, and what is not finite as zero.
    ///
    /// # Errors
    /// [`ToleranceError`] if the shapes differ, data is not as long as its shape says, or a
    /// perceptual hash is asked of what has none.
    pub fn compare(
        &self,
        dtype: DType,
        dims_a: &[u32],
        data_a: &[u8],
        dims_b: &[u32],
        data_b: &[u8],
    ) -> Result<Agreement, ToleranceError> {
        check_shape(dtype, dims_a, data_a.len())?;
        check_shape(dtype, dims_b, data_b.len())?;
        if dims_a != dims_b {
            return Err(ToleranceError::ShapesDiffer {
                a: dims_a.to_vec(),
                b: dims_b.to_vec(),
            });
        }
        let (abs, rel) = match self {
            Tolerance::MaxAbsRel { abs_nano, rel_ppm } => {
                (*abs_nano as f64 / 1e9, *rel_ppm as f64 / 1e6)
            }
            Tolerance::Exact
            | Tolerance::Cosine { .. }
            | Tolerance::TopK { .. }
            | Tolerance::PerceptualHash { .. } => (0.0, 0.0),
        };
        let size = dtype.size();
        let pairs = || {
            data_a
                .chunks_exact(size)
                .zip(data_b.chunks_exact(size))
                .map(|(a, b)| elements::pair(dtype, a, b))
        };
        let found = differences::measure(pairs, abs, rel);
        let mut agreement = Agreement {
            max_abs: found.max_abs,
            max_rel: found.max_rel,
            cosine: found.cosine,
            top_k: None,
            hash_bits: None,
            accepted: found.comparable,
        };
        match self {
            Tolerance::Exact => agreement.accepted = data_a == data_b,
            Tolerance::MaxAbsRel { .. } => agreement.accepted &= found.within,
            Tolerance::Cosine { min_ppm } => {
                agreement.accepted &= found.cosine >= *min_ppm as f64 / 1e6;
            }
            Tolerance::TopK { k, min_ppm } => {
                let overlap = top_k::overlap(dtype, dims_a, data_a, data_b, *k);
                agreement.top_k = Some(overlap.share());
                agreement.accepted &= overlap.reaches(*min_ppm);
            }
            Tolerance::PerceptualHash { max_bits } => {
                let bits = difference_hash::distance(dtype, dims_a, data_a, data_b)?;
                agreement.hash_bits = Some(bits);
                agreement.accepted &= bits <= *max_bits;
            }
        }
        Ok(agreement)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match self {
            Tolerance::Cosine { min_ppm } if *min_ppm > 1_000_000 => {
                Invalid::new("tolerance.min_ppm", "no similarity is above 1000000")
            }
            Tolerance::TopK { k: 0, .. } => {
                Invalid::new("tolerance.k", "it is 0, and any two tensors would agree")
            }
            Tolerance::TopK { min_ppm, .. } if *min_ppm > 1_000_000 => {
                Invalid::new("tolerance.min_ppm", "no share is above 1000000")
            }
            Tolerance::PerceptualHash { max_bits } if *max_bits > 64 => {
                Invalid::new("tolerance.max_bits", "a hash has 64 bits")
            }
            _ => Ok(()),
        }
    }
}

impl<C> Encode<C> for Tolerance {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Tolerance::Exact => e.array(1)?.u8(0)?,
            Tolerance::MaxAbsRel { abs_nano, rel_ppm } => {
                e.array(3)?.u8(1)?.u64(*abs_nano)?.u64(*rel_ppm)?
            }
            Tolerance::Cosine { min_ppm } => e.array(2)?.u8(2)?.u64(*min_ppm)?,
            Tolerance::TopK { k, min_ppm } => e.array(3)?.u8(3)?.u32(*k)?.u64(*min_ppm)?,
            Tolerance::PerceptualHash { max_bits } => e.array(2)?.u8(4)?.u32(*max_bits)?,
        };
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Tolerance {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Tolerance, minicbor::decode::Error> {
        let position = d.position();
        let length = d.array()?;
        match (length, d.u8()?) {
            (Some(1), 0) => Ok(Tolerance::Exact),
            (Some(3), 1) => Ok(Tolerance::MaxAbsRel {
                abs_nano: d.u64()?,
                rel_ppm: d.u64()?,
            }),
            (Some(2), 2) => Ok(Tolerance::Cosine { min_ppm: d.u64()? }),
            (Some(3), 3) => Ok(Tolerance::TopK {
                k: d.u32()?,
                min_ppm: d.u64()?,
            }),
            (Some(2), 4) => Ok(Tolerance::PerceptualHash { max_bits: d.u32()? }),
            _ => Err(minicbor::decode::Error::message("an unknown tolerance").at(position)),
        }
    }
}
