//! `adit miner`: set up, check, run and ask a miner.
//!
//! | module | subject |
//! |---|---|
//! | [`setup`], [`node_key`] | the miner's part of the state folder: configuration, key, authorities |
//! | [`init`] | `adit miner init` |
//! | [`doctor`] | `adit miner doctor` |
//! | [`run`] | `adit miner run` |
//! | [`earnings`] | `adit miner earnings` |
//! | [`late`] | `adit miner late`, `claim-late` |
//! | [`ask`] | `adit miner status`, `explain`, `pause`, `resume`, `drain` |

mod ask;
mod doctor;
mod earnings;
mod init;
mod late;
mod node_key;
mod run;
mod setup;

use crate::error::Exit;
use crate::ledger::RegistryArgs;
use crate::state::State;
use crate::ui::Ui;

/// The subcommands of `adit miner`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a node key and a configuration for a network, and say what is still needed
    Init(init::Args),
    /// Check everything that a miner needs, each with what to do about it
    Doctor(doctor::Args),
    /// Work for the coordinators of the network until it is ended
    Run(run::Args),
    /// Show what the running miner does
    Status,
    /// Say why the running miner has no work
    Explain,
    /// Show what a miner earned in the last epochs, and how it came to it
    Earnings {
        /// The node's key: an address, 0x and digits, or a key file [default: that of the miner here]
        #[arg(value_name = "KEY")]
        node: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// List receipts that coordinators have countersigned and that their logs lack. The miner must not
    /// run meanwhile
    Late {
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Claim such a receipt: unless somebody finds it in the log, it is paid of the coordinator's escrow.
    /// The miner must not run meanwhile
    ClaimLate(late::ClaimArgs),
    /// Take no new runs, on one device or on all; what runs goes on
    Pause {
        /// The device's name, as `adit miner status` shows it
        #[arg(value_name = "DEVICE")]
        device: Option<String>,
    },
    /// Take runs again
    Resume {
        /// The device's name
        #[arg(value_name = "DEVICE")]
        device: Option<String>,
    },
    /// Finish what is held, hand it in, and end
    Drain {
        /// Do not wait until the miner has ended
        #[arg(long)]
        no_wait: bool,
    },
}

/// `adit miner ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::command(ui, state, args),
        Command::Doctor(args) => doctor::command(ui, state, args),
        Command::Run(args) => run::command(ui, state, args),
        Command::Status => ask::status(ui, state),
        Command::Explain => ask::explain(ui, state),
        Command::Earnings { node, registry } => {
            earnings::command(ui, state, node.as_deref(), registry)
        }
        Command::Late { registry } => late::list(ui, state, registry),
        Command::ClaimLate(args) => late::claim(ui, state, args),
        Command::Pause { device } => ask::pause(ui, state, device.as_deref(), true),
        Command::Resume { device } => ask::pause(ui, state, device.as_deref(), false),
        Command::Drain { no_wait } => ask::drain(ui, state, *no_wait),
    }
}
