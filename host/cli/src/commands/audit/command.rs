//! The arguments of `adit audit`, its progress, and what it prints.

use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::log::note;
use adit_runtime::engine::Target;
use adit_runtime::state::Events;
use adit_runtime::worker::device::DeviceChoice;
use rand_core::{OsRng, RngCore as _};

use super::execution::{Replayer, Worker};
use super::report::{Check, Report, SUBJECTS, result, subject};
use super::{Asked, Observer, Stop, audit, html, rewards};
use crate::amounts;
use crate::commands::run::watch::Interrupt;
use crate::error::{Exit, Failure};
use crate::evidence::source::{Source, networks};
use crate::input::read_file;
use crate::scratch::Scratch;
use crate::state::{State, write_file};
use crate::text::{count, one_line};
use crate::ui::{ProgressLine, Ui};

/// Receipts that are run again, unless another number is asked for.
const SAMPLE: u64 = 10;
/// Faults and replays that are printed, of each; all are in the JSON and on the page.
const PRINTED_MAX: usize = 20;

/// Options of `adit audit`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    rewards: Option<Command>,
    #[command(flatten)]
    source: SourceArgs,
    /// The certificate authority of the coordinator's certificate, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Run this many receipts again, chosen at random [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    sample: Option<u64>,
    /// Run all receipts again
    #[arg(long)]
    all: bool,
    /// Choose the receipts by this number, as an earlier audit did [default: a random one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Also write what was found as a page for people
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A checkpoint that was kept from before: the log must go on from it
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The network file that you have from elsewhere; may be repeated for earlier versions
    #[arg(long = "network", value_name = "FILE")]
    networks: Vec<PathBuf>,
}

/// What else can be audited.
#[derive(clap::Subcommand)]
enum Command {
    /// Compute the rewards of a network again, from nothing but public logs: every settlement since
    /// the beginning
    Rewards(rewards::Args),
}

/// Where a log is read from.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// Address of the coordinator, as https://host:port, or `dev` for the `adit dev` that runs here
    #[arg(value_name = "URL|dev")]
    url: Option<String>,
    /// A bundle in place of an address: nothing is asked for over a network
    #[arg(long, value_name = "BUNDLE")]
    offline: Option<PathBuf>,
}

/// `adit audit URL` and `adit audit --offline BUNDLE`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    if let Some(Command::Rewards(args)) = &args.rewards {
        return rewards::command(ui, state, args);
    }
    let source = match (&args.source.url, &args.source.offline) {
        (Some(url), _) => Source::at(url, args.ca.as_deref())?,
        (None, Some(path)) => Source::bundle(path)?,
        (None, None) => {
            return Failure::argument("there is nothing to audit")
                .why("neither an address nor a bundle was given")
                .hint("give the address of a coordinator, or --offline BUNDLE")
                .into_err();
        }
    };
    if let Some(path) = &args.report {
        check_folder(path)?;
    }
    let asked = Asked {
        networks: networks(&args.networks, args.source.url.as_deref())?,
        kept: match &args.from {
            Some(path) => Some(read_file(path, note::MAX_LEN as u64, "the checkpoint")?),
            None => None,
        },
        sample: match args.all {
            true => None,
            false => Some(args.sample.unwrap_or(SAMPLE)),
        },
        seed: args.seed.unwrap_or_else(|| OsRng.next_u64()),
        now_ms: amounts::now_ns() / 1_000_000,
    };
    let interrupt = Interrupt::install()?;
    let mut progress = Progress {
        line: ProgressLine::new(ui.shows_progress()),
        interrupt: interrupt.clone(),
    };
    // For the blobs of the receipts that are run again.
    let mut scratch = None;
    let mut replayer = || worker(state, &interrupt, &mut scratch);
    let audited = audit(source.evidence(), &asked, &mut replayer, &mut progress);
    progress.line.clear();
    let report = match audited {
        Ok(report) => report,
        Err(Stop::Interrupted(exit)) => {
            return Failure::new(Code::Cancelled, "the audit was interrupted")
                .why("it was not finished, and nothing of it was written")
                .hint("start it again")
                .exit(exit)
                .into_err();
        }
        Err(Stop::Failed(error)) => return Err(error.context("the audit could not be made")),
    };
    if let Some(path) = &args.report {
        write_file(path, html::page(&report).as_bytes(), 0o644)?;
        ui.note(format!("the report is in {}", path.display()));
    }
    match ui.json {
        true => ui.object(&report.as_json())?,
        false => print(ui, &report)?,
    }
    Ok(report.exit())
}

/// Refuses a place for the report that cannot be one before the work, and not after it.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
        return Failure::argument(format!("the report cannot go to {}", path.display()))
            .why("it is a folder, or in a folder that does not exist")
            .hint("name a file in a folder that exists")
            .into_err();
    }
    Ok(())
}

/// A worker with a store of its own, which is there as long as `scratch` lives.
fn worker(
    state: &State,
    interrupt: &Interrupt,
    scratch: &mut Option<Scratch>,
) -> anyhow::Result<Box<dyn Replayer>> {
    let made = Scratch::new(state)?;
    let blobs = made.blobs().clone();
    *scratch = Some(made);
    Ok(Box::new(Worker {
        supervisor: state.supervisor(&blobs, Target::Processor, &DeviceChoice::Embedded, 1)?,
        blobs,
        reports: state.reports()?,
        events: Box::new(Quiet(interrupt.clone())),
    }))
}

/// Shows nothing of a run, and ends it when the audit is interrupted.
struct Quiet(Interrupt);

impl Events for Quiet {
    fn progress(&mut self, _: u64, _: u64, _: &str) {}

    fn output(&mut self, _: &[u8]) {}

    fn log(&mut self, _: &[u8]) {}

    fn cancelled(&self) -> bool {
        self.0.happened().is_some()
    }
}

struct Progress {
    line: ProgressLine,
    interrupt: Interrupt,
}

impl Observer for Progress {
    fn progress(&mut self, done: u64, total: u64, what: &str) -> Result<(), Stop> {
        self.line.show(done, total, what);
        match self.interrupt.happened() {
            Some(exit) => Err(Stop::Interrupted(exit)),
            None => Ok(()),
        }
    }
}

fn print(ui: &Ui, report: &Report) -> anyhow::Result<()> {
    if let Some(log) = &report.subject {
        let kind = match log.development {
            true => ", for development",
            false => "",
        };
        ui.line(format!(
            "network      {} ({}{kind})",
            log.genesis,
            one_line(&log.network)
        ))?;
        ui.line(format!("coordinator  {}", log.coordinator))?;
        ui.line(format!(
            "log          {} with root {}",
            count(log.size, "entry").replace("entrys", "entries"),
            log.root
        ))?;
        ui.line("")?;
    }
    for check in &report.checks {
        ui.line(line(check))?;
    }
    findings(ui, report)?;
    replays(ui, report)?;
    ui.line("")?;
    ui.line(report.verdict())
}

fn line(check: &Check) -> String {
    let (word, why) = result(&check.outcome);
    let subject = subject(check.id).unwrap_or(&SUBJECTS[0]);
    let number = check.count.map(|n| format!(" ({n})")).unwrap_or_default();
    let why = why.map(|why| format!(": {}", one_line(why)));
    format!(
        "{:<13}  level {}  {}{number}{}",
        word.replace('-', " "),
        subject.level,
        subject.title,
        why.unwrap_or_default()
    )
}

fn findings(ui: &Ui, report: &Report) -> anyhow::Result<()> {
    let found = &report.findings;
    for finding in found.list_faults().take(PRINTED_MAX) {
        ui.line("")?;
        let leaf = finding.leaf.map(|leaf| format!(" at leaf {leaf}"));
        ui.line(format!(
            "fault{}: {}: {}",
            leaf.unwrap_or_default(),
            finding.kind,
            one_line(&finding.what)
        ))?;
        for (name, id) in &finding.about {
            ui.line(format!("  {name:<11} {}", one_line(id)))?;
        }
        ui.line(format!("  meaning     {}", finding.meaning))?;
        ui.line(format!("  re-check    {}", one_line(&finding.recheck)))?;
    }
    for (kind, notices) in found.list_notices() {
        let (number, first) = (notices.len() as u64, notices.first());
        let leaf = first.and_then(|finding| finding.leaf);
        ui.line("")?;
        ui.line(format!(
            "{}: {kind}{}",
            count(number, "notice"),
            leaf.map(|leaf| format!(", the first at leaf {leaf}"))
                .unwrap_or_default()
        ))?;
        let meaning = first.map_or("", |finding| finding.meaning);
        ui.line(format!("  meaning     {meaning}"))?;
    }
    let faults = found.list_faults().count().saturating_sub(PRINTED_MAX) as u64;
    if faults.saturating_add(report.left_out()) > 0 {
        ui.line("")?;
        ui.line("there is more; --json and --report list it")?;
    }
    Ok(())
}

fn replays(ui: &Ui, report: &Report) -> anyhow::Result<()> {
    let sample = &report.sample;
    if sample.replayed.is_empty() {
        return Ok(());
    }
    ui.line("")?;
    ui.line(format!(
        "run again: {} of {} receipts that can be, chosen with --seed {}",
        sample.replayed.len(),
        sample.eligible,
        sample.seed
    ))?;
    for replayed in sample.replayed.iter().take(PRINTED_MAX) {
        let why = replayed.reason.as_deref().map(one_line);
        ui.line(format!(
            "{:<13}  leaf {:<8} {}{}",
            replayed.result.replace('-', " "),
            replayed.leaf,
            replayed.receipt,
            why.map(|why| format!(": {why}")).unwrap_or_default()
        ))?;
    }
    Ok(())
}
