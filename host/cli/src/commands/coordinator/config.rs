//! The configuration of a coordinator.
//!
//! ```toml
//! name = "my coordinator"
//! listen = "127.0.0.1:7470"
//! public-url = "https://coordinator.example:7470"
//! network = "network"               # a path in the coordinator's folder, or an absolute one
//! registry = "https://registry.example:7480"  # which the network file follows, if there is one
//! registry-ca = "/etc/adit/ca.pem"  # the authority of its certificate, if it is one of your own
//! region = "eu-central"
//! tls-self-signed = true            # or tls-cert and tls-key
//! blob-bytes = "100GiB"             # room for blobs that are files
//! blob-bytes-max = "16GiB"          # longest blob
//! blob-retention = "7days"
//! task-retention = "30days"
//! deadline-max = "1day"
//! replicas-max = 16
//! tasks-in-flight = 10000           # of a client whose token says nothing else
//! tasks-per-minute = 600000
//! blob-bytes-per-day = "100GiB"
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_coordinator::options::Bounds;
use adit_coordinator::tokens::Quota;
use adit_protocol::codes::Code;
use serde::{Deserialize, Serialize};

use crate::amounts;
use crate::error::Failure;
use crate::state::read_own;

/// Most bytes of the file.
const BYTES_MAX: u64 = 64 << 10;
/// How long a task may wait for miners, and how often it is tried at most: what it refers to must
/// not be removed before.
const QUEUE_MAX: Duration = Duration::from_secs(86_400);
const ATTEMPTS_MAX: u32 = 4;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Name for people.
    pub name: String,
    /// Where to listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// The network file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<PathBuf>,
    /// The registry that says who takes part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The authority of its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_ca: Option<PathBuf>,
    /// The region.
    pub region: String,
    /// Whether it makes a certificate for itself.
    pub tls_self_signed: bool,
    /// A certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Whether it listens beyond this machine without TLS.
    pub insecure_listen: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blob_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blob_bytes_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blob_retention: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_retention: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deadline_max: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas_max: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tasks_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tasks_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) blob_bytes_per_day: Option<String>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// When it is no configuration, with the line.
    pub fn load(path: &Path) -> anyhow::Result<Config> {
        let bytes = read_own(path, BYTES_MAX, "the configuration")?;
        let wrong = |why: String| {
            Failure::new(
                Code::InvalidArgument,
                format!("the configuration {} cannot be used", path.display()),
            )
            .why(why)
            .hint("correct the file")
        };
        let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let config: Config = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        // Said when it is read, and not by the first command that needs it.
        config.bounds().map_err(wrong)?;
        config.quota().map_err(wrong)?;
        Ok(config)
    }

    /// The bounds that the file sets, and the usual ones.
    ///
    /// # Errors
    ///
    /// Names the setting that is not valid.
    pub fn bounds(&self) -> Result<Bounds, String> {
        let usual = Bounds::default();
        let size = |name: &str, text: &Option<String>, usual| match text {
            None => Ok(usual),
            Some(text) => amounts::size(text).map_err(|why| format!("{name}: {why}")),
        };
        let span = |name: &str, text: &Option<String>, usual| match text {
            None => Ok(usual),
            Some(text) => humantime::parse_duration(text)
                .map_err(|_| format!("{name}: write a time as 30days, 12h or 90s")),
        };
        let bounds = Bounds {
            blob_bytes_all: size("blob-bytes", &self.blob_bytes, usual.blob_bytes_all)?,
            blob_bytes_max: size("blob-bytes-max", &self.blob_bytes_max, usual.blob_bytes_max)?,
            blob_retention: span("blob-retention", &self.blob_retention, usual.blob_retention)?,
            task_retention: span("task-retention", &self.task_retention, usual.task_retention)?,
            deadline_max: span("deadline-max", &self.deadline_max, usual.deadline_max)?,
            replicas_max: self.replicas_max.unwrap_or(usual.replicas_max),
            ..usual
        };
        let attempts = bounds.deadline_max.saturating_mul(ATTEMPTS_MAX);
        let least = attempts.saturating_add(QUEUE_MAX);
        if bounds.blob_retention < least {
            return Err(format!(
                "blob-retention: it must be at least {}, so that no blob of a task that runs is removed",
                humantime::format_duration(least)
            ));
        }
        if bounds.replicas_max == 0 {
            return Err("replicas-max: it must be at least 1".to_owned());
        }
        Ok(bounds)
    }

    /// What a client may use up whose token says nothing else.
    ///
    /// # Errors
    ///
    /// Names the setting that is not valid.
    pub fn quota(&self) -> Result<Quota, String> {
        let usual = Quota::default();
        let bytes = match &self.blob_bytes_per_day {
            None => usual.blob_bytes_per_day,
            Some(text) => {
                amounts::size(text).map_err(|why| format!("blob-bytes-per-day: {why}"))?
            }
        };
        Ok(Quota {
            tasks_in_flight: self.tasks_in_flight.unwrap_or(usual.tasks_in_flight),
            tasks_per_minute: self.tasks_per_minute.unwrap_or(usual.tasks_per_minute),
            blob_bytes_per_day: bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coordinator.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn what_is_written_is_read_and_what_is_not_known_is_refused() {
        let config = parse(
            "name = 'x'\nlisten = '127.0.0.1:0'\nblob-bytes = '1GiB'\nblob-retention = '6days'\ntasks-in-flight = 3\n",
        )
        .unwrap();
        let bounds = config.bounds().unwrap();
        assert_eq!(bounds.blob_bytes_all, 1 << 30);
        assert_eq!(bounds.blob_retention, Duration::from_secs(6 * 86_400));
        assert_eq!(config.quota().unwrap().tasks_in_flight, 3);
        let again: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        for bad in [
            "nam = 'x'",
            "listen = 'here'",
            "blob-bytes = 'lots'",
            "blob-retention = '1h'",
            "blob-retention = '6days'\ndeadline-max = '5days'",
            "replicas-max = 0",
            "replicas-max = 1000",
            "name = ",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
