//! `adit miner earnings`: how a node came to what it earned, what is still to come, what is disputed,
//! and whether all of it adds up to what the ledger has.

mod adds_up;
mod open;

use adit_ledger::Key;
use anyhow::Context as _;
use serde_json::{Value, json};

use self::adds_up::AddedUp;
use self::open::OpenReceipts;
use super::node_key;
use crate::error::Exit;
use crate::ledger::wire::{AccountRewards, Node, NodeRewards, OpenReport, Reports};
use crate::ledger::{Ledger, RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::{count, one_line};
use crate::ui::Ui;

/// `adit miner earnings [KEY]`.
pub fn command(
    ui: &Ui,
    state: &State,
    node: Option<&str>,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let key = match node {
            Some(node) => key(state, &ledger.genesis, node, "node")?,
            None => Key::new(&node_key::load(state)?.public()),
        };
        let found = Found::ask(&ledger, key).await?;
        match ui.json {
            true => ui.object(&found.as_json()?)?,
            false => found.print(ui)?,
        }
        found.added_up.verdict()
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}

/// All that is known of what a node earned.
struct Found {
    /// As the registry answered.
    answer: Value,
    rewards: NodeRewards,
    operator: String,
    added_up: AddedUp,
    open: OpenReceipts,
    reports: Vec<OpenReport>,
}

impl Found {
    async fn ask(ledger: &Ledger, key: Key) -> anyhow::Result<Found> {
        let answer: Value = ledger
            .get(&format!("/v1/nodes/{key}/rewards"))
            .await
            .context("what the node earned is not known")?;
        let rewards: NodeRewards = serde_json::from_value(answer.clone())
            .context("the registry's answer cannot be read")?;
        let node: Node = ledger
            .get(&format!("/v1/nodes/{key}"))
            .await
            .context("the node is not known")?;
        let mut reports = Vec::new();
        let mut after = None;
        loop {
            let mut parameters = vec![("node", node.address.clone())];
            parameters.extend(after.map(|after: String| ("after", after)));
            let page: Reports = ledger
                .get_with("/v1/reports", &parameters)
                .await
                .context("it is not known whether the node is accused")?;
            reports.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(Found {
            added_up: AddedUp::ask(ledger, &node.operator).await?,
            open: OpenReceipts::read(ledger, &node).await?,
            answer,
            rewards,
            operator: node.operator,
            reports,
        })
    }

    fn as_json(&self) -> anyhow::Result<Value> {
        let mut answer = self.answer.clone();
        let fields = answer.as_object_mut();
        let fields = fields.context("the registry's answer cannot be read")?;
        fields.insert("operator".to_owned(), self.operator.as_str().into());
        fields.insert("account".to_owned(), self.added_up.answer.clone());
        fields.insert("adds_up".to_owned(), self.added_up.is_so().into());
        fields.insert("open".to_owned(), self.open.as_json());
        let reports = self.reports.iter().map(|report| {
            json!({ "id": report.id, "misdeed": report.misdeed, "verdict_ppm": report.verdict_ppm })
        });
        fields.insert("reports".to_owned(), reports.collect());
        Ok(answer)
    }

    fn print(&self, ui: &Ui) -> anyhow::Result<()> {
        let rewards = &self.rewards;
        ui.line(format!("node      {}", one_line(&rewards.address)))?;
        epochs(ui, rewards)?;
        ui.line(format!("operator  {}", one_line(&self.operator)))?;
        if let Some(account) = &self.added_up.account {
            totals(ui, account)?;
        }
        self.added_up.print(ui)?;
        self.open.print(ui)?;
        for report in &self.reports {
            let verdict = match report.verdict_ppm {
                Some(ppm) => format!("a verdict takes {ppm} parts of a million of its stake"),
                None => "there is no verdict yet".to_owned(),
            };
            ui.line(format!(
                "accused   of {}: {verdict} (report {})",
                one_line(&report.misdeed),
                one_line(&report.id)
            ))?;
        }
        if self.reports.is_empty() {
            ui.line("accused   of nothing")?;
        }
        Ok(())
    }
}

fn epochs(ui: &Ui, rewards: &NodeRewards) -> anyhow::Result<()> {
    ui.line(format!(
        "{:>7} {:>8} {:>8} {:>18} {:>18} {:>18} {:>18}",
        "epoch", "paid", "unpaid", "pay", "by work", "by stake", "earned"
    ))?;
    for one in &rewards.epochs {
        let unpaid: u64 = one.receipts.unpaid.values().sum();
        ui.line(format!(
            "{:>7} {:>8} {:>8} {:>18} {:>18} {:>18} {:>18}",
            one.epoch,
            one.receipts.paid,
            unpaid,
            one.income.0,
            one.by_work.0,
            one.by_stake.0,
            one.earned.0
        ))?;
        for (reason, number) in &one.receipts.unpaid {
            ui.note(format!(
                "epoch {}: {number} not paid in full: {}",
                one.epoch,
                one_line(reason)
            ));
        }
    }
    if rewards.epochs.is_empty() {
        ui.note("no epoch with this node was settled by this registry yet");
    } else {
        ui.note("what a node earned is its operator's commission, and the voters' by their votes");
    }
    Ok(())
}

/// What the operator's account earned, with this node and all else.
fn totals(ui: &Ui, account: &AccountRewards) -> anyhow::Result<()> {
    ui.line(format!(
        "  earned  {}: {} claimed, {} to be claimed",
        account.earned, account.claimed, account.claimable
    ))?;
    let from = match account.pending_from_epoch {
        Some(epoch) => format!(" (counts from epoch {epoch} on)"),
        None => String::new(),
    };
    ui.line(format!("  pending {}{from}", account.pending))
}

/// `3 receipts: late 1, outvoted 2`.
fn reasons(all: &std::collections::BTreeMap<&'static str, u64>) -> String {
    let number: u64 = all.values().sum();
    let each: Vec<String> = (all.iter())
        .map(|(reason, number)| format!("{reason} {number}"))
        .collect();
    match each.is_empty() {
        true => "no receipts".to_owned(),
        false => format!("{}: {}", count(number, "receipt"), each.join(", ")),
    }
}
