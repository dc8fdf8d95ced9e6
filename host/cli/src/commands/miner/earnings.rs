//! `adit miner earnings`: how a node came to what it earned.

use adit_ledger::Key;
use anyhow::Context as _;
use serde_json::Value;

use super::node_key;
use crate::error::Exit;
use crate::ledger::wire::NodeRewards;
use crate::ledger::{RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::one_line;
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
        let answer: Value = ledger
            .get(&format!("/v1/nodes/{key}/rewards"))
            .await
            .context("what the node earned is not known")?;
        if ui.json {
            ui.object(&answer)?;
            return Ok(Exit::Ok);
        }
        let rewards: NodeRewards =
            serde_json::from_value(answer).context("the registry's answer cannot be read")?;
        print(ui, &rewards)?;
        Ok(Exit::Ok)
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}

fn print(ui: &Ui, rewards: &NodeRewards) -> anyhow::Result<()> {
    ui.line(format!("node {}", one_line(&rewards.address)))?;
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
        for (reason, count) in &one.receipts.unpaid {
            ui.note(format!(
                "epoch {}: {count} not paid in full: {}",
                one.epoch,
                one_line(reason)
            ));
        }
    }
    if rewards.epochs.is_empty() {
        ui.note("no epoch with this node was settled by this registry yet");
    } else {
        ui.note("what was earned is the operator's commission, and the voters' by their votes; see `adit account rewards`");
    }
    Ok(())
}
