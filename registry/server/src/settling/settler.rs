//! The checker that a registry runs, until there are checkers of their own: it mirrors the logs of
//! coordinators, says so in cosignatures, closes each epoch that is over, and settles it.
//!
//! It has no rights but those of its stake: what it hands in are transactions like those of anyone
//! else, and where other checkers have more stake, the ledger refuses them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::registration::Role;
use adit_ledger::transaction::{Attestation, Closure, Cosigned};
use adit_ledger::{Action, Key, LedgerGenesis, State, Transaction};
use adit_net::Clock;
use adit_net::http::client::{Client, ClientConfig, Retry};
use adit_net::log::{FolderSource, LogReader, Mirror, MirrorError, Trust};
use adit_net::tls::Roots;
use adit_protocol::keys::{Keypair, PublicKeyError};
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::cosignature::CosignError;
use adit_protocol::log::key::{KeyKind, KeyName};
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::signed::Signable as _;
use adit_runtime::store::StoreError;
use rand_core::OsRng;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::audit::{AuditError, Auditor, closings, may_be_settled};
use super::epoch::{EpochError, settle};
use super::keep::{Keep, KeepError, Kept};
use super::logs::{LogSet, LogsError, Places};
use super::program::{Programs, Sandbox};
use crate::engine::{Handle, SubmitError};
use crate::follow::{FollowError, Follower, trust};
use crate::store::LOG;

/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a coordinator is left alone that could not be reached, in milliseconds.
const AGAIN_MS: u64 = 2_000;
/// How long a request to a coordinator may take, in milliseconds.
const PATIENCE_MS: u64 = 10_000;
/// How long it copies from one coordinator while others wait; what it has by then is there the next
/// time.
const COPY_MAX: Duration = Duration::from_secs(30);
/// How long its transactions are good, in milliseconds.
const EXPIRES_MS: u64 = 60_000;

/// With which keys a registry's checker works.
#[derive(Clone)]
pub struct SettlerOptions {
    /// The account that pays the fees of its transactions.
    pub account: Keypair,
    /// The checker's node key, which signs settlements.
    pub node: Keypair,
    /// Its name in cosignatures.
    pub name: KeyName,
    /// Its cosigning key.
    pub cosign: Keypair,
    /// Who may vouch for the certificates of coordinators.
    pub roots: Roots,
    /// A program that becomes a worker, in which settlement components run: one that calls
    /// [`adit_runtime::worker::main_if_worker`].
    pub worker: PathBuf,
}

/// Why an epoch is not closed or settled for now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettlerError {
    /// The ledger does not take what it was handed.
    #[error("the ledger refuses {what}: {error}")]
    Submit {
        /// What was handed in.
        what: String,
        /// Why it is refused.
        error: Box<SubmitError>,
    },
    /// The log of a coordinator cannot be mirrored.
    #[error("the log of the coordinator {coordinator} cannot be mirrored: {error}")]
    Mirror {
        /// Whose log it is.
        coordinator: Key,
        /// Why.
        error: Box<MirrorError>,
    },
    /// A key in the ledger is none.
    #[error("a key of the coordinator {coordinator} cannot be used: {error}")]
    Key {
        /// Whose key it is.
        coordinator: Key,
        /// Why.
        error: PublicKeyError,
    },
    /// A coordinator cannot be asked.
    #[error("the coordinator {coordinator} cannot be asked: {why}")]
    Client {
        /// Which.
        coordinator: Key,
        /// Why.
        why: String,
    },
    /// Its own checkpoint cannot be cosigned.
    #[error(transparent)]
    Cosign(#[from] CosignError),
    /// The logs.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The settlement.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// What was earned cannot be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Its own log cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// What was earned before cannot be computed again.
    #[error("what was earned before cannot be computed again: {0}")]
    Audit(#[from] Box<AuditError>),
    /// The ledger's log, as far as it is published, does not have it yet.
    #[error("the settlement of epoch {epoch} is not in the published log yet; it is tried again")]
    Unknown {
        /// The epoch.
        epoch: u64,
    },
    /// The state of the registry is gone.
    #[error(transparent)]
    Ended(#[from] Box<SubmitError>),
}

/// A coordinator, as far as its log has to be found.
#[derive(Clone, Debug)]
struct Known {
    node_key: Key,
    log: Key,
    url: String,
}

/// Copies of the coordinators' logs.
struct Mirrors {
    genesis: adit_protocol::Hash,
    folder: PathBuf,
    roots: Roots,
    known: BTreeMap<Key, Known>,
    /// By the keys that logs are named by.
    open: HashMap<Key, (Mirror, LogReader<Client>)>,
}

impl Mirrors {
    fn path(&self, node_key: &Key) -> PathBuf {
        let digits: String = (node_key.as_bytes().iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.folder.join(digits)
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
        let usable = |key: &Key| {
            key.public()
                .map_err(|error| SettlerError::Key { coordinator, error })
        };
        let origin = Origin::new(&self.genesis, &usable(node_key)?);
        Ok(Trust::log_alone(origin.key(&usable(log)?)))
    }

    /// Brings the copy of a log up to date, and returns its checkpoint.
    async fn update(&mut self, coordinator: Key) -> Result<SignedCheckpoint, SettlerError> {
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
                let base = format!("{}/log", known.url);
                let base = base.parse().map_err(|_| nobody("its address is none"))?;
                let client = Client::new(ClientConfig {
                    roots: self.roots.clone(),
                    timeout_ms: PATIENCE_MS,
                    // It is asked again later anyway, and others wait.
                    retry: Retry::NEVER,
                    ..ClientConfig::new(base)
                });
                let client = client.map_err(|error| nobody(&error.to_string()))?;
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

impl Places for Mirrors {
    type Source = FolderSource;

    async fn log(
        &mut self,
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

/// The checker, which runs beside the engine.
pub(crate) struct Settler {
    options: SettlerOptions,
    handle: Handle,
    genesis: Genesis,
    ledger: LedgerGenesis,
    state: PathBuf,
    keep: Arc<Keep>,
    programs: Arc<Programs>,
    logs: LogSet<Mirrors>,
    clock: Arc<dyn Clock>,
    /// States at the ends of epochs.
    ends: BTreeMap<u64, Arc<State>>,
    /// When a coordinator may be asked again, in milliseconds since 1970.
    again: HashMap<Key, u64>,
    /// The settlement for which what was earned was computed again last.
    other: Option<adit_protocol::Hash>,
    /// What was said of what does not work, so that it is said once.
    said: BTreeSet<String>,
}

/// What is to be done, by the ledger.
struct Due {
    /// The epoch to close, with those coordinators that have not closed it.
    close: Option<(u64, Vec<Key>)>,
    /// The epoch to settle, and the state now.
    settle: Option<(u64, State)>,
}

impl Settler {
    pub fn new(
        options: SettlerOptions,
        handle: Handle,
        genesis: Genesis,
        ledger: LedgerGenesis,
        state: PathBuf,
        keep: Arc<Keep>,
        clock: Arc<dyn Clock>,
    ) -> Result<Settler, StoreError> {
        use adit_protocol::Document as _;
        let sandbox = Sandbox::of_registry(&state, options.worker.clone())?;
        let hash = genesis.hash();
        let mirrors = Mirrors {
            genesis: hash,
            folder: state.join("mirrors"),
            roots: options.roots.clone(),
            known: BTreeMap::new(),
            open: HashMap::new(),
        };
        Ok(Settler {
            options,
            handle,
            genesis,
            ledger,
            keep,
            programs: Arc::new(Programs::new(sandbox)),
            state,
            logs: LogSet::new(hash, mirrors),
            clock,
            ends: BTreeMap::new(),
            again: HashMap::new(),
            other: None,
            said: BTreeSet::new(),
        })
    }

    /// Works until it is to end.
    pub async fn run(mut self, end: CancellationToken) {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            tokio::select! {
                () = end.cancelled() => return,
                done = self.step() => if let Err(error) = done {
                    self.complain(&error.to_string());
                }
            }
        }
    }

    fn complain(&mut self, what: &str) {
        if self.said.len() > 64 {
            self.said.clear();
        }
        if self.said.insert(what.to_owned()) {
            tracing::warn!("{what}");
        }
    }

    async fn step(&mut self) -> Result<(), SettlerError> {
        let Some(due) = self.due().await? else {
            return Ok(());
        };
        if let Some((epoch, coordinators)) = due.close {
            let mut closed = false;
            for coordinator in coordinators {
                let now_ms = self.clock.now_ms();
                if self.again.get(&coordinator).is_some_and(|at| *at > now_ms) {
                    continue;
                }
                self.again
                    .insert(coordinator, now_ms.saturating_add(AGAIN_MS));
                let close = tokio::time::timeout(COPY_MAX, self.close(coordinator, epoch));
                match close.await {
                    Ok(Ok(())) => closed = true,
                    Ok(Err(error)) => self.complain(&error.to_string()),
                    Err(_) => self.complain(&format!(
                        "the log of the coordinator {coordinator} is not copied in time yet"
                    )),
                }
            }
            if closed {
                // What was seen before is not what is to be settled now.
                return Ok(());
            }
        }
        if let Some((epoch, now)) = due.settle {
            self.settle(&now, epoch).await?;
        }
        Ok(())
    }

    /// What is to be done; `None` if nothing. The state is copied only where it is needed.
    async fn due(&mut self) -> Result<Option<Due>, SettlerError> {
        let handle = self.handle.clone();
        let ends: Vec<u64> = self.ends.keys().copied().collect();
        let looked = adit_net::blocking(move || {
            let live = handle.shared().live()?;
            let state = &live.state;
            let head = state.head();
            let over = head.epoch.saturating_sub(1);
            let end = live.end.clone().map(|end| (over, end));
            let open = state.unsettled().map(|(epoch, _)| epoch).min();
            let close = head.epoch.checked_sub(1).filter(|e| *e >= head.settled);
            let missing = close.map(|epoch| {
                let there = state.nodes().filter(|(key, node)| {
                    node.role == Role::Coordinator
                        && state.closing(key, epoch).is_none()
                        && (state.takes_part(node) || !state.escrow_of(key).is_zero())
                });
                (epoch, there.map(|(key, _)| *key).collect::<Vec<_>>())
            });
            let known: BTreeMap<Key, Known> = state
                .nodes()
                .filter_map(|(key, node)| {
                    // The log of the epoch that is over is that of the keys of that epoch.
                    let keys = node.keys_in(over);
                    Some((
                        *key,
                        Known {
                            node_key: keys.node,
                            log: keys.log?,
                            url: node.profile.url.clone()?,
                        },
                    ))
                })
                .collect();
            let nothing = |missing: &(u64, Vec<Key>)| missing.1.is_empty();
            let due = match open.is_none() && missing.as_ref().is_none_or(nothing) {
                true => None,
                false => Some(Due {
                    settle: (open.filter(|epoch| state.ready_to_settle(*epoch)))
                        .map(|epoch| (epoch, state.clone())),
                    close: missing,
                }),
            };
            let known_ends: Vec<u64> = ends
                .into_iter()
                .filter(|end| may_be_settled(state, *end))
                .collect();
            Ok::<_, SubmitError>((due, known, end, known_ends))
        });
        let looked = looked.await.map_err(|error| {
            Box::new(SubmitError::Ended {
                why: error.to_string(),
            })
        })?;
        let (due, known, end, open) = looked.map_err(Box::new)?;
        self.logs.places().known = known;
        if let Some((over, end)) = end {
            self.ends
                .retain(|known, _| *known == over || open.contains(known));
            self.ends.entry(over).or_insert(end);
        }
        Ok(due)
    }

    async fn close(&mut self, coordinator: Key, epoch: u64) -> Result<(), SettlerError> {
        let signed = self.logs.places().update(coordinator).await?;
        let said = signed.unverified().clone();
        let own = signed.note().signatures().first();
        let signature = own.and_then(|own| own.signature.as_slice().try_into().ok());
        let time_s = self.clock.now_ms() / 1000;
        let SettlerOptions { name, cosign, .. } = &self.options;
        let line = signed.cosign(KeyKind::Mirror, name, cosign, time_s, &mut OsRng)?;
        let cosignature = line
            .signature
            .get(8..)
            .and_then(|bytes| bytes.try_into().ok());
        let (Some(signature), Some(cosignature)) = (signature, cosignature) else {
            return Err(SettlerError::Client {
                coordinator,
                why: "its checkpoint is not signed first by its log".to_owned(),
            });
        };
        let closure = Closure {
            coordinator,
            epoch,
            size: said.size,
            root: said.root,
            signature,
            cosignatures: vec![Cosigned {
                name: name.to_string(),
                time_s,
                signature: cosignature,
            }],
        };
        let what = format!("the end of epoch {epoch} of the coordinator {coordinator}");
        self.submit(Action::CloseEpoch(Box::new(closure)), what)
            .await
    }

    async fn settle(&mut self, now: &State, epoch: u64) -> Result<(), SettlerError> {
        let before = self.earned_before(now, epoch).await?;
        let before = before.as_ref().map_or(&[][..], |kept| kept.tree.earned());
        let end = self.end_of(epoch).await?;
        let closings = closings(now, epoch);
        let logs = self.logs.epoch(epoch, &closings).await?;
        let settled = settle(epoch, &end, now, logs, before, &self.programs).await?;
        self.keep.put(epoch, settled.kept)?;
        let signed = settled.settlement.sign(&self.options.node, &mut OsRng);
        let signature = *signed.signature();
        let attestation = Attestation {
            checker: Key::new(&self.options.node.public()),
            signature,
        };
        let what = format!("the settlement of epoch {epoch}");
        let action = Action::Settle {
            settlement: Box::new(settled.settlement),
            attestations: vec![attestation],
        };
        self.submit(action, what).await?;
        self.ends.retain(|end, _| *end > epoch);
        Ok(())
    }

    /// What accounts had earned before an epoch.
    async fn earned_before(
        &mut self,
        now: &State,
        epoch: u64,
    ) -> Result<Option<Arc<Kept>>, SettlerError> {
        let last = now.settlements().filter(|(of, _)| *of < epoch).last();
        let Some((last, settled)) = last else {
            return Ok(None);
        };
        match self.keep.earned(last, &settled.earned) {
            Ok(Some(kept)) => return Ok(Some(kept)),
            // It was settled elsewhere, or the file is gone.
            Ok(None) => {}
            // The file is damaged, or a quorum says something else than comes out: that is found once.
            Err(KeepError::Other { .. }) if self.other != Some(settled.hash) => {}
            Err(error) => return Err(error.into()),
        }
        self.other = Some(settled.hash);
        let Mirrors {
            genesis,
            folder,
            roots,
            known,
            ..
        } = self.logs.places();
        let mirrors = Mirrors {
            genesis: *genesis,
            folder: folder.clone(),
            roots: roots.clone(),
            known: known.clone(),
            open: HashMap::new(),
        };
        let follower = Follower::new(&self.genesis, &self.ledger).map_err(FollowError::from)?;
        let mut auditor = Auditor::new(follower, mirrors, Arc::clone(&self.programs));
        let reader = self.own_log()?;
        let newest = reader.checkpoint().await.map_err(FollowError::from)?;
        let walk = reader.walk(
            &newest.checkpoint,
            0..newest.checkpoint.size,
            Default::default(),
        );
        let mut walk = walk.await.map_err(FollowError::from)?;
        while let Some(bundle) = walk.next().await.map_err(FollowError::from)? {
            for (_, entry) in bundle.entries() {
                let found = auditor.entry(entry).await.map_err(Box::new)?;
                if let Some(recomputed) = found {
                    self.keep
                        .put(recomputed.said.epoch, recomputed.found.kept)?;
                }
            }
        }
        match self.keep.earned(last, &settled.earned)? {
            Some(kept) => Ok(Some(kept)),
            None => Err(SettlerError::Unknown { epoch: last }),
        }
    }

    /// The state at the end of an epoch; the log is followed again where it is not at hand.
    async fn end_of(&mut self, epoch: u64) -> Result<Arc<State>, SettlerError> {
        if let Some(end) = self.ends.get(&epoch) {
            return Ok(Arc::clone(end));
        }
        let reader = self.own_log()?;
        let mut follower = Follower::new(&self.genesis, &self.ledger).map_err(FollowError::from)?;
        let newest = reader.checkpoint().await.map_err(FollowError::from)?;
        let found = follower
            .walk_to_end_of(&reader, &newest.checkpoint, epoch)
            .await?;
        let end = Arc::new(found);
        self.ends.insert(epoch, Arc::clone(&end));
        Ok(end)
    }

    fn own_log(&self) -> Result<LogReader<FolderSource>, FollowError> {
        let trust = trust(&self.genesis, &self.ledger)?;
        Ok(LogReader::new(FolderSource(self.state.join(LOG)), trust))
    }

    async fn submit(&self, action: Action, what: String) -> Result<(), SettlerError> {
        let account = Key::new(&self.options.account.public());
        let transaction = {
            let live = self.handle.shared().live().map_err(Box::new)?;
            Transaction {
                genesis: live.state.head().genesis,
                account,
                number: live.state.account(&account).number,
                fee: live.state.parameters().fee_min,
                expires_ms: self.clock.now_ms().saturating_add(EXPIRES_MS),
                action,
            }
        };
        let signed = transaction.sign(&self.options.account, &mut OsRng);
        let refused = |error| SettlerError::Submit {
            what,
            error: Box::new(error),
        };
        let verified = match signed.verify() {
            Ok(verified) => verified,
            Err(error) => {
                return Err(refused(SubmitError::Ended {
                    why: error.to_string(),
                }));
            }
        };
        self.handle
            .submit(verified)
            .await
            .map(drop)
            .map_err(refused)
    }
}
