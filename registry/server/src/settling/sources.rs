//! Where the logs of coordinators are read from: by what a registry's log says of their keys and
//! addresses, from the coordinators themselves or from the copies that the registry's checker has.
//!
//! A log is named by a node key and signed by a log key. Both change when a coordinator changes its
//! keys, and a new log begins. Whoever computes old settlements again needs the former logs, whose
//! keys the ledger forgets in time; its own log has all of them for ever.

use std::collections::BTreeMap;

use adit_ledger::entry::LogEntry;
use adit_ledger::registration::Role;
use adit_ledger::state::Closing;
use adit_ledger::{Action, Key};
use adit_net::http::client::{Client, ClientConfig, Retry};
use adit_net::log::{LogReader, ReadLogError, TileSource, Trust};
use adit_net::tls::Roots;
use adit_protocol::Hash;
use adit_protocol::keys::PublicKeyError;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::origin::Origin;

use super::logs::{LogsError, Places};
use crate::follow::{FollowError, Follower};

/// Path under which a registry serves the copies of its checker, each below the node key that the log
/// is named by.
pub const COPIES: &str = "/v1/mirrors";
/// Addresses of one coordinator that are remembered: the newest ones.
const URLS_MAX: usize = 4;
/// How long a request may take where there are others to ask, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// Whose word on a log counts, by the node key that names it and the log key that signs it.
///
/// # Errors
/// [`PublicKeyError`], for bytes that are no key.
pub fn log_trust(genesis: &Hash, node_key: &Key, log: &Key) -> Result<Trust, PublicKeyError> {
    let origin = Origin::new(genesis, &node_key.public()?);
    Ok(Trust::log_alone(origin.key(&log.public()?)))
}

/// A client for the log at an address, as `https://host:port/log`, that asks once and waits briefly: to
/// see whether it is there, or where others wait.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn once(base: &str, roots: &Roots) -> Result<Client, String> {
    connect(ClientConfig {
        timeout_ms: PATIENCE_MS,
        retry: Retry::NEVER,
        ..config(base, roots)?
    })
}

fn config(base: &str, roots: &Roots) -> Result<ClientConfig, String> {
    let url = base.parse().map_err(|_| format!("{base} is no address"))?;
    Ok(ClientConfig {
        roots: roots.clone(),
        ..ClientConfig::new(url)
    })
}

fn connect(config: ClientConfig) -> Result<Client, String> {
    Client::new(config).map_err(|error| error.to_string())
}

/// Every key that a log of a coordinator ever went by, and where coordinators were last: what the
/// transactions in a registry's log say, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Log keys by the node keys that logs are named by. A node key is never anyone's again.
    logs: BTreeMap<Key, Key>,
    /// Addresses by the keys that name coordinators, the newest last.
    urls: BTreeMap<Key, Vec<String>>,
}

impl Directory {
    /// Follows a registry's log from the follower's first entry to the newest, and notes what it says.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn follow<S: TileSource>(
        follower: &mut Follower,
        reader: &LogReader<S>,
        newest: &Checkpoint,
    ) -> Result<Directory, FollowError> {
        let mut directory = Directory::default();
        let range = follower.leaf().min(newest.size)..newest.size;
        let mut walk = reader.walk(newest, range, Default::default()).await?;
        while let Some(bundle) = walk.next().await? {
            for (leaf, entry) in bundle.entries() {
                // A file may begin before.
                if leaf == follower.leaf() {
                    follower.entry(entry)?;
                    directory.entry(entry);
                }
            }
        }
        Ok(directory)
    }

    /// Takes in the next entry of the registry's log. Whether it follows the rules is not looked at: a
    /// log that does not is refused as a whole by whoever follows it.
    pub fn entry(&mut self, bytes: &[u8]) {
        let Ok(LogEntry::Transaction(signed)) = LogEntry::from_bytes(bytes) else {
            return;
        };
        match &signed.transaction().action {
            Action::Register { registration, .. } if registration.role == Role::Coordinator => {
                let keys = registration.keys;
                self.logs.extend(keys.log.map(|log| (keys.node, log)));
                self.urls.entry(keys.node).or_default();
                self.moved(&keys.node, registration.profile.url.as_ref());
            }
            Action::RotateKey { node, keys, .. } if self.urls.contains_key(node) => {
                self.logs.extend(keys.log.map(|log| (keys.node, log)));
            }
            Action::Update { node, profile } => self.moved(node, profile.url.as_ref()),
            _ => {}
        }
    }

    fn moved(&mut self, coordinator: &Key, url: Option<&String>) {
        let (Some(urls), Some(url)) = (self.urls.get_mut(coordinator), url) else {
            return;
        };
        urls.retain(|known| known != url);
        urls.push(url.clone());
        if urls.len() > URLS_MAX {
            urls.remove(0);
        }
    }

    /// The key that signs the log with this name.
    pub fn log_key(&self, node_key: &Key) -> Option<&Key> {
        self.logs.get(node_key)
    }

    /// Addresses of a coordinator, the newest first.
    pub fn urls(&self, coordinator: &Key) -> impl Iterator<Item = &str> {
        let urls = self.urls.get(coordinator);
        urls.into_iter().flatten().rev().map(String::as_str)
    }
}

/// Logs as servers have them: the coordinator's, at its newest address or at an older one, and then the
/// registry's copy. All are as good, since what is read has to come to the roots in the ledger.
pub struct Served {
    /// Hash of the network's genesis document.
    pub genesis: Hash,
    /// Who may vouch for the servers' certificates.
    pub roots: Roots,
    /// What the registry's log says.
    pub directory: Directory,
    /// The registry's address, as `https://host:port`.
    pub registry: String,
    /// Of which logs, by the node keys that name them, the registry's copy was read, and why it had to
    /// be.
    pub copies: BTreeMap<Key, String>,
}

impl Served {
    /// A reader of the log at an address, if that log is there and long enough.
    async fn at(&self, base: &str, trust: &Trust, size: u64) -> Result<LogReader<Client>, Absent> {
        let nowhere = Absent::Nowhere;
        let probe = once(base, &self.roots).map_err(nowhere)?;
        let probe = LogReader::new(probe, trust.clone());
        let newest = probe.checkpoint().await;
        let newest = newest.map_err(|error| Absent::Read(Box::new(error)))?;
        match newest.checkpoint.size {
            found if found < size => Err(Absent::Short { found }),
            _ => {
                let client = config(base, &self.roots).and_then(connect);
                Ok(LogReader::new(client.map_err(nowhere)?, trust.clone()))
            }
        }
    }
}

/// Why a log is not read from somewhere.
enum Absent {
    Nowhere(String),
    Read(Box<ReadLogError>),
    Short { found: u64 },
}

impl Absent {
    fn words(&self, base: &str) -> String {
        match self {
            Absent::Nowhere(why) => why.clone(),
            Absent::Read(error) => {
                let why = error.to_string();
                let why = why.split("; hint:").next().unwrap_or_default();
                format!("{base}: {why}")
            }
            Absent::Short { found } => format!("{base} has only {found} entries"),
        }
    }
}

impl Places for Served {
    type Source = Client;

    async fn log(
        &mut self,
        coordinator: &Key,
        epoch: u64,
        closing: &Closing,
    ) -> Result<LogReader<Client>, LogsError> {
        let Closing { size, node_key, .. } = closing;
        self.reader(coordinator, node_key, epoch, *size).await
    }
}

impl Served {
    /// A reader of a coordinator's log, by the node key that it is named by, where it has at least the
    /// `size` that the ledger knows of it in an epoch.
    ///
    /// # Errors
    /// [`LogsError`], if no such place is found.
    pub async fn reader(
        &mut self,
        coordinator: &Key,
        node_key: &Key,
        epoch: u64,
        size: u64,
    ) -> Result<LogReader<Client>, LogsError> {
        let nowhere = |why: String| LogsError::Nowhere {
            coordinator: *coordinator,
            why,
        };
        let log = self.directory.log_key(node_key);
        let log = log.ok_or_else(|| nowhere(format!("no key is known of the log {node_key}")))?;
        let trust = log_trust(&self.genesis, node_key, log);
        let trust = trust.map_err(|error| nowhere(error.to_string()))?;
        let own = self.directory.urls(coordinator);
        let own = own.map(|url| (format!("{url}/log"), false));
        let registry = self.registry.trim_end_matches('/');
        let copy = (format!("{registry}{COPIES}/{node_key}"), true);
        let all: Vec<(String, bool)> = own.chain([copy]).collect();
        let mut absent = Vec::new();
        let mut short = None;
        for (base, is_copy) in all {
            match self.at(&base, &trust, size).await {
                Ok(reader) => {
                    if is_copy {
                        self.copies.insert(*node_key, absent.join("; "));
                    }
                    return Ok(reader);
                }
                Err(error) => {
                    absent.push(error.words(&base));
                    // A copy may lag behind.
                    if let Absent::Short { found } = error
                        && !is_copy
                    {
                        short = short.max(Some(found));
                    }
                }
            }
        }
        Err(match short {
            // It says itself that there is less than the ledger has.
            Some(found) => LogsError::Short {
                coordinator: *coordinator,
                epoch,
                expected: size,
                found,
            },
            None => nowhere(absent.join("; ")),
        })
    }
}
