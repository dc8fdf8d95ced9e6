//! `adit log fsck`: the files of a log at rest.

use std::path::{Path, PathBuf};

use adit_coordinator::store::journal;
use adit_net::log::{CHECKPOINT, Sound, Trust, fsck, fsck_state};
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::note;
use serde_json::json;

use super::failure::{of_log, of_mirror};
use super::place::{key_for, log_key};
use crate::commands::network;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::State;
use crate::text::grouped;
use crate::ui::{ProgressLine, Ui};

/// Options of `adit log fsck`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of a log or a mirror [default: the coordinator of the state folder, with its
    /// database]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The log's verifier key, as NAME+ID+KEY
    #[arg(long, value_name = "KEY", conflicts_with = "network")]
    vkey: Option<String>,
    /// The network file [default: that of the coordinator of the state folder]
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
}

/// `adit log fsck`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let mut line = ProgressLine::new(ui.shows_progress());
    let mut progress = |done, size| line.show(done, size, "entries");
    let (folder, checked, waiting) = match &args.folder {
        Some(folder) => {
            let trust = Trust::log_alone(key(args, folder, None)?);
            let checked = fsck(folder, &trust, &mut progress);
            let what = format!("the log in {} is not in order", folder.display());
            let checked = checked.map_err(|error| of_mirror(what, &error));
            (folder.clone(), checked, 0)
        }
        None => {
            let coordinator = state.root()?.join("coordinator");
            let data = coordinator.join("data");
            let folder = data.join("log");
            let network = coordinator.join("network");
            let trust = Trust::log_alone(key(args, &folder, Some(&network))?);
            let database = data.join("coordinator.db");
            let checked = fsck_state(&database, &folder, &trust, &mut progress);
            let what = format!("the log in {} is not in order", data.display());
            let checked = checked.map_err(|error| of_log(what, &error))?;
            let found = journal::fsck(&data.join(journal::FILE), &database);
            let waiting = found.map_err(|error| {
                let what = format!("the journal in {} is not in order", data.display());
                Failure::from_error(what, &error).exit(Exit::Signature)
            })?;
            (folder, Ok(checked), waiting)
        }
    };
    line.clear();
    print(ui, &folder, &checked?, waiting)?;
    Ok(Exit::Ok)
}

/// The log's key. `own` is the network file of the coordinator whose state it is.
fn key(args: &Args, folder: &Path, own: Option<&Path>) -> anyhow::Result<NoteKey> {
    if let Some(vkey) = &args.vkey {
        return log_key(vkey);
    }
    let Some(path) = args
        .network
        .as_deref()
        .or(own.filter(|path| path.is_file()))
    else {
        return Failure::argument(format!("the log in {} cannot be checked", folder.display()))
            .why("a folder does not say whose keys are right")
            .hint("give --network FILE or --vkey KEY")
            .into_err();
    };
    let (file, _) = network::read(path)?;
    let members = file.verify().map_err(|error| {
        Failure::from_error(
            format!("the network file {} cannot be used", path.display()),
            &error,
        )
        .exit(Exit::Signature)
    })?;
    let max = note::MAX_LEN as u64;
    let checkpoint = read_file(&folder.join(CHECKPOINT), max, "the checkpoint")?;
    key_for(&checkpoint, &members)
}

/// `batches` are those of a coordinator's journal that its tables lack.
fn print(ui: &Ui, folder: &Path, sound: &Sound, batches: u64) -> anyhow::Result<()> {
    let checkpoint = &sound.checkpoint;
    if ui.json {
        return ui.object(&json!({
            "folder": folder,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root,
            "waiting": sound.waiting,
            "batches": batches,
            "outdated_folders": sound.stale,
            "ok": true,
        }));
    }
    ui.line(format!("log      {}", checkpoint.origin))?;
    ui.line(format!("size     {}", grouped(checkpoint.size)))?;
    ui.line(format!("root     {}", checkpoint.root))?;
    if sound.waiting > 0 {
        ui.line(format!("waiting  {}", grouped(sound.waiting)))?;
    }
    if batches > 0 {
        let batches = grouped(batches);
        ui.line(format!(
            "journal  {batches} batches, which are applied at the next start"
        ))?;
    }
    ui.line("ok: every entry, tile and signature holds")
}
