//! Tensors as they cross the boundary between guest and backend.
//!
//! A [`Tensor`] is an element type, dimensions and elements in little-endian, row-major order,
//! which is the layout of `wasi:nn` and of the tensor blobs. Clones share the elements, so that a
//! tensor can be hashed, recorded and computed on without being copied.
//!
//! The elements are kept either as the bytes that came from a guest or as the typed vector that a
//! backend produced. Both can be read as bytes and, in the usual case of an aligned allocation,
//! as typed slices without a copy.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use adit_protocol::Hash;
use adit_protocol::tensor::{DType, TensorError, check_shape, tensor_hash};
use bytemuck::{AnyBitPattern, NoUninit};

#[cfg(target_endian = "big")]
compile_error!(
    "tensors are little-endian and are viewed in place: big-endian hosts are not supported"
);

/// A tensor whose byte length is known to match its element type and dimensions.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<u32>,
    data: Arc<Shared>,
}

/// What clones share.
struct Shared {
    storage: Storage,
    /// Made when it is first asked for: an output is kept for replays under the hash that the
    /// transcript has as well.
    hash: OnceLock<Hash>,
}

/// A view of another element type than the tensor's was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tensor's elements are {actual} but were read as {wanted}; hint: convert the values, a tensor is never reinterpreted"
)]
pub struct TypeMismatch {
    /// The tensor's element type.
    pub actual: DType,
    /// The element type of the view.
    pub wanted: DType,
}

/// The two forms elements arrive in: bytes from a guest, vectors from a backend.
enum Storage {
    Bytes(Vec<u8>),
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::I32(values) => bytemuck::cast_slice(values),
        }
    }
}

impl Tensor {
    /// A tensor from its elements' bytes (little-endian, row-major).
    ///
    /// # Errors
    ///
    /// [`TensorError`] if rank, dimensions and length do not agree.
    pub fn new(dtype: DType, dims: Vec<u32>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        Self::checked(dtype, dims, Storage::Bytes(bytes))
    }

    /// A tensor of type `Fp32`, without a copy.
    ///
    /// # Errors
    ///
    /// [`TensorError`] if rank, dimensions and length do not agree.
    pub fn from_f32(dims: Vec<u32>, values: Vec<f32>) -> Result<Self, TensorError> {
        Self::checked(DType::Fp32, dims, Storage::F32(values))
    }

    /// A tensor of type `I32`, without a copy.
    ///
    /// # Errors
    ///
    /// [`TensorError`] if rank, dimensions and length do not agree.
    pub fn from_i32(dims: Vec<u32>, values: Vec<i32>) -> Result<Self, TensorError> {
        Self::checked(DType::I32, dims, Storage::I32(values))
    }

    /// A tensor of type `I64`.
    ///
    /// # Errors
    ///
    /// [`TensorError`] if rank, dimensions and length do not agree.
    pub fn from_i64(dims: Vec<u32>, values: &[i64]) -> Result<Self, TensorError> {
        Self::new(DType::I64, dims, bytemuck::cast_slice(values).to_vec())
    }

    /// A tensor of type `Fp64`.
    ///
    /// # Errors
    ///
    /// [`TensorError`] if rank, dimensions and length do not agree.
    pub fn from_f64(dims: Vec<u32>, values: &[f64]) -> Result<Self, TensorError> {
        Self::new(DType::Fp64, dims, bytemuck::cast_slice(values).to_vec())
    }

    fn checked(dtype: DType, dims: Vec<u32>, data: Storage) -> Result<Self, TensorError> {
        check_shape(dtype, &dims, data.bytes().len())?;
        Ok(Self {
            dtype,
            dims,
            data: Arc::new(Shared {
                storage: data,
                hash: OnceLock::new(),
            }),
        })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[u32] {
        &self.dims
    }

    /// The elements as bytes, little-endian, row-major.
    pub fn bytes(&self) -> &[u8] {
        self.data.storage.bytes()
    }

    /// Number of bytes of the elements.
    pub fn byte_len(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.byte_len() / self.dtype.size() as u64
    }

    /// The hash under which the protocol names this tensor (element type, dimensions, elements).
    pub fn hash(&self) -> Hash {
        let made = || tensor_hash(self.dtype, &self.dims, self.bytes());
        *self.data.hash.get_or_init(made)
    }

    /// The elements of a tensor of type `Fp32`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_f32(&self) -> Result<Cow<'_, [f32]>, TypeMismatch> {
        self.view(DType::Fp32)
    }

    /// The elements of a tensor of type `Fp64`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_f64(&self) -> Result<Cow<'_, [f64]>, TypeMismatch> {
        self.view(DType::Fp64)
    }

    /// The elements of a tensor of type `I32`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_i32(&self) -> Result<Cow<'_, [i32]>, TypeMismatch> {
        self.view(DType::I32)
    }

    /// The elements of a tensor of type `I64`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_i64(&self) -> Result<Cow<'_, [i64]>, TypeMismatch> {
        self.view(DType::I64)
    }

    /// The elements of a tensor of type `U8`.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_u8(&self) -> Result<&[u8], TypeMismatch> {
        self.expect(DType::U8)?;
        Ok(self.bytes())
    }

    /// The bit patterns of a tensor of type `Fp16` (IEEE 754 binary16).
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_fp16_bits(&self) -> Result<Cow<'_, [u16]>, TypeMismatch> {
        self.view(DType::Fp16)
    }

    /// The bit patterns of a tensor of type `Bf16` (the upper half of IEEE 754 binary32).
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`] for any other element type.
    pub fn as_bf16_bits(&self) -> Result<Cow<'_, [u16]>, TypeMismatch> {
        self.view(DType::Bf16)
    }

    fn expect(&self, wanted: DType) -> Result<(), TypeMismatch> {
        if self.dtype == wanted {
            Ok(())
        } else {
            Err(TypeMismatch {
                actual: self.dtype,
                wanted,
            })
        }
    }

    fn view<T: AnyBitPattern + NoUninit>(
        &self,
        wanted: DType,
    ) -> Result<Cow<'_, [T]>, TypeMismatch> {
        self.expect(wanted)?;
        let bytes = self.bytes();
        // The allocator aligns vectors of bytes for any element type in practice, but nothing
        // promises it, hence the fallback.
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        })
    }
}

impl PartialEq for Tensor {
    /// Equal types, dimensions and bytes: a NaN equals itself, and 0.0 is not -0.0.
    fn eq(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.dims == other.dims && self.bytes() == other.bytes()
    }
}

impl Eq for Tensor {}

impl std::fmt::Debug for Tensor {
    /// Shows the type and the dimensions, never the elements: they may be a person's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Tensor({} {:?}, {} bytes)",
            self.dtype,
            self.dims,
            self.byte_len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_must_match_the_dimensions() {
        let error = Tensor::new(DType::Fp32, vec![2, 3], vec![0; 23]).unwrap_err();
        assert_eq!(
            error,
            TensorError::DataLength {
                expected: 24,
                found: 23
            }
        );
        assert!(Tensor::new(DType::Fp32, vec![2, 3], vec![0; 24]).is_ok());
        assert!(Tensor::from_i32(vec![2], vec![1, 2, 3]).is_err());
    }

    #[test]
    fn a_product_that_overflows_is_refused() {
        let dims = vec![u32::MAX, u32::MAX, u32::MAX];
        let error = Tensor::new(DType::U8, dims.clone(), Vec::new()).unwrap_err();
        assert_eq!(error, TensorError::Overflow(dims));
    }

    #[test]
    fn bytes_and_vectors_are_the_same_tensor() {
        let values = [1.5f32, -0.0, f32::NAN];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let a = Tensor::from_f32(vec![3], values.to_vec()).unwrap();
        let b = Tensor::new(DType::Fp32, vec![3], bytes).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.hash(), b.hash());
        assert_eq!(a.elements(), 3);
        assert_eq!(b.as_f32().unwrap()[0], 1.5);
        let zero = Tensor::from_f32(vec![1], vec![0.0]).unwrap();
        let negative_zero = Tensor::from_f32(vec![1], vec![-0.0]).unwrap();
        assert_ne!(zero, negative_zero);
        assert_ne!(zero.hash(), negative_zero.hash());
    }

    #[test]
    fn the_hash_covers_type_and_dimensions() {
        let bytes = vec![0u8; 8];
        let hashes = [
            Tensor::new(DType::U8, vec![8], bytes.clone())
                .unwrap()
                .hash(),
            Tensor::new(DType::U8, vec![2, 4], bytes.clone())
                .unwrap()
                .hash(),
            Tensor::new(DType::I32, vec![2], bytes.clone())
                .unwrap()
                .hash(),
            Tensor::new(DType::Fp32, vec![2], bytes).unwrap().hash(),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(hashes.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn views_never_reinterpret() {
        let t = Tensor::from_i64(vec![2], &[1, -1]).unwrap();
        assert_eq!(&*t.as_i64().unwrap(), &[1, -1]);
        assert_eq!(
            t.as_f64().unwrap_err(),
            TypeMismatch {
                actual: DType::I64,
                wanted: DType::Fp64
            }
        );
        assert!(t.as_u8().is_err());
        assert!(t.as_fp16_bits().is_err());
    }

    #[test]
    fn misaligned_bytes_are_copied() {
        let bytes: Vec<u8> = (0u8..9).collect();
        let odd: &[u8] = &bytes[1..];
        let copied: Vec<u32> = bytemuck::pod_collect_to_vec(odd);
        assert_eq!(copied, [0x0403_0201, 0x0807_0605]);
    }
}
