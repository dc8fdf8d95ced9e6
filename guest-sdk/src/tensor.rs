//! Tensors: a shape and elements of one type, row-major.

use crate::NnError;

/// The type of a tensor's elements, as `wasi:nn/tensor` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 half precision, 2 bytes.
    F16,
    /// IEEE 754 single precision, 4 bytes.
    F32,
    /// IEEE 754 double precision, 8 bytes.
    F64,
    /// The upper half of a single-precision number, 2 bytes.
    Bf16,
    /// Unsigned, 1 byte.
    U8,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 8 bytes.
    I64,
}

impl DType {
    /// The size of one element in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// A half-precision number by its bits. Crate `half` computes with them (`from_bits`, `to_bits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct F16(pub u16);

/// A bfloat16 number by its bits. Crate `half` computes with them (`from_bits`, `to_bits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Bf16(pub u16);

/// A type that the elements of a [`Tensor`] can have: `u8`, `i32`, `i64`, `f32`, `f64`, [`F16`]
/// and [`Bf16`]. Nothing else can implement it: `wasi:nn` has no other types.
pub trait Element: Copy + sealed::Bytes {
    /// The name of this type for the host.
    const DTYPE: DType;
}

mod sealed {
    /// How elements become bytes and come back, little-endian.
    pub trait Bytes: Sized {
        fn write(elements: &[Self]) -> Vec<u8>;
        /// Ignores an incomplete last element; the caller has compared the lengths.
        fn read(bytes: &[u8]) -> Vec<Self>;
    }
}

macro_rules! element {
    ($ty:ty, $dtype:ident, $bits:ty, $wrap:expr, $unwrap:expr) => {
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
        }

        impl sealed::Bytes for $ty {
            fn write(elements: &[Self]) -> Vec<u8> {
                const SIZE: usize = size_of::<$bits>();
                // Filling a buffer of known length compiles to one copy on a little-endian
                // machine, which keeps the fuel of a large tensor low.
                let mut bytes = vec![0; elements.len() * SIZE];
                for (chunk, &element) in bytes.as_chunks_mut::<SIZE>().0.iter_mut().zip(elements) {
                    *chunk = $unwrap(element).to_le_bytes();
                }
                bytes
            }

            fn read(bytes: &[u8]) -> Vec<Self> {
                let chunks = bytes.as_chunks().0;
                chunks
                    .iter()
                    .map(|&chunk| $wrap(<$bits>::from_le_bytes(chunk)))
                    .collect()
            }
        }
    };
}

element!(u8, U8, u8, |bits| bits, |element: u8| element);
element!(i32, I32, i32, |bits| bits, |element: i32| element);
element!(i64, I64, i64, |bits| bits, |element: i64| element);
element!(f32, F32, f32, |bits| bits, |element: f32| element);
element!(f64, F64, f64, |bits| bits, |element: f64| element);
element!(F16, F16, u16, F16, |element: F16| element.0);
element!(Bf16, Bf16, u16, Bf16, |element: Bf16| element.0);

/// A tensor with elements of type `T`, row-major: the last dimension varies fastest.
///
/// ```
/// use adit_sdk::Tensor;
///
/// let matrix = Tensor::new(&[2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(matrix.dims(), [2, 3]);
/// assert_eq!(matrix.rows().nth(1), Some(&[4.0, 5.0, 6.0][..]));
/// assert!(Tensor::new(&[2, 2], vec![1.0_f32]).is_err());
/// # Ok::<(), adit_sdk::NnError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor<T> {
    dims: Vec<usize>,
    data: Vec<T>,
}

impl<T: Element> Tensor<T> {
    /// A tensor of shape `dims`, whose elements are `data` in row-major order.
    ///
    /// # Errors
    ///
    /// Invalid argument, when `data` does not have as many elements as the shape, or when a
    /// dimension or the size in bytes does not fit 32 bits.
    pub fn new(dims: &[usize], data: Vec<T>) -> Result<Self, NnError> {
        let count = element_count(dims, T::DTYPE)?;
        if count != data.len() {
            return Err(NnError::invalid(format!(
                "a tensor of shape {dims:?} has {count} elements, but {} were given",
                data.len()
            )));
        }
        Ok(Self {
            dims: dims.to_vec(),
            data,
        })
    }

    /// A single value: shape `[1]`, which also stands for rank 0.
    pub fn scalar(value: T) -> Self {
        Self {
            dims: vec![1],
            data: vec![value],
        }
    }

    /// The shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements, row-major.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements, row-major, without a copy.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// The tensor as rows of its last dimension. A tensor without elements has no rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        let length = self.dims.last().copied().unwrap_or(1).max(1);
        self.data.chunks_exact(length)
    }

    /// Checks that the shape is `expected`, where `None` stands for any length, and returns the
    /// tensor: a way to state what a model must have answered.
    ///
    /// # Errors
    ///
    /// Invalid argument, with both shapes, when it is not.
    pub fn with_shape(self, expected: &[Option<usize>]) -> Result<Self, NnError> {
        let matches = self.dims.len() == expected.len()
            && self
                .dims
                .iter()
                .zip(expected)
                .all(|(dim, expected)| expected.is_none_or(|expected| expected == *dim));
        if matches {
            return Ok(self);
        }
        let expected: Vec<String> = expected
            .iter()
            .map(|dim| dim.map_or_else(|| "?".to_string(), |dim| dim.to_string()))
            .collect();
        Err(NnError::invalid(format!(
            "the tensor has shape {:?}, but [{}] was expected; hint: is it the right model?",
            self.dims,
            expected.join(", ")
        )))
    }
}

/// A tensor with its element type known only at run time, and its data as little-endian bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTensor {
    dims: Vec<u32>,
    dtype: DType,
    bytes: Vec<u8>,
}

impl RawTensor {
    /// A tensor of shape `dims` from row-major, little-endian `bytes`.
    ///
    /// # Errors
    ///
    /// Invalid argument, when `bytes` does not have the length that the shape and type ask for,
    /// or when a dimension or the size in bytes does not fit 32 bits.
    pub fn new(dims: &[usize], dtype: DType, bytes: Vec<u8>) -> Result<Self, NnError> {
        let length = element_count(dims, dtype)? * dtype.size();
        if length != bytes.len() {
            return Err(NnError::invalid(format!(
                "a {dtype:?} tensor of shape {dims:?} has {length} bytes, but {} were given",
                bytes.len()
            )));
        }
        Ok(Self {
            dims: dims_u32(dims)?,
            dtype,
            bytes,
        })
    }

    /// The shape.
    pub fn dims(&self) -> &[u32] {
        &self.dims
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements as row-major, little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The tensor with its elements as `T`.
    ///
    /// # Errors
    ///
    /// Invalid argument, when the elements are of another type.
    pub fn typed<T: Element>(&self) -> Result<Tensor<T>, NnError> {
        if self.dtype != T::DTYPE {
            return Err(NnError::invalid(format!(
                "the tensor has elements of type {:?}, but {:?} was asked for",
                self.dtype,
                T::DTYPE
            )));
        }
        let dims = self
            .dims
            .iter()
            .map(|&dim| usize::try_from(dim))
            .collect::<Result<Vec<_>, _>>()
            .map_err(NnError::invalid)?;
        Tensor::new(&dims, T::read(&self.bytes))
    }
}

/// A tensor that can be handed to a model: [`Tensor`] of any element type, and [`RawTensor`].
pub trait AsTensor {
    /// The tensor as the host takes it.
    ///
    /// # Errors
    ///
    /// Invalid argument, when it does not fit what `wasi:nn` can express.
    fn to_raw(&self) -> Result<RawTensor, NnError>;
}

impl<T: Element> AsTensor for Tensor<T> {
    fn to_raw(&self) -> Result<RawTensor, NnError> {
        RawTensor::new(&self.dims, T::DTYPE, T::write(&self.data))
    }
}

impl AsTensor for RawTensor {
    fn to_raw(&self) -> Result<RawTensor, NnError> {
        Ok(self.clone())
    }
}

fn dims_u32(dims: &[usize]) -> Result<Vec<u32>, NnError> {
    dims.iter()
        .map(|&dim| u32::try_from(dim))
        .collect::<Result<_, _>>()
        .map_err(|_| NnError::invalid(format!("a dimension of {dims:?} does not fit 32 bits")))
}

/// How many elements a shape has, checked so that their bytes can be counted in 32 bits: a task's
/// memory ends there, and a test on a 64-bit machine should find what the sandbox would refuse.
fn element_count(dims: &[usize], dtype: DType) -> Result<usize, NnError> {
    let count = dims
        .iter()
        .try_fold(1_usize, |count, &dim| count.checked_mul(dim));
    count
        .filter(|count| {
            count
                .checked_mul(dtype.size())
                .is_some_and(|bytes| u32::try_from(bytes).is_ok())
        })
        .ok_or_else(|| {
            NnError::invalid(format!(
                "a {dtype:?} tensor of shape {dims:?} is larger than 4 GiB"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NnErrorCode;

    fn round_trip<T: Element + PartialEq + std::fmt::Debug>(data: Vec<T>, bytes: &[u8]) {
        let tensor = Tensor::new(&[data.len()], data).unwrap();
        let raw = tensor.to_raw().unwrap();
        assert_eq!(raw.dtype(), T::DTYPE);
        assert_eq!(raw.bytes(), bytes);
        assert_eq!(raw.typed::<T>().unwrap(), tensor);
    }

    #[test]
    fn every_element_type_is_little_endian_and_comes_back() {
        round_trip(vec![1_u8, 255], &[1, 255]);
        round_trip(vec![1_i32, -2], &[1, 0, 0, 0, 254, 255, 255, 255]);
        round_trip(vec![-2_i64], &[254, 255, 255, 255, 255, 255, 255, 255]);
        round_trip(vec![1.0_f32, -0.0], &[0, 0, 128, 63, 0, 0, 0, 128]);
        round_trip(vec![1.0_f64], &[0, 0, 0, 0, 0, 0, 240, 63]);
        round_trip(vec![F16(0x3c00)], &[0, 0x3c]);
        round_trip(vec![Bf16(0x3f80), Bf16(1)], &[0x80, 0x3f, 1, 0]);
    }

    #[test]
    fn shapes_are_checked_before_the_host_is_called() {
        let error = Tensor::<f32>::new(&[2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(error.code, NnErrorCode::InvalidArgument);
        assert!(error.message.contains("6 elements, but 5"), "{error}");
        assert!(Tensor::<u8>::new(&[usize::MAX, 2], vec![]).is_err());
        // 2^30 elements of four bytes are one more than 32 bits can count.
        assert!(element_count(&[1 << 15, 1 << 15], DType::F32).is_err());
        assert!(element_count(&[1 << 15, 1 << 15], DType::U8).is_ok());
        assert!(RawTensor::new(&[3], DType::F16, vec![0; 5]).is_err());
        assert!(Tensor::<i64>::new(&[0, 7], vec![]).is_ok());
        let raw = RawTensor::new(&[1], DType::I32, vec![0; 4]).unwrap();
        assert!(raw.typed::<f32>().is_err());
    }

    #[test]
    fn an_expected_shape_allows_open_dimensions() {
        let tensor = Tensor::new(&[2, 2], vec![0_u8; 4]).unwrap();
        assert!(tensor.clone().with_shape(&[None, Some(2)]).is_ok());
        assert!(tensor.clone().with_shape(&[Some(2)]).is_err());
        let error = tensor.with_shape(&[None, Some(3)]).unwrap_err();
        assert!(error.message.contains("[?, 3]"), "{error}");
    }

    #[test]
    fn rows_follow_the_last_dimension() {
        let tensor = Tensor::new(&[2, 1, 2], vec![1_u8, 2, 3, 4]).unwrap();
        assert_eq!(tensor.rows().collect::<Vec<_>>(), [[1, 2], [3, 4]]);
        let empty = Tensor::<u8>::new(&[2, 0], vec![]).unwrap();
        assert_eq!(empty.rows().len(), 0);
        assert_eq!(Tensor::scalar(7_i64).rows().len(), 1);
    }
}
