//! The model manifest: what a guest and an auditor may rely on about a model.
//!
//! Everything that a guest sees of a model through wasi-nn comes from here and never from a
//! backend, so that it is the same on every machine and in a replay without the model.

mod shapes;

pub use shapes::InputError;

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};

use crate::cbor::fields::{self, Invalid};
use crate::cbor::{Document, SortedMap};
use crate::hash::Hash;
use crate::tensor::{DType, MAX_RANK, element_count};
use crate::tolerance::Tolerance;

/// The format of a model; list, order and names are those of wasi-nn's `graph-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// OpenVINO's IR.
    #[n(0)]
    Openvino = 0,
    /// ONNX.
    #[n(1)]
    Onnx = 1,
    /// TensorFlow's SavedModel.
    #[n(2)]
    Tensorflow = 2,
    /// TorchScript.
    #[n(3)]
    Pytorch = 3,
    /// TensorFlow Lite.
    #[n(4)]
    TensorflowLite = 4,
    /// GGML or GGUF.
    #[n(5)]
    Ggml = 5,
    /// The backend finds out.
    #[n(6)]
    Autodetect = 6,
}

/// A file of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct FileRef {
    /// Hash of its contents.
    #[n(0)]
    pub hash: Hash,
    /// Its length in bytes.
    #[n(1)]
    pub len: u64,
}

/// One dimension of a tensor in a manifest. In CBOR and JSON a number or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// This size and no other.
    Fixed(u32),
    /// Any size, the same wherever the same name stands. The empty name is equal to nothing, not
    /// even to itself: any size at all.
    Symbol(String),
}

/// Name, type and shape of an input or output.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct TensorSpec {
    /// The tensor's name.
    #[n(0)]
    pub name: String,
    /// Type of its elements.
    #[n(1)]
    pub dtype: DType,
    /// Its dimensions; empty for a scalar.
    #[n(2)]
    pub dims: Vec<Dim>,
}

/// What an inference counts as work: `base + per_input_element x elements of all inputs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CostFunction {
    /// Units of any call.
    #[n(0)]
    pub base: u64,
    /// Units for each element of an input.
    #[n(1)]
    pub per_input_element: u64,
}

/// A model as tasks name it: by the hash of this document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ModelManifest {
    /// Format of the files.
    #[n(0)]
    pub encoding: Encoding,
    /// The files by name.
    #[n(1)]
    pub files: SortedMap<FileRef>,
    /// Licence, as an SPDX expression or a short text; empty if it is not known.
    #[n(2)]
    pub licence: String,
    /// Inputs, in the order in which a guest sees them.
    #[n(3)]
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the order in which a guest sees them.
    #[n(4)]
    pub outputs: Vec<TensorSpec>,
    /// Work of one call.
    #[n(5)]
    pub cost: CostFunction,
    /// When two answers of the model agree.
    #[n(6)]
    pub tolerance: Tolerance,
    /// Bytes of device memory that the model needs.
    #[n(7)]
    pub memory_bytes: u64,
}

impl ModelManifest {
    /// The work of a call with inputs of these dimensions, saturating at `u64::MAX`.
    pub fn nn_units<'a>(&self, inputs: impl IntoIterator<Item = &'a [u32]>) -> u64 {
        let elements = inputs
            .into_iter()
            .map(|dims| element_count(dims).unwrap_or(u64::MAX))
            .fold(0u64, u64::saturating_add);
        self.cost
            .base
            .saturating_add(self.cost.per_input_element.saturating_mul(elements))
    }
}

impl Document for ModelManifest {
    const NAME: &'static str = "model manifest";
    const MAX_LEN: usize = 1024 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("files", self.files.len(), 4096)?;
        if self.files.is_empty() {
            return Invalid::new("files", "there is none");
        }
        self.files
            .keys()
            .try_for_each(|name| fields::name("files", name, 256))?;
        fields::text("licence", &self.licence, 256)?;
        check_tensors("inputs", &self.inputs)?;
        check_tensors("outputs", &self.outputs)?;
        self.tolerance.check()
    }
}

fn check_tensors(field: &'static str, tensors: &[TensorSpec]) -> Result<(), Invalid> {
    fields::count(field, tensors.len(), 1024)?;
    let mut seen = std::collections::BTreeSet::new();
    for tensor in tensors {
        fields::name(field, &tensor.name, 256)?;
        if !seen.insert(&tensor.name) {
            return Invalid::new(field, format!("`{}` is there twice", tensor.name));
        }
        fields::count(field, tensor.dims.len(), MAX_RANK)?;
        for dim in &tensor.dims {
            if let Dim::Symbol(symbol) = dim {
                fields::text(field, symbol, 64)?;
            }
        }
    }
    Ok(())
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Symbol(name) if name.is_empty() => f.write_str("?"),
            Dim::Symbol(name) => f.write_str(name),
        }
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Fixed(size) => serializer.serialize_u32(*size),
            Dim::Symbol(name) => serializer.serialize_str(name),
        }
    }
}

impl<C> Encode<C> for Dim {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Dim::Fixed(size) => e.u32(*size)?,
            Dim::Symbol(name) => e.str(name)?,
        };
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Dim {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Dim, minicbor::decode::Error> {
        if d.datatype()? == minicbor::data::Type::String {
            Ok(Dim::Symbol(d.str()?.to_owned()))
        } else {
            Ok(Dim::Fixed(d.u32()?))
        }
    }
}
