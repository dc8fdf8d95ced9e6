//! `adit dev`: a whole network on this machine, for development.

use std::path::PathBuf;
use std::time::Duration;

use adit_devnet::faults::Faults;
use adit_devnet::{DevError, DevNet, Options, keys};
use adit_protocol::codes::Code;
use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Exit, Failure};
use crate::remote::discovery::{self, DevKey, DevMiner, Ports};
use crate::state::write_file;
use crate::text::hex;
use crate::ui::Ui;
use crate::{amounts, logging};

/// Options of `adit dev`.
#[derive(clap::Args)]
pub struct Args {
    /// Miners that are honest
    #[arg(long, value_name = "N", default_value_t = 3)]
    miners: u32,
    /// Runs that each miner makes at one time [default: as many as there are processors, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,
    /// Threads of one computation of a model
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Port of the coordinator [default: that of the last time with this --state, else any]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Add miners that cheat and a network that loses things, as
    /// seed=7,wrong-result=1,host-fault=1,silent=1,late=1,equivocate=1,drop=0.01
    #[arg(long, value_name = "LIST")]
    faults: Option<Faults>,
    /// Write address, token and keys to this file, as JSON, once everything is ready
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// How long tasks that run may take to end after Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = amounts::duration)]
    drain: Duration,
}

/// `adit dev`. `chosen` is the folder that `--state` names, if it was given.
pub fn command(ui: &Ui, chosen: Option<PathBuf>, args: &Args) -> anyhow::Result<Exit> {
    // Many nodes that all tell of their work would hide what matters.
    logging::start_with(ui, "warn");
    // Dropped at the end, and with it all that is in it.
    let mut temporary = None;
    let folder = match &chosen {
        Some(state) => state.join("dev"),
        None => {
            let folder = tempfile::Builder::new().prefix("adit-dev-").tempdir();
            let folder = folder.context("no temporary folder could be made")?;
            temporary.insert(folder).path().to_owned()
        }
    };
    let folder = match chosen {
        // A network file is named to other programs, which run elsewhere.
        Some(_) => std::path::absolute(&folder).context("the folder of the network")?,
        None => folder,
    };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let options = Options {
        folder,
        port: args.port.filter(|port| *port != 0),
        miners: args.miners,
        slots: args.slots.unwrap_or(u32::try_from(processors)?.clamp(2, 8)),
        threads: args.threads,
        faults: args.faults.clone().unwrap_or_default(),
        program: std::env::current_exe().context("this program cannot find its own file")?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dev")
        .build()
        .context("the threads of the network could not be started")?;
    let exit = runtime.block_on(serve(ui, &options, args, temporary.is_some()));
    drop(runtime);
    if let Some(folder) = temporary
        && let Err(error) = folder.close()
    {
        ui.note(format!(
            "the temporary folder could not be removed: {error}"
        ));
    }
    exit
}

async fn serve(ui: &Ui, options: &Options, args: &Args, temporary: bool) -> anyhow::Result<Exit> {
    let mut signals = Signals::new().context("signals cannot be caught")?;
    let net = tokio::select! {
        started = DevNet::start(options) => started.map_err(not_started)?,
        exit = signals.end() => return Ok(exit),
    };
    let ports = ports(&net)?;
    let announced = discovery::announce(&ports)?;
    if let Some(path) = &args.ports_file {
        // The token is in it.
        write_file(
            path,
            format!("{}\n", serde_json::to_string(&ports)?).as_bytes(),
            0o600,
        )?;
    }
    if ui.json {
        ui.object(&serde_json::to_value(&ports)?)?;
    }
    banner(ui, &ports, temporary);
    if announced.is_none() {
        ui.note("another `adit dev` runs, and stays the one that commands find by themselves: give them --to, or ADIT_COORDINATOR and ADIT_TOKEN");
    }
    tokio::select! {
        (code, why) = net.failed() => {
            drop(announced);
            net.shutdown(Duration::ZERO).await;
            let exit = match code {
                Code::Internal => Exit::Unexpected,
                _ => Exit::Fixable,
            };
            return Failure::new(code, "the network had to stop")
                .because(why)
                .exit(exit)
                .into_err();
        }
        _ = signals.end() => {}
    }
    // From now on nobody should find it.
    drop(announced);
    ui.note("no new tasks are taken; waiting for those that run (another Ctrl-C ends at once)");
    tokio::select! {
        all = net.shutdown(args.drain) => {
            if !all {
                ui.note("some tasks had not ended");
            }
        }
        _ = signals.end() => ui.note("ended at once: what was acknowledged is kept"),
    }
    Ok(Exit::Ok)
}

fn not_started(error: DevError) -> Failure {
    let exit = match error.code() {
        Code::Internal => Exit::Unexpected,
        _ => Exit::Fixable,
    };
    Failure::new(error.code(), "the development network could not be started")
        .because(error)
        .exit(exit)
}

fn ports(net: &DevNet) -> anyhow::Result<Ports> {
    let miners = net.miners().iter().map(|miner| DevMiner {
        node: hex(&miner.handle().node()),
        fault: miner.fault().map(|fault| fault.to_string()),
    });
    let keys = keys::accounts()?.into_iter().map(|account| DevKey {
        uri: account.uri.to_owned(),
        public: hex(&account.keypair.public().to_bytes()),
        address: account.address,
    });
    Ok(Ports {
        url: net.url().to_owned(),
        token: net.token().to_owned(),
        registry: net.registry(),
        witness: net.witness(),
        network: net.network_file(),
        pid: std::process::id(),
        state: net.folder().to_owned(),
        miners: miners.collect(),
        keys: keys.collect(),
    })
}

fn banner(ui: &Ui, ports: &Ports, temporary: bool) {
    let state = match temporary {
        true => "temporary, removed at the end; --state DIR keeps it".to_owned(),
        false => ports.state.display().to_string(),
    };
    ui.note("A development network runs on this machine.");
    ui.note(format!("  coordinator  {}", ports.url));
    ui.note(format!("  registry     {}", ports.registry));
    ui.note(format!("  witness      {}", ports.witness));
    ui.note(format!("  token        {}", ports.token));
    ui.note(format!("  network      {}", ports.network.display()));
    ui.note(format!("  state        {state}"));
    for (number, miner) in ports.miners.iter().enumerate() {
        let cheats = match &miner.fault {
            None => String::new(),
            Some(fault) => format!("  cheats: {fault}"),
        };
        ui.note(format!("  miner {number:<6} {}{cheats}", miner.node));
    }
    ui.note("Accounts whose keys everyone has; never use them on another network:");
    for key in &ports.keys {
        ui.note(format!("  {:<12} {}", key.uri, key.address));
    }
    ui.note("What to type next, in another terminal:");
    ui.note("  adit task submit COMPONENT.wasm --input FILE");
    ui.note("  adit task list");
    ui.note("  adit task explain last --verify");
    ui.note("  adit node list");
    ui.note("  adit account show //Alice");
    ui.note("Ctrl-C ends it.");
}

/// The signals that end the network.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next one.
    async fn end(&mut self) -> Exit {
        tokio::select! {
            _ = self.terminate.recv() => Exit::Interrupted(signal_hook::consts::SIGTERM),
            _ = self.interrupt.recv() => Exit::Interrupted(signal_hook::consts::SIGINT),
        }
    }
}
