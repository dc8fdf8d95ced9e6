//! Reads what a manifest needs out of an ONNX file.
//!
//! [`manifest_from_onnx`] makes the manifest of a bare file: names, element types and dimensions
//! of its inputs and outputs, and defaults for what an ONNX file does not say. It is
//! deterministic: the same bytes and file name give the same manifest, so that two people who use
//! the same model name the same manifest hash.
//!
//! The file is hostile input. It is walked in place (`survey`) with bounds on nesting and on the
//! number of parts; nothing of it is copied but the names and dimensions of inputs and outputs.
//! Weights in other files ("external data") are refused: a model is one blob, named by its hash.

use std::collections::{BTreeMap, HashSet};

use prost::Message;

use crate::hash::Hash;
use crate::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use crate::tensor::DType;
use crate::tolerance::Tolerance;

pub mod proto;
mod survey;
pub mod testing;

pub use survey::Survey;

use proto::{ValueInfoProto, data_type};
use survey::{Fields, Value, printable, survey};

/// Bytes that a manifest admits for names of tensors and files, and for those of dimensions.
const NAME_BYTES: usize = 256;
const SYMBOL_BYTES: usize = 64;

/// Bounds on an ONNX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxLimits {
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Number of inputs, and of outputs.
    pub tensors: usize,
    /// Number of dimensions of an input or output.
    pub rank: usize,
    /// Length of the name of an input or output in bytes; a manifest admits 256.
    pub name_bytes: usize,
}

impl Default for OnnxLimits {
    /// 2 GiB (the format's own limit), 256 tensors, 8 dimensions, 256 bytes.
    fn default() -> Self {
        Self {
            file_bytes: 2 << 30,
            tensors: 256,
            rank: crate::tensor::MAX_RANK,
            name_bytes: NAME_BYTES,
        }
    }
}

/// Why a file is not taken as an ONNX model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// The bytes are not an ONNX file, or a damaged one.
    #[error(
        "this is not a valid ONNX file: {0}; hint: check the file's length and hash, or export the model again"
    )]
    Malformed(String),
    /// The file is longer than the limit.
    #[error(
        "the model file has {len} bytes and the limit is {max}; hint: use a smaller or quantised model"
    )]
    TooLarge {
        /// Length of the file.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The file has more parts than any real model.
    #[error("the model has more than {max} {what}; hint: simplify it, for example with onnxsim")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Weights are in another file.
    #[error(
        "the constant `{tensor}` keeps its data in another file; hint: save the model as one file (in Python: onnx.save_model(model, path, save_as_external_data=False))"
    )]
    ExternalData {
        /// Name of the constant.
        tensor: String,
    },
    /// An input or output does not say how many dimensions it has.
    #[error(
        "the file does not state the dimensions of `{tensor}`; hint: add them (in Python: onnx.shape_inference.infer_shapes(model)), or write the manifest by hand"
    )]
    UnstatedShape {
        /// Name of the input or output.
        tensor: String,
    },
    /// The name that the file is to have in the manifest is not allowed.
    #[error(
        "`{name}` cannot be the name of a model file; hint: use 1 to 256 bytes without control characters"
    )]
    FileName {
        /// The name as given.
        name: String,
    },
    /// An input or output has a type that tensors of this interface cannot have.
    #[error(
        "`{tensor}` has the type {type_name}, which is not supported; hint: let the model take and give fp16, fp32, fp64, bf16, u8, bool, i32 or i64 tensors"
    )]
    Unsupported {
        /// Name of the input or output.
        tensor: String,
        /// Its type in ONNX's words.
        type_name: String,
    },
}

impl OnnxError {
    fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }

    fn too_complex(what: &'static str, max: u64) -> Self {
        Self::TooComplex { what, max }
    }
}

/// Makes the manifest of a model that is one ONNX file, stored under the name `file_name`.
///
/// - Element types: `bool` becomes `U8` (0 or 1). Types that `wasi:nn` lacks are refused.
/// - Dimensions: a positive number is fixed; a name becomes a symbol; anything else, as 0 or -1,
///   which exporters use for "any", becomes the symbol without a name, and so does a name that a
///   manifest cannot hold. A tensor whose number of dimensions is not stated is refused.
/// - Cost: one unit per KiB of the file, rounded up, and one per input element. A rough measure
///   that grows with both; registered manifests state a measured one.
/// - Tolerance: differences of at most 1e-3, absolute or relative, whichever is larger.
/// - Memory: twice the file, for the weights and their working copy, and 64 MiB.
/// - Licence: empty, which means unstated.
///
/// # Errors
///
/// [`OnnxError`]; for whatever the bytes are, never a panic, and without allocating more than a
/// bounded amount apart from the result.
pub fn manifest_from_onnx(
    file: &[u8],
    file_name: &str,
    limits: &OnnxLimits,
) -> Result<ModelManifest, OnnxError> {
    if file_name.is_empty() || !is_name(file_name, NAME_BYTES) {
        return Err(OnnxError::FileName {
            name: printable(file_name.as_bytes()),
        });
    }
    let len = file.len() as u64;
    let interface = interface(file, limits)?;
    let file_ref = FileRef {
        hash: Hash::of(file),
        len,
    };
    Ok(ModelManifest {
        encoding: Encoding::Onnx,
        files: BTreeMap::from([(file_name.to_string(), file_ref)]).into(),
        licence: String::new(),
        inputs: interface
            .inputs
            .into_iter()
            .map(Declared::into_spec)
            .collect::<Result<_, _>>()?,
        outputs: interface
            .outputs
            .into_iter()
            .map(Declared::into_spec)
            .collect::<Result<_, _>>()?,
        cost: CostFunction {
            base: len.div_ceil(1024),
            per_input_element: 1,
        },
        tolerance: Tolerance::MaxAbsRel {
            abs_nano: 1_000_000,
            rel_ppm: 1000,
        },
        memory_bytes: len.saturating_mul(2).saturating_add(64 << 20),
    })
}

/// Inputs and outputs as an ONNX file declares them.
#[derive(Debug)]
pub struct Interface<'a> {
    /// Inputs, in the file's order, without those that are constants.
    pub inputs: Vec<Declared>,
    /// Outputs, in the file's order; at least one.
    pub outputs: Vec<Declared>,
    /// What the walk over the whole file found.
    pub survey: Survey<'a>,
}

/// One declared input or output.
#[derive(Debug, PartialEq)]
pub struct Declared {
    /// Its name, not empty and without control characters.
    pub name: String,
    /// The element type that a guest sees.
    pub dtype: DType,
    /// `None` if the file does not state it; empty for a scalar.
    pub shape: Option<Vec<Dim>>,
}

impl Declared {
    fn into_spec(self) -> Result<TensorSpec, OnnxError> {
        match self.shape {
            Some(dims) => Ok(TensorSpec {
                name: self.name,
                dtype: self.dtype,
                dims,
            }),
            None => Err(OnnxError::UnstatedShape { tensor: self.name }),
        }
    }
}

/// Vets a file and reads its inputs and outputs, in the file's order.
///
/// # Errors
///
/// [`OnnxError`]; all but [`OnnxError::FileName`] and [`OnnxError::UnstatedShape`].
pub fn interface<'a>(file: &'a [u8], limits: &OnnxLimits) -> Result<Interface<'a>, OnnxError> {
    let len = file.len() as u64;
    if len > limits.file_bytes {
        return Err(OnnxError::TooLarge {
            len,
            max: limits.file_bytes,
        });
    }
    let survey = survey(file)?;
    let initializers = initializer_names(survey.graph)?;
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    let mut fields = Fields::new(survey.graph);
    while let Some((number, value)) = fields.next()? {
        let list = match number {
            11 => &mut inputs,
            12 => &mut outputs,
            _ => continue,
        };
        let body = value.bytes()?;
        // Before IR version 4, constants had to be listed as inputs too.
        if number == 11 && initializers.contains(string_field(body, 1)?) {
            continue;
        }
        if list.len() >= limits.tensors {
            let what = if number == 11 { "inputs" } else { "outputs" };
            return Err(OnnxError::too_complex(what, limits.tensors as u64));
        }
        list.push(declared(body, limits)?);
    }
    for list in [&inputs, &outputs] {
        let mut seen = HashSet::new();
        if let Some(twice) = list
            .iter()
            .find(|tensor| !seen.insert(tensor.name.as_str()))
        {
            return Err(OnnxError::malformed(format!(
                "`{}` is declared twice",
                printable(twice.name.as_bytes())
            )));
        }
    }
    if outputs.is_empty() {
        return Err(OnnxError::malformed("it declares no output"));
    }
    Ok(Interface {
        inputs,
        outputs,
        survey,
    })
}

/// Names of the constants of a graph. At most as many as the survey admits messages.
fn initializer_names(graph: &[u8]) -> Result<HashSet<&[u8]>, OnnxError> {
    let mut names = HashSet::new();
    let mut fields = Fields::new(graph);
    while let Some((number, value)) = fields.next()? {
        match number {
            5 => names.insert(string_field(value.bytes()?, 8)?),
            // A sparse constant has the name of its values.
            15 => {
                let values = string_field(value.bytes()?, 1)?;
                names.insert(string_field(values, 8)?)
            }
            _ => continue,
        };
    }
    names.remove(&[][..]);
    Ok(names)
}

/// The last value of a length-delimited field, empty if there is none.
fn string_field(message: &[u8], wanted: u32) -> Result<&[u8], OnnxError> {
    let mut found = &[][..];
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        if number == wanted
            && let Value::Bytes(bytes) = value
        {
            found = bytes;
        }
    }
    Ok(found)
}

fn declared(body: &[u8], limits: &OnnxLimits) -> Result<Declared, OnnxError> {
    // A description of eight dimensions with names at their limit is shorter than this; the rest
    // would be documentation and metadata.
    const MAX_BODY: usize = 64 << 10;
    if body.len() > MAX_BODY {
        return Err(OnnxError::malformed(
            "the description of an input or output exceeds 64 KiB",
        ));
    }
    let info = ValueInfoProto::decode(body)
        .map_err(|error| OnnxError::malformed(format!("an input or output is damaged: {error}")))?;
    let shown = printable(info.name.as_bytes());
    if info.name.is_empty() {
        return Err(OnnxError::malformed("an input or output has no name"));
    }
    if !is_name(&info.name, limits.name_bytes) {
        return Err(OnnxError::malformed(format!(
            "the name of `{shown}` is longer than {} bytes or has a control character",
            limits.name_bytes
        )));
    }
    let unsupported = |type_name: String| OnnxError::Unsupported {
        tensor: shown.clone(),
        type_name,
    };
    let Some(r#type) = info.r#type else {
        return Err(unsupported("(not stated)".into()));
    };
    let Some(tensor) = r#type.tensor_type else {
        let type_name = match r#type {
            proto::TypeProto {
                sequence_type: Some(_),
                ..
            } => "sequence",
            proto::TypeProto {
                map_type: Some(_), ..
            } => "map",
            proto::TypeProto {
                sparse_tensor_type: Some(_),
                ..
            } => "sparse tensor",
            proto::TypeProto {
                optional_type: Some(_),
                ..
            } => "optional",
            _ => "(not stated)",
        };
        return Err(unsupported(type_name.into()));
    };
    let dtype =
        dtype_of(tensor.elem_type).ok_or_else(|| unsupported(type_name(tensor.elem_type)))?;
    let shape = match tensor.shape {
        None => None,
        Some(shape) if shape.dim.len() > limits.rank => {
            return Err(OnnxError::malformed(format!(
                "`{shown}` has {} dimensions, more than {}",
                shape.dim.len(),
                limits.rank
            )));
        }
        Some(shape) => Some(
            shape
                .dim
                .into_iter()
                .map(|dim| dimension(dim, &shown))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Declared {
        name: info.name,
        dtype,
        shape,
    })
}

fn dimension(dim: proto::Dimension, tensor: &str) -> Result<Dim, OnnxError> {
    match (dim.dim_value, dim.dim_param) {
        (Some(value), _) if value > 0 => u32::try_from(value).map(Dim::Fixed).map_err(|_| {
            OnnxError::malformed(format!(
                "a dimension of `{tensor}` is {value}, more than 32 bits"
            ))
        }),
        (None, Some(name)) if is_name(&name, SYMBOL_BYTES) => Ok(Dim::Symbol(name)),
        _ => Ok(Dim::Symbol(String::new())),
    }
}

/// Whether a manifest can hold the name: its length, and no control characters.
fn is_name(name: &str, max: usize) -> bool {
    name.len() <= max && !name.chars().any(char::is_control)
}

/// The element type that a guest sees for an ONNX element type.
fn dtype_of(elem_type: i32) -> Option<DType> {
    Some(match elem_type {
        data_type::FLOAT => DType::Fp32,
        data_type::DOUBLE => DType::Fp64,
        data_type::FLOAT16 => DType::Fp16,
        data_type::BFLOAT16 => DType::Bf16,
        data_type::UINT8 | data_type::BOOL => DType::U8,
        data_type::INT32 => DType::I32,
        data_type::INT64 => DType::I64,
        _ => return None,
    })
}

fn type_name(elem_type: i32) -> String {
    match elem_type {
        0 => "(not stated)".into(),
        data_type::INT8 => "int8".into(),
        data_type::UINT16 => "uint16".into(),
        data_type::INT16 => "int16".into(),
        data_type::STRING => "string".into(),
        data_type::UINT32 => "uint32".into(),
        data_type::UINT64 => "uint64".into(),
        data_type::COMPLEX64 => "complex64".into(),
        data_type::COMPLEX128 => "complex128".into(),
        other => format!("number {other} of ONNX's list"),
    }
}

#[cfg(test)]
mod tests;
