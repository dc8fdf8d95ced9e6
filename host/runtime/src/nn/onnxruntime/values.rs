//! Values between the manifest's element types and ONNX Runtime's, which are the same but for
//! `bool`: a guest sees it as `U8` with 0 and 1. Nothing is converted in silence.

use adit_protocol::manifest::TensorSpec;
use adit_protocol::tensor::DType;
use half::slice::HalfBitsSliceExt as _;
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef};

use crate::nn::backend::BackendError;
use crate::nn::tensor::Tensor;
use crate::nn::vet::output_dims;

/// An input for the library: it reads the tensor where it is, and a device takes its one copy from
/// there.
pub(super) fn to_ort<'t>(
    name: &str,
    tensor: &'t Tensor,
    dims: &[usize],
    wanted: TensorElementType,
) -> Result<SessionInputValue<'t>, BackendError> {
    let mismatch = |error| BackendError::invalid_input(name, error);
    let dtype = tensor.dtype();
    match (dtype, wanted) {
        (DType::Fp32, TensorElementType::Float32) => {
            viewed(dims, tensor.as_f32().map_err(mismatch)?)
        }
        (DType::Fp64, TensorElementType::Float64) => {
            viewed(dims, tensor.as_f64().map_err(mismatch)?)
        }
        (DType::I32, TensorElementType::Int32) => viewed(dims, tensor.as_i32().map_err(mismatch)?),
        (DType::I64, TensorElementType::Int64) => viewed(dims, tensor.as_i64().map_err(mismatch)?),
        (DType::U8, TensorElementType::Uint8) => viewed(
            dims,
            std::borrow::Cow::Borrowed(tensor.as_u8().map_err(mismatch)?),
        ),
        (DType::Fp16, TensorElementType::Float16) => match tensor
            .as_fp16_bits()
            .map_err(mismatch)?
        {
            std::borrow::Cow::Borrowed(bits) => viewed(
                dims,
                std::borrow::Cow::Borrowed(bits.reinterpret_cast::<f16>()),
            ),
            std::borrow::Cow::Owned(bits) => owned(dims, bits.reinterpret_cast::<f16>().to_vec()),
        },
        (DType::Bf16, TensorElementType::Bfloat16) => {
            match tensor.as_bf16_bits().map_err(mismatch)? {
                std::borrow::Cow::Borrowed(bits) => viewed(
                    dims,
                    std::borrow::Cow::Borrowed(bits.reinterpret_cast::<bf16>()),
                ),
                std::borrow::Cow::Owned(bits) => {
                    owned(dims, bits.reinterpret_cast::<bf16>().to_vec())
                }
            }
        }
        (DType::U8, TensorElementType::Bool) => {
            let bytes = tensor.as_u8().map_err(mismatch)?;
            let mut values = Vec::with_capacity(bytes.len());
            for (index, &byte) in bytes.iter().enumerate() {
                if byte > 1 {
                    return Err(BackendError::ValueOutOfRange {
                        tensor: name.to_owned(),
                        index: index as u64,
                        value: byte.to_string(),
                        why: "a boolean is 0 or 1".to_owned(),
                    });
                }
                values.push(byte == 1);
            }
            owned(dims, values)
        }
        _ => Err(BackendError::malformed(format!(
            "input `{name}` is {dtype} in the manifest and {wanted} in the file"
        ))),
    }
}

fn viewed<'t, T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    dims: &[usize],
    values: std::borrow::Cow<'t, [T]>,
) -> Result<SessionInputValue<'t>, BackendError> {
    match values {
        std::borrow::Cow::Borrowed(values) => TensorRef::from_array_view((dims.to_vec(), values))
            .map(Into::into)
            .map_err(BackendError::failed),
        std::borrow::Cow::Owned(values) => owned(dims, values),
    }
}

fn owned<'t, T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    dims: &[usize],
    values: Vec<T>,
) -> Result<SessionInputValue<'t>, BackendError> {
    ort::value::Tensor::from_array((dims.to_vec(), values))
        .map(Into::into)
        .map_err(BackendError::failed)
}

/// An output as the manifest states it: type, rank and fixed dimensions. The one copy takes it out
/// of the library's memory.
///
/// # Errors
///
/// [`BackendError::Failed`] if the library's output is not that.
pub(super) fn from_ort(value: &DynValue, spec: &TensorSpec) -> Result<Tensor, BackendError> {
    let made = match spec.dtype {
        DType::Fp32 => {
            let (dims, values) = extract::<f32>(value, spec)?;
            Tensor::from_f32(dims, values.to_vec())
        }
        DType::I32 => {
            let (dims, values) = extract::<i32>(value, spec)?;
            Tensor::from_i32(dims, values.to_vec())
        }
        DType::I64 => {
            let (dims, values) = extract::<i64>(value, spec)?;
            Tensor::from_i64(dims, values)
        }
        DType::Fp64 => {
            let (dims, values) = extract::<f64>(value, spec)?;
            Tensor::from_f64(dims, values)
        }
        DType::Fp16 => {
            let (dims, values) = extract::<f16>(value, spec)?;
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Tensor::new(DType::Fp16, dims, bytes)
        }
        DType::Bf16 => {
            let (dims, values) = extract::<bf16>(value, spec)?;
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            Tensor::new(DType::Bf16, dims, bytes)
        }
        DType::U8 if value.dtype().tensor_type() == Some(TensorElementType::Bool) => {
            let (dims, values) = extract::<bool>(value, spec)?;
            let bytes = values.iter().map(|&v| u8::from(v)).collect();
            Tensor::new(DType::U8, dims, bytes)
        }
        DType::U8 => {
            let (dims, values) = extract::<u8>(value, spec)?;
            Tensor::new(DType::U8, dims, values.to_vec())
        }
    };
    made.map_err(|error| BackendError::failed(format!("output `{}`: {error}", spec.name)))
}

fn extract<'v, T: PrimitiveTensorElementType>(
    value: &'v DynValue,
    spec: &TensorSpec,
) -> Result<(Vec<u32>, &'v [T]), BackendError> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(|error| {
        BackendError::failed(format!(
            "output `{}` is not {} as the manifest says: {error}",
            spec.name, spec.dtype
        ))
    })?;
    Ok((output_dims(shape, spec)?, values))
}
