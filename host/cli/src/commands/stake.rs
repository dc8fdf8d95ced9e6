//! `adit stake`: stake, and votes with it.

use adit_ledger::Action;
use adit_protocol::Amount;

use crate::amounts;
use crate::error::Exit;
use crate::ledger::{key, submit::SignArgs};
use crate::state::State;
use crate::ui::Ui;

/// The subcommands of `adit stake`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make free tokens stake
    Add {
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Make stake free tokens again, after the unbonding time
    Remove {
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        /// The node whose votes are taken back for it [default: stake that is no vote]
        #[arg(long, value_name = "NODE")]
        from: Option<String>,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Vote for a node with stake: the node counts for more, and shares what it earns
    Vote {
        /// The node: its address, 0x and digits, or a key file
        #[arg(value_name = "NODE")]
        node: String,
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Take votes back, which are stake again after the unbonding time
    Unvote {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// `adit stake ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let units = Amount::from_units;
    match command {
        Command::Add { amount, sign } => sign.run(ui, state, |_| {
            Ok(Action::Stake {
                amount: units(*amount),
            })
        }),
        Command::Remove { amount, from, sign } => sign.run(ui, state, |context| {
            let genesis = &context.ledger.genesis;
            let from = from.as_ref();
            let from = from.map(|node| key(state, genesis, node, "node key"));
            Ok(Action::Unstake {
                amount: units(*amount),
                from: from.transpose()?,
            })
        }),
        Command::Vote { node, amount, sign } => sign.run(ui, state, |context| {
            Ok(Action::Vote {
                node: key(state, &context.ledger.genesis, node, "node key")?,
                amount: units(*amount),
            })
        }),
        Command::Unvote { node, amount, sign } => sign.run(ui, state, |context| {
            Ok(Action::Unvote {
                node: key(state, &context.ledger.genesis, node, "node key")?,
                amount: units(*amount),
            })
        }),
    }
}
