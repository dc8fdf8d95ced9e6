//! Which device inference runs on: the options, the configuration, and how a GPU is chosen.

use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::environment::EnvironmentDocument;
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::nn::onnxruntime::library::{Found, Search, VARIABLE, python_folders};
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Hello;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorError};
use adit_runtime::worker::survey::{Survey, survey};
use anyhow::Context as _;

use crate::amounts;
use crate::config::Config;
use crate::error::Failure;
use crate::state::State;
use crate::text::{count, one_line};
use crate::ui::Ui;

/// Options that choose a device; of every command that computes models.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Compute models on: rten (the processor, built in), or by way of ONNX Runtime cpu, cuda,
    /// tensorrt, webgpu, openvino, openvino-gpu, migraphx, coreml or directml [default: rten]
    #[arg(long, value_name = "NAME", value_parser = named)]
    device: Option<Named>,
    /// Compute models on the best GPU that works; never on something else instead
    #[arg(long, conflicts_with = "device")]
    gpu: bool,
    /// Which of several devices, from 0 on
    #[arg(long, value_name = "N")]
    device_index: Option<u32>,
    /// Most memory of the device to use, as 8GiB
    #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
    device_memory: Option<u64>,
    /// Refuse models of which the device leaves operators to the processor
    #[arg(long)]
    no_fallback: bool,
    /// The library libonnxruntime, or a folder that has it [default: $ADIT_ONNXRUNTIME, the
    /// configuration, or an installed Python package]
    #[arg(long, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Threads of one computation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,
}

/// What `--device` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The embedded backend.
    Embedded,
    /// The best GPU that works.
    Gpu,
    /// An execution provider of ONNX Runtime.
    Provider(Provider),
}

/// Parses a name of `--device`.
pub fn named(text: &str) -> Result<Named, String> {
    match text {
        "rten" => Ok(Named::Embedded),
        "gpu" => Ok(Named::Gpu),
        _ => text.parse().map(Named::Provider).map_err(|_| {
            let all = Provider::ALL.map(Provider::name).join(", ");
            format!(
                "`{}` is no device; the devices are: rten, gpu, {all}",
                one_line(text)
            )
        }),
    }
}

/// What was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The device.
    pub device: DeviceChoice,
    /// Threads of one computation.
    pub threads: u32,
}

impl Chosen {
    /// What the device's worker says of itself; it is started if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be used, as something that the user can change.
    pub fn hello(&self, supervisor: &Supervisor) -> anyhow::Result<Hello> {
        let DeviceChoice::OnnxRuntime(device) = &self.device else {
            return supervisor.hello().context("the run could not begin");
        };
        supervisor.hello().map_err(|error| {
            let code = match device.provider.is_gpu() {
                true => Code::GpuUnavailable,
                false => Code::BackendUnavailable,
            };
            let what = format!("the device {} cannot be used", device.provider);
            match error {
                SupervisorError::Start(why) => Failure::new(code, what)
                    .because(why)
                    .or_hint("`adit doctor` says what is missing")
                    .into(),
                other => anyhow::Error::new(other).context(what),
            }
        })
    }
}

impl DeviceArgs {
    /// As if only the library had been given, or nothing.
    pub fn of_library(library: Option<PathBuf>) -> DeviceArgs {
        DeviceArgs {
            onnxruntime: library,
            ..DeviceArgs::default()
        }
    }

    /// Chooses the device. A GPU that was not named is the first that computes, in the order of
    /// [`Provider::ALL`]; each is tried in a process of its own.
    ///
    /// # Errors
    ///
    /// When there is no library, or no such device. Nothing is ever chosen in its place.
    pub fn choose(&self, ui: &Ui, state: &State) -> anyhow::Result<Chosen> {
        let config = Config::load(state)?;
        let threads = self.threads_or(&config);
        let asked = match (self.gpu, self.device, config.device) {
            (true, _, _) => Named::Gpu,
            (_, Some(device), _) | (_, None, Some(device)) => device,
            (false, None, None) => Named::Embedded,
        };
        let device = match asked {
            Named::Embedded => {
                self.only_for_libraries()?;
                DeviceChoice::Embedded
            }
            Named::Provider(provider) => {
                let library = self.library(&config)?.library;
                DeviceChoice::OnnxRuntime(self.on(provider, library, &config))
            }
            Named::Gpu => self.gpu(ui, state, &config, threads)?,
        };
        Ok(Chosen { device, threads })
    }

    /// The library, and what led to it.
    ///
    /// # Errors
    ///
    /// When there is none, with what to do.
    pub fn library(&self, config: &Config) -> anyhow::Result<Found> {
        let search = Search {
            argument: self.onnxruntime.clone(),
            variable: std::env::var_os(VARIABLE),
            configured: config.onnxruntime.clone(),
            packages: Vec::new(),
        };
        // Python is started only if nothing else names the library.
        let named = search.argument.is_some()
            || search.variable.as_ref().is_some_and(|v| !v.is_empty())
            || search.configured.is_some();
        let search = match named {
            true => search,
            false => Search {
                packages: python_folders(),
                ..search
            },
        };
        search.find().map_err(|error| {
            Failure::new(Code::BackendUnavailable, "ONNX Runtime cannot be used")
                .because(error)
                .into()
        })
    }

    /// The choice of a command that computes no model: the embedded backend, whatever is configured.
    ///
    /// # Errors
    ///
    /// When an option asks for a device, which would be without effect.
    pub fn none(&self) -> anyhow::Result<Chosen> {
        if self.gpu || self.device.is_some() {
            return Failure::argument("the device that is named has no effect here")
                .why("no inference is computed")
                .hint("add --inference all to compute what was recorded, or leave the device out")
                .into_err();
        }
        self.only_for_libraries()?;
        Ok(Chosen {
            device: DeviceChoice::Embedded,
            threads: 1,
        })
    }

    /// Whether the options or the configuration name one device.
    pub fn names_one(&self, config: &Config) -> bool {
        self.gpu || self.device.is_some() || config.device.is_some()
    }

    /// The number of threads of one computation.
    pub fn threads_or(&self, config: &Config) -> u32 {
        self.threads.or(config.threads).unwrap_or(1)
    }

    /// A device of a library, by the other options.
    pub fn on(&self, provider: Provider, library: PathBuf, config: &Config) -> OrtDevice {
        OrtDevice {
            provider,
            index: self.device_index.or(config.device_index).unwrap_or(0),
            library,
            memory_bytes: self.device_memory.or(config.device_memory),
            fallback: !self.no_fallback,
        }
    }

    fn only_for_libraries(&self) -> anyhow::Result<()> {
        let given = [
            (self.onnxruntime.is_some(), "--onnxruntime"),
            (self.device_index.is_some(), "--device-index"),
            (self.device_memory.is_some(), "--device-memory"),
            (self.no_fallback, "--no-fallback"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, option)) => Failure::argument(format!("{option} has no effect here"))
                .why("models are computed by rten, which is built in and runs on the processor")
                .hint("choose a device with --device or --gpu")
                .into_err(),
            None => Ok(()),
        }
    }

    fn gpu(
        &self,
        ui: &Ui,
        state: &State,
        config: &Config,
        threads: u32,
    ) -> anyhow::Result<DeviceChoice> {
        let Found { library, by } = self.library(config)?;
        let survey = survey_of(&library)?;
        ui.detail(format!(
            "ONNX Runtime {} at {}, from {by}",
            survey.version,
            library.display()
        ));
        let mut tried = Vec::new();
        for provider in survey.providers().filter(|provider| provider.is_gpu()) {
            let device = DeviceChoice::OnnxRuntime(self.on(provider, library.clone(), config));
            match state.probe(&device, threads) {
                Ok(_) => return Ok(device),
                Err(why) => {
                    ui.note(format!("{provider}: not usable: {why}"));
                    tried.push(format!("{provider}: {why}"));
                }
            }
        }
        let why = match tried.is_empty() {
            true => format!(
                "the library {} has no provider for a GPU",
                library.display()
            ),
            false => tried.join("; "),
        };
        let (why, _) = why.split_once("; hint:").unwrap_or((&why, ""));
        Failure::new(Code::GpuUnavailable, "no GPU can be used")
            .why(why)
            .hint("`adit doctor` says what is missing; pip install onnxruntime-webgpu (any vendor, needs a Vulkan driver) or onnxruntime-gpu (NVIDIA, needs CUDA), or leave --gpu out")
            .into_err()
    }
}

/// A device in one line.
pub fn in_words(environment: &EnvironmentDocument) -> String {
    let mut words = format!(
        "{} on {}, {} {}",
        one_line(&environment.execution_provider),
        one_line(&environment.device),
        one_line(&environment.backend),
        one_line(&environment.backend_version),
    );
    if !environment.driver.is_empty() {
        words.push_str(&format!(", driver {}", one_line(&environment.driver)));
    }
    words.push_str(&format!(
        ", {}",
        count(u64::from(environment.threads), "thread")
    ));
    words
}

/// What of a model did not run on the device that was asked for, in one line; `None` if all did.
pub fn fell_back(environment: &EnvironmentDocument) -> Option<String> {
    let fallback = environment.fallback.as_ref()?;
    let requested = environment.requested.as_deref().unwrap_or_default();
    let mut operators: Vec<(&String, &u64)> = fallback.iter().collect();
    operators.sort_by_key(|(name, number)| (std::cmp::Reverse(**number), *name));
    let total = operators.iter().map(|(_, number)| **number).sum::<u64>();
    let mut listed: Vec<String> = operators
        .iter()
        .take(6)
        .map(|(name, number)| format!("{number} {}", one_line(name)))
        .collect();
    if operators.len() > listed.len() {
        listed.push("others".to_owned());
    }
    Some(format!(
        "note: {} of a model did not run on {} but elsewhere: {}",
        count(total, "operator"),
        one_line(requested),
        listed.join(", ")
    ))
}

/// What a library has, found out in a process of its own.
///
/// # Errors
///
/// When it cannot be loaded.
pub fn survey_of(library: &Path) -> anyhow::Result<Survey> {
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    survey(&program, library).map_err(|why| {
        Failure::new(Code::BackendUnavailable, "ONNX Runtime cannot be used")
            .because(why)
            .or_hint("install another build of it, or name one with --onnxruntime")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_their_providers() {
        assert_eq!(named("rten"), Ok(Named::Embedded));
        assert_eq!(named("webgpu"), Ok(Named::Provider(Provider::WebGpu)));
        assert_eq!(named("gpu"), Ok(Named::Gpu));
        assert!(named("vulkan").unwrap_err().contains("webgpu"));
    }
}
