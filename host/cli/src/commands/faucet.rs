//! `adit faucet`.

use adit_ledger::Action;
use adit_protocol::Amount;

use crate::amounts;
use crate::error::Exit;
use crate::ledger::submit::SignArgs;
use crate::state::State;
use crate::ui::Ui;

/// Options of `adit faucet`.
#[derive(clap::Args)]
pub struct Args {
    /// How many tokens
    #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
    amount: u128,
    #[command(flatten)]
    sign: SignArgs,
}

/// `adit faucet TOKENS --key KEY`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let amount = Amount::from_units(args.amount);
    args.sign.run(ui, state, |_| Ok(Action::Faucet { amount }))
}
