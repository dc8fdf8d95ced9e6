//! `adit bundle`: a coordinator's log and what belongs to it in one file.
//!
//! | part | subject |
//! |---|---|
//! | this file | arguments, progress, what is printed |
//! | [`export`] | makes one, without printing |
//! | [`import`] | takes blobs and receipts out of one |

mod export;
mod import;

use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use rand_core::{OsRng, RngCore as _};
use serde_json::json;

use crate::commands::audit::{Observer, Stop};
use crate::commands::run::watch::Interrupt;
use crate::error::{Exit, Failure};
use crate::evidence::source::{self, Source};
use crate::scratch::Scratch;
use crate::state::State;
use crate::text::{grouped, size};
use crate::ui::{ProgressLine, Ui};

/// The subcommands of `adit bundle`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Write a coordinator's log, and all public blobs that an audit needs, into one file
    Export {
        /// Address of the coordinator, as https://host:port; `dev` for the `adit dev` that runs
        /// here; or another bundle
        #[arg(value_name = "URL|dev|BUNDLE")]
        from: String,
        /// The file to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The certificate authority of the coordinator's certificate, in PEM, if it is one of your
        /// own
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// With the blobs for running only this many receipts again, chosen at random [default: all]
        #[arg(long, value_name = "N")]
        sample: Option<u64>,
        /// Choose those receipts by this number, which the audit is to be given too
        #[arg(long, value_name = "N", requires = "sample")]
        seed: Option<u64>,
    },
    /// Take receipts and blobs out of a bundle, so that `receipt replay ID` finds them
    Import {
        /// The bundle
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `adit bundle ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::install()?;
    let mut progress = Progress {
        line: ProgressLine::new(ui.shows_progress()),
        interrupt,
    };
    match command {
        Command::Export {
            from,
            file,
            ca,
            sample,
            seed,
        } => {
            let source = Source::named(from, ca.as_deref())?;
            let wanted = export::Wanted {
                sample: *sample,
                seed: seed.unwrap_or_else(|| OsRng.next_u64()),
            };
            write(ui, state, &source, file, &wanted, &mut progress)
        }
        Command::Import { file } => take(ui, state, file, &mut progress),
    }
}

fn write(
    ui: &Ui,
    state: &State,
    source: &Source,
    file: &Path,
    wanted: &export::Wanted,
    progress: &mut Progress,
) -> anyhow::Result<Exit> {
    let scratch = Scratch::new(state)?;
    let made = export::export(source.evidence(), file, wanted, scratch.blobs(), progress);
    progress.line.clear();
    let made = made.map_err(|stop| stopped("the bundle was not made", stop))?;
    if ui.json {
        ui.object(&json!({
            "bundle": file,
            "size_bytes": made.bytes,
            "entries": made.entries,
            "receipts": made.receipts,
            "receipts_with_blobs": made.opened,
            "blobs": made.blobs,
            "lacking": made.lacking,
            "seed": wanted.sample.map(|_| wanted.seed),
        }))?;
        return Ok(Exit::Ok);
    }
    ui.line(format!(
        "{}: {}, {} entries, {} receipts, of which {} can be run again, {} blobs",
        file.display(),
        size(made.bytes),
        grouped(made.entries),
        grouped(made.receipts),
        grouped(made.opened),
        grouped(made.blobs),
    ))?;
    if made.lacking > 0 {
        ui.note(format!(
            "note: {} blobs are not disclosed, or not there, and not in the bundle",
            grouped(made.lacking)
        ));
    }
    let seed = match wanted.sample {
        Some(n) => format!(" --sample {n} --seed {}", wanted.seed),
        None => String::new(),
    };
    ui.note(format!(
        "audit it anywhere: adit audit --offline {}{seed}",
        file.display()
    ));
    Ok(Exit::Ok)
}

fn take(ui: &Ui, state: &State, file: &Path, progress: &mut Progress) -> anyhow::Result<Exit> {
    let bundle = source::open(file)?;
    let taken = import::import(&bundle, &state.blobs()?, &state.received()?, progress);
    progress.line.clear();
    let what = format!("{} was not taken in", file.display());
    let taken = taken.map_err(|stop| stopped(&what, stop))?;
    if ui.json {
        ui.object(&json!({
            "bundle": file,
            "receipts": taken.receipts,
            "blobs": taken.blobs,
        }))?;
    } else {
        ui.line(format!(
            "{} receipts and {} blobs are in the state folder; `adit receipt replay ID` runs one again",
            grouped(taken.receipts),
            grouped(taken.blobs)
        ))?;
    }
    Ok(Exit::Ok)
}

fn stopped(what: &str, stop: Stop) -> anyhow::Error {
    match stop {
        Stop::Interrupted(exit) => Failure::new(Code::Cancelled, what)
            .why("it was interrupted")
            .hint("start it again")
            .exit(exit)
            .into(),
        Stop::Failed(error) => error.context(what.to_owned()),
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
