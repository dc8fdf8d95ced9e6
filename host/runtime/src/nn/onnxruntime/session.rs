//! A loaded model in ONNX Runtime: its sessions, and one computation.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use adit_protocol::manifest::{ModelManifest, TensorSpec};
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::TensorElementType;

use super::values::{from_ort, to_ort};
use super::{Fallback, OrtDevice, assignment};
use crate::nn::backend::{BackendError, LoadedModel, contained};
use crate::nn::tensor::Tensor;
use crate::nn::vet::{Vetted, VettedInput, known_names};

/// `y = x + x` on one number: what a device computes to show that it does.
const WARM_UP: &[u8] = include_bytes!("warm_up.onnx");

/// What all sessions of a backend have in common.
pub(super) struct Settings {
    pub environment: Environment,
    pub device: OrtDevice,
    pub threads: u32,
}

impl Settings {
    /// A session with everything set that results depend on.
    pub fn builder(&self) -> Result<SessionBuilder, BackendError> {
        let threads = usize::try_from(self.threads).unwrap_or(1);
        let device = &self.device;
        let providers = device.provider.dispatches(device, self.threads);
        let build = || -> Result<SessionBuilder, ort::Error> {
            let mut builder = Session::builder(&self.environment)?
                .with_intra_threads(threads)?
                .with_inter_threads(1)?
                .with_parallel_execution(false)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_deterministic_compute(true)?
                // Threads that look for work between two operators are worth it; between two
                // tasks they would take the processor from the guests.
                .with_intra_op_spinning(false)?
                .with_config_entry(assignment::RECORD, "1")?;
            if !providers.is_empty() {
                builder = builder.with_execution_providers(providers)?;
            }
            if !device.fallback && device.provider != super::provider::Provider::Cpu {
                builder = builder.with_disable_cpu_fallback()?;
            }
            Ok(builder)
        };
        build().map_err(|error| {
            BackendError::unavailable(format!(
                "the {} provider cannot be used: {error}; hint: see that its driver and libraries are installed",
                device.provider
            ))
        })
    }
}

/// Computes something small on the device.
///
/// The session is to be kept: some providers unload their libraries with the last one.
///
/// # Errors
///
/// [`BackendError::Unavailable`] if the device is not there, or computes wrongly.
pub(super) fn warm_up(settings: &Settings) -> Result<Session, BackendError> {
    let provider = settings.device.provider;
    let failed = |error: ort::Error| {
        BackendError::unavailable(format!(
            "the {provider} provider does not compute: {error}; hint: see that its driver and libraries are installed"
        ))
    };
    let mut session = settings
        .builder()?
        .commit_from_memory(WARM_UP)
        .map_err(failed)?;
    let moved = assignment::fallback(&session, provider)?;
    if !moved.is_empty() {
        return Err(BackendError::unavailable(format!(
            "the {provider} provider left an addition to another one; hint: use another device"
        )));
    }
    let one = [1.25f32];
    let input = ort::value::TensorRef::from_array_view(([1usize], &one[..])).map_err(failed)?;
    let outputs = session.run(ort::inputs!["x" => input]).map_err(failed)?;
    let sum = outputs.get("y").map(|y| y.try_extract_tensor::<f32>());
    match sum {
        Some(Ok((_, &[2.5]))) => {}
        other => {
            return Err(BackendError::unavailable(format!(
                "the {provider} provider computed 1.25 + 1.25 as {other:?}; hint: use another device"
            )));
        }
    }
    drop(outputs);
    Ok(session)
}

/// A model in memory.
pub(super) struct OrtModel {
    sessions: Sessions,
    inputs: Vec<Input>,
    outputs: Vec<TensorSpec>,
    fallback: Fallback,
    resident_bytes: u64,
}

struct Input {
    vetted: VettedInput,
    /// The element type that the library wants.
    wanted: TensorElementType,
}

impl OrtModel {
    pub fn load(
        manifest: &ModelManifest,
        vetted: Vetted,
        settings: Arc<Settings>,
        sessions_max: usize,
    ) -> Result<Self, BackendError> {
        let provider = settings.device.provider;
        let maker = Maker {
            settings,
            // Only another session needs it.
            file: if sessions_max > 1 {
                vetted.file.clone()
            } else {
                Vec::new()
            },
            prepacked: PrepackedWeights::new(),
        };
        let first = maker.make(&vetted.file)?;
        let fallback = assignment::fallback(&first, provider)?;
        let elsewhere = fallback
            .values()
            .fold(0u64, |sum, n| sum.saturating_add(*n));
        if elsewhere > 0 && elsewhere >= vetted.nodes {
            return Err(BackendError::unsupported(format!(
                "the {provider} provider takes none of its {} operators, so that nothing would run on the device; choose another device",
                vetted.nodes
            )));
        }
        let mut inputs = Vec::with_capacity(vetted.inputs.len());
        for input in vetted.inputs {
            let name = &input.spec.name;
            let wanted = first
                .inputs()
                .iter()
                .find(|declared| declared.name() == name)
                .and_then(|declared| declared.dtype().tensor_type())
                .ok_or_else(|| {
                    BackendError::malformed(format!("input `{name}` is no tensor of the graph"))
                })?;
            inputs.push(Input {
                vetted: input,
                wanted,
            });
        }
        for spec in &manifest.outputs {
            if !first
                .outputs()
                .iter()
                .any(|output| output.name() == spec.name)
            {
                return Err(BackendError::malformed(format!(
                    "`{}` is declared but not part of the graph",
                    spec.name
                )));
            }
        }
        // Constants are held as they are; an operator takes some kilobytes with its kernel.
        let one = vetted
            .weight_bytes
            .saturating_add(vetted.nodes.saturating_mul(4096))
            .saturating_add(256 << 10);
        Ok(Self {
            sessions: Sessions::new(maker, first, sessions_max),
            inputs,
            outputs: manifest.outputs.clone(),
            fallback,
            resident_bytes: one.saturating_mul(sessions_max as u64),
        })
    }
}

impl LoadedModel for OrtModel {
    fn compute(&self, given: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, BackendError> {
        known_names(self.inputs.iter().map(|input| &input.vetted), &given)?;
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(self.inputs.len());
        for Input { vetted, wanted } in &self.inputs {
            let name = vetted.spec.name.as_str();
            let tensor = vetted.pick(&given)?;
            let dims = vetted.library_dims(tensor)?;
            values.push((name, to_ort(name, tensor, &dims, *wanted)?));
        }
        self.sessions.with(|session| {
            let computed = session.run(values).map_err(BackendError::failed)?;
            self.outputs
                .iter()
                .map(|spec| {
                    let value = computed.get(&spec.name).ok_or_else(|| {
                        BackendError::failed(format!("output `{}` was not computed", spec.name))
                    })?;
                    Ok((spec.name.clone(), from_ort(value, spec)?))
                })
                .collect()
        })
    }

    fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    fn fallback(&self) -> Fallback {
        self.fallback.clone()
    }
}

/// Makes sessions of one model.
struct Maker {
    settings: Arc<Settings>,
    file: Vec<u8>,
    prepacked: PrepackedWeights,
}

impl Maker {
    fn make(&self, file: &[u8]) -> Result<Session, BackendError> {
        let builder = self.settings.builder()?;
        let mut builder = match self.settings.device.provider.is_gpu() {
            true => builder,
            false => builder
                .with_prepacked_weights(&self.prepacked)
                .map_err(BackendError::failed)?,
        };
        builder.commit_from_memory(file).map_err(|error| {
            let text = error.to_string();
            // The codes of the library do not tell a file that is damaged from one that it cannot
            // run; either way the model is what is wrong here.
            BackendError::unsupported(text)
        })
    }
}

/// The sessions of a model, each used by one thread at a time. The first is there from the
/// beginning, the others are made when all are taken.
struct Sessions {
    maker: Maker,
    max: usize,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    free: Vec<Session>,
    made: usize,
}

impl Sessions {
    fn new(maker: Maker, first: Session, max: usize) -> Self {
        Self {
            maker,
            max: max.max(1),
            state: Mutex::new(State {
                free: vec![first],
                made: 1,
            }),
            returned: Condvar::new(),
        }
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&mut Session) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut session = self.take()?;
        let result = contained(|| run(&mut session));
        let mut state = self.lock();
        // After a panic in the binding nothing is known of the session.
        match &result {
            Err(BackendError::Panicked(_)) => state.made = state.made.saturating_sub(1),
            _ => state.free.push(session),
        }
        drop(state);
        self.returned.notify_one();
        result
    }

    fn take(&self) -> Result<Session, BackendError> {
        let mut state = self.lock();
        loop {
            if let Some(session) = state.free.pop() {
                return Ok(session);
            }
            if state.made < self.max {
                state.made += 1;
                drop(state);
                return self.maker.make(&self.maker.file).inspect_err(|_| {
                    self.lock().made -= 1;
                    self.returned.notify_one();
                });
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
