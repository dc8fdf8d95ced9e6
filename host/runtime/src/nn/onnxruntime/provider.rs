//! Execution providers: what of ONNX Runtime computes, with the settings that pin its results.
//!
//! Settings that can change results are in one table ([`Provider::settings`]), from which the
//! provider is configured and the environment document is written, so that the document cannot
//! differ from what ran. What only says which device or how much memory is set beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ort::ep::ExecutionProviderDispatch;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider as _, ExecutionProvider as _};

use super::OrtDevice;

/// An execution provider that Adit can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// ONNX Runtime's own kernels on the processor.
    Cpu,
    /// Intel's OpenVINO, on the processor.
    OpenVino,
    /// Intel's OpenVINO, on an Intel GPU.
    OpenVinoGpu,
    /// NVIDIA's CUDA and cuDNN.
    Cuda,
    /// NVIDIA's TensorRT, with CUDA for what it does not take.
    TensorRt,
    /// AMD's MIGraphX on ROCm.
    MiGraphX,
    /// Apple's Core ML.
    CoreMl,
    /// Microsoft's DirectML.
    DirectMl,
    /// WebGPU by way of Vulkan, Metal or Direct3D: GPUs of every vendor.
    WebGpu,
}

/// A text that names no execution provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no execution provider `{0}`; hint: one of {names}", names = Provider::names())]
pub struct UnknownProvider(pub String);

impl Provider {
    /// All, in the order in which a GPU is chosen where the user names none: a vendor's own
    /// library before the general one, and before those that need a build step for each model.
    pub const ALL: [Provider; 9] = [
        Provider::Cuda,
        Provider::MiGraphX,
        Provider::CoreMl,
        Provider::DirectMl,
        Provider::WebGpu,
        Provider::TensorRt,
        Provider::OpenVinoGpu,
        Provider::OpenVino,
        Provider::Cpu,
    ];

    /// The name on command lines and in environment documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::OpenVinoGpu => "openvino-gpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::MiGraphX => "migraphx",
            Self::CoreMl => "coreml",
            Self::DirectMl => "directml",
            Self::WebGpu => "webgpu",
        }
    }

    /// The name inside of ONNX Runtime.
    pub fn library_name(self) -> &'static str {
        match self {
            Self::Cpu => ep::CPU::NAME,
            Self::OpenVino | Self::OpenVinoGpu => ep::OpenVINO::NAME,
            Self::Cuda => ep::CUDA::NAME,
            Self::TensorRt => ep::TensorRT::NAME,
            Self::MiGraphX => ep::MIGraphX::NAME,
            Self::CoreMl => ep::CoreML::NAME,
            Self::DirectMl => ep::DirectML::NAME,
            Self::WebGpu => ep::WebGPU::NAME,
        }
    }

    /// The name that an environment document has for a provider of ONNX Runtime, whatever it is.
    pub fn name_of(library_name: &str) -> String {
        let known = Self::ALL.into_iter().find(|provider| {
            *provider != Self::OpenVinoGpu && provider.library_name() == library_name
        });
        known.map_or_else(
            || {
                library_name
                    .trim_end_matches("ExecutionProvider")
                    .to_ascii_lowercase()
            },
            |provider| provider.name().to_owned(),
        )
    }

    /// Whether a GPU computes.
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Cpu | Self::OpenVino)
    }

    /// Whether the project's tests have run on it, CUDA's on a machine that had a GPU. The others
    /// are written by their documentation, and nobody of ours has seen them work.
    pub fn is_tested(self) -> bool {
        matches!(self, Self::Cpu | Self::OpenVino | Self::Cuda | Self::WebGpu)
    }

    /// The system that it needs, if this is another one.
    pub fn other_system(self) -> Option<&'static str> {
        match self {
            Self::CoreMl if !cfg!(target_os = "macos") => Some("macOS"),
            Self::DirectMl if !cfg!(target_os = "windows") => Some("Windows"),
            Self::MiGraphX if !cfg!(target_os = "linux") => Some("Linux"),
            _ => None,
        }
    }

    /// The Python package that brings it, for hints.
    pub fn package(self) -> &'static str {
        match self {
            Self::Cpu | Self::CoreMl => "onnxruntime",
            Self::OpenVino | Self::OpenVinoGpu => "onnxruntime-openvino",
            Self::Cuda | Self::TensorRt => "onnxruntime-gpu",
            Self::MiGraphX => "onnxruntime-migraphx",
            Self::DirectMl => "onnxruntime-directml",
            Self::WebGpu => "onnxruntime-webgpu",
        }
    }

    /// The settings that can change results. Algorithms are fixed where the provider can: ONNX
    /// Runtime's CUDA provider would otherwise try convolution algorithms and take the fastest,
    /// which is not the same one each time, and TF32 would round products to 10 bits.
    pub fn settings(self, threads: u32) -> BTreeMap<&'static str, String> {
        let fixed: &[(&str, &str)] = match self {
            Self::Cpu | Self::CoreMl | Self::DirectMl => &[],
            Self::OpenVino => &[
                ("device_type", "CPU"),
                ("num_streams", "1"),
                ("precision", "FP32"),
            ],
            Self::OpenVinoGpu => &[
                ("device_type", "GPU"),
                ("num_streams", "1"),
                ("precision", "FP32"),
            ],
            // By the shapes, without trying: what is called the default is what cuDNN falls back to,
            // and took twenty times as long on an H200.
            Self::Cuda => &[("cudnn_conv_algo_search", "HEURISTIC"), ("use_tf32", "0")],
            Self::TensorRt => &[
                ("trt_build_heuristics_enable", "0"),
                ("trt_fp16_enable", "0"),
                ("trt_int8_enable", "0"),
                ("trt_timing_cache_enable", "0"),
            ],
            Self::MiGraphX => &[("migraphx_fp16_enable", "0")],
            Self::WebGpu => &[("preferredLayout", "NHWC")],
        };
        let mut settings: BTreeMap<_, _> = fixed
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        if self == Self::OpenVino {
            settings.insert("num_of_threads", threads.to_string());
        }
        settings
    }

    /// The providers that a session is given, the one that was asked for first. Each fails rather
    /// than being left out.
    pub(super) fn dispatches(
        self,
        device: &OrtDevice,
        threads: u32,
    ) -> Vec<ExecutionProviderDispatch> {
        let settings = self.settings(threads);
        let index = i32::try_from(device.index).unwrap_or(i32::MAX);
        let memory = device
            .memory_bytes
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        macro_rules! set {
            ($provider:expr) => {
                set!($provider, settings)
            };
            ($provider:expr, $settings:expr) => {
                $settings
                    .iter()
                    .fold($provider, |provider, (key, value)| {
                        provider.with_arbitrary_config(key, value)
                    })
                    .build()
                    .error_on_failure()
            };
        }
        let on_cuda = |settings: &BTreeMap<&str, String>| {
            let mut cuda = ep::CUDA::default()
                .with_device_id(index)
                // Growth by doubling would hold up to twice what is used of the limit.
                .with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested);
            if let Some(bytes) = memory {
                cuda = cuda.with_memory_limit(bytes);
            }
            set!(cuda, settings)
        };
        match self {
            Self::Cpu => Vec::new(),
            Self::OpenVino | Self::OpenVinoGpu => vec![set!(ep::OpenVINO::default())],
            Self::Cuda => vec![on_cuda(&settings)],
            Self::TensorRt => vec![
                set!(ep::TensorRT::default().with_device_id(index)),
                on_cuda(&Self::Cuda.settings(threads)),
            ],
            Self::MiGraphX => vec![
                ep::MIGraphX::default()
                    .with_device_id(index)
                    .with_fp16(false)
                    .build()
                    .error_on_failure(),
            ],
            Self::CoreMl => vec![set!(ep::CoreML::default())],
            Self::DirectMl => vec![
                ep::DirectML::default()
                    .with_device_id(index)
                    .build()
                    .error_on_failure(),
            ],
            Self::WebGpu => vec![set!(ep::WebGPU::default().with_device_id(index))],
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_providers() {
        for provider in Provider::ALL {
            assert_eq!(provider.name().parse(), Ok(provider));
            if provider != Provider::OpenVinoGpu {
                assert_eq!(Provider::name_of(provider.library_name()), provider.name());
            }
        }
        assert_eq!(Provider::name_of("XnnpackExecutionProvider"), "xnnpack");
        let error = "gpu".parse::<Provider>().unwrap_err().to_string();
        assert!(
            error.contains("webgpu") && error.contains("hint:"),
            "{error}"
        );
    }

    #[test]
    fn a_choice_without_a_name_prefers_gpus() {
        let first_processor = Provider::ALL.iter().position(|p| !p.is_gpu());
        let last_gpu = Provider::ALL.iter().rposition(|p| p.is_gpu());
        assert!(last_gpu < first_processor);
    }
}
