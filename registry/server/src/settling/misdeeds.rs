//! Misdeeds that prove themselves, as the checker finds them in its copies of coordinators' logs: two
//! receipts of a miner for one assignment, in whichever logs they are, and two checkpoints of a log that
//! contradict each other. What the ledger takes as evidence is reported to it, once; what it cannot take
//! is kept in files and said.
//!
//! Memory is bounded ([`Seen`]). Each look reads a bounded number of entries, so that settling does not wait for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use adit_ledger::slashing::Evidence;
use adit_ledger::{Action, Key, Refusal};
use adit_net::log::{LogReader, TileSource, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::keys::PublicKeyError;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::network::entry::Entry;
use adit_protocol::receipt::Receipt;

use super::logs::LogsError;
use super::mirrors::Mirrors;
use super::seen::{First, RECEIPT, Seen};
use super::settler::SettlerError;
use crate::engine::{Handle, SubmitError};

/// Entries of one look.
const ENTRIES: u64 = 16_384;
/// Receipts of one look that are compared with another one: each takes a file to be read, and
/// whoever has a key of a miner can make many.
const DOUBTS: usize = 16;
/// What waits to be reported at most.
const FOUND: usize = 256;
/// Checkpoints of a log that are kept, to compare what is shown later.
const CHECKPOINTS: usize = 64;
/// Forks of a log that are kept on disk.
const FORKS: usize = 16;
/// After how long a report is tried again, in milliseconds.
const AGAIN_MS: u64 = 2_000;

/// A log that there is a copy of.
struct Log {
    coordinator: Key,
    node_key: Key,
    /// What stands for it where there are many.
    number: u32,
    newest: Checkpoint,
    /// Entries that were looked at.
    read: u64,
    /// Whether it could not be read as it is now.
    stuck: bool,
    /// The last checkpoints that it showed.
    shown: VecDeque<SignedCheckpoint>,
}

/// A receipt for an assignment that has another one.
struct Doubt {
    first: First,
    leaf: u64,
    receipt: Box<Receipt>,
}

/// What is to be reported.
struct Found {
    /// The key that it was done with.
    key: Key,
    /// What stands for it in the ledger.
    once: Hash,
    evidence: Box<Evidence>,
}

/// What was looked at, and what was found.
pub(super) struct Misdeeds {
    genesis: Hash,
    /// Where forks are kept.
    folder: PathBuf,
    /// Logs, in the order in which they are looked at next.
    logs: VecDeque<Log>,
    numbers: u32,
    seen: Seen,
    found: VecDeque<Found>,
    again_ms: u64,
}

impl Misdeeds {
    /// Nothing seen yet: after a start, copies are looked at from their first entries on.
    pub fn new(genesis: Hash, folder: PathBuf) -> Misdeeds {
        Misdeeds {
            genesis,
            folder,
            logs: VecDeque::new(),
            numbers: 0,
            seen: Seen::new(&genesis),
            found: VecDeque::new(),
            again_ms: 0,
        }
    }

    /// Takes in that the copy of a log goes up to a checkpoint, which the log signed.
    pub fn copied(&mut self, coordinator: Key, node_key: Key, signed: &SignedCheckpoint) {
        let newest = signed.unverified().clone();
        if let Some(log) = self.logs.iter_mut().find(|log| log.node_key == node_key) {
            log.stuck = false;
            if log.newest != newest {
                log.newest = newest;
                log.shown.push_back(signed.clone());
                if log.shown.len() > CHECKPOINTS {
                    log.shown.pop_front();
                }
            }
            return;
        }
        self.logs.push_back(Log {
            coordinator,
            node_key,
            number: self.numbers,
            newest,
            read: 0,
            stuck: false,
            shown: VecDeque::from([signed.clone()]),
        });
        self.numbers = self.numbers.wrapping_add(1);
    }

    /// Looks at the next entries of one of the logs, if there are any.
    ///
    /// # Errors
    /// Those of reading the copy; it is looked at again when there is a newer one.
    pub async fn look(&mut self, mirrors: &Mirrors, handle: &Handle) -> Result<(), SettlerError> {
        let open = |log: &Log| !log.stuck && log.read < log.newest.size;
        let Some(at) = self.logs.iter().position(open) else {
            return Ok(());
        };
        let Some(mut log) = self.logs.remove(at) else {
            return Ok(());
        };
        let mut doubts = Vec::new();
        let looked = self.read(&mut log, mirrors, &mut doubts).await;
        log.stuck = looked.is_err();
        let number = log.number;
        self.logs.push_back(log);
        for doubt in doubts {
            self.compare(doubt, number, mirrors, handle).await?;
        }
        Ok(looked?)
    }

    async fn read(
        &mut self,
        log: &mut Log,
        mirrors: &Mirrors,
        doubts: &mut Vec<Doubt>,
    ) -> Result<(), LogsError> {
        let coordinator = log.coordinator;
        let wrong = |error| LogsError::Read {
            coordinator,
            error: Box::new(error),
        };
        let reader = mirrors.copy(&coordinator, &log.node_key)?;
        let end = log.newest.size.min(log.read.saturating_add(ENTRIES));
        let walk = reader.walk(&log.newest, log.read..end, WalkOptions::default());
        let mut walk = walk.await.map_err(wrong)?;
        while let Some(bundle) = walk.next().await.map_err(wrong)? {
            for (leaf, entry) in bundle.entries() {
                // A file may begin before.
                if leaf != log.read {
                    continue;
                }
                log.read = leaf.saturating_add(1);
                doubts.extend(self.doubt(log.number, leaf, entry));
                if doubts.len() >= DOUBTS {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes in an entry; returns it if it is a receipt, and there is another one for its assignment.
    fn doubt(&mut self, log: u32, leaf: u64, entry: &[u8]) -> Option<Doubt> {
        // Most entries are none, and some are large.
        entry.first().filter(|kind| **kind == RECEIPT)?;
        let Ok(Entry::Receipt(receipt)) = Entry::decode(entry) else {
            return None;
        };
        let first = self.seen.receipt(log, leaf, &receipt)?;
        Some(Doubt {
            first,
            leaf,
            receipt,
        })
    }

    /// Compares two receipts for one assignment. Whoever writes a log may put there first what no miner
    /// signed, so that what the miner did sign is not looked at.
    async fn compare(
        &mut self,
        doubt: Doubt,
        log: u32,
        mirrors: &Mirrors,
        handle: &Handle,
    ) -> Result<(), SettlerError> {
        let Doubt {
            first,
            leaf,
            receipt,
        } = doubt;
        let miner = Key::from_bytes(receipt.body.miner);
        let registered = {
            let live = handle.shared().live().map_err(Box::new)?;
            live.state.owner(&miner).is_some()
        };
        if !registered || receipt.verify_miner().is_err() {
            return Ok(());
        }
        let known = match self.logs.iter().find(|log| log.number == first.log) {
            Some(known) => match mirrors.copy(&known.coordinator, &known.node_key) {
                Ok(reader) => receipt_at(&reader, &known.newest, first.leaf).await,
                Err(_) => None,
            },
            None => None,
        };
        let evidence =
            known.and_then(|known| Evidence::of_receipts(&self.genesis, &known, &receipt).ok());
        match evidence {
            Some(evidence) => self.found(evidence),
            None => self.seen.replace(log, leaf, &receipt),
        }
        Ok(())
    }

    fn found(&mut self, evidence: Evidence) {
        let Some((key, what)) = evidence.claim(&self.genesis) else {
            return;
        };
        let once = evidence.misdeed().once(&what);
        let known = |found: &Found| found.key == key && found.once == once;
        if self.found.len() < FOUND && !self.found.iter().any(known) {
            self.found.push_back(Found {
                key,
                once,
                evidence: Box::new(evidence),
            });
        }
    }

    /// Takes in that a log showed a checkpoint which does not continue the copy's. Both are kept, and
    /// reported where the ledger takes them. Returns what to say.
    pub fn forked(
        &mut self,
        node_key: &Key,
        log_key: &Key,
        old: &SignedCheckpoint,
        new: &SignedCheckpoint,
    ) -> String {
        let shown = self.logs.iter().find(|log| log.node_key == *node_key);
        let shown = shown.into_iter().flat_map(|log| &log.shown);
        let genesis = self.genesis;
        let evidence = || {
            let (node, log) = (node_key.public()?, log_key.public()?);
            let mut all = [old].into_iter().chain(shown);
            Ok::<_, PublicKeyError>(
                all.find_map(|own| Evidence::of_checkpoints(&genesis, &node, &log, own, new).ok()),
            )
        };
        let evidence = evidence().ok().flatten();
        let reported = evidence.is_some();
        evidence
            .into_iter()
            .for_each(|evidence| self.found(evidence));
        let kept = match keep(&self.folder, old, new) {
            Ok(folder) => format!("both are in {}", folder.display()),
            Err(error) => format!("they cannot be kept: {error}"),
        };
        let origin = &old.unverified().origin;
        match reported {
            true => format!("the log {origin} has forked, which is reported; {kept}"),
            false => format!(
                "the log {origin} has forked, its checkpoints of {} and {} entries contradict each other; {kept}; hint: the ledger takes two roots of one size: ask others who watch the log for a checkpoint of one of these sizes, and hand both in with `adit report fork`",
                old.unverified().size,
                new.unverified().size,
            ),
        }
    }

    /// What is to be reported next. What the ledger knows already is forgotten.
    ///
    /// # Errors
    /// [`SubmitError::Ended`].
    pub fn due(&mut self, handle: &Handle, now_ms: u64) -> Result<Option<Action>, SubmitError> {
        if self.found.is_empty() || now_ms < self.again_ms {
            return Ok(None);
        }
        let live = handle.shared().live()?;
        let state = &live.state;
        while let Some(Found {
            key,
            once,
            evidence,
        }) = self.found.front()
        {
            let node = state.owner(key);
            let node = node.filter(|node| state.answers_for(node, key).is_some());
            match node {
                Some(node) if state.reported(key, once).is_none() => {
                    return Ok(Some(Action::Report {
                        node,
                        evidence: evidence.clone(),
                    }));
                }
                _ => drop(self.found.pop_front()),
            }
        }
        Ok(None)
    }

    /// Takes in what became of the report that was due: it is done with, unless it may be taken later.
    pub fn handed_in(&mut self, done: Result<(), &SubmitError>, now_ms: u64) {
        use Refusal::{Expired, Fee, Insufficient, Number, TooFarAhead};
        match done {
            Err(
                SubmitError::Overloaded
                | SubmitError::DiskFull { .. }
                | SubmitError::Ended { .. }
                | SubmitError::Refused(
                    Insufficient { .. }
                    | Number { .. }
                    | Expired { .. }
                    | TooFarAhead { .. }
                    | Fee { .. },
                ),
            ) => self.again_ms = now_ms.saturating_add(AGAIN_MS),
            Ok(()) | Err(SubmitError::Refused(_)) => drop(self.found.pop_front()),
        }
    }
}

/// The receipt at a leaf, if the log can be read there.
async fn receipt_at<S: TileSource>(
    reader: &LogReader<S>,
    newest: &Checkpoint,
    leaf: u64,
) -> Option<Receipt> {
    let (bytes, _) = reader.entry(newest, leaf).await.ok()?;
    match Entry::decode(&bytes) {
        Ok(Entry::Receipt(receipt)) => Some(*receipt),
        _ => None,
    }
}

/// Keeps two checkpoints that contradict each other, as `adit log watch` does:
/// `HASH/OLD-NEW-ID/{old,new}`, where `HASH` is that of the log's origin.
fn keep(folder: &Path, old: &SignedCheckpoint, new: &SignedCheckpoint) -> std::io::Result<PathBuf> {
    let name = old.unverified().origin.to_string();
    let folder = folder.join(Hash::of(name.as_bytes()).to_hex());
    std::fs::create_dir_all(&folder)?;
    // The same pair is kept once. A log that shows a new one each time does not fill the disk.
    let id = Hash::of(format!("{old}{new}").as_bytes()).to_hex();
    let id = id.get(..8).unwrap_or_default();
    let sizes = (old.unverified().size, new.unverified().size);
    let pair = folder.join(format!("{}-{}-{id}", sizes.0, sizes.1));
    if !pair.exists() && std::fs::read_dir(&folder)?.count() >= FORKS {
        return Ok(folder);
    }
    std::fs::create_dir_all(&pair)?;
    std::fs::write(pair.join("old"), old.to_string())?;
    std::fs::write(pair.join("new"), new.to_string())?;
    Ok(pair)
}
