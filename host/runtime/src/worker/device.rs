//! Which device a worker computes on: how it is told, what the process is given for it, and how it
//! is opened before the process is locked down.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::WorkerError;
use super::sandbox::SandboxKind;
use crate::nn::backend::{Backend, BackendError};
use crate::nn::onnxruntime::provider::Provider;
use crate::nn::onnxruntime::{OrtBackend, OrtDevice, library};
use crate::nn::rten::RtenBackend;

/// The device of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor, by the embedded backend: always there, and the reference for all others.
    #[default]
    Embedded,
    /// A device by way of ONNX Runtime.
    OnnxRuntime(OrtDevice),
}

/// Variables of the supervisor's environment that a worker with a device is given as well: where
/// its libraries and drivers are, and which of its devices may be used.
const PASSED: &[&str] = &[
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "VK_DRIVER_FILES",
    "VK_ICD_FILENAMES",
    EGL_VENDORS,
    LIBRARY_PATH,
    ORDER.0,
];

/// CUDA numbers its devices by speed unless told otherwise; NVIDIA's management library, which is
/// asked for their names, by their place on the bus.
const ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// Where the loader of EGL finds its drivers: NVIDIA's Vulkan driver opens EGL where there is no
/// display.
const EGL_VENDORS: &str = "__EGL_VENDOR_LIBRARY_FILENAMES";

/// Where the loader looks for libraries first.
const LIBRARY_PATH: &str = if cfg!(target_os = "macos") {
    "DYLD_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

impl DeviceChoice {
    /// The name of the device's execution provider, or of the embedded backend.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "rten",
            Self::OnnxRuntime(device) => device.provider.name(),
        }
    }

    /// Bytes of models that may be loaded at the same time: what of the device's memory may be used,
    /// else `otherwise`.
    pub(super) fn memory_bytes(&self, otherwise: u64) -> u64 {
        match self {
            Self::Embedded => otherwise,
            Self::OnnxRuntime(device) => device.memory_bytes.unwrap_or(otherwise),
        }
    }

    /// As command-line arguments of a worker.
    ///
    /// # Errors
    ///
    /// A sentence if the library's path is not UTF-8.
    pub(super) fn to_args(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Embedded => Ok(vec!["embedded".to_owned()]),
            Self::OnnxRuntime(device) => {
                let library = device.library.to_str().ok_or_else(|| {
                    format!(
                        "the path {} of the library is not UTF-8; hint: move the library",
                        device.library.display()
                    )
                })?;
                Ok(vec![
                    device.provider.name().to_owned(),
                    device.index.to_string(),
                    device
                        .memory_bytes
                        .map_or_else(String::new, |n| n.to_string()),
                    if device.fallback { "fallback" } else { "whole" }.to_owned(),
                    library.to_owned(),
                ])
            }
        }
    }

    /// The inverse of [`DeviceChoice::to_args`].
    pub(super) fn from_args(args: &[String]) -> Result<Self, WorkerError> {
        let (provider, index, memory, fallback, library) = match args {
            [one] if one == "embedded" => return Ok(Self::Embedded),
            [provider, index, memory, fallback, library] => {
                (provider, index, memory, fallback, library)
            }
            _ => return Err(WorkerError::Arguments),
        };
        let memory_bytes = match memory.as_str() {
            "" => None,
            number => Some(number.parse().map_err(|_| WorkerError::Arguments)?),
        };
        Ok(Self::OnnxRuntime(OrtDevice {
            provider: provider.parse().map_err(|_| WorkerError::Arguments)?,
            index: index.parse().map_err(|_| WorkerError::Arguments)?,
            library: PathBuf::from(library),
            memory_bytes,
            fallback: match fallback.as_str() {
                "fallback" => true,
                "whole" => false,
                _ => return Err(WorkerError::Arguments),
            },
        }))
    }

    /// What is added to the environment of a worker for this device.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let Self::OnnxRuntime(device) = self else {
            return Vec::new();
        };
        let mut passed: Vec<(&str, OsString)> = PASSED
            .iter()
            .filter_map(|name| Some((*name, std::env::var_os(name)?)))
            .filter(|(name, _)| *name != LIBRARY_PATH && *name != ORDER.0)
            .collect();
        passed.push((ORDER.0, ORDER.1.into()));
        let mut folders = library::companions(&device.library);
        if let Some(given) = std::env::var_os(LIBRARY_PATH) {
            folders.extend(std::env::split_paths(&given));
        }
        // A folder whose name has the separator in it cannot be named; the loader goes without.
        folders.retain(|folder| !folder.to_string_lossy().contains(':'));
        if let Ok(joined) = std::env::join_paths(folders) {
            passed.push((LIBRARY_PATH, joined));
        }
        passed
    }

    /// The names of the variables that a worker for this device may find in its environment.
    pub(super) fn variables(&self) -> &'static [&'static str] {
        match self {
            Self::Embedded => &[],
            Self::OnnxRuntime(_) => PASSED,
        }
    }

    /// The sandbox in which a worker for this device can compute.
    pub(super) fn sandbox(&self) -> SandboxKind {
        match self {
            // ONNX Runtime's own kernels are in the one library; the others load more of themselves
            // with each model.
            Self::OnnxRuntime(device) if device.provider != Provider::Cpu => SandboxKind::Device,
            _ => SandboxKind::Worker,
        }
    }

    /// Folders and files that a GPU's driver and libraries may read after the process is locked
    /// down, beside the system's own.
    pub(super) fn readable(&self) -> Vec<PathBuf> {
        let Self::OnnxRuntime(device) = self else {
            return Vec::new();
        };
        let mut paths = library::companions(&device.library);
        if let Some(given) = std::env::var_os(LIBRARY_PATH) {
            paths.extend(std::env::split_paths(&given));
        }
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", EGL_VENDORS] {
            let files = std::env::var_os(name).unwrap_or_default();
            // The driver's own library often lies beside the file that describes it.
            let folders =
                std::env::split_paths(&files).filter_map(|f| Some(f.parent()?.to_owned()));
            paths.extend(folders);
        }
        paths.retain(|path| path.is_absolute());
        paths
    }

    /// Opens the device.
    ///
    /// # Errors
    ///
    /// Those of the backend.
    pub(super) fn open(&self, threads: u32, computations: usize) -> Result<Opened, BackendError> {
        match self {
            Self::Embedded => Ok(Opened {
                backend: Arc::new(RtenBackend::new(threads as usize)?),
                memory_bytes: 0,
            }),
            Self::OnnxRuntime(device) => {
                let backend = OrtBackend::new(device, threads, computations)?;
                Ok(Opened {
                    memory_bytes: backend.facts().memory_bytes,
                    backend: Arc::new(backend),
                })
            }
        }
    }
}

/// A device that computes.
pub(super) struct Opened {
    pub backend: Arc<dyn Backend>,
    /// Bytes of the device's own memory; 0 if it has none or nobody knows.
    pub memory_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_survives_the_command_line() {
        let device = OrtDevice {
            provider: Provider::WebGpu,
            index: 1,
            library: PathBuf::from("/a folder/libonnxruntime.so"),
            memory_bytes: Some(5),
            fallback: false,
        };
        let choices = [
            DeviceChoice::Embedded,
            DeviceChoice::OnnxRuntime(device.clone()),
            DeviceChoice::OnnxRuntime(OrtDevice {
                memory_bytes: None,
                fallback: true,
                ..device
            }),
        ];
        for choice in choices {
            let args = choice.to_args().unwrap();
            assert_eq!(DeviceChoice::from_args(&args).unwrap(), choice);
        }
        for bad in [vec![], vec!["cpu".to_owned()], vec![String::new(); 5]] {
            assert!(DeviceChoice::from_args(&bad).is_err(), "{bad:?}");
        }
    }
}
