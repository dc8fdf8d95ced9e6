//! `adit task show`.

use adit_protocol::Hash;
use anyhow::Context as _;

use crate::amounts::in_tokens;
use crate::error::Exit;
use crate::remote::api::Api;
use crate::remote::wire::{Seen, Task};
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

/// `adit task show ID`.
pub async fn command(ui: &Ui, api: &Api, task: &Hash) -> anyhow::Result<Exit> {
    let seen = api.task(task).await.context("the task cannot be shown")?;
    print(ui, &seen)?;
    Ok(Exit::Ok)
}

/// A task, for people or programs. What it says is the coordinator's word.
///
/// # Errors
///
/// When stdout cannot be written.
pub fn print(ui: &Ui, seen: &Seen<Task>) -> anyhow::Result<()> {
    if ui.json {
        return ui.object(&seen.json);
    }
    let task = &seen.view;
    ui.line(format!("task       {}", task.task))?;
    ui.line(format!("state      {}", state(task)))?;
    ui.line(format!("submitted  {}", date_ms(task.submitted_ms)))?;
    if let Some(ended) = task.ended_ms {
        let took = ended.saturating_sub(task.submitted_ms);
        ui.line(format!("ended      {} ({took} ms)", date_ms(ended)))?;
    }
    if let Ok(price) = task.price.parse::<u128>()
        && price > 0
    {
        ui.line(format!("price      {} tokens", in_tokens(price)))?;
    }
    let replicas = match task.replicas {
        Some(1) => "1 miner".to_owned(),
        Some(replicas) => format!("{replicas} miners, of which {} have to agree", task.quorum),
        None => format!("the draw decides; at most {} have to agree", task.quorum),
    };
    ui.line(format!("checked    {replicas}"))?;
    if let Some(progress) = &task.progress {
        let of = match progress.total {
            0 => String::new(),
            total => format!("/{total}"),
        };
        ui.line(format!(
            "progress   {}{of} {}",
            progress.done,
            one_line(&progress.note)
        ))?;
    }
    for assignment in &task.assignments {
        let receipt = match &assignment.receipt {
            None => String::new(),
            Some(receipt) => format!(
                ", receipt {} ({}, {})",
                receipt.receipt,
                one_line(&receipt.status),
                match &receipt.decision {
                    Some(decision) => one_line(decision),
                    None => "not decided".to_owned(),
                }
            ),
        };
        ui.line(format!(
            "miner      {} replica {} attempt {}: {}{receipt}",
            one_line(&assignment.miner),
            assignment.replica,
            assignment.attempt,
            one_line(&assignment.state),
        ))?;
    }
    if let Some(result) = &task.result {
        ui.line(format!("receipt    {}", result.receipt))?;
        ui.line(format!("output     {}", result.output))?;
        if let Some(detail) = &result.detail {
            ui.line(format!("detail     {}", one_line(detail)))?;
        }
    }
    Ok(())
}

/// Where a task is, and why.
pub fn state(task: &Task) -> String {
    let name = task.state.name();
    match (&task.result, &task.reason) {
        (Some(result), _) => format!("{name}: {}", one_line(&result.status)),
        (None, Some(reason)) => format!(
            "{name}: {} ({})",
            one_line(&reason.detail),
            one_line(&reason.code)
        ),
        (None, None) => name.to_owned(),
    }
}
