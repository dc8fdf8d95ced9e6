//! The embedded backend: rten, a pure Rust library, on the CPU.
//!
//! rten takes ONNX files and computes with 32-bit floats and integers; [`super::convert`] says what
//! that means for a manifest's types. Results depend on the instruction set (kernels are chosen at
//! run time) and may depend on the number of threads, so both are in the environment document.
//!
//! # What is refused
//!
//! - A file that fails the survey of [`adit_protocol::onnx`], before rten's parser sees it. rten is only
//!   ever given bytes and cannot open a file.
//! - A model with random operators that have no seed: it would give another answer on each run.
//! - A manifest whose names, types or fixed dimensions differ from the file's.
//!
//! # Known limits of the library
//!
//! Inside a model, 64-bit integers are 32 bits wide: constants are clipped to that range (exporters
//! use the extremes for "to the end") and sums wrap. A cast to `bool` truncates to an integer
//! instead of comparing with zero; an output that is then neither 0 nor 1 is an error. Memory and time of a computation are unbounded;
//! running out of memory ends the process. The worker process is there for that.
//!
//! Constants are folded while a model is loaded, on a pool that rten keeps for the whole process;
//! the environment variable `RTEN_NUM_THREADS` is its size. Whoever starts a worker sets it to the
//! backend's number of threads. `RUST_MIN_STACK` bounds how deep graphs inside operators may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_protocol::manifest::{Dim, Encoding, ModelManifest, TensorSpec};
use adit_protocol::onnx::{Declared, OnnxError, OnnxLimits, interface};
use rten::{Model, ModelOptions, NodeId, RunOptions, ValueType};

use super::backend::{
    Backend, BackendError, BackendInfo, LoadedModel, ModelFiles, contained, cpu_baseline,
};
use super::convert::{Route, fits, from_rten, to_rten};
use super::tensor::Tensor;

mod threads;

use threads::{LazyPool, check_nested, fits_any_stack, on_stack_for};

/// Version of the rten crate that is linked; `Cargo.toml` pins it and a test compares the two.
pub const RTEN_VERSION: &str = "0.27.0";

/// The rten backend with a fixed number of threads per computation.
pub struct RtenBackend {
    pool: Arc<LazyPool>,
}

impl RtenBackend {
    /// A backend that computes with `threads` threads, at least one.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unsupported`] if one of rten's debugging variables is set in the process
    /// environment: they change how it computes and make it print to standard output.
    pub fn new(threads: usize) -> Result<Self, BackendError> {
        let debugging = std::env::vars_os().map(|(name, _)| name).find(|name| {
            name.to_str()
                .is_some_and(|name| name.starts_with("RTEN_") && name != "RTEN_NUM_THREADS")
        });
        if let Some(name) = debugging {
            return Err(BackendError::unsupported(format!(
                "the environment variable {} is set, which changes how rten works; unset it",
                name.to_string_lossy()
            )));
        }
        Ok(Self {
            pool: Arc::new(LazyPool::new(threads.max(1))),
        })
    }
}

impl Backend for RtenBackend {
    fn describe(&self) -> BackendInfo {
        BackendInfo {
            name: "rten".into(),
            version: RTEN_VERSION.into(),
            build: "all-ops,onnx_format".into(),
            execution_provider: "cpu".into(),
            device: "cpu".into(),
            driver: String::new(),
            precision: "fp32".into(),
            threads: u32::try_from(self.pool.threads()).unwrap_or(u32::MAX),
            cpu_baseline: cpu_baseline(),
            gpu: false,
        }
    }

    fn load(
        &self,
        manifest: &ModelManifest,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        if manifest.encoding != Encoding::Onnx {
            return Err(BackendError::unsupported(format!(
                "its encoding is {:?} and rten takes ONNX files",
                manifest.encoding
            )));
        }
        let (_, file) = files.into_single()?;
        let model = contained(|| RtenModel::load(manifest, file, self.pool.clone()))?;
        Ok(Arc::new(model))
    }

    fn on_thread(&self, body: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
        self.pool.enter(body)
    }
}

struct RtenModel {
    model: Model,
    inputs: Vec<Input>,
    output_ids: Vec<NodeId>,
    outputs: Vec<TensorSpec>,
    resident_bytes: u64,
    pool: Arc<LazyPool>,
    nodes: u64,
    /// Whether rten has made its plan for the graph, which it keeps, or can make it on any stack.
    planned: AtomicBool,
}

struct Input {
    id: NodeId,
    spec: TensorSpec,
    route: Route,
    /// The model wants rank 0 where the guest gives `[1]`.
    scalar: bool,
}

impl RtenModel {
    fn load(
        manifest: &ModelManifest,
        file: Vec<u8>,
        pool: Arc<LazyPool>,
    ) -> Result<Self, BackendError> {
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
        let inputs_declared = matching("input", &manifest.inputs, &interface.inputs)?;
        matching("output", &manifest.outputs, &interface.outputs)?;
        // A file that leaves the dimensions out takes what the manifest says.
        let scalars: Vec<bool> = inputs_declared
            .iter()
            .zip(&manifest.inputs)
            .map(|(d, spec)| d.shape.as_ref().unwrap_or(&spec.dims).is_empty())
            .collect();
        // Constants are held as they are computed with; an operator takes about a kilobyte.
        let resident_bytes = interface
            .survey
            .weight_bytes
            .saturating_add(interface.survey.nodes.saturating_mul(1024))
            .saturating_add(64 << 10);

        check_nested(interface.survey.nested_nodes)?;
        let nodes = interface.survey.nodes;
        let model = on_stack_for(nodes, || {
            ModelOptions::with_all_ops().load(file).map_err(load_error)
        })?;

        let id = |name: &str| {
            model.find_node(name).ok_or_else(|| {
                BackendError::malformed(format!("`{name}` is declared but not part of the graph"))
            })
        };
        let mut inputs = Vec::with_capacity(manifest.inputs.len());
        for (spec, scalar) in manifest.inputs.iter().zip(scalars) {
            let id = id(&spec.name)?;
            let dtype = match model.node_info(id).and_then(|info| info.dtype()) {
                Some(ValueType::Tensor(dtype)) => Some(dtype),
                _ => None,
            };
            let route = Route::find(spec.dtype, dtype).ok_or_else(|| {
                BackendError::unsupported(format!(
                    "rten has no type for input `{}`, which is {}",
                    spec.name, spec.dtype
                ))
            })?;
            inputs.push(Input {
                id,
                spec: spec.clone(),
                route,
                scalar,
            });
        }
        let output_ids = manifest
            .outputs
            .iter()
            .map(|spec| id(&spec.name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            inputs,
            output_ids,
            outputs: manifest.outputs.clone(),
            resident_bytes,
            pool,
            model,
            nodes,
            planned: AtomicBool::new(fits_any_stack(nodes)),
        })
    }

    /// Finds the tensor of an input and checks it against the manifest.
    fn pick<'t>(input: &Input, given: &'t [(String, Tensor)]) -> Result<&'t Tensor, BackendError> {
        let name = &input.spec.name;
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
        if tensor.dtype() != input.spec.dtype {
            return Err(BackendError::invalid_input(
                name,
                format!(
                    "it is {} and the manifest says {}",
                    tensor.dtype(),
                    input.spec.dtype
                ),
            ));
        }
        if !fits(tensor.dims(), &input.spec.dims) {
            return Err(BackendError::invalid_input(
                name,
                format!("its dimensions {:?} contradict the manifest", tensor.dims()),
            ));
        }
        Ok(tensor)
    }
}

impl LoadedModel for RtenModel {
    fn compute(&self, given: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, BackendError> {
        if let Some((name, _)) = given
            .iter()
            .find(|(name, _)| self.inputs.iter().all(|input| input.spec.name != *name))
        {
            return Err(BackendError::invalid_input(
                name,
                "the model has no input of that name",
            ));
        }
        let mut values = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let tensor = Self::pick(input, &given)?;
            let mut dims = Vec::with_capacity(tensor.dims().len());
            if !(input.scalar && tensor.dims() == [1]) {
                for &dim in tensor.dims() {
                    dims.push(usize::try_from(dim).map_err(BackendError::failed)?);
                }
            }
            values.push((
                input.id,
                to_rten(&input.spec.name, tensor, &dims, input.route)?,
            ));
        }
        let run = |pool| {
            let options = RunOptions::default().with_thread_pool(Some(pool));
            self.model
                .run(values, &self.output_ids, Some(options))
                .map_err(BackendError::failed)
        };
        let computed = if self.planned.load(Ordering::Acquire) {
            let pool = self.pool.current()?;
            contained(|| run(pool))?
        } else {
            // On the shared pool: this thread may belong to the current one, and it waits here.
            let pool = self.pool.shared()?;
            let computed = on_stack_for(self.nodes, || run(pool))?;
            self.planned.store(true, Ordering::Release);
            computed
        };
        if computed.len() != self.outputs.len() {
            return Err(BackendError::failed(format!(
                "{} outputs were computed, {} are in the manifest",
                computed.len(),
                self.outputs.len()
            )));
        }
        self.outputs
            .iter()
            .zip(computed)
            .map(|(spec, value)| Ok((spec.name.clone(), from_rten(value, spec)?)))
            .collect()
    }

    fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }
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

fn load_error(error: rten::LoadError) -> BackendError {
    use rten::LoadErrorKind as Kind;
    match error.kind() {
        Kind::OperatorInvalid | Kind::FormatNotEnabled | Kind::ExternalDataError => {
            BackendError::unsupported(error)
        }
        _ => BackendError::malformed(error),
    }
}

#[cfg(test)]
mod tests;
