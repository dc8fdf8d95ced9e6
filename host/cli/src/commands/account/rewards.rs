//! `adit account rewards` and `claim`.

use adit_ledger::Action;
use adit_protocol::Hash;
use adit_protocol::codes::Code;
use anyhow::Context as _;

use crate::error::{Exit, Failure};
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::AccountRewards;
use crate::ledger::{RegistryArgs, key};
use crate::state::State;
use crate::ui::Ui;

/// `adit account rewards KEY`.
pub async fn show(
    ui: &Ui,
    state: &State,
    account: &str,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let key = key(state, &ledger.genesis, account, "address")?;
    let path = format!("/v1/accounts/{key}/rewards");
    let rewards = ledger.ask(ui, &path, &[], "what the account earned is not known");
    let Some::<AccountRewards>(rewards) = rewards.await? else {
        return Ok(Exit::Ok);
    };
    ui.line(format!("account    {key}"))?;
    let until = match rewards.epoch {
        Some(epoch) => format!(" (up to epoch {epoch})"),
        None => String::new(),
    };
    ui.line(format!("earned     {}{until}", rewards.earned))?;
    ui.line(format!("claimed    {}", rewards.claimed))?;
    ui.line(format!("claimable  {}", rewards.claimable))?;
    let from = match rewards.pending_from_epoch {
        Some(epoch) => format!(" (counts from epoch {epoch} on)"),
        None => String::new(),
    };
    ui.line(format!("pending    {}{from}", rewards.pending))?;
    Ok(Exit::Ok)
}

/// `adit account claim`.
pub fn claim(ui: &Ui, state: &State, sign: &SignArgs) -> anyhow::Result<Exit> {
    sign.run_with(ui, state, async |context| {
        let key = context.account;
        let rewards: AccountRewards = context
            .ledger
            .get(&format!("/v1/accounts/{key}/rewards"))
            .await
            .context("what the account earned is not known")?;
        let Some(proof) = rewards.proof.filter(|_| !rewards.claimable.0.is_zero()) else {
            let hint = match rewards.pending_from_epoch {
                Some(epoch) => format!(
                    "{} more can be claimed from epoch {epoch} on",
                    rewards.pending
                ),
                None => "vote for a node that earns, with `adit stake vote`".to_owned(),
            };
            return Failure::new(Code::RuleBroken, "there is nothing to claim")
                .why(format!(
                    "the account earned {} and has claimed {}",
                    rewards.earned, rewards.claimed
                ))
                .hint(hint)
                .into_err();
        };
        let hashes = proof.proof.iter().map(|hash| hash.parse::<Hash>());
        Ok(Action::Claim {
            total: rewards.earned.0,
            index: proof.index,
            proof: hashes
                .collect::<Result<_, _>>()
                .context("the registry's proof cannot be read")?,
        })
    })
}
