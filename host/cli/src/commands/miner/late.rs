//! `adit miner late`, `adit miner claim-late`: countersigned receipts of this miner that a
//! coordinator's log lacks.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::ops::Range;

use adit_ledger::late::{LateReceipt, answers};
use adit_ledger::rules::LATE_EPOCHS_MAX;
use adit_ledger::tree::TreeRoot;
use adit_ledger::{Action, Key, State as Registry};
use adit_miner::Miner;
use adit_miner::journal::{Countersigned, Journal, JournalError, PAGE_MAX};
use adit_net::http::client::Client;
use adit_net::log::{LogReader, ReadLogError};
use adit_protocol::codes::Code;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::{Amount, Document as _, Hash};
use adit_registry::follow::{FollowError, Follower, trust};
use adit_registry::settling::answers::{Open, find};
use adit_registry::settling::sources::{Directory, Served};
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{node_key, setup};
use crate::commands::registry::check;
use crate::error::{Exit, Failure};
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::Node;
use crate::ledger::{Ledger, RegistryArgs};
use crate::remote::{block_on, shown};
use crate::state::State;
use crate::text::{grouped, one_line};
use crate::ui::Ui;

/// When so many are missing, older ones are not looked for.
const SHOWN_MAX: usize = 1_000;
/// Leaves that are nearer to each other are read together with all between them.
const NEAR: u64 = 4_096;

/// Options of `adit miner claim-late`.
#[derive(clap::Args)]
pub struct ClaimArgs {
    /// The assignment of the receipt, as `adit miner late` shows it
    #[arg(value_name = "ASSIGNMENT")]
    assignment: Hash,
    #[command(flatten)]
    sign: SignArgs,
}

/// A receipt that its log may lack.
struct Candidate {
    coordinator: Key,
    receipt: Countersigned,
    pay: Amount,
    /// The log in which it would be missed; none was ever closed where that is absent.
    log: Option<TreeRoot>,
    /// Why it is not known whether the log has it.
    unchecked: Option<String>,
}

/// What was found.
struct Found {
    epoch: u64,
    deposit: Amount,
    read: u64,
    /// Receipts without the assignment that a claim needs.
    without_assignment: u64,
    candidates: Vec<Candidate>,
}

/// `adit miner late`.
pub fn list(ui: &Ui, state: &State, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let mut journal = open(state)?;
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let found = look(ui, &ledger, &mut journal).await?;
        report(ui, &found)
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}

/// `adit miner claim-late ASSIGNMENT`.
pub fn claim(ui: &Ui, state: &State, args: &ClaimArgs) -> anyhow::Result<Exit> {
    let mut journal = open(state)?;
    let found = journal.countersigned_of(&args.assignment).map_err(unread)?;
    drop(journal);
    let Some(found) = found else {
        return Failure::new(Code::NotFound, "nothing is claimed")
            .why(format!(
                "the journal has no countersigned receipt of the assignment {}",
                args.assignment
            ))
            .hint("`adit miner late` lists those that can be claimed")
            .into_err();
    };
    args.sign.run_with(ui, state, async |context| {
        let key = Key::from_bytes(found.receipt.body.coordinator);
        let path = format!("/v1/nodes/{key}");
        let node: Node = context
            .ledger
            .get(&path)
            .await
            .context("the coordinator of the receipt is not known")?;
        let name: Key = node
            .address
            .parse()
            .context("the registry's answer cannot be read")?;
        let late = late(&found, name).ok_or_else(|| {
            Failure::new(Code::NotFound, "nothing is claimed")
                .why("the journal does not have the assignment as the coordinator signed it")
                .hint("journals keep it for receipts that newer programs have made")
        })?;
        Ok(Action::LateReceipt(Box::new(late)))
    })
}

/// The journal of the miner in this state folder.
fn open(state: &State) -> anyhow::Result<Journal> {
    let key = node_key::load(state)?.public().to_bytes();
    let path = Miner::journal_path(&setup::folder(state)?);
    if !path.exists() {
        return Failure::new(Code::NotFound, "there are no receipts")
            .why(format!("{} does not exist", path.display()))
            .hint("it is made when the miner first runs")
            .into_err();
    }
    Journal::open(&path, key, u64::MAX).map_err(unread)
}

fn unread(error: JournalError) -> anyhow::Error {
    let code = error.code();
    let hint = match code {
        Code::StateLocked => {
            "the miner runs: end it with `adit miner drain`, and try again".to_owned()
        }
        Code::StateCorrupt => format!("see `adit explain {}`", Code::JournalLost),
        code => format!("see `adit explain {code}`"),
    };
    Failure::new(code, "the journal cannot be read")
        .because(error)
        .hint(hint)
        .into()
}

/// What the miner would claim.
fn late(found: &Countersigned, coordinator: Key) -> Option<LateReceipt> {
    let lease = found.lease.as_ref()?;
    Some(LateReceipt {
        coordinator,
        receipt: found.receipt.to_bytes(),
        // Decoding is strict, so these are the bytes that were signed.
        assignment: lease.unverified().ok()?.to_cbor(),
        assignment_signature: *lease.signature(),
    })
}

async fn look(ui: &Ui, ledger: &Ledger, journal: &mut Journal) -> anyhow::Result<Found> {
    let what = format!("what {} owes is not known", shown(&ledger.url));
    let failed = |error: FollowError| check::failure(&what, &error);
    let document = ledger.ledger_genesis().await?;
    let trust = trust(&ledger.genesis, &document).map_err(failed)?;
    let reader = LogReader::new(ledger.log()?, trust);
    let newest = reader.checkpoint().await;
    let newest = newest.map_err(|error| failed(error.into()))?.checkpoint;
    let follower = Follower::new(&ledger.genesis, &document);
    let mut follower = follower.map_err(|error| failed(error.into()))?;
    let directory = Directory::follow(&mut follower, &reader, &newest).await;
    let directory = directory.map_err(failed)?;
    let registry = follower.state();
    let head = registry.head();
    let mut found = Found {
        epoch: head.epoch,
        deposit: head.parameters.slashing.deposit,
        read: 0,
        without_assignment: 0,
        candidates: Vec::new(),
    };
    // A lease may end long after its draw; what is so old was made long ago all the same.
    let oldest = head.epoch.saturating_sub(2 * LATE_EPOCHS_MAX);
    let mut logs = Served {
        genesis: ledger.genesis_hash,
        roots: ledger.roots.clone(),
        directory,
        registry: shown(&ledger.url),
        copies: BTreeMap::new(),
    };
    let mut readers = BTreeMap::new();
    let mut before = None;
    loop {
        let page = journal.countersigned(before).map_err(unread)?;
        let full = page.len() == PAGE_MAX as usize;
        let young = |one: &Countersigned| one.receipt.body.epoch >= oldest;
        let go_on = full && page.iter().any(young);
        before = page.last().map(|last| last.row);
        for (key, candidates) in candidates(registry, page, &mut found) {
            if let (Entry::Vacant(place), Some(one)) = (readers.entry(key), candidates.first()) {
                let sizes = candidates.iter().filter_map(|one| one.log);
                let size = sizes.map(|log| log.size).max().unwrap_or(0);
                let reader = logs.reader(&one.coordinator, &key, head.epoch, size).await;
                place.insert(reader.map_err(|error| error.to_string()));
            }
            if let Some(reader) = readers.get(&key) {
                let lacks = lacking(registry, reader.as_ref(), candidates).await;
                found.candidates.extend(lacks);
            }
        }
        if found.candidates.len() >= SHOWN_MAX && go_on {
            ui.note("older receipts were not looked at; claim these first");
            return Ok(found);
        }
        if !go_on {
            return Ok(found);
        }
    }
}

/// Those of a page of the journal that could be claimed if their logs lacked them, by the key that the
/// log is named by.
fn candidates(
    registry: &Registry,
    page: Vec<Countersigned>,
    found: &mut Found,
) -> BTreeMap<Key, Vec<Candidate>> {
    let mut by_log: BTreeMap<Key, Vec<Candidate>> = BTreeMap::new();
    for receipt in page {
        found.read = found.read.saturating_add(1);
        let key = Key::from_bytes(receipt.receipt.body.coordinator);
        let Some(coordinator) = registry.owner(&key) else {
            continue;
        };
        let Some(late) = late(&receipt, coordinator) else {
            found.without_assignment = found.without_assignment.saturating_add(1);
            continue;
        };
        if let Ok(missed) = registry.check_late(&late) {
            by_log.entry(key).or_default().push(Candidate {
                coordinator,
                receipt,
                pay: missed.pay,
                log: missed.log,
                unchecked: None,
            });
        }
    }
    by_log
}

/// Those that are not there where the coordinator said that they are, and why that is not known, if it
/// is not.
async fn elsewhere(
    reader: &LogReader<Client>,
    mut candidates: Vec<Candidate>,
) -> (Vec<Candidate>, Option<ReadLogError>) {
    let newest = match reader.checkpoint().await {
        Ok(newest) => newest.checkpoint,
        Err(error) => return (candidates, Some(error)),
    };
    candidates.sort_by_key(|one| one.receipt.leaf);
    let mut there = BTreeSet::new();
    for near in candidates.chunk_by(|a, b| b.receipt.leaf.saturating_sub(a.receipt.leaf) < NEAR) {
        let (Some(first), Some(last)) = (near.first(), near.last()) else {
            continue;
        };
        let end = last.receipt.leaf.saturating_add(1).min(newest.size);
        let range = first.receipt.leaf.min(end)..end;
        let read = read_near(reader, &newest, range, near, &mut there);
        if let Err(error) = read.await {
            return (candidates, Some(error));
        }
    }
    candidates.retain(|one| !there.contains(&one.receipt.row));
    (candidates, None)
}

async fn read_near(
    reader: &LogReader<Client>,
    newest: &Checkpoint,
    range: Range<u64>,
    near: &[Candidate],
    there: &mut BTreeSet<i64>,
) -> Result<(), ReadLogError> {
    let mut walk = reader.walk(newest, range, Default::default()).await?;
    let mut wanted = near.iter().peekable();
    while let Some(bundle) = walk.next().await? {
        for (leaf, entry) in bundle.entries() {
            while let Some(one) = wanted.next_if(|one| one.receipt.leaf <= leaf) {
                let counts = one.log.is_some_and(|log| leaf < log.size);
                let same = one.receipt.leaf == leaf;
                if same && counts && answers(entry, &one.receipt.receipt.body) {
                    there.insert(one.receipt.row);
                }
            }
        }
    }
    Ok(())
}

/// Those of one log that it lacks, or of which that is not known.
async fn lacking(
    registry: &Registry,
    reader: Result<&LogReader<Client>, &String>,
    candidates: Vec<Candidate>,
) -> Vec<Candidate> {
    let (closed, mut kept): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|one| one.log.is_some());
    let unknown = |mut one: Candidate, why: String| {
        one.unchecked = Some(why);
        one
    };
    let reader = match reader {
        Ok(reader) => reader,
        Err(why) => {
            kept.extend(closed.into_iter().map(|one| unknown(one, why.clone())));
            return kept;
        }
    };
    let (left, error) = elsewhere(reader, closed).await;
    if let Some(error) = error {
        let why = error.to_string();
        kept.extend(left.into_iter().map(|one| unknown(one, why.clone())));
        return kept;
    }
    for one in left {
        let Some(log) = one.log else { continue };
        let body = one.receipt.receipt.body.clone();
        let open = Open::of(registry, one.coordinator, body, log);
        match find(reader, &open).await {
            Ok(Some(_)) => {}
            Ok(None) => kept.push(one),
            Err(error) => kept.push(unknown(one, error.to_string())),
        }
    }
    kept
}

fn report(ui: &Ui, found: &Found) -> anyhow::Result<Exit> {
    let unchecked = found.candidates.iter().any(|one| one.unchecked.is_some());
    let exit = if unchecked { Exit::Unchecked } else { Exit::Ok };
    if ui.json {
        let receipts: Vec<Value> = found.candidates.iter().map(said).collect();
        ui.object(&json!({
            "epoch": found.epoch,
            "read": found.read,
            "without_assignment": found.without_assignment,
            "deposit": found.deposit,
            "receipts": receipts,
        }))?;
        return Ok(exit);
    }
    for one in &found.candidates {
        let body = &one.receipt.receipt.body;
        ui.line(format!("assignment   {}", body.assignment))?;
        ui.line(format!("coordinator  {}", one.coordinator))?;
        ui.line(format!("epoch        {}", body.epoch))?;
        ui.line(format!("pays         {}", one.pay))?;
        match &one.unchecked {
            None => ui.line("log          lacks it")?,
            Some(why) => ui.line(format!("log          not checked: {}", one_line(why)))?,
        }
    }
    if found.without_assignment > 0 {
        ui.note(format!(
            "{} receipts cannot be claimed: the journal does not have their assignments",
            grouped(found.without_assignment)
        ));
    }
    match found.candidates.is_empty() {
        true => ui.note(format!(
            "of {} countersigned receipts none is missing that could be claimed in epoch {}",
            grouped(found.read),
            found.epoch
        )),
        false => ui.note(format!(
            "`adit miner claim-late ASSIGNMENT` claims one; {} tokens are put down for it, and lost if the log has it",
            found.deposit
        )),
    }
    Ok(exit)
}

fn said(one: &Candidate) -> Value {
    let body = &one.receipt.receipt.body;
    json!({
        "assignment": body.assignment,
        "task": body.task,
        "epoch": body.epoch,
        "status": body.status,
        "coordinator": one.coordinator,
        "leaf": one.receipt.leaf,
        "pay": one.pay,
        "missing": one.unchecked.is_none(),
        "why": one.unchecked,
    })
}
