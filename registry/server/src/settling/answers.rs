//! Answers to claims that a coordinator's log lacks a receipt: whoever has a copy of the log looks what
//! it says of the assignment.

use std::collections::{BTreeSet, HashMap};

use adit_ledger::late::answers;
use adit_ledger::rules::LATE_EPOCHS_MAX;
use adit_ledger::tree::TreeRoot;
use adit_ledger::{Action, Key, State};
use adit_net::log::{LogReader, ReadLogError, TileSource, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::log::proof::verify_inclusion;
use adit_protocol::log::tree::leaf_hash;
use adit_protocol::receipt::ReceiptBody;

/// Claims that are looked at before others have their turn.
const AT_ONCE: usize = 8;
/// How long a claim is left alone whose log cannot be read, in milliseconds.
const AGAIN_MS: u64 = 2_000;

/// A claim that the log may answer.
#[derive(Clone, Debug)]
pub struct Open {
    /// Hash of the receipt's assignment.
    pub assignment: Hash,
    /// The coordinator, by the key that it was registered with.
    pub coordinator: Key,
    /// The receipt.
    pub receipt: ReceiptBody,
    /// The log as it counts.
    pub log: TreeRoot,
    /// The first leaf that can say something of the assignment.
    first: u64,
}

impl Open {
    /// What could be claimed of a coordinator by a receipt, and the log in which it would be missed.
    pub fn of(state: &State, coordinator: Key, receipt: ReceiptBody, log: TreeRoot) -> Open {
        Open {
            assignment: receipt.assignment,
            coordinator,
            first: first_leaf(state, &coordinator, &receipt),
            receipt,
            log,
        }
    }
}

/// What was looked for.
#[derive(Default)]
pub(super) struct Answers {
    /// Claims of which the log says nothing. It is asked for as it was, so it never will.
    missing: BTreeSet<Hash>,
    /// When a claim is looked at again, in milliseconds since 1970.
    again: HashMap<Hash, u64>,
}

impl Answers {
    /// Claims that wait for an answer and were not looked at in vain.
    pub fn open(&mut self, claims: Vec<Open>, now_ms: u64) -> Vec<Open> {
        let waiting: BTreeSet<Hash> = claims.iter().map(|one| one.assignment).collect();
        self.missing.retain(|one| waiting.contains(one));
        self.again.retain(|one, _| waiting.contains(one));
        let due = |one: &Open| {
            let id = one.assignment;
            let later = self.again.get(&id).is_some_and(|at| *at > now_ms);
            !later && !self.missing.contains(&id)
        };
        claims.into_iter().filter(due).take(AT_ONCE).collect()
    }

    /// Takes note that a claim is looked at: it is tried again later, if nothing comes of it.
    pub fn begin(&mut self, claim: &Open, now_ms: u64) {
        let at = now_ms.saturating_add(AGAIN_MS);
        self.again.insert(claim.assignment, at);
    }

    /// Takes note that the log says nothing of it.
    pub fn missing(&mut self, claim: &Open) {
        self.missing.insert(claim.assignment);
    }
}

/// The claims that a log may answer.
pub(super) fn claims(state: &State) -> Vec<Open> {
    let open = state.claims().filter_map(|(_, claim)| {
        let receipt = claim.receipt()?.body;
        Some(Open::of(state, claim.coordinator, receipt, claim.log?))
    });
    open.collect()
}

/// Where a log had ended before the receipt was drawn. It is closed a little after the end of an
/// epoch, when entries of the next are in it already; so it is the end of the epoch before the last.
fn first_leaf(state: &State, coordinator: &Key, receipt: &ReceiptBody) -> u64 {
    let Some(last) = receipt.epoch.checked_sub(2) else {
        return 0;
    };
    let mut epochs = (last.saturating_sub(LATE_EPOCHS_MAX)..=last).rev();
    let closing = epochs.find_map(|epoch| state.closing(coordinator, epoch));
    let own = closing.filter(|closing| *closing.node_key.as_bytes() == receipt.coordinator);
    own.map_or(0, |closing| closing.size)
}

/// What a log, or a copy of it, says of a claim; `None` if nothing. A copy must reach as far as the log
/// that counts.
///
/// # Errors
/// [`ReadLogError`], also for a copy of another log.
pub async fn find<S: TileSource>(
    reader: &LogReader<S>,
    claim: &Open,
) -> Result<Option<Action>, ReadLogError> {
    let newest = reader.checkpoint().await?.checkpoint;
    let TreeRoot { size, root } = claim.log;
    if claim.first >= size {
        return Ok(None);
    }
    let walk = reader.walk(&newest, claim.first..size, WalkOptions::default());
    let mut walk = walk.await?;
    while let Some(bundle) = walk.next().await? {
        for (leaf, entry) in bundle.entries() {
            if leaf < size && answers(entry, &claim.receipt) {
                let proof = reader.prove_inclusion(newest.size, leaf, size).await?;
                let checked = verify_inclusion(&leaf_hash(entry), leaf, size, &root, &proof);
                checked.map_err(|error| ReadLogError::Proof {
                    what: format!("that entry {leaf} is in the log as it was closed"),
                    error,
                })?;
                return Ok(Some(Action::Answer {
                    assignment: claim.assignment,
                    leaf,
                    entry: entry.to_vec(),
                    proof,
                }));
            }
        }
    }
    Ok(None)
}
