//! `adit checker`: what checkers say of reports.

use adit_ledger::transaction::Percent;
use adit_protocol::Hash;

use super::report::{Verdict, attest};
use crate::error::Exit;
use crate::ledger::RegistryArgs;
use crate::remote::block_on;
use crate::state::State;
use crate::ui::Ui;

/// The subcommands of `adit checker`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Sign what you found of a report, and print it. `adit report decide` hands in those of a quorum
    Verdict {
        /// The report, as `adit report list` shows it
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        found: Found,
        /// The checker's node key: a key file, `local`, or a development key as //Alice
        #[arg(long, value_name = "KEY")]
        key: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

/// What was found.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Found {
    /// The node did it, and loses this part of its stake, as 33.3333%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    guilty: Option<u32>,
    /// The node did not do it
    #[arg(long)]
    not_guilty: bool,
}

fn percent(text: &str) -> Result<u32, String> {
    let percent: Percent = text.parse().map_err(str::to_owned)?;
    Ok(percent.0)
}

/// `adit checker ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let Command::Verdict {
        id,
        found,
        key,
        registry,
    } = command;
    let said = Verdict {
        fraction_ppm: found.guilty,
    };
    let done = block_on(attest(ui, state, id, said, key, registry));
    Ok(done?.unwrap_or_else(|exit| exit))
}
