//! How a coordinator is run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_net::http::server::{Limits, Listen};
use adit_net::{Clock, SharedRng};
use adit_protocol::keys::Keypair;
use url::Url;

use crate::tokens::Quota;

/// Everything that a coordinator needs to start.
#[derive(Clone)]
pub struct Options {
    /// Its state folder: database, log, blobs.
    pub state: PathBuf,
    /// The network file; read again when it changes.
    pub network: PathBuf,
    /// The file of clients' tokens; read again when it changes.
    pub tokens: PathBuf,
    /// Node key: signs assignments, rosters and countersignatures.
    pub node: Keypair,
    /// Log key: signs checkpoints.
    pub log: Keypair,
    /// Where to listen.
    pub listen: Listen,
    /// Addresses by which nodes and clients reach it; that of the network file is always one, and
    /// so is the one that it listens on if that is of this machine alone.
    pub urls: Vec<Url>,
    /// The region that it is in; empty for that of the network file.
    pub region: String,
    /// What each client may use up, if its token says nothing else.
    pub quota: Quota,
    /// Bounds.
    pub bounds: Bounds,
    /// How peers are held within bounds.
    pub limits: Limits,
    /// A program that can be the sandbox's worker (it calls `adit_runtime::worker::main_if_worker`
    /// first): runs the validators of apps. Without one, tasks with validators are refused.
    pub worker: Option<PathBuf>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: SharedRng,
}

/// Bounds of what a coordinator takes and keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Longest blob in bytes.
    pub blob_bytes_max: u64,
    /// Bytes of all blobs that are files.
    pub blob_bytes_all: u64,
    /// How long a blob is kept after its last use.
    pub blob_retention: Duration,
    /// How long tasks are kept after their end.
    pub task_retention: Duration,
    /// Longest time for an attempt.
    pub deadline_max: Duration,
    /// Most replicas of a task.
    pub replicas_max: u8,
    /// Bytes of blobs that a miner may upload in a day.
    pub miner_blob_bytes_per_day: u64,
    /// Time that a validator has for one output.
    pub validator_deadline: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            blob_bytes_max: 16 << 30,
            blob_bytes_all: 100 << 30,
            blob_retention: Duration::from_secs(7 * 86_400),
            task_retention: Duration::from_secs(30 * 86_400),
            deadline_max: Duration::from_secs(86_400),
            replicas_max: 16,
            miner_blob_bytes_per_day: 1 << 40,
            validator_deadline: Duration::from_secs(10),
        }
    }
}
