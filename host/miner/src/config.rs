//! The configuration file: `miner.toml` in the miner's folder.
//!
//! ```toml
//! # Where the network file comes from: addresses, of which the first that answers is used, or a file.
//! network = ["https://coordinator.example:8420/v1/network"]
//! # The network that this miner joined, by its genesis hash: no other is accepted from there.
//! genesis = "blake3:..."
//! # Node keys of the coordinators to work for; all of the membership if it is left out.
//! coordinators = ["0x..."]
//! # A certificate authority to trust beside those of the system, PEM.
//! tls-ca = "ca.pem"
//! # Assignments of one coordinator that are held beyond those that run.
//! queue-depth = 64
//! # Most bytes of blobs on disk.
//! cache-size = "20GiB"
//! # How long openings and outputs of settled receipts are kept.
//! keep = "1h"
//! # How long a run may go on after SIGTERM.
//! stop-grace = "30s"
//! # Where metrics are served, on this machine only; not at all if it is left out.
//! metrics = "127.0.0.1:9465"
//! # How log lines are written: text or json.
//! log = "text"
//!
//! # One for each device. Without any, there is one, named cpu.
//! [[device]]
//! name = "cpu"              # as it is called in `adit miner pause cpu`
//! device = "rten"           # as --device of `adit run`; rten is built in
//! slots = 4                 # runs at one time; for a CPU as many as there are processors
//! threads = 1               # of one computation
//! memory = "8GiB"           # private memory of the worker process
//!
//! [[device]]
//! name = "gpu0"
//! device = "cuda"
//! index = 0
//! device-memory = "12GiB"   # most memory of the device to use
//! fallback = true           # whether operators may run elsewhere
//! onnxruntime = "/opt/onnxruntime"
//! hottest-c = 85            # from this temperature on it takes no new run
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::Hash;
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::process::WorkerOptions;
use serde::Deserialize;
use toml::Spanned;

use crate::executor::DeviceSpec;
use crate::journal::NodeKey;
use crate::text::unhex32;

/// The file's name.
pub const FILE: &str = "miner.toml";
/// Longest file, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most devices.
const DEVICES_MAX: usize = 64;
/// Most slots of a device.
const SLOTS_MAX: u32 = 1024;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not TOML, or has a key that is not known, or a value of another type.
    #[error("line {line}: {why}; hint: see the commented file that `adit miner init` writes")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// A value cannot be.
    #[error("line {line}: {key}: {why}")]
    Value {
        /// The line, from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// What is wrong with its value, and what it may be.
        why: String,
    },
}

/// Where the network file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkSource {
    /// An address, as `https://host:port/v1/network`.
    Url(String),
    /// A file.
    File(PathBuf),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object for each line.
    Json,
}

/// A device of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// What the operator calls it.
    pub name: String,
    /// Its execution provider; `None` for the embedded backend.
    pub provider: Option<Provider>,
    /// Which of several.
    pub index: u32,
    /// Most bytes of its memory to use.
    pub device_memory: Option<u64>,
    /// Whether operators of a model may run elsewhere.
    pub fallback: bool,
    /// The library, or a folder that has it.
    pub onnxruntime: Option<PathBuf>,
    /// Runs at one time.
    pub slots: u32,
    /// Threads of one computation.
    pub threads: u32,
    /// Private memory of the worker, in bytes.
    pub memory: Option<u64>,
    /// The temperature in degrees Celsius from which on it takes no new run.
    pub hottest_c: Option<u32>,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the network file comes from, at least one; the first that answers is used.
    pub network: Vec<NetworkSource>,
    /// Genesis hash of the network.
    pub genesis: Option<Hash>,
    /// Coordinators to work for; `None` for all.
    pub coordinators: Option<Vec<NodeKey>>,
    /// An authority to trust beside those of the system.
    pub tls_ca: Option<PathBuf>,
    /// Assignments of one coordinator that are held beyond those that run.
    pub queue_depth: u32,
    /// Most bytes of blobs on disk.
    pub cache_size: u64,
    /// How long what belongs to settled receipts is kept.
    pub keep: Duration,
    /// How long a run may go on after SIGTERM.
    pub stop_grace: Duration,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// How log lines are written.
    pub log: LogFormat,
    /// The devices, at least one.
    pub devices: Vec<DeviceConfig>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    network: Spanned<OneOrMany>,
    genesis: Option<Spanned<String>>,
    coordinators: Option<Spanned<Vec<String>>>,
    tls_ca: Option<PathBuf>,
    queue_depth: Option<Spanned<u32>>,
    cache_size: Option<Spanned<String>>,
    keep: Option<Spanned<String>>,
    stop_grace: Option<Spanned<String>>,
    metrics: Option<Spanned<String>>,
    log: Option<LogFormat>,
    #[serde(default)]
    device: Vec<Spanned<FileDevice>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileDevice {
    name: Option<Spanned<String>>,
    device: Option<Spanned<String>>,
    index: Option<u32>,
    device_memory: Option<Spanned<String>>,
    fallback: Option<bool>,
    onnxruntime: Option<PathBuf>,
    slots: Option<Spanned<u32>>,
    threads: Option<Spanned<u32>>,
    memory: Option<Spanned<String>>,
    hottest_c: Option<u32>,
}

/// Reads values, and knows where they stand.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count().saturating_add(1)
    }

    fn wrong<T, S>(
        &self,
        key: &'static str,
        value: &Spanned<S>,
        why: impl Into<String>,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value {
            line: self.line(value.span().start),
            key,
            why: why.into(),
        })
    }

    fn parse<S, T>(
        &self,
        key: &'static str,
        value: Option<Spanned<S>>,
        parse: impl FnOnce(&S) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        match value {
            None => Ok(None),
            Some(value) => match parse(value.get_ref()) {
                Ok(parsed) => Ok(Some(parsed)),
                Err(why) => self.wrong(key, &value, why),
            },
        }
    }
}

impl Config {
    /// Reads a configuration. Relative paths are meant from `folder`; `processors` is how many slots
    /// a CPU has unless the file says otherwise.
    ///
    /// # Errors
    /// [`ConfigError`], with line and key.
    pub fn parse(text: &str, folder: &Path, processors: u32) -> Result<Config, ConfigError> {
        let reader = Reader { text };
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| reader.line(span.start));
            // The message names the value and not the key.
            let key = (text.lines().nth(line - 1))
                .and_then(|text| text.split_once('='))
                .map_or(String::new(), |(key, _)| {
                    format!("{}: ", crate::text::tame(key.trim()))
                });
            ConfigError::Syntax {
                line,
                why: format!("{key}{}", error.message()),
            }
        })?;
        let from_here = |path: PathBuf| folder.join(path);
        let network = sources(&reader, &file.network, folder)?;
        let key = |text: &String| {
            unhex32(text).ok_or_else(|| {
                format!(
                    "`{}` is no node key: 0x and 64 digits",
                    crate::text::tame(text)
                )
            })
        };
        let keys = |texts: &Vec<String>| match texts.is_empty() {
            true => Err("it is empty; leave it out to work for all".to_owned()),
            false => texts.iter().map(key).collect::<Result<Vec<NodeKey>, _>>(),
        };
        let metrics = reader.parse("metrics", file.metrics, |text| {
            let address: SocketAddr = text
                .parse()
                .map_err(|_| "write it as 127.0.0.1:9465".to_owned())?;
            match address.ip().is_loopback() {
                true => Ok(address),
                false => Err("it must be an address of this machine alone, as 127.0.0.1: metrics are not protected".to_owned()),
            }
        })?;
        let config = Config {
            network,
            genesis: reader.parse("genesis", file.genesis, |text| {
                text.parse::<Hash>().map_err(|error| error.to_string())
            })?,
            coordinators: reader.parse("coordinators", file.coordinators, keys)?,
            tls_ca: file.tls_ca.map(from_here),
            queue_depth: reader
                .parse("queue-depth", file.queue_depth, |n| within(*n, 0, 4000))?
                .unwrap_or(64),
            cache_size: reader
                .parse("cache-size", file.cache_size, |text| {
                    size(text)
                        .filter(|bytes| *bytes >= 64 << 20)
                        .ok_or_else(|| "write a size of 64MiB at least, as 20GiB".to_owned())
                })?
                .unwrap_or(20 << 30),
            keep: reader
                .parse("keep", file.keep, |text| time(text))?
                .unwrap_or(Duration::from_secs(3600)),
            stop_grace: reader
                .parse("stop-grace", file.stop_grace, |text| time(text))?
                .unwrap_or(Duration::from_secs(30)),
            metrics,
            log: file.log.unwrap_or_default(),
            devices: devices(&reader, file.device, folder, processors)?,
        };
        Ok(config)
    }
}

fn sources(
    reader: &Reader<'_>,
    value: &Spanned<OneOrMany>,
    folder: &Path,
) -> Result<Vec<NetworkSource>, ConfigError> {
    let texts = match value.get_ref() {
        OneOrMany::One(text) => std::slice::from_ref(text),
        OneOrMany::Many(texts) => texts.as_slice(),
    };
    if texts.is_empty() || texts.len() > 64 {
        return reader.wrong("network", value, "it names from 1 to 64 addresses or files");
    }
    let mut sources = Vec::with_capacity(texts.len());
    for text in texts {
        sources.push(match NetworkSource::parse(text) {
            Ok(NetworkSource::File(path)) => NetworkSource::File(folder.join(path)),
            Ok(url) => url,
            Err(why) => return reader.wrong("network", value, why),
        });
    }
    Ok(sources)
}

impl NetworkSource {
    /// An address, if it has a scheme; else a file. An address without a path is that of a
    /// coordinator, which has the file at `/v1/network`.
    ///
    /// # Errors
    /// What is wrong with the address, in words.
    pub fn parse(text: &str) -> Result<NetworkSource, String> {
        if !text.contains("://") {
            return match text.is_empty() {
                true => Err("it is empty".to_owned()),
                false => Ok(NetworkSource::File(PathBuf::from(text))),
            };
        }
        let shown = crate::text::tame(text);
        let mut url =
            url::Url::parse(text).map_err(|error| format!("`{shown}` is no address: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(format!("`{shown}` is not https://host:port"));
        }
        if url.path() == "/" {
            url.set_path("/v1/network");
        }
        Ok(NetworkSource::Url(url.into()))
    }
}

impl std::fmt::Display for NetworkSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NetworkSource::Url(url) => f.write_str(url),
            NetworkSource::File(path) => write!(f, "{}", path.display()),
        }
    }
}

fn devices(
    reader: &Reader<'_>,
    given: Vec<Spanned<FileDevice>>,
    folder: &Path,
    processors: u32,
) -> Result<Vec<DeviceConfig>, ConfigError> {
    if let Some(first) = given.first().filter(|_| given.len() > DEVICES_MAX) {
        return reader.wrong(
            "device",
            first,
            format!("there are more than {DEVICES_MAX}"),
        );
    }
    let mut devices: Vec<DeviceConfig> = Vec::with_capacity(given.len().max(1));
    for spanned in given {
        let line = spanned.span().start;
        let device = device(reader, spanned.into_inner(), folder, processors)?;
        if devices.iter().any(|other| other.name == device.name) {
            return Err(ConfigError::Value {
                line: reader.line(line),
                key: "name",
                why: format!("two devices are called `{}`", device.name),
            });
        }
        devices.push(device);
    }
    if devices.is_empty() {
        devices.push(DeviceConfig::cpu(processors));
    }
    Ok(devices)
}

fn device(
    reader: &Reader<'_>,
    given: FileDevice,
    folder: &Path,
    processors: u32,
) -> Result<DeviceConfig, ConfigError> {
    let provider = reader
        .parse("device", given.device, |text| match text.as_str() {
            "rten" => Ok(None),
            other => other.parse::<Provider>().map(Some).map_err(|_| {
                let all = Provider::ALL.map(Provider::name).join(", ");
                format!("the devices are: rten, {all}")
            }),
        })?
        .flatten();
    let gpu = provider.is_some_and(Provider::is_gpu);
    let name = reader.parse("name", given.name, |name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
            true => Err("a name has 1 to 32 letters, digits, - _ and .".to_owned()),
            false => Ok(name.clone()),
        }
    })?;
    let default_name = provider.map_or("cpu", Provider::name);
    let bytes = |text: &String| size(text).ok_or_else(|| "write a size as 8GiB".to_owned());
    Ok(DeviceConfig {
        name: name.unwrap_or_else(|| default_name.to_owned()),
        provider,
        index: given.index.unwrap_or(0),
        device_memory: reader.parse("device-memory", given.device_memory, bytes)?,
        fallback: given.fallback.unwrap_or(true),
        onnxruntime: given.onnxruntime.map(|path| folder.join(path)),
        slots: reader
            .parse("slots", given.slots, |n| within(*n, 1, SLOTS_MAX))?
            .unwrap_or(if gpu {
                2
            } else {
                processors.clamp(1, SLOTS_MAX)
            }),
        threads: reader
            .parse("threads", given.threads, |n| within(*n, 1, 256))?
            .unwrap_or(1),
        memory: reader.parse("memory", given.memory, bytes)?,
        hottest_c: given.hottest_c,
    })
}

impl DeviceConfig {
    /// The processor with the embedded backend.
    pub fn cpu(processors: u32) -> DeviceConfig {
        DeviceConfig {
            name: "cpu".to_owned(),
            provider: None,
            index: 0,
            device_memory: None,
            fallback: true,
            onnxruntime: None,
            slots: processors.clamp(1, SLOTS_MAX),
            threads: 1,
            memory: None,
            hottest_c: None,
        }
    }

    /// The device, with the library that `find` finds for it if it needs one.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn spec<E>(
        &self,
        find: impl FnOnce(Option<&Path>) -> Result<PathBuf, E>,
    ) -> Result<DeviceSpec, E> {
        let choice = match self.provider {
            None => DeviceChoice::Embedded,
            Some(provider) => DeviceChoice::OnnxRuntime(OrtDevice {
                provider,
                index: self.index,
                library: find(self.onnxruntime.as_deref())?,
                memory_bytes: self.device_memory,
                fallback: self.fallback,
            }),
        };
        let usual = WorkerOptions::default();
        Ok(DeviceSpec {
            name: self.name.clone(),
            choice,
            worker: WorkerOptions {
                slots: self.slots,
                inference_threads: self.threads,
                // A slot may hold a guest of 1 GiB and as much of tensors.
                memory_bytes: self
                    .memory
                    .unwrap_or_else(|| usual.memory_bytes.max(u64::from(self.slots) << 31)),
                ..usual
            },
        })
    }
}

fn within(number: u32, least: u32, most: u32) -> Result<u32, String> {
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!(
            "it is {number}, and must be from {least} to {most}"
        )),
    }
}

/// A size in bytes: `1048576`, `512KiB`, `64MiB`, `20GiB`, `1TiB`.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A time: `500ms`, `30s`, `5m`, `24h`, `7d`; at most a year.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = split(text).and_then(|(number, unit)| {
        let ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.checked_mul(ms)
    });
    parsed
        .filter(|ms| *ms <= 366 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a time as 500ms, 30s, 5m, 24h or 7d, a year at most".to_owned())
}

fn split(text: &str) -> Option<(u64, &str)> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests;
