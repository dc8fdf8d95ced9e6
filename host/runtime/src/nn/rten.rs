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

use adit_protocol::manifest::{ModelManifest, TensorSpec};
use rten::{Model, ModelOptions, NodeId, RunOptions, ValueType};

use super::backend::{
    Backend, BackendError, BackendInfo, LoadedModel, ModelFiles, contained, cpu_baseline,
};
use super::convert::{Route, from_rten, to_rten};
use super::tensor::Tensor;
use super::vet::{Vetted, VettedInput, known_names, vet};

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
            options: Default::default(),
        }
    }

    fn load(
        &self,
        manifest: &ModelManifest,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let model =
            contained(|| RtenModel::load(manifest, vet(manifest, files)?, self.pool.clone()))?;
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
    vetted: VettedInput,
    route: Route,
}

impl RtenModel {
    fn load(
        manifest: &ModelManifest,
        vetted: Vetted,
        pool: Arc<LazyPool>,
    ) -> Result<Self, BackendError> {
        // Constants are held as they are computed with; an operator takes about a kilobyte.
        let resident_bytes = vetted
            .weight_bytes
            .saturating_add(vetted.nodes.saturating_mul(1024))
            .saturating_add(64 << 10);

        check_nested(vetted.nested_nodes)?;
        let nodes = vetted.nodes;
        let file = vetted.file;
        let model = on_stack_for(nodes, || {
            ModelOptions::with_all_ops().load(file).map_err(load_error)
        })?;

        let id = |name: &str| {
            model.find_node(name).ok_or_else(|| {
                BackendError::malformed(format!("`{name}` is declared but not part of the graph"))
            })
        };
        let mut inputs = Vec::with_capacity(vetted.inputs.len());
        for vetted in vetted.inputs {
            let spec = &vetted.spec;
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
            inputs.push(Input { id, vetted, route });
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
}

impl LoadedModel for RtenModel {
    fn compute(&self, given: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, BackendError> {
        known_names(self.inputs.iter().map(|input| &input.vetted), &given)?;
        let mut values = Vec::with_capacity(self.inputs.len());
        for Input { id, vetted, route } in &self.inputs {
            let tensor = vetted.pick(&given)?;
            let dims = vetted.library_dims(tensor)?;
            values.push((*id, to_rten(&vetted.spec.name, tensor, &dims, *route)?));
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
