//! Values between the manifest's element types and the four that rten has.
//!
//! rten computes on `f32`, `i32`, `u8` and `i8` and turns a model's `i64` and `bool` into `i32`
//! and its `f64` and `f16` into `f32` when it loads it. A guest never notices: it gives and gets
//! the types of the manifest. Each conversion is exact or the documented rounding, or it is an
//! error; none clips or reinterprets.
//!
//! | manifest | rten | on the way in | on the way out |
//! |---|---|---|---|
//! | `Fp32`, `I32`, `U8` | the same | no copy | no copy |
//! | `Fp16`, `Bf16` | `f32` | exact | rounded to nearest, ties to even |
//! | `Fp64` | `f32` | rounded likewise; a finite value that would become infinite is an error | exact |
//! | `I64` | `i32` | out of range is an error | exact |
//! | `U8` for ONNX's `bool` | `i32` | 0 or 1, else an error | 0 or 1, else an error |

use std::borrow::Cow;

use adit_protocol::manifest::TensorSpec;
use adit_protocol::tensor::DType;
use half::{bf16, f16};
use rten::{DataType, Value, ValueOrView, ValueView};
use rten_tensor::Layout;

use super::backend::BackendError;
use super::tensor::Tensor;
use super::vet::output_dims;

/// How the values of one input reach rten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Same,
    Fp16ToF32,
    Bf16ToF32,
    Fp64ToF32,
    I64ToI32,
    BoolToI32,
}

impl Route {
    /// The route from a manifest's type to the type that rten wants; `None` if there is none.
    /// rten gives no type for the ONNX types that it does not know, as `bfloat16`.
    pub fn find(manifest: DType, rten: Option<DataType>) -> Option<Self> {
        Some(match (manifest, rten) {
            (DType::Fp32, Some(DataType::Float))
            | (DType::I32, Some(DataType::Int32))
            | (DType::U8, Some(DataType::UInt8)) => Self::Same,
            (DType::Fp16, Some(DataType::Float)) => Self::Fp16ToF32,
            (DType::Bf16, Some(DataType::Float) | None) => Self::Bf16ToF32,
            (DType::Fp64, Some(DataType::Float)) => Self::Fp64ToF32,
            (DType::I64, Some(DataType::Int32)) => Self::I64ToI32,
            (DType::U8, Some(DataType::Int32)) => Self::BoolToI32,
            _ => return None,
        })
    }
}

/// Input values in a type that rten has: borrowed from the tensor where nothing changes.
pub(crate) fn to_rten<'t>(
    name: &str,
    tensor: &'t Tensor,
    dims: &[usize],
    route: Route,
) -> Result<ValueOrView<'t>, BackendError> {
    let mismatch = |error| BackendError::invalid_input(name, error);
    match route {
        Route::Same => match tensor.dtype() {
            DType::Fp32 => floats(dims, tensor.as_f32().map_err(mismatch)?),
            DType::I32 => integers(dims, tensor.as_i32().map_err(mismatch)?),
            _ => {
                let bytes = tensor.as_u8().map_err(mismatch)?;
                shaped(ValueView::from_shape(dims, bytes).map(ValueOrView::from))
            }
        },
        Route::Fp16ToF32 => {
            let bits = tensor.as_fp16_bits().map_err(mismatch)?;
            let values = bits
                .iter()
                .map(|&bits| f16::from_bits(bits).to_f32())
                .collect();
            floats(dims, Cow::Owned(values))
        }
        Route::Bf16ToF32 => {
            let bits = tensor.as_bf16_bits().map_err(mismatch)?;
            let values = bits
                .iter()
                .map(|&bits| bf16::from_bits(bits).to_f32())
                .collect();
            floats(dims, Cow::Owned(values))
        }
        Route::Fp64ToF32 => {
            let values = tensor.as_f64().map_err(mismatch)?;
            let narrowed = narrow(
                name,
                &values,
                "its magnitude must fit 32-bit floats",
                |value| {
                    let single = value as f32;
                    (single.is_finite() || !value.is_finite()).then_some(single)
                },
            )?;
            floats(dims, Cow::Owned(narrowed))
        }
        Route::I64ToI32 => {
            let values = tensor.as_i64().map_err(mismatch)?;
            let narrowed = narrow(name, &values, "it must fit 32-bit integers", |value| {
                i32::try_from(value).ok()
            })?;
            integers(dims, Cow::Owned(narrowed))
        }
        Route::BoolToI32 => {
            let values = tensor.as_u8().map_err(mismatch)?;
            let widened = narrow(name, values, "a boolean is 0 or 1", |value| {
                (value <= 1).then_some(i32::from(value))
            })?;
            integers(dims, Cow::Owned(widened))
        }
    }
}

/// Converts all values, or names the first that cannot be.
fn narrow<A: Copy + ToString, B>(
    name: &str,
    values: &[A],
    why: &str,
    convert: impl Fn(A) -> Option<B>,
) -> Result<Vec<B>, BackendError> {
    let mut converted = Vec::with_capacity(values.len());
    for (index, &value) in values.iter().enumerate() {
        converted.push(convert(value).ok_or_else(|| BackendError::ValueOutOfRange {
            tensor: name.to_string(),
            index: index as u64,
            value: value.to_string(),
            why: why.to_string(),
        })?);
    }
    Ok(converted)
}

fn floats<'t>(dims: &[usize], values: Cow<'t, [f32]>) -> Result<ValueOrView<'t>, BackendError> {
    match values {
        Cow::Borrowed(values) => shaped(ValueView::from_shape(dims, values).map(ValueOrView::from)),
        Cow::Owned(values) => shaped(Value::from_shape(dims, values).map(ValueOrView::from)),
    }
}

fn integers<'t>(dims: &[usize], values: Cow<'t, [i32]>) -> Result<ValueOrView<'t>, BackendError> {
    match values {
        Cow::Borrowed(values) => shaped(ValueView::from_shape(dims, values).map(ValueOrView::from)),
        Cow::Owned(values) => shaped(Value::from_shape(dims, values).map(ValueOrView::from)),
    }
}

fn shaped<T>(result: Result<T, impl std::error::Error>) -> Result<T, BackendError> {
    result.map_err(BackendError::failed)
}

/// An output as the manifest states it: type, rank and fixed dimensions.
///
/// # Errors
///
/// [`BackendError::Failed`] if the backend's output cannot be that.
pub(crate) fn from_rten(value: Value, spec: &TensorSpec) -> Result<Tensor, BackendError> {
    let wrong = |what: String| BackendError::failed(format!("output `{}` {what}", spec.name));
    let kind = value.dtype();
    let made = match (value, spec.dtype) {
        (Value::FloatTensor(t), DType::Fp32) => {
            Tensor::from_f32(output_dims(t.shape(), spec)?, t.into_data())
        }
        (Value::FloatTensor(t), DType::Fp64) => {
            let dims = output_dims(t.shape(), spec)?;
            let values: Vec<f64> = t.into_data().into_iter().map(f64::from).collect();
            Tensor::from_f64(dims, &values)
        }
        (Value::FloatTensor(t), DType::Fp16) => {
            let dims = output_dims(t.shape(), spec)?;
            let values = t.into_data();
            let bytes = values
                .iter()
                .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                .collect();
            Tensor::new(DType::Fp16, dims, bytes)
        }
        (Value::FloatTensor(t), DType::Bf16) => {
            let dims = output_dims(t.shape(), spec)?;
            let values = t.into_data();
            let bytes = values
                .iter()
                .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                .collect();
            Tensor::new(DType::Bf16, dims, bytes)
        }
        (Value::Int32Tensor(t), DType::I32) => {
            Tensor::from_i32(output_dims(t.shape(), spec)?, t.into_data())
        }
        (Value::Int32Tensor(t), DType::I64) => {
            let dims = output_dims(t.shape(), spec)?;
            let values: Vec<i64> = t.into_data().into_iter().map(i64::from).collect();
            Tensor::from_i64(dims, &values)
        }
        (Value::Int32Tensor(t), DType::U8) => {
            let dims = output_dims(t.shape(), spec)?;
            let values = t.into_data();
            let bytes: Option<Vec<u8>> = values
                .iter()
                .map(|&v| u8::try_from(v).ok().filter(|&v| v <= 1))
                .collect();
            let bytes =
                bytes.ok_or_else(|| wrong("has a boolean that is neither 0 nor 1".into()))?;
            Tensor::new(DType::U8, dims, bytes)
        }
        (Value::UInt8Tensor(t), DType::U8) => {
            Tensor::new(DType::U8, output_dims(t.shape(), spec)?, t.into_data())
        }
        (_, wanted) => return Err(wrong(format!("is {kind} but the manifest says {wanted}"))),
    };
    made.map_err(|error| wrong(error.to_string()))
}
