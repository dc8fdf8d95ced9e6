//! `adit log`: read, check, watch, mirror and witness the logs of coordinators.

use std::path::PathBuf;

use crate::error::Exit;
use crate::state::State;
use crate::ui::Ui;

mod check;
pub mod failure;
mod fsck;
mod mirror;
pub mod place;
mod watch;
mod witness;

use place::LogArgs;

/// The subcommands of `adit log`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Print a log's newest checkpoint, with its signatures checked
    Checkpoint(LogArgs),
    /// Fetch a log wholly, and check that it is what its checkpoint says
    Check(CheckArgs),
    /// Watch a log: each checkpoint must continue the one before, also over restarts
    Watch(watch::Args),
    /// Copy a log into a folder, or bring such a copy up to date
    Mirror(MirrorArgs),
    /// Check the files of a log that is at rest: a coordinator's own, or a mirror
    Fsck(fsck::Args),
    /// Be a witness, which cosigns what logs show
    #[command(subcommand)]
    Witness(witness::Command),
}

/// Options of `adit log check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    log: LogArgs,
    /// A checkpoint that was kept from before: the log must go on from it
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// Options of `adit log mirror`.
#[derive(clap::Args)]
pub struct MirrorArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The folder of the copy
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// `adit log ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Checkpoint(args) => check::checkpoint(ui, args),
        Command::Check(args) => check::check(ui, &args.log, args.from.as_deref()),
        Command::Watch(args) => watch::command(ui, state, args),
        Command::Mirror(args) => mirror::command(ui, &args.log, &args.folder),
        Command::Fsck(args) => fsck::command(ui, state, args),
        Command::Witness(command) => witness::command(ui, state, command),
    }
}
