//! The invariants, once nothing goes wrong any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adit_coordinator::engine::Handle as Engine;
use adit_net::log::{FolderSource, LogReader, Trust, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::log::origin::Origin;
use adit_protocol::log::tree::{Frontier, leaf_hash};
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::network::membership::Membership;
use adit_protocol::network::roster::Roster;
use adit_protocol::network::standing::{Facts, Standing};

use super::ledger::Invariant;
use super::world::World;
use crate::keys;

/// How long the last receipts may take to arrive, in milliseconds: leases run out, backoffs end.
const SETTLED_MS: u64 = 10 * 60_000;

/// Waits until nothing is left to do, and looks whether nothing is left.
pub async fn settled(world: &Arc<World>) {
    if world.is_hopeless() {
        return;
    }
    let until = world.virtual_ms() + SETTLED_MS;
    let mut left = String::new();
    while world.virtual_ms() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        left = remains(world).await;
        if left.is_empty() {
            // The last checkpoint follows within a second.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return audit(world).await;
        }
    }
    world.broken(Invariant::Bounded, format!("in the end there are {left}"));
    audit(world).await;
}

/// What there is that should not be any more.
async fn remains(world: &World) -> String {
    let mut left = Vec::new();
    let Some(engine) = world.engine() else {
        return "no coordinator".to_owned();
    };
    let stats = engine.stats();
    let levels = [
        ("live tasks", stats.live),
        ("open assignments", stats.open),
        ("waiting tasks", stats.waiting),
        ("tasks in memory", stats.contexts),
    ];
    for (name, level) in levels {
        if level > 0 {
            left.push(format!("{level} {name}"));
        }
    }
    let miners = world.miners();
    if miners.len() < world.keys.len() {
        left.push(format!("{} miners", miners.len()));
    }
    for miner in miners {
        let status = miner.status().await;
        for coordinator in &status.coordinators {
            let held = coordinator.held.total();
            let receipts = &coordinator.receipts;
            if held > 0 || receipts.begun + receipts.signed > 0 {
                left.push(format!(
                    "{held} assignments held, {} receipts begun and {} signed",
                    receipts.begun, receipts.signed
                ));
            }
        }
    }
    left.join(", ")
}

/// Reads the log as an auditor does, with the documents that the coordinator gives.
async fn audit(world: &Arc<World>) {
    let (Some(engine), Ok(coordinator)) = (world.engine(), Keypair::from_uri(keys::COORDINATOR))
    else {
        return world.broken(Invariant::Works, "there is nobody to audit");
    };
    let entries = match entries(world).await {
        Ok(entries) => entries,
        Err(why) => return world.broken(Invariant::NeverForks, why),
    };
    let view = world.network.borrow().clone();
    let own = coordinator.public().to_bytes();
    let mut standing = Standing::new(view.genesis(), own, true);
    for (leaf, bytes) in (0u64..).zip(&entries) {
        let Ok(entry) = Entry::decode(bytes) else {
            let what = format!("leaf {leaf} is no entry");
            world.broken(Invariant::NeverForks, what);
            continue;
        };
        let facts = facts(&engine, &entry).await;
        let faults = standing.apply(leaf, &entry, &facts);
        if let Some(fault) = faults.first() {
            // What is paid wrongly has a name of its own below.
            let what = format!("leaf {leaf}: {fault}");
            world.broken(Invariant::PaidOnce, what);
        }
    }
    let open = standing.leases().count();
    if open > 0 {
        world.broken(
            Invariant::EndsOnce,
            format!("by the log, {open} leases are open"),
        );
    }
}

async fn facts(engine: &Engine, entry: &Entry) -> Facts {
    let mut facts = Facts::default();
    match entry {
        Entry::Roster(entry) => {
            if let Ok(Some(document)) = engine.document(entry.root).await {
                facts.roster = Roster::from_cbor(&document.bytes).ok().map(Arc::new);
            }
            let membership = facts.roster.as_ref().map(|roster| roster.membership);
            if let Some(hash) = membership
                && let Ok(Some(document)) = engine.document(hash).await
            {
                facts.membership = Membership::from_cbor(&document.bytes).ok().map(Arc::new);
            }
        }
        Entry::Assignment(signed) => {
            if let Ok(assignment) = signed.unverified()
                && let Ok(context) = engine.task_spec(assignment.task).await
            {
                facts.disclose(&context.spec);
            }
        }
        _ => {}
    }
    facts
}

/// The entries of the published log, whose hashes were checked.
async fn entries(world: &World) -> Result<Vec<Vec<u8>>, String> {
    let node = Keypair::from_uri(keys::COORDINATOR).map_err(|e| e.to_string())?;
    let log = Keypair::from_uri(keys::COORDINATOR_LOG).map_err(|e| e.to_string())?;
    let key = Origin::new(&world.genesis, &node.public()).key(&log.public());
    let source = FolderSource(world.folder.join("coordinator/log"));
    let reader = LogReader::new(source, Trust::log_alone(key));
    let trusted = reader.checkpoint().await.map_err(|e| e.to_string())?;
    let size = trusted.checkpoint.size;
    let walk = reader.walk(&trusted.checkpoint, 0..size, WalkOptions::default());
    let mut walk = walk.await.map_err(|e| e.to_string())?;
    let mut entries = Vec::new();
    while let Some(bundle) = walk.next().await.map_err(|e| e.to_string())? {
        entries.extend(bundle.entries().map(|(_, bytes)| bytes.to_vec()));
    }
    Ok(entries)
}

/// Compares the log with what was promised.
pub async fn log(world: &World) {
    if world.is_hopeless() {
        return;
    }
    let entries = match entries(world).await {
        Ok(entries) => entries,
        Err(why) => return world.broken(Invariant::NeverForks, why),
    };
    checkpoints(world, &entries);
    let mut receipts: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut leases: BTreeMap<Hash, Hash> = BTreeMap::new();
    let mut reported: BTreeMap<Hash, Hash> = BTreeMap::new();
    let mut over: BTreeSet<Hash> = BTreeSet::new();
    let mut late: BTreeSet<Hash> = BTreeSet::new();
    let mut paid: BTreeSet<Hash> = BTreeSet::new();
    for (leaf, bytes) in (0u64..).zip(&entries) {
        match Entry::decode(bytes) {
            Ok(Entry::Assignment(signed)) => {
                if let Ok(assignment) = signed.unverified() {
                    leases.insert(signed.body_hash(), assignment.task);
                }
            }
            Ok(Entry::Expiry(expiry)) => {
                over.insert(expiry.assignment);
            }
            Ok(Entry::Cancel(cancel)) => over.extend(cancel.assignments),
            Ok(Entry::Receipt(receipt)) => {
                let (id, lease) = (receipt.id(), receipt.body.assignment);
                if receipts.insert(id, leaf).is_some() {
                    let what = format!("the receipt {id} is in the log twice");
                    world.broken(Invariant::AcknowledgedOnce, what);
                }
                if over.contains(&lease) || !leases.contains_key(&lease) {
                    late.insert(id);
                }
                reported.insert(id, lease);
            }
            Ok(Entry::Verdict(verdict)) => {
                for judged in verdict.receipts {
                    if judged.decision != Decision::Accepted {
                        continue;
                    }
                    let lease = reported.get(&judged.receipt).copied().unwrap_or(Hash::ZERO);
                    if !paid.insert(lease) {
                        world.broken(Invariant::PaidOnce, format!("{lease} is paid twice"));
                    }
                    if late.contains(&judged.receipt) {
                        let what = format!("{lease} is paid after its end");
                        world.broken(Invariant::PaidOnce, what);
                    }
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
    promises(world, &receipts);
    world.ledger(|ledger| {
        ledger.entries = entries.len() as u64;
        ledger.receipts = receipts.len() as u64;
    });
}

/// All checkpoints that anyone saw are of this log.
fn checkpoints(world: &World, entries: &[Vec<u8>]) {
    let published = world.ledger(|ledger| ledger.checkpoints.clone());
    let mut frontier = Frontier::new();
    let mut roots = BTreeMap::from([(0, frontier.root())]);
    for entry in entries {
        if frontier.append(leaf_hash(entry)).is_err() {
            return world.broken(Invariant::NeverForks, "the log is too long");
        }
        roots.insert(frontier.size(), frontier.root());
    }
    for (size, root) in published {
        if roots.get(&size) != Some(&root) {
            let what = format!("the checkpoint of size {size} is of another log");
            world.broken(Invariant::NeverForks, what);
        }
    }
}

/// What was acknowledged is there.
fn promises(world: &World, receipts: &BTreeMap<Hash, u64>) {
    let (acknowledged, ended, taken) = world.ledger(|ledger| {
        (
            ledger.acknowledged.clone(),
            ledger.ended.clone(),
            ledger.taken.clone(),
        )
    });
    for (id, leaf) in &acknowledged {
        if receipts.get(id) != Some(leaf) {
            let what = format!(
                "the receipt {id} was acknowledged at leaf {leaf}, and is at {:?}",
                receipts.get(id)
            );
            world.broken(Invariant::AcknowledgedOnce, what);
        }
    }
    for (task, (_, receipt)) in &ended {
        if let Some(receipt) = receipt
            && !receipts.contains_key(receipt)
        {
            let what = format!("the receipt of {task} that was shown is not in the log");
            world.broken(Invariant::AcknowledgedOnce, what);
        }
    }
    for (key, task) in &taken {
        if !ended.contains_key(task) {
            world.broken(
                Invariant::EndsOnce,
                format!("nobody saw the end of the task of {key}"),
            );
        }
    }
}
