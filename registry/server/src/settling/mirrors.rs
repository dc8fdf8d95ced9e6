//! Copies of the coordinators' logs, which a registry's checker keeps.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use adit_ledger::Key;
use adit_ledger::state::Closing;
use adit_net::http::client::Client;
use adit_net::log::{FolderSource, LogReader, Mirror, Trust};
use adit_net::tls::Roots;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::{Hash, hex};

use super::logs::{LogsError, Places};
use super::settler::SettlerError;
use super::sources::{log_trust, once};

/// Name of the folder of the copies, in the state folder.
const FOLDER: &str = "mirrors";

/// Where the copy of the log is that is named by a node key.
pub(crate) fn path(state: &Path, node_key: &Key) -> PathBuf {
    state.join(FOLDER).join(hex::digits(node_key.as_bytes()))
}

/// A coordinator, as far as its log has to be found.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub node_key: Key,
    pub log: Key,
    pub url: String,
}

/// Copies of the coordinators' logs.
pub(super) struct Mirrors {
    genesis: Hash,
    state: PathBuf,
    roots: Roots,
    pub known: BTreeMap<Key, Known>,
    /// By the keys that logs are named by.
    open: HashMap<Key, (Mirror, LogReader<Client>)>,
}

impl Mirrors {
    /// No copies yet, or those that are in the folder.
    pub fn new(genesis: Hash, state: PathBuf, roots: Roots) -> Mirrors {
        Mirrors {
            genesis,
            state,
            roots,
            known: BTreeMap::new(),
            open: HashMap::new(),
        }
    }

    /// The same copies, to be read a second time.
    pub fn again(&self) -> Mirrors {
        let mut again = Mirrors::new(self.genesis, self.state.clone(), self.roots.clone());
        again.known.clone_from(&self.known);
        again
    }

    fn path(&self, node_key: &Key) -> PathBuf {
        path(&self.state, node_key)
    }

    /// Where the key that signs a log is kept beside its copy: once a coordinator has changed its keys,
    /// the ledger does not have it any more.
    fn key_path(&self, node_key: &Key) -> PathBuf {
        self.path(node_key).with_extension("key")
    }

    fn kept_key(&self, node_key: &Key) -> Option<Key> {
        let text = std::fs::read_to_string(self.key_path(node_key)).ok()?;
        text.parse().ok()
    }

    fn trust(&self, coordinator: Key, node_key: &Key, log: &Key) -> Result<Trust, SettlerError> {
        log_trust(&self.genesis, node_key, log)
            .map_err(|error| SettlerError::Key { coordinator, error })
    }

    /// Brings the copy of a log up to date, and returns its checkpoint.
    pub async fn update(&mut self, coordinator: Key) -> Result<SignedCheckpoint, SettlerError> {
        let nobody = |why: &str| SettlerError::Client {
            coordinator,
            why: why.to_owned(),
        };
        let known = self.known.get(&coordinator).cloned();
        let known = known.ok_or_else(|| nobody("it is not registered with an address"))?;
        let node_key = known.node_key;
        let wrong = |error| SettlerError::Mirror {
            coordinator,
            error: Box::new(error),
        };
        let (mut mirror, reader) = match self.open.remove(&node_key) {
            Some((mirror, reader)) if reads(&reader, &known.url) => (mirror, reader),
            stale => {
                // Its lock must be free before it is opened again.
                drop(stale);
                let trust = self.trust(coordinator, &node_key, &known.log)?;
                // It is asked again later anyway, and others wait.
                let client = once(&format!("{}/log", known.url), &self.roots);
                let client = client.map_err(|why| nobody(&why))?;
                let mirror = Mirror::open(&self.path(&node_key), &trust).map_err(wrong)?;
                let kept = std::fs::write(self.key_path(&node_key), known.log.to_string());
                kept.map_err(|error| nobody(&format!("its log key cannot be kept: {error}")))?;
                (mirror, LogReader::new(client, trust))
            }
        };
        let updated = mirror.update(&reader, |_, _| {}).await;
        let signed = mirror.signed().cloned();
        self.open.insert(node_key, (mirror, reader));
        updated.map_err(wrong)?;
        signed.ok_or_else(|| nobody("its log has no checkpoint"))
    }
}

fn reads(reader: &LogReader<Client>, url: &str) -> bool {
    reader.source().base().as_str().trim_end_matches('/') == format!("{url}/log")
}

impl Mirrors {
    /// The copy of a log, by the coordinator and the node key that the log is named by.
    pub fn copy(
        &self,
        coordinator: &Key,
        node_key: &Key,
    ) -> Result<LogReader<FolderSource>, LogsError> {
        let nowhere = |why: String| LogsError::Nowhere {
            coordinator: *coordinator,
            why,
        };
        let known = self.known.get(coordinator);
        let known = known.filter(|known| known.node_key == *node_key);
        let log = known
            .map(|known| known.log)
            .or_else(|| self.kept_key(node_key));
        let log = log.ok_or_else(|| {
            nowhere("its keys have changed, and no copy of its former log is here".to_owned())
        })?;
        let trust = self.trust(*coordinator, node_key, &log);
        let trust = trust.map_err(|error| nowhere(error.to_string()))?;
        Ok(LogReader::new(FolderSource(self.path(node_key)), trust))
    }
}

impl Places for Mirrors {
    type Source = FolderSource;

    async fn log(
        &mut self,
        coordinator: &Key,
        _: u64,
        closing: &Closing,
    ) -> Result<LogReader<FolderSource>, LogsError> {
        self.copy(coordinator, &closing.node_key)
    }
}
