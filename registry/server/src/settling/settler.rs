//! The checker that a registry runs, until there are checkers of their own: it mirrors the logs of
//! coordinators, says so in cosignatures, closes each epoch that is over, and settles it. It answers
//! claims of receipts that the logs have.
//!
//! It has no rights but those of its stake: what it hands in are transactions like those of anyone
//! else, and where other checkers have more stake, the ledger refuses them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::registration::Role;
use adit_ledger::rewards::Settlement;
use adit_ledger::state::Settled;
use adit_ledger::transaction::{Attestation, Closure, Cosigned};
use adit_ledger::{Action, Key, LedgerGenesis, State, Transaction};
use adit_net::Clock;
use adit_net::log::{FolderSource, LogReader, MirrorError};
use adit_net::tls::Roots;
use adit_protocol::keys::{Keypair, PublicKeyError};
use adit_protocol::log::cosignature::CosignError;
use adit_protocol::log::key::{KeyKind, KeyName};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Document as _, Hash};
use adit_runtime::store::StoreError;
use rand_core::OsRng;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::answers::{self, Answers, Open};
use super::audit::{AuditError, Auditor, Recomputed, closings, may_be_settled};
use super::epoch::{EpochError, settle};
use super::keep::{Keep, KeepError, Kept};
use super::logs::{LogSet, LogsError};
use super::mirrors::{Known, Mirrors};
use super::misdeeds::Misdeeds;
use super::program::{Programs, Sandbox};
use crate::engine::{Handle, SubmitError};
use crate::follow::{FollowError, Follower, trust};
use crate::store::LOG;

/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a coordinator is left alone that could not be reached, in milliseconds.
const AGAIN_MS: u64 = 2_000;
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
    misdeeds: Misdeeds,
    clock: Arc<dyn Clock>,
    /// States at the ends of epochs.
    ends: BTreeMap<u64, Arc<State>>,
    /// When a coordinator may be asked again for the end of an epoch, in milliseconds since 1970. The
    /// next epoch is another matter: where epochs are short, waiting there too would miss it.
    again: HashMap<Key, (u64, u64)>,
    /// The hash of a settlement in the ledger that is not what the logs come to, and what they come to.
    disputed: Option<(Hash, Settlement)>,
    /// Claims of late receipts.
    answers: Answers,
    /// What was said of what does not work, so that it is said once.
    said: BTreeSet<String>,
}

/// What was earned before an epoch.
enum Before {
    Nothing,
    Earned(Arc<Kept>),
    /// The ledger had something else, and has this now: the epoch is settled on it.
    Corrected,
}

/// What is to be done, by the ledger.
struct Due {
    /// The epoch to close, with those coordinators that have not closed it.
    close: Option<(u64, Vec<Key>)>,
    /// The epoch to settle, and the state now.
    settle: Option<(u64, State)>,
    /// Claims of late receipts to look at.
    claims: Vec<Open>,
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
        let sandbox = Sandbox::of_registry(&state, options.worker.clone())?;
        let hash = genesis.hash();
        let mirrors = Mirrors::new(hash, state.clone(), options.roots.clone());
        Ok(Settler {
            options,
            handle,
            genesis,
            ledger,
            keep,
            programs: Arc::new(Programs::new(sandbox)),
            misdeeds: Misdeeds::new(hash, state.join("forks")),
            state,
            logs: LogSet::new(hash, mirrors),
            clock,
            ends: BTreeMap::new(),
            again: HashMap::new(),
            disputed: None,
            answers: Answers::default(),
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
            tokio::select! {
                () = end.cancelled() => return,
                done = self.report() => if let Err(error) = done {
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
        for claim in due.claims {
            self.answers.begin(&claim, self.clock.now_ms());
            match tokio::time::timeout(COPY_MAX, self.answer(&claim)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.complain(&error.to_string()),
                Err(_) => self.complain(&format!(
                    "the log of the coordinator {} cannot be searched in time for the assignment {}",
                    claim.coordinator, claim.assignment
                )),
            }
        }
        if let Some((epoch, coordinators)) = due.close {
            let mut closed = false;
            for coordinator in coordinators {
                let now_ms = self.clock.now_ms();
                let waits = |(of, at): &(u64, u64)| *of == epoch && *at > now_ms;
                if self.again.get(&coordinator).is_some_and(waits) {
                    continue;
                }
                let at = now_ms.saturating_add(AGAIN_MS);
                self.again.insert(coordinator, (epoch, at));
                let close = tokio::time::timeout(COPY_MAX, self.close(coordinator, epoch));
                match close.await {
                    Ok(Ok(())) => closed = true,
                    Ok(Err(error)) => {
                        self.forked(&error);
                        self.complain(&error.to_string());
                    }
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
            let open = state.first_unsettled();
            let claims = answers::claims(state);
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
            let idle = open.is_none() && claims.is_empty();
            let due = match idle && missing.as_ref().is_none_or(nothing) {
                true => None,
                false => Some(Due {
                    settle: (open.filter(|epoch| state.ready_to_settle(*epoch)))
                        .map(|epoch| (epoch, state.clone())),
                    close: missing,
                    claims,
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
        let (mut due, known, end, open) = looked.map_err(Box::new)?;
        if let Some(due) = &mut due {
            let claims = std::mem::take(&mut due.claims);
            due.claims = self.answers.open(claims, self.clock.now_ms());
        }
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
        if let Some(known) = self.logs.places().known.get(&coordinator) {
            self.misdeeds.copied(coordinator, known.node_key, &signed);
        }
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

    /// Looks for misdeeds in what was copied, and reports what was found.
    async fn report(&mut self) -> Result<(), SettlerError> {
        self.misdeeds.look(self.logs.places(), &self.handle).await?;
        let now_ms = self.clock.now_ms();
        let due = self.misdeeds.due(&self.handle, now_ms).map_err(Box::new)?;
        let Some(Action::Report { node, evidence }) = due else {
            return Ok(());
        };
        let misdeed = evidence.misdeed().name();
        let what = format!("the report of the node {node} for {misdeed}");
        let done = self.submit(Action::Report { node, evidence }, what).await;
        match &done {
            Ok(()) => {
                tracing::warn!(%node, misdeed, "a misdeed was found and reported");
                self.misdeeds.handed_in(Ok(()), now_ms);
            }
            Err(SettlerError::Submit { error, .. }) => {
                self.misdeeds.handed_in(Err(error), now_ms);
            }
            Err(_) => {}
        }
        done
    }

    /// Keeps and reports that a log has shown two histories, if it was that.
    fn forked(&mut self, error: &SettlerError) {
        let SettlerError::Mirror { coordinator, error } = error else {
            return;
        };
        let MirrorError::Forked { old, new, .. } = &**error else {
            return;
        };
        if let Some(known) = self.logs.places().known.get(coordinator).cloned() {
            let said = (self.misdeeds).forked(&known.node_key, &known.log, old, new);
            self.complain(&said);
        }
    }

    /// Answers a claim, if the copy of the log says something of it.
    async fn answer(&mut self, claim: &Open) -> Result<(), SettlerError> {
        let (coordinator, node_key) = (
            claim.coordinator,
            Key::from_bytes(claim.receipt.coordinator),
        );
        let reader = self.logs.places().copy(&coordinator, &node_key)?;
        let wrong = |error| LogsError::Read {
            coordinator,
            error: Box::new(error),
        };
        // Another checker may have closed what is not here yet.
        let copied = reader.checkpoint().await;
        if copied.is_ok_and(|newest| newest.checkpoint.size < claim.log.size) {
            self.logs.places().update(coordinator).await?;
        }
        match answers::find(&reader, claim).await.map_err(wrong)? {
            Some(answer) => {
                let what = format!("the answer on the assignment {}", claim.assignment);
                self.submit(answer, what).await
            }
            None => {
                self.answers.missing(claim);
                Ok(())
            }
        }
    }

    async fn settle(&mut self, now: &State, epoch: u64) -> Result<(), SettlerError> {
        let before = match self.earned_before(now, epoch).await? {
            Before::Nothing => None,
            Before::Earned(kept) => Some(kept),
            Before::Corrected => return Ok(()),
        };
        let before = before.as_ref().map_or(&[][..], |kept| kept.tree.earned());
        let end = self.end_of(epoch).await?;
        let closings = closings(now, epoch);
        let logs = self.logs.epoch(epoch, &closings).await?;
        let settled = settle(epoch, &end, now, logs, before, &self.programs).await?;
        self.keep.put(epoch, settled.kept)?;
        self.hand_in(settled.settlement).await?;
        self.ends.retain(|end, _| *end > epoch);
        Ok(())
    }

    async fn hand_in(&self, settlement: Settlement) -> Result<(), SettlerError> {
        let what = format!("the settlement of epoch {}", settlement.epoch);
        let signed = settlement.sign(&self.options.node, &mut OsRng);
        let attestation = Attestation {
            checker: Key::new(&self.options.node.public()),
            signature: *signed.signature(),
        };
        let action = Action::Settle {
            settlement: Box::new(settlement),
            attestations: vec![attestation],
        };
        self.submit(action, what).await
    }

    /// What accounts had earned before an epoch, by the logs. Where a quorum says something else, that
    /// is corrected if it still can be; and if not, this goes on from the logs, as every auditor does:
    /// nobody but the liar knows what its root is of, and the next root takes its place.
    async fn earned_before(&mut self, now: &State, epoch: u64) -> Result<Before, SettlerError> {
        let last = now.settlements().filter(|(of, _)| *of < epoch).last();
        let Some((last, settled)) = last else {
            return Ok(Before::Nothing);
        };
        let known = self.disputed.clone().filter(|(of, _)| *of == settled.hash);
        let right = match known {
            Some((_, right)) => right,
            None => {
                match self.keep.earned(last, &settled.earned) {
                    Ok(Some(kept)) => return Ok(Before::Earned(kept)),
                    // It was settled elsewhere, the file is gone or damaged, or a quorum says
                    // something else.
                    Ok(None) | Err(KeepError::Other { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                self.recompute(last, &settled.hash).await?
            }
        };
        let Some(kept) = self.keep.earned(last, &right.earned)? else {
            self.disputed = None;
            return Err(SettlerError::Unknown { epoch: last });
        };
        if right.hash() == settled.hash {
            return Ok(Before::Earned(kept));
        }
        self.disputed = Some((settled.hash, right.clone()));
        let corrected = self.correct(right, settled).await;
        let what = match &corrected {
            Ok(()) => "it is corrected".to_owned(),
            Err(why) => format!("it stands, since {why}; the next one goes on from the logs"),
        };
        self.complain(&format!(
            "the settlement of epoch {last} in the ledger is not what the logs come to: {what}; hint: `adit audit rewards` shows everyone in what they differ"
        ));
        Ok(match corrected {
            Ok(()) => Before::Corrected,
            Err(_) => Before::Earned(kept),
        })
    }

    /// Hands in what a settlement should have been, as long as it does not count. Otherwise says why it
    /// stays.
    async fn correct(&self, mut right: Settlement, settled: &Settled) -> Result<(), String> {
        let live = self.handle.shared().live();
        let epoch = live.map(|live| live.state.head().epoch);
        if epoch.is_ok_and(|epoch| epoch >= settled.from_epoch) {
            return Err(format!("it counts since epoch {}", settled.from_epoch));
        }
        right.replaces = Some(settled.hash);
        let handed_in = self.hand_in(right).await;
        handed_in.map_err(|error| error.to_string())
    }

    /// Computes all settlements in the ledger's log again, keeps what they come to, and returns the one
    /// of an epoch for which the ledger has that hash.
    async fn recompute(&mut self, epoch: u64, hash: &Hash) -> Result<Settlement, SettlerError> {
        let mirrors = self.logs.places().again();
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
        let mut last = None;
        while let Some(bundle) = walk.next().await.map_err(FollowError::from)? {
            for (_, entry) in bundle.entries() {
                let found = auditor.entry(entry).await.map_err(Box::new)?;
                if let Some(Recomputed { said, found, .. }) = found {
                    self.keep.put(said.epoch, found.kept)?;
                    last = Some((said, found.settlement));
                }
            }
        }
        match last {
            Some((said, found)) if said.epoch == epoch && said.hash() == *hash => Ok(found),
            _ => Err(SettlerError::Unknown { epoch }),
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
