//! The configuration: `config.toml` in the state folder. What the command line says goes first.
//!
//! ```toml
//! onnxruntime = "/opt/onnxruntime"   # the library libonnxruntime, or a folder that has it
//! device = "webgpu"                  # as --device
//! device-index = 0
//! device-memory = "8GiB"
//! threads = 2
//! coordinator = "https://host:4000"  # where tasks are sent, as --to
//! token-file = "/home/me/token"      # as --token-file
//! ca = "/home/me/ca.pem"             # as --ca
//! network = "/home/me/adit.network"  # as --network
//! ```

use std::path::PathBuf;

use adit_protocol::codes::Code;
use serde::Deserialize;

use crate::amounts;
use crate::device::{Named, named};
use crate::error::Failure;
use crate::state::{State, read_own};

/// Most bytes of the file.
const BYTES_MAX: u64 = 64 << 10;

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The library, or a folder that has it.
    pub onnxruntime: Option<PathBuf>,
    /// The device to compute models on.
    pub device: Option<Named>,
    /// Which of several.
    pub device_index: Option<u32>,
    /// Most bytes of its memory to use.
    pub device_memory: Option<u64>,
    /// Threads of one computation.
    pub threads: Option<u32>,
    /// Address of the coordinator that tasks are sent to.
    pub coordinator: Option<String>,
    /// The file with the token for it.
    pub token_file: Option<PathBuf>,
    /// The certificate authority of its certificate.
    pub ca: Option<PathBuf>,
    /// The network file.
    pub network: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    onnxruntime: Option<PathBuf>,
    device: Option<String>,
    device_index: Option<u32>,
    device_memory: Option<String>,
    threads: Option<u32>,
    coordinator: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    network: Option<PathBuf>,
}

impl Config {
    /// Reads the file; without one, nothing is configured.
    ///
    /// # Errors
    ///
    /// When it is no configuration, with the line.
    pub fn load(state: &State) -> anyhow::Result<Config> {
        let path = state.root()?.join("config.toml");
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(Config::default());
        }
        let bytes = read_own(&path, BYTES_MAX, "the configuration")?;
        let wrong = |why: String| {
            Failure::new(
                Code::InvalidArgument,
                format!("the configuration {} cannot be used", path.display()),
            )
            .why(why)
            .hint("correct the file, or move it away")
        };
        let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        Config::parse(&text).map_err(|why| wrong(why).into())
    }

    fn parse(text: &str) -> Result<Config, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file
            .threads
            .is_some_and(|threads| !(1..=256).contains(&threads))
        {
            return Err("threads: it must be from 1 to 256".to_owned());
        }
        let device = file.device.as_deref().map(named).transpose();
        let memory = file.device_memory.as_deref().map(amounts::size).transpose();
        Ok(Config {
            onnxruntime: file.onnxruntime,
            device: device.map_err(|why| format!("device: {why}"))?,
            device_index: file.device_index,
            device_memory: memory.map_err(|why| format!("device-memory: {why}"))?,
            threads: file.threads,
            coordinator: file.coordinator,
            token_file: file.token_file,
            ca: file.ca,
            network: file.network,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_runtime::nn::onnxruntime::provider::Provider;

    #[test]
    fn what_is_written_is_read_and_what_is_not_known_is_refused() {
        let config = Config::parse(
            "onnxruntime = '/opt/ort'\ndevice = 'webgpu'\ndevice-memory = '2GiB'\nthreads = 3\n",
        )
        .unwrap();
        assert_eq!(config.device, Some(Named::Provider(Provider::WebGpu)));
        assert_eq!(config.device_memory, Some(2 << 30));
        assert_eq!(config.threads, Some(3));
        for bad in [
            "devise = 'webgpu'",
            "device = 'vulkan'",
            "device-memory = 'lots'",
            "threads = 0",
            "device = ",
        ] {
            assert!(Config::parse(bad).is_err(), "{bad}");
        }
        assert!(Config::parse("").unwrap().device.is_none());
    }
}
