//! `adit account`: what an account has, what it did and earned, and sending tokens.

mod rewards;

use adit_ledger::Action;
use adit_protocol::Amount;
use anyhow::Context as _;

use crate::amounts;
use crate::error::Exit;
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::{Accepted, Account};
use crate::ledger::{RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

/// The subcommands of `adit account`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show what an account has: free tokens, stake, votes, and what unbonds until when
    Show {
        /// An address, 0x and digits, a key file, `local`, or a development key as //Alice
        #[arg(value_name = "KEY")]
        account: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List an account's transactions, the newest first
    History {
        /// The account
        #[arg(value_name = "KEY")]
        account: String,
        /// Only those before this number
        #[arg(long, value_name = "NUMBER")]
        before: Option<u64>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show what an account earned, by its votes and the nodes that it operates
    Rewards {
        /// The account
        #[arg(value_name = "KEY")]
        account: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Take what the account earned: it is free then
    Claim {
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Send free tokens to another account
    Send {
        /// To whom: an address, 0x and digits, or a key file
        #[arg(value_name = "KEY")]
        to: String,
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// `adit account ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let done = match command {
        Command::Send { to, amount, sign } => {
            return sign.run(ui, state, |context| {
                Ok(Action::Transfer {
                    to: key(state, &context.ledger.genesis, to, "address")?,
                    amount: Amount::from_units(*amount),
                })
            });
        }
        Command::Claim { sign } => return rewards::claim(ui, state, sign),
        Command::Rewards { account, registry } => {
            block_on(rewards::show(ui, state, account, registry))
        }
        Command::Show { account, registry } => block_on(show(ui, state, account, registry)),
        Command::History {
            account,
            before,
            registry,
        } => block_on(history(ui, state, account, *before, registry)),
    };
    Ok(done?.unwrap_or_else(|exit| exit))
}

async fn show(
    ui: &Ui,
    state: &State,
    account: &str,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let key = key(state, &ledger.genesis, account, "address")?;
    let path = format!("/v1/accounts/{key}");
    let account = ledger.ask(ui, &path, &[], "the account is not known");
    let Some::<Account>(account) = account.await? else {
        return Ok(Exit::Ok);
    };
    ui.line(format!("account      {key}"))?;
    ui.line(format!("free         {}", account.free))?;
    ui.line(format!("stake        {} (no votes)", account.stake))?;
    for vote in &account.voted {
        ui.line(format!(
            "votes        {} for {}",
            vote.amount,
            one_line(&vote.node)
        ))?;
    }
    for part in &account.unbonding {
        let to = match part.to.as_str() {
            "stake" => "stake",
            _ => "free",
        };
        ui.line(format!(
            "unbonding    {} until {} (epoch {}), then {to}",
            part.amount,
            date_ms(part.until_ms),
            part.until_epoch
        ))?;
    }
    for node in &account.operates {
        ui.line(format!("operates     {}", one_line(node)))?;
    }
    ui.line(format!("transactions {}", account.number))?;
    Ok(Exit::Ok)
}

async fn history(
    ui: &Ui,
    state: &State,
    account: &str,
    before: Option<u64>,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let key = key(state, &ledger.genesis, account, "address")?;
    let before = before.map(|number| ("before", number.to_string()));
    let parameters: Vec<_> = before.into_iter().collect();
    let path = format!("/v1/accounts/{key}/transactions");
    let unknown = "the account's transactions are not known";
    let all = ledger.ask(ui, &path, &parameters, unknown);
    let Some::<Vec<Accepted>>(all) = all.await? else {
        return Ok(Exit::Ok);
    };
    for one in all {
        // The list has no texts, which are asked for one by one.
        let path = format!("/v1/transactions/{}", one_line(&one.id));
        let found: Accepted = ledger
            .get(&path)
            .await
            .context("a transaction is not known")?;
        let text = found.text.unwrap_or_default();
        let action = text.lines().find_map(|line| line.strip_prefix("action: "));
        let amount = text.lines().find_map(|line| line.strip_prefix("amount: "));
        ui.line(format!(
            "{:<6} {:<12} {:>16}  block {:<8} {}",
            one.number,
            one_line(action.unwrap_or_default()),
            one_line(amount.unwrap_or_default()),
            one.height,
            one_line(&one.id)
        ))?;
    }
    Ok(Exit::Ok)
}
