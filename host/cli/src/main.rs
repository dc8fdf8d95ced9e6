//! `adit`: build, run, inspect, verify and replay tasks.
//!
//! | module | subject |
//! |---|---|
//! | [`commands`] | one module for each command |
//! | [`error`] | what went wrong, for people and programs, and the exit codes |
//! | [`ui`], [`text`] | what is printed, and how figures are written |
//! | [`state`], [`journal`], [`received`], [`scratch`] | the state folder: blobs, key, receipts |
//! | [`evidence`] | what an audit reads: a coordinator's log, and what belongs to it |
//! | [`keyring`] | the keys that arguments name |
//! | [`ledger`] | registries: where they are, how transactions are handed in, what names stand for |
//! | [`oci`], [`supply`] | components and models that are not on this machine |
//! | [`logging`] | what nodes say while they run |
//! | [`project`] | what a project folder is, and what it holds of the contract |
//! | [`device`], [`known`], [`config`] | where inference runs, what was measured of it, and the configuration file |
//! | [`order`], [`input`], [`models`], [`component`], [`amounts`] | what the command line names |
//! | [`remote`] | coordinators: where they are, what they are asked, whether their answers hold |
//!
//! stdout holds results and nothing else; everything else goes to stderr.

mod amounts;
mod commands;
mod component;
mod config;
mod device;
mod error;
mod evidence;
mod input;
mod journal;
mod keyring;
mod known;
mod ledger;
mod logging;
mod models;
mod oci;
mod order;
mod project;
mod received;
mod remote;
mod scratch;
mod state;
mod supply;
mod text;
mod ui;

use std::path::PathBuf;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use commands::{
    account, audit, bench, build, bundle, checker, components, coordinator, dev, doctor, explain,
    faucet, gov, inspect, key, log, man, miner, network, new, node, publish, receipt, register,
    registry, report, run, stake, task,
};
use error::{Exit, Report};
use state::State;
use ui::Ui;

/// Run sandboxed WebAssembly tasks, and check what others ran.
///
/// A task is a WebAssembly component: a function from bytes to bytes, or an ordinary program.
/// Each run leaves a signed receipt of 520 bytes, which anyone can verify, and replay bit for bit.
#[derive(Parser)]
#[command(name = "adit", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 something you can fix, 2 unexpected, 3 bad signature \
or encoding, 4 bad proof, 5 a replay diverged, 6 could not be checked.";

/// Options of every command.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Globals {
    /// Print the result as one JSON object, errors as one on stderr
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more on stderr
    #[arg(short = 'v', long, global = true)]
    verbose: bool,
    /// Folder for blobs, receipts and the local key [default: adit in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new project for a task, in Rust, Python, JavaScript or C
    New(new::Args),
    /// Build a project into a component, or adapt a core module
    Build(build::Args),
    /// Run a component in the sandbox and keep a receipt
    Run(run::Args),
    /// Run a whole network on this machine, for development
    Dev(dev::Args),
    /// Have tasks run by a network, and see what becomes of them
    #[command(subcommand)]
    Task(task::Command),
    /// Upload a component and models, so that tasks can name them by their hashes, or by a name
    Publish(publish::Args),
    /// Search a network's components, mark versions of your own, and hand names over
    #[command(subcommand)]
    Component(components::Command),
    /// Find the devices of this machine, and whether they compute models rightly
    Doctor(doctor::Args),
    /// Measure this machine, and sign what was measured
    Bench(bench::Args),
    /// Show what a component, model, document, receipt or this engine is, without running it
    Inspect(inspect::Args),
    /// Check a coordinator's log, all of it, and run some of its tasks again
    Audit(audit::command::Args),
    /// Write a coordinator's log with all that an audit needs into one file, or read such a file
    #[command(subcommand)]
    Bundle(bundle::Command),
    /// Show, verify, replay and compare receipts
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// Run tasks of a network for pay: set up, check, run and ask a miner
    #[command(subcommand)]
    Miner(miner::Command),
    /// Make, show and use keys
    #[command(subcommand)]
    Key(key::Command),
    /// Set up and run a coordinator: it takes tasks, draws miners, and keeps the log of receipts
    #[command(subcommand)]
    Coordinator(coordinator::Command),
    /// Take tokens from the faucet of a network for tests
    Faucet(faucet::Args),
    /// Show what an account has and did, and send tokens
    #[command(subcommand)]
    Account(account::Command),
    /// Stake tokens, and vote for nodes with them
    #[command(subcommand)]
    Stake(stake::Command),
    /// Propose changes of a network's rules, and vote on them
    #[command(subcommand)]
    Gov(gov::Command),
    /// Register a node: a miner, a coordinator or a checker
    Register(register::Args),
    /// List the nodes of a network, and change your own
    #[command(subcommand)]
    Node(node::Command),
    /// Report misdeeds of nodes, with what proves them or for checkers to judge
    #[command(subcommand)]
    Report(report::Command),
    /// Judge reports as a checker
    #[command(subcommand)]
    Checker(checker::Command),
    /// Make and run a network's registry, and check one from its log alone
    #[command(subcommand)]
    Registry(registry::Command),
    /// Make, show and edit network files: what a network is, and who takes part in it
    #[command(subcommand)]
    Network(network::Command),
    /// Read, check, watch, mirror and witness the logs of coordinators
    #[command(subcommand)]
    Log(log::Command),
    /// Explain a code, as `out-of-fuel`; without one, list them all
    Explain(explain::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages to a folder
    Man(man::Args),
}

fn main() {
    // A worker is this same program: it must become one before it does anything else.
    if let Some(code) = adit_runtime::worker::main_if_worker(std::env::args_os().skip(1)) {
        std::process::exit(code);
    }
    // A write over the limit on file sizes (ulimit -f) is an error like any other. A handler, not
    // "ignore", which workers would inherit.
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()) {
        ui::to_stderr(&format!("warning: SIGXFSZ cannot be handled: {error}\n"));
    }
    std::process::exit(real_main());
}

fn real_main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A command was begun and not finished: its help says how it goes on.
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Exit::Fixable.code();
        }
        Err(error) if error.use_stderr() => {
            let json = std::env::args_os()
                .take_while(|arg| arg != "--")
                .any(|arg| arg == "--json");
            return Report::usage(&error).print(json);
        }
        // Help and version, which were asked for.
        Err(error) => {
            let _ = error.print();
            return Exit::Ok.code();
        }
    };
    let json = cli.globals.json;
    match dispatch(cli) {
        Ok(exit) => exit.code(),
        Err(error) => Report::new(&error).print(json),
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Globals {
        json,
        quiet,
        verbose,
        state,
    } = cli.globals;
    let ui = Ui {
        json,
        quiet,
        verbose,
    };
    let chosen = state.clone();
    let state = State::at(state);
    match cli.command {
        Command::New(args) => new::command(&ui, &args),
        Command::Build(args) => build::command(&ui, &args),
        Command::Run(args) => run::command(&ui, &state, &args),
        Command::Dev(args) => dev::command(&ui, chosen, &args),
        Command::Task(command) => task::command(&ui, &state, &command),
        Command::Publish(args) => publish::command(&ui, &state, &args),
        Command::Component(command) => components::command(&ui, &state, &command),
        Command::Doctor(args) => doctor::command(&ui, &state, &args),
        Command::Bench(args) => bench::command(&ui, &state, &args),
        Command::Inspect(args) => inspect::command(&ui, &state, &args),
        Command::Audit(args) => audit::command::command(&ui, &state, &args),
        Command::Bundle(command) => bundle::command(&ui, &state, &command),
        Command::Receipt(command) => receipt::command(&ui, &state, &command),
        Command::Miner(command) => miner::command(&ui, &state, &command),
        Command::Key(command) => key::command(&ui, &state, &command),
        Command::Coordinator(command) => coordinator::command(&ui, &state, &command),
        Command::Faucet(args) => faucet::command(&ui, &state, &args),
        Command::Account(command) => account::command(&ui, &state, &command),
        Command::Stake(command) => stake::command(&ui, &state, &command),
        Command::Gov(command) => gov::command(&ui, &state, &command),
        Command::Register(args) => register::command(&ui, &state, &args),
        Command::Node(command) => node::command(&ui, &state, &command),
        Command::Report(command) => report::command(&ui, &state, &command),
        Command::Checker(command) => checker::command(&ui, &state, &command),
        Command::Registry(command) => registry::command(&ui, &state, &command),
        Command::Network(command) => network::command(&ui, &state, &command),
        Command::Log(command) => log::command(&ui, &state, &command),
        Command::Explain(args) => explain::command(&ui, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut command, "adit", &mut script);
            ui.bytes(&script)?;
            Ok(Exit::Ok)
        }
        Command::Man(args) => man::command(&ui, &args, <Cli as clap::CommandFactory>::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
