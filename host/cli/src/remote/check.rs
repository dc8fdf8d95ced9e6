//! Whether a task and its result are what the coordinator says.
//!
//! The task id is the hash of the task spec, which names the exec spec, which names component and
//! input: so whoever knows what was ordered needs nothing but hashes to know that this was run. That
//! it came out so is the word of the miners, by their receipts.

use std::collections::BTreeSet;

use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_protocol::exec::ExecSpec;
use adit_protocol::network::genesis::network_id;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::task::TaskSpec;

use super::api::Api;
use super::network::Known;
use super::wire::{ReceiptView, Task};
use crate::error::{Exit, Failure};

/// The specs of a task, which are what its id says.
#[derive(Clone, Debug)]
pub struct Specs {
    /// The task spec.
    pub task: TaskSpec,
    /// Its bytes.
    pub task_bytes: Vec<u8>,
    /// The exec spec.
    pub exec: ExecSpec,
    /// Its bytes.
    pub exec_bytes: Vec<u8>,
}

/// A result that holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The specs.
    pub specs: Specs,
    /// The receipt.
    pub receipt: Receipt,
    /// The hashes behind its commitments.
    pub opening: ReceiptOpening,
    /// The output.
    pub output: Vec<u8>,
    /// How many miners have signed the same result.
    pub agreed: usize,
}

/// Something that a coordinator says and that does not hold.
pub fn refuted(why: impl Into<String>) -> Failure {
    Failure::new(Code::BadAnswer, "what the coordinator says does not hold")
        .why(why)
        .hint("do not use the result; keep it with the receipt, and tell whoever runs the network")
        .exit(Exit::Signature)
}

/// The specs of a task, compared with its id and the network.
///
/// # Errors
///
/// When they cannot be had, or are of another network or coordinator.
pub async fn specs(api: &Api, known: &Known, task: &Hash) -> anyhow::Result<Specs> {
    let (spec, task_bytes) = api.task_spec(task).await?;
    if spec.genesis != known.genesis_hash {
        return refuted(format!(
            "the task is of the network {}, and the coordinator of {}",
            spec.genesis, known.genesis_hash
        ))
        .into_err();
    }
    if known.membership.coordinator(&spec.coordinator).is_none() {
        return refuted("the task's coordinator is no member of the network").into_err();
    }
    let (exec, exec_bytes) = api.exec_spec(task, &spec.exec).await?;
    Ok(Specs {
        task: spec,
        task_bytes,
        exec,
        exec_bytes,
    })
}

/// What of a submission has to be found again in the specs that the coordinator made of it.
///
/// # Errors
///
/// Which part is another one.
pub fn ordered(specs: &Specs, wanted: &ExecSpec, clock_given: bool) -> anyhow::Result<()> {
    let mut made = specs.exec.clone();
    // These two are the coordinator's to choose, the clock unless it was given.
    made.engine = wanted.engine;
    if !clock_given {
        made.clock_start_ns = wanted.clock_start_ns;
    }
    if made == *wanted {
        return Ok(());
    }
    let parts = [
        ("component", made.component == wanted.component),
        ("input", made.input == wanted.input),
        ("arguments", made.args == wanted.args),
        ("models", made.models == wanted.models),
        ("seed", made.seed == wanted.seed),
        ("limits", made.limits == wanted.limits),
        ("world", made.world == wanted.world),
        ("clock", made.clock_start_ns == wanted.clock_start_ns),
    ];
    let other: Vec<&str> = (parts
        .iter()
        .filter(|(_, same)| !same)
        .map(|(name, _)| *name))
    .collect();
    refuted(format!(
        "the task that it made has another {} than was ordered",
        other.join(", ")
    ))
    .into_err()
}

/// The accepted result of a task: receipts by enough miners, and an output that they commit to.
///
/// # Errors
///
/// What does not hold, or cannot be had.
pub async fn result(api: &Api, known: &Known, task: &Task) -> anyhow::Result<Checked> {
    let specs = specs(api, known, &task.task).await?;
    let Some(result) = &task.result else {
        return refuted("it calls the task completed and gives no result").into_err();
    };
    let first = api.receipt(&result.receipt).await?.view;
    let (receipt, opening) = receipt(&first, &result.receipt, known, &specs, &task.task)?;
    if receipt.body.status.name() != result.status || opening.output != result.output {
        return refuted("the result is another one than the receipt's").into_err();
    }
    // How many it takes is in the spec; that a trusted miner is enough, the coordinator may decide
    // where the spec lets it.
    let mut miners = BTreeSet::from([receipt.body.miner]);
    let accepted = task.assignments.iter().filter_map(|a| a.receipt.as_ref());
    let accepted = accepted.filter(|r| r.decision.as_deref() == Some("accepted"));
    for other in accepted.filter(|other| other.receipt != result.receipt) {
        let view = api.receipt(&other.receipt).await?.view;
        let (other, _) = self::receipt(&view, &other.receipt, known, &specs, &task.task)?;
        let same = |a: &Receipt, b: &Receipt| {
            (a.body.output, a.body.status) == (b.body.output, b.body.status)
        };
        if same(&other, &receipt) || specs.task.verification.tolerance {
            miners.insert(other.body.miner);
        }
    }
    let verification = specs.task.verification;
    let needed = match (verification.adaptive, task.replicas) {
        (true, Some(1)) => 1,
        _ => usize::from(verification.quorum),
    };
    if miners.len() < needed {
        return refuted(format!(
            "{needed} miners have to agree, and it shows the receipts of {}",
            miners.len()
        ))
        .into_err();
    }
    let limits = &specs.exec.limits;
    let most = limits.output_bytes.saturating_add(limits.emit_bytes);
    let output = api.blob(&opening.output, most).await?;
    Ok(Checked {
        specs,
        receipt,
        opening,
        output,
        agreed: miners.len(),
    })
}

/// A receipt, compared with its id, the network, the task and the commitments.
///
/// # Errors
///
/// What does not hold.
pub fn receipt(
    view: &ReceiptView,
    id: &Hash,
    known: &Known,
    specs: &Specs,
    task: &Hash,
) -> anyhow::Result<(Receipt, ReceiptOpening)> {
    let receipt = Receipt::from_bytes(&view.bytes)
        .and_then(|receipt| receipt.verify().map(|_| receipt))
        .map_err(|error| {
            Failure::new(
                Code::BadSignature,
                format!("the receipt {id} does not hold"),
            )
            .because(error)
            .exit(Exit::Signature)
        })?;
    let body = &receipt.body;
    let Some(opening) = view.opening else {
        return Failure::new(
            Code::NotDisclosed,
            format!("the receipt {id} cannot be opened"),
        )
        .why("the coordinator does not say what is behind its commitments")
        .hint("ask with the token that submitted the task; old tasks are forgotten after a while")
        .exit(Exit::Unchecked)
        .into_err();
    };
    let opening = ReceiptOpening {
        input: opening.input,
        output: opening.output,
        transcript: opening.transcript,
    };
    let salt = &specs.task.salt;
    let holds = [
        (receipt.id() == *id, "it is another one"),
        (
            body.network == network_id(&known.genesis_hash),
            "it is of another network",
        ),
        (
            body.coordinator == specs.task.coordinator,
            "another coordinator has signed it",
        ),
        (
            known.membership.miner(&body.miner).is_some(),
            "its miner is no member of the network",
        ),
        (body.task == *task, "it is of another task"),
        (
            body.component == specs.exec.component,
            "it is of another component",
        ),
        (
            opening.input == specs.exec.input && opening.input.commit(salt) == body.input,
            "it is of another input",
        ),
        (
            opening.output.commit(salt) == body.output,
            "it commits to another output",
        ),
        (
            opening.transcript.commit(salt) == body.transcript,
            "it commits to another transcript",
        ),
    ];
    match holds.iter().find(|(holds, _)| !holds) {
        Some((_, why)) => refuted(format!("of the receipt {id}: {why}")).into_err(),
        None => Ok((receipt, opening)),
    }
}
