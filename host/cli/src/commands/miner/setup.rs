//! The miner's part of the state folder.
//!
//! ```text
//! miner.toml         the configuration, see `adit_miner::config`
//! miner/             journal, blobs, the newest network file, the control socket, the systemd unit
//! miner/keys/node    the node key, mode 0600: see `node_key`
//! code/              compiled components, shared with `adit run`
//! ```

use std::path::{Path, PathBuf};

use adit_miner::config::{Config, DeviceConfig, FILE, FILE_BYTES_MAX};
use adit_miner::executor::DeviceSpec;
use adit_net::tls::Roots;
use adit_protocol::codes::Code;

use crate::config::Config as DeviceDefaults;
use crate::device::DeviceArgs;
use crate::error::Failure;
use crate::state::{State, read_own};

/// Where the configuration is.
///
/// # Errors
/// When there is no state folder.
pub fn config_path(state: &State) -> anyhow::Result<PathBuf> {
    Ok(state.root()?.join(FILE))
}

/// The folder of journal, blobs and socket.
///
/// # Errors
/// When there is no state folder.
pub fn folder(state: &State) -> anyhow::Result<PathBuf> {
    Ok(state.root()?.join("miner"))
}

/// The number of processors that this process may use.
pub fn processors() -> u32 {
    let number = std::thread::available_parallelism().map_or(1, |n| n.get());
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads the configuration.
///
/// # Errors
/// When there is none, or it cannot be used, with line and key.
pub fn config(state: &State) -> anyhow::Result<Config> {
    let path = config_path(state)?;
    if !path.exists() {
        return Failure::argument("there is no miner in this state folder")
            .why(format!("{} does not exist", path.display()))
            .hint("`adit miner init --network URL` makes one; or name its folder with --state")
            .into_err();
    }
    let wrong = |why: String| {
        Failure::new(
            Code::InvalidArgument,
            format!("the configuration {} cannot be used", path.display()),
        )
        .because(why)
        .or_hint("correct the file")
    };
    let bytes = read_own(&path, FILE_BYTES_MAX, "the configuration")?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    Config::parse(&text, state.root()?, processors())
        .map_err(|error| wrong(error.to_string()).into())
}

/// Whom the miner trusts to name servers.
///
/// # Errors
/// When the file of an authority cannot be used.
pub fn roots(ca: Option<&Path>) -> anyhow::Result<Roots> {
    let Some(ca) = ca else {
        return Ok(Roots::system());
    };
    Roots::system().and_file(ca).map_err(|error| {
        Failure::new(error.code(), "the certificate authority cannot be used")
            .because(error)
            .into()
    })
}

/// The device of a configuration, with its library if it needs one.
///
/// # Errors
/// When there is no library.
pub fn device(state: &State, device: &DeviceConfig) -> anyhow::Result<DeviceSpec> {
    device.spec(|named| {
        let defaults = DeviceDefaults::load(state)?;
        let args = DeviceArgs::of_library(named.map(Path::to_owned));
        Ok(args.library(&defaults)?.library)
    })
}
