//! What every backend checks of a model and of a call before its library sees either.
//!
//! A library's parser trusts lengths, recurses and may open files that a model names. So a file is
//! surveyed first ([`adit_protocol::onnx`]), and its declarations are compared with the manifest,
//! which is all that the guest was told.

use adit_protocol::manifest::{Dim, Encoding, ModelManifest, TensorSpec};
use adit_protocol::onnx::{Declared, OnnxError, OnnxLimits, interface};

use super::backend::{BackendError, ModelFiles};
use super::tensor::Tensor;

/// A model file that may be given to a library, with what the library's caller needs to know.
pub(super) struct Vetted {
    /// The file.
    pub file: Vec<u8>,
    /// Inputs, in the manifest's order.
    pub inputs: Vec<VettedInput>,
    /// Bytes of all constants once loaded.
    pub weight_bytes: u64,
    /// Operators in all graphs.
    pub nodes: u64,
    /// Operators of the largest graph inside an operator.
    pub nested_nodes: u64,
}

/// One input of a model.
pub(super) struct VettedInput {
    /// What the manifest says.
    pub spec: TensorSpec,
    /// The model wants rank 0 where the guest gives `[1]`.
    pub scalar: bool,
}

/// Checks a model's only file against its manifest.
///
/// # Errors
///
/// [`BackendError::Malformed`] for a file that is damaged or contradicts the manifest,
/// [`BackendError::Unsupported`] for what no backend runs: other encodings, several files,
/// external data, random numbers without a seed.
pub(super) fn vet(manifest: &ModelManifest, files: ModelFiles) -> Result<Vetted, BackendError> {
    if manifest.encoding != Encoding::Onnx {
        return Err(BackendError::unsupported(format!(
            "its encoding is {:?}, and only ONNX files are taken",
            manifest.encoding
        )));
    }
    let (_, file) = files.into_single()?;
    let interface = interface(&file, &OnnxLimits::default()).map_err(|error| match error {
        OnnxError::Malformed(_) => BackendError::malformed(error),
        _ => BackendError::unsupported(error),
    })?;
    if let Some(op) = &interface.survey.unseeded_random {
        return Err(BackendError::unsupported(format!(
            "its operator {op} draws random numbers without a seed, so that no two runs agree"
        )));
    }
    if manifest.inputs.len() != interface.inputs.len() {
        return Err(BackendError::malformed(format!(
            "the manifest states {} inputs and the file {}",
            manifest.inputs.len(),
            interface.inputs.len()
        )));
    }
    let declared = matching("input", &manifest.inputs, &interface.inputs)?;
    matching("output", &manifest.outputs, &interface.outputs)?;
    // A file that leaves the dimensions out takes what the manifest says.
    let inputs = declared
        .iter()
        .zip(&manifest.inputs)
        .map(|(declared, spec)| VettedInput {
            spec: spec.clone(),
            scalar: declared.shape.as_ref().unwrap_or(&spec.dims).is_empty(),
        })
        .collect();
    let (weight_bytes, nodes) = (interface.survey.weight_bytes, interface.survey.nodes);
    let nested_nodes = interface.survey.nested_nodes;
    Ok(Vetted {
        file,
        inputs,
        weight_bytes,
        nodes,
        nested_nodes,
    })
}

impl VettedInput {
    /// Finds the tensor of this input among those of a call and checks it against the manifest.
    ///
    /// # Errors
    ///
    /// [`BackendError::InvalidInput`] if it is missing, there twice, or does not fit.
    pub fn pick<'t>(&self, given: &'t [(String, Tensor)]) -> Result<&'t Tensor, BackendError> {
        let name = &self.spec.name;
        let mut named = given
            .iter()
            .filter(|(given, _)| given == name)
            .map(|(_, tensor)| tensor);
        let tensor = named
            .next()
            .ok_or_else(|| BackendError::invalid_input(name, "it is missing"))?;
        if named.next().is_some() {
            return Err(BackendError::invalid_input(name, "it is given twice"));
        }
        if tensor.dtype() != self.spec.dtype {
            return Err(BackendError::invalid_input(
                name,
                format!(
                    "it is {} and the manifest says {}",
                    tensor.dtype(),
                    self.spec.dtype
                ),
            ));
        }
        if !fits(tensor.dims(), &self.spec.dims) {
            return Err(BackendError::invalid_input(
                name,
                format!("its dimensions {:?} contradict the manifest", tensor.dims()),
            ));
        }
        Ok(tensor)
    }

    /// The dimensions that the library is given for a tensor of this input.
    ///
    /// # Errors
    ///
    /// [`BackendError::Failed`] where a dimension exceeds the machine's address space.
    pub fn library_dims(&self, tensor: &Tensor) -> Result<Vec<usize>, BackendError> {
        if self.scalar && tensor.dims() == [1] {
            return Ok(Vec::new());
        }
        tensor
            .dims()
            .iter()
            .map(|&dim| usize::try_from(dim).map_err(BackendError::failed))
            .collect()
    }
}

/// Refuses a call that names an input which the model does not have.
///
/// # Errors
///
/// [`BackendError::InvalidInput`].
pub(super) fn known_names<'i>(
    inputs: impl Iterator<Item = &'i VettedInput> + Clone,
    given: &[(String, Tensor)],
) -> Result<(), BackendError> {
    match given
        .iter()
        .find(|(name, _)| inputs.clone().all(|input| input.spec.name != *name))
    {
        Some((name, _)) => Err(BackendError::invalid_input(
            name,
            "the model has no input of that name",
        )),
        None => Ok(()),
    }
}

/// The dimensions of an output as the guest sees them, checked against the manifest.
///
/// # Errors
///
/// [`BackendError::Failed`] if they contradict it.
pub(super) fn output_dims<D: Copy + std::fmt::Debug + TryInto<u32>>(
    shape: &[D],
    spec: &TensorSpec,
) -> Result<Vec<u32>, BackendError> {
    let dims = if shape.is_empty() {
        Some(vec![1])
    } else {
        shape.iter().map(|&dim| dim.try_into().ok()).collect()
    };
    dims.filter(|dims: &Vec<u32>| fits(dims, &spec.dims))
        .ok_or_else(|| {
            BackendError::failed(format!(
                "output `{}` has dimensions {shape:?}, which contradicts the manifest",
                spec.name
            ))
        })
}

/// Whether dimensions agree with a specification, where none at all is a scalar, which a guest
/// sees as `[1]`. Sizes of symbols are not compared with each other: the manifest's own check of
/// a call does that.
pub(super) fn fits(dims: &[u32], spec: &[Dim]) -> bool {
    spec.is_empty() && dims == [1]
        || dims.len() == spec.len()
            && dims.iter().zip(spec).all(|(dim, spec)| match spec {
                Dim::Fixed(fixed) => dim == fixed,
                Dim::Symbol(_) => true,
            })
}

/// Pairs each stated tensor with the file's declaration of it, which it may narrow (a fixed
/// dimension where the file has a symbol) but not contradict.
fn matching<'d>(
    what: &str,
    stated: &[TensorSpec],
    declared: &'d [Declared],
) -> Result<Vec<&'d Declared>, BackendError> {
    let contradiction = |spec: &TensorSpec, how: &str| {
        BackendError::malformed(format!("{what} `{}` of the manifest {how}", spec.name))
    };
    stated
        .iter()
        .map(|spec| {
            let found = declared
                .iter()
                .find(|declared| declared.name == spec.name)
                .ok_or_else(|| contradiction(spec, "is not in the file"))?;
            if found.dtype != spec.dtype {
                return Err(contradiction(
                    spec,
                    &format!("is {}, the file says {}", spec.dtype, found.dtype),
                ));
            }
            let compatible = match &found.shape {
                None => true,
                Some(dims) if dims.is_empty() => {
                    spec.dims.is_empty() || spec.dims == [Dim::Fixed(1)]
                }
                Some(dims) => {
                    spec.dims.len() == dims.len()
                        && spec.dims.iter().zip(dims).all(|pair| match pair {
                            (Dim::Fixed(stated), Dim::Fixed(declared)) => stated == declared,
                            (Dim::Symbol(_), Dim::Fixed(_)) => false,
                            (_, Dim::Symbol(_)) => true,
                        })
                }
            };
            if compatible {
                Ok(found)
            } else {
                Err(contradiction(spec, "has other dimensions than in the file"))
            }
        })
        .collect()
}
