//! `adit task result`: gets the result of a task, checks it, and keeps what a replay of it takes.

use std::path::PathBuf;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;
use anyhow::Context as _;
use serde_json::json;

use super::Named;
use super::follow::{Follow, Show};
use crate::component::world_name;
use crate::error::{Exit, Failure};
use crate::order::{Words, check_place, ended, output_json};
use crate::remote::Remote;
use crate::remote::check::{self, Checked};
use crate::remote::network::Known;
use crate::remote::wire::{Task, TaskState};
use crate::state::{State, write_file};
use crate::text::{count, grouped, hex, micros, size};
use crate::ui::Ui;

/// Options of `adit task result`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    named: Named,
    /// Write the receipt, 520 bytes, to this file too
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

impl Args {
    /// The task, and the coordinator that has it.
    pub fn named(&self) -> &Named {
        &self.named
    }
}

/// `adit task result ID`.
pub async fn command(
    ui: &Ui,
    state: &State,
    remote: &Remote,
    task: &Hash,
    args: &Args,
) -> anyhow::Result<Exit> {
    if let Some(path) = &args.receipt {
        check_place(path)?;
    }
    let seen = remote.api.task(task).await;
    let view = seen.context("the result cannot be had")?.view;
    if !view.state.is_final() {
        return Failure::new(Code::WaitingForResult, "there is no result yet")
            .why(format!("the task is {}", super::show::state(&view)))
            .hint(
                "wait for it with `adit task wait`; `adit task explain` says why it is where it is",
            )
            .into_err();
    }
    let known = remote.network(ui, state).await?;
    let follow = Follow::new(*ui, Show::Nothing);
    deliver(
        ui,
        state,
        remote,
        &known,
        &view,
        follow,
        args.receipt.as_deref(),
    )
    .await
}

/// Checks the result of a task that has ended, keeps it, and prints what was not printed before.
///
/// # Errors
///
/// What does not hold; and as [`exit`].
pub async fn deliver(
    ui: &Ui,
    state: &State,
    remote: &Remote,
    known: &Known,
    task: &Task,
    follow: Follow,
    receipt: Option<&std::path::Path>,
) -> anyhow::Result<Exit> {
    if task.state != TaskState::Completed {
        return exit(task, None);
    }
    let checked = check::result(&remote.api, known, task)
        .await
        .context("the result cannot be used")?;
    keep(state, remote, &checked).await?;
    // The receipt is there whether or not stdout takes the output.
    let shown = follow.finish(&checked.output);
    if ui.json {
        ui.object(&as_json(task, &checked))?;
    } else {
        ui.note(format!("receipt {}", checked.receipt.id()));
        ui.note(summary(&checked));
    }
    shown?;
    if let Some(path) = receipt {
        write_file(path, &checked.receipt.to_bytes(), 0o644)?;
    }
    exit(task, Some(checked.receipt.body.status))
}

/// Puts receipt, specs, output and transcript where `adit receipt` finds them.
async fn keep(state: &State, remote: &Remote, checked: &Checked) -> anyhow::Result<()> {
    let blobs = state.blobs()?;
    blobs.put(&checked.specs.task_bytes)?;
    blobs.put(&checked.specs.exec_bytes)?;
    blobs.put(&checked.output)?;
    let nothing = Transcript::default().to_cbor();
    if checked.opening.transcript == Hash::of(&nothing) {
        blobs.put(&nothing)?;
    } else {
        let transcript = &checked.opening.transcript;
        let (_, bytes) = (remote.api.document::<Transcript>(transcript).await)
            .context("the transcript behind the receipt cannot be had")?;
        blobs.put(&bytes)?;
    }
    let environment = &checked.receipt.body.environment;
    if !blobs.contains(environment) {
        // What a machine is named is of interest, and no part of what is checked.
        if let Ok((_, bytes)) = remote
            .api
            .document::<EnvironmentDocument>(environment)
            .await
        {
            blobs.put(&bytes)?;
        }
    }
    blobs.flush()?;
    state.journal()?.keep(&checked.receipt, &checked.opening)
}

/// The run in one line.
fn summary(checked: &Checked) -> String {
    let body = &checked.receipt.body;
    let mut parts = vec![
        body.status.name().to_owned(),
        format!("{} out", size(checked.output.len() as u64)),
        format!("{} fuel", grouped(body.fuel)),
        format!("{} peak memory", size(body.peak_memory)),
    ];
    if body.nn {
        let device = if body.gpu { "a GPU" } else { "no GPU" };
        parts.push(format!(
            "{} units of inference on {device}",
            grouped(body.nn_units)
        ));
    }
    parts.push(micros(body.duration_us));
    parts.push(match checked.agreed {
        1 => format!("by the miner {}", hex(&body.miner)),
        agreed => format!("{} agree", count(agreed as u64, "miner")),
    });
    parts.join(", ")
}

fn as_json(task: &Task, checked: &Checked) -> serde_json::Value {
    let body = &checked.receipt.body;
    json!({
        "task": task.task,
        "state": task.state.name(),
        "receipt": checked.receipt.id(),
        "status": body.status,
        "attestable": body.status.attestable(),
        "output": output_json(checked.opening.output, &checked.output),
        "detail": task.result.as_ref().and_then(|result| result.detail.as_ref()),
        "agreed": checked.agreed,
        "miner": hex(&body.miner),
        "coordinator": hex(&body.coordinator),
        "world": world_name(checked.specs.exec.world),
        "component": body.component,
        "input": checked.opening.input,
        "exec": { "hash": task.exec, "spec": checked.specs.exec },
        "fuel": body.fuel,
        "peak_memory_bytes": body.peak_memory,
        "nn": { "used": body.nn, "units": body.nn_units, "gpu": body.gpu },
        "environment": body.environment,
        "start_ms": body.start_ms,
        "duration_us": body.duration_us,
        "submitted_ms": task.submitted_ms,
        "ended_ms": task.ended_ms,
    })
}

/// How the process ends for a task: as `adit run` does for its status, or because of why there is
/// no result. `checked` is the status by a receipt that holds; else the coordinator's word.
///
/// # Errors
///
/// For every task but one whose run ended well.
pub fn exit(task: &Task, checked: Option<Status>) -> anyhow::Result<Exit> {
    if let Some(result) = &task.result {
        let told = Status::ALL.into_iter().find(|s| s.name() == result.status);
        let Some(status) = checked.or(told) else {
            return check::refuted("it tells of a status that this program does not know")
                .into_err();
        };
        let words = match &result.detail {
            Some(detail) => Words::Foreign(detail.clone()),
            None => Words::None,
        };
        return ended(status, words, None);
    }
    if !task.state.is_final() {
        return Ok(Exit::Ok);
    }
    let what = format!("the task {} has no result", task.task);
    let (code, why) = match &task.reason {
        Some(reason) => (reason.known(), reason.detail.clone()),
        None => (None, format!("it was {}", task.state.name())),
    };
    let code = code.unwrap_or(match task.state {
        TaskState::Cancelled => Code::Cancelled,
        _ => Code::NoQuorum,
    });
    Failure::new(code, what)
        .why(why)
        .hint("`adit task explain` says more of it")
        .into_err()
}
