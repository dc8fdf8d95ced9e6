//! The settlement of one epoch, from the ledger and the judged receipts of its logs to the document
//! that checkers sign.

use std::collections::BTreeMap;

use adit_ledger::rewards::{Charge, Earned, RewardTree, Settlement, add_up};
use adit_ledger::{Key, State};
use adit_protocol::{Amount, Hash};
use adit_settlement::input::{self, UNREGISTERED};
use adit_settlement::output::WriteError;
use adit_settlement::{InputError, InputWriter, SettleError, compute};
use thiserror::Error;

use super::extract::Judged;
use super::keep::Kept;
use super::program::{Computed, ProgramError, Programs};
use super::snapshot::{indexes, snapshot};

/// The leaf of the first late receipt of a coordinator: behind all that a log can have.
const LATE: u64 = 1 << 62;

/// What was judged of each coordinator's log in an epoch, by the key that names the coordinator.
pub type Logs = BTreeMap<Key, Vec<Judged>>;

/// Why an epoch cannot be settled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EpochError {
    /// The ledger and the logs make no input: an error of this program.
    #[error("the input of the settlement is wrong: {0}")]
    Input(#[from] InputError),
    /// The settlement refuses its input: the same.
    #[error("the epoch could not be settled: {0}")]
    Settle(#[from] SettleError),
    /// The output does not fit into memory.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The component that the rules name has settled nothing.
    #[error(transparent)]
    Program(#[from] Box<ProgramError>),
}

/// An epoch, settled.
#[derive(Debug)]
pub struct Settled {
    /// What the settlement was given, in its own form.
    pub input: Vec<u8>,
    /// The component that came to it; none where the function of this release did.
    pub program: Option<Hash>,
    /// What it came to, and what accounts have earned in all epochs so far.
    pub kept: Kept,
    /// What checkers sign.
    pub settlement: Settlement,
}

/// Settles an epoch, by the component that its rules name if they name one. `end` is the state at its end, which is of an epoch before where the registry was
/// away; `now` the one in which the settlement is handed in, and `before` what accounts had earned in
/// all epochs before.
///
/// # Errors
/// [`EpochError`].
pub async fn settle(
    epoch: u64,
    end: &State,
    now: &State,
    logs: &Logs,
    before: &[Earned],
    programs: &Programs,
) -> Result<Settled, EpochError> {
    let named = end.reward_rules(epoch).settlement;
    if let Some(component) = &named {
        // Before an input is made that nothing can be done with.
        programs.ready(component).await.map_err(Box::new)?;
    }
    let input = input(epoch, end, now, logs)?;
    let Computed {
        input,
        output,
        bytes,
    } = match named {
        None => own(input)?,
        Some(component) => {
            let ran = programs.run(component, input, epoch, end.head().genesis);
            ran.await.map_err(Box::new)?
        }
    };
    let units = Amount::from_units;
    let earned = output.accounts.iter().map(|row| Earned {
        account: Key::from_bytes(row.account),
        total: units(row.amount),
    });
    let tree = RewardTree::new(add_up(before, earned));
    let charges = output.coordinators.iter().filter(|row| row.spent > 0);
    let settlement = Settlement {
        genesis: end.head().genesis,
        epoch,
        input: Hash::of(&input),
        output: Hash::of(&bytes),
        minted: units(output.totals.minted),
        treasury: units(output.totals.treasury),
        paid: units(output.totals.paid),
        earned: tree.root(),
        charges: charges
            .map(|row| Charge {
                node: Key::from_bytes(row.node),
                spent: units(row.spent),
                burned: units(row.burned),
            })
            .collect(),
        replaces: None,
    };
    Ok(Settled {
        input,
        program: named,
        kept: Kept { tree, output },
        settlement,
    })
}

/// By the function of this release.
fn own(input: Vec<u8>) -> Result<Computed, EpochError> {
    let output = compute(input.as_slice())?;
    let mut bytes = Vec::new();
    output.write(&mut bytes)?;
    Ok(Computed {
        input,
        output,
        bytes,
    })
}

/// The input of an epoch's settlement.
fn input(epoch: u64, end: &State, now: &State, logs: &Logs) -> Result<Vec<u8>, InputError> {
    // Settlements of epochs before, which were handed in after this one's end: what they took from an
    // escrow is not there any more.
    let later: Vec<_> = now
        .settlements()
        .filter(|(of, settled)| *of < epoch && settled.in_epoch > epoch)
        .map(|(_, settled)| settled)
        .collect();
    let minted: Amount = later.iter().map(|settled| settled.minted).sum();
    let issued: Amount = [end.head().issued, minted].into_iter().sum();
    let left = Amount::SUPPLY_MAX.minus(issued).unwrap_or_default();
    let escrow = |coordinator: &Key| {
        let charges = later.iter().filter_map(|one| one.charge_of(coordinator));
        let charged: Amount = charges.map(|charge| charge.spent).sum();
        let found = end.escrow_of(coordinator);
        found.minus(charged).unwrap_or_default()
    };
    let snapshot = snapshot(epoch, end, left, escrow);
    let coordinators = indexes(snapshot.coordinators.iter().map(|one| &one.node));
    let miners = indexes(snapshot.miners.iter().map(|one| &one.node));
    // A node is named by its first key, whichever it has signed with.
    let miner = |key: &[u8; 32]| {
        let miner = end.owner(&Key::from_bytes(*key));
        miner.and_then(|miner| miners.get(miner.as_bytes()).copied())
    };
    let mut rows = Vec::new();
    for (coordinator, judged) in logs {
        // All that are registered are in the snapshot, and who is not cannot close an epoch.
        let Some(coordinator) = coordinators.get(coordinator.as_bytes()) else {
            continue;
        };
        for one in judged {
            rows.push(row(*coordinator, miner(&one.receipt.body.miner), one));
        }
    }
    // Receipts that logs lack come last, in the order of their assignments. They are settled as if they
    // had been drawn now: what they are paid for was done in an epoch that is long settled.
    for ((_, claim), leaf) in now.late_receipts(epoch).zip(LATE..) {
        let coordinator = coordinators.get(claim.coordinator.as_bytes());
        if let (Some(coordinator), Some(receipt)) = (coordinator, claim.receipt()) {
            let miner = miner(&receipt.body.miner);
            let late = Judged {
                leaf,
                receipt: Box::new(receipt),
                decision: None,
                accepted: true,
                terms: Some(claim.terms),
            };
            let row = row(*coordinator, miner, &late);
            rows.push(input::Receipt { epoch, ..row });
        }
    }
    rows.sort_by_key(|row| (row.coordinator, row.leaf));
    let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let mut writer = InputWriter::new(Vec::new(), snapshot, count)?;
    for row in &rows {
        writer.receipt(row)?;
    }
    writer.finish()
}

fn row(coordinator: u32, miner: Option<u32>, judged: &Judged) -> input::Receipt {
    let body = &judged.receipt.body;
    let terms = judged.terms.as_ref();
    input::Receipt {
        coordinator,
        miner: miner.unwrap_or(UNREGISTERED),
        leaf: judged.leaf,
        epoch: body.epoch,
        task: *body.task.as_bytes(),
        assignment: *body.assignment.as_bytes(),
        status: body.status as u8,
        accepted: judged.accepted,
        // No manifest is registered with the ledger yet, and a log does not say which were used.
        nn_registered: false,
        // A log does not say it of a run that was cancelled.
        emitted: false,
        replicas: terms.map_or(0, |terms| terms.replicas),
        fuel: body.fuel,
        nn_units: body.nn_units,
        price: terms.map_or(0, |terms| terms.price.units()),
        attempt_fee: terms.map_or(0, |terms| terms.attempt_fee.units()),
    }
}
