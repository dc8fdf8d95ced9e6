//! `adit registry show`.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::WitnessArgs;
use super::check::{names, newest};
use crate::error::Exit;
use crate::ledger::RegistryArgs;
use crate::ledger::wire::{Head, Supply};
use crate::remote::{block_on, shown};
use crate::text::{date_ms, grouped, one_line};
use crate::ui::Ui;

/// `adit registry show`.
pub fn command(ui: &Ui, registry: &RegistryArgs, witnesses: &WitnessArgs) -> anyhow::Result<Exit> {
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let answer: Value = ledger
            .get("/v1/ledger")
            .await
            .context("the state of the ledger is not known")?;
        let counted: Value = ledger
            .get("/v1/ledger/supply")
            .await
            .context("it is not known where the tokens are")?;
        let what = format!("the log of {} is not known", shown(&ledger.url));
        let (_, reader, newest) = newest(&ledger, witnesses, &what).await?;
        let (log, cosigned) = (&newest.checkpoint, names(&newest));
        if ui.json {
            ui.object(&json!({
                "ledger": answer,
                "supply": counted,
                "log": {
                    "vkey": reader.trust().log.to_string(),
                    "size": log.size,
                    "root": log.root,
                    "cosigned": cosigned,
                },
            }))?;
            return Ok(Exit::Ok);
        }
        let unread = "the registry's answer cannot be read";
        let head: Head = serde_json::from_value(answer).context(unread)?;
        let supply: Supply = serde_json::from_value(counted).context(unread)?;
        let rules = &head.parameters;
        ui.line(format!("registry      {}", shown(&ledger.url)))?;
        ui.line(format!(
            "network       {} ({})",
            ledger.genesis_hash,
            one_line(&ledger.genesis.name)
        ))?;
        let cosigned = match cosigned.is_empty() {
            true => String::new(),
            false => format!(", cosigned by {}", cosigned.join(", ")),
        };
        ui.line(format!(
            "log           {} entries{cosigned}",
            grouped(log.size)
        ))?;
        ui.line(format!("log key       {}", reader.trust().log))?;
        ui.line(format!(
            "block         {} of {}",
            head.height,
            date_ms(head.time_ms)
        ))?;
        ui.line(format!(
            "epoch         {}, ends {}",
            head.epoch,
            date_ms(head.epoch_ends_ms)
        ))?;
        let settled = match head.settled.checked_sub(1) {
            Some(last) => format!("up to epoch {last}"),
            None => "none yet".to_owned(),
        };
        ui.line(format!("settled       {settled}"))?;
        ui.line(format!(
            "tokens        {} issued, {} burned",
            head.issued, head.burned
        ))?;
        ui.line(format!("  free        {}", supply.free))?;
        ui.line(format!(
            "  staked      {} and {} in votes",
            supply.stake, supply.votes
        ))?;
        ui.line(format!("  unbonding   {}", supply.unbonding))?;
        ui.line(format!(
            "  escrow      {} and {} unbonding",
            supply.escrow, supply.escrow_unbonding
        ))?;
        ui.line(format!("least fee     {}", rules.fee_min))?;
        ui.line(format!(
            "least stake   {} for a miner, {} for a coordinator, {} for a checker",
            rules.miner_stake_min, rules.coordinator_stake_min, rules.checker_stake_min
        ))?;
        ui.line(format!("least vote    {}", rules.vote_min))?;
        ui.line(format!(
            "unbonding     {} whole epochs",
            rules.unbonding_epochs
        ))?;
        ui.line(format!(
            "faucet        {} for an account in an epoch",
            rules.faucet_account
        ))?;
        Ok(Exit::Ok)
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}
