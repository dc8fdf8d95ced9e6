//! `adit log checkpoint` and `adit log check`.

use std::collections::BTreeMap;
use std::path::Path;

use adit_net::log::{LogReader, ReadLogError, TileSource, Trusted, WalkOptions};
use adit_protocol::codes::Code;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::note;
use adit_protocol::network::entry::Entry;
use serde_json::{Value, json};

use super::failure::of_read;
use super::place::{LogArgs, Named};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::remote::block_on;
use crate::text::grouped;
use crate::ui::{ProgressLine, Ui};

/// `adit log checkpoint`.
pub fn checkpoint(ui: &Ui, args: &LogArgs) -> anyhow::Result<Exit> {
    let read = block_on(async {
        let log = args.find(ui).await?;
        let trusted = newest(&log).await?;
        Ok((log, trusted))
    })?;
    let (log, trusted) = match read {
        Ok(read) => read,
        Err(exit) => return Ok(exit),
    };
    match ui.json {
        true => {
            let mut object = describe(&log, &trusted);
            object["note"] = json!(trusted.signed.to_string());
            ui.object(&object)?;
        }
        // As it is kept for `--from`.
        false => ui.bytes(trusted.signed.to_string().as_bytes())?,
    }
    Ok(Exit::Ok)
}

/// The newest checkpoint.
///
/// # Errors
///
/// When it cannot be had, or does not hold.
pub async fn newest(log: &Named) -> anyhow::Result<Trusted> {
    let trusted = log.reader.checkpoint().await;
    Ok(trusted.map_err(|error| of_read(format!("the checkpoint of {}", log.shown), &error))?)
}

/// A checkpoint, for JSON.
pub fn describe(log: &Named, trusted: &Trusted) -> Value {
    let Checkpoint { origin, size, root } = &trusted.checkpoint;
    let cosigned = trusted
        .cosigned
        .iter()
        .map(|(name, cosignature)| json!({ "name": name, "time_s": cosignature.time_s }));
    json!({
        "origin": origin,
        "size": size,
        "root": root,
        "cosigned": cosigned.collect::<Vec<_>>(),
        "vkey": log.reader.trust().log.to_string(),
        "key_known_by": log.known_by.word(),
    })
}

/// What the entries of a log are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kinds(BTreeMap<&'static str, u64>);

impl Kinds {
    /// Counts an entry.
    ///
    /// # Errors
    ///
    /// When it is none.
    fn count(&mut self, leaf: u64, bytes: &[u8]) -> Result<(), Failure> {
        let entry = Entry::decode(bytes).map_err(|error| {
            Failure::new(
                Code::BadEncoding,
                format!("entry {leaf} is none that a coordinator writes"),
            )
            .because(error)
            .exit(Exit::Signature)
        })?;
        let kind = match entry {
            Entry::Receipt(_) => "receipts",
            Entry::Verdict(_) => "verdicts",
            Entry::Roster(_) => "rosters",
            Entry::Expiry(_) => "expiries",
            Entry::Cancel(_) => "cancels",
            Entry::Assignment(_) => "assignments",
        };
        *self.0.entry(kind).or_default() += 1;
        Ok(())
    }
}

/// `adit log check`.
pub fn check(ui: &Ui, args: &LogArgs, from: Option<&Path>) -> anyhow::Result<Exit> {
    let from = match from {
        None => None,
        Some(path) => Some(read_file(path, note::MAX_LEN as u64, "the checkpoint")?),
    };
    let mut progress = ProgressLine::new(ui.shows_progress());
    let checked = block_on(async {
        let log = args.find(ui).await?;
        let trusted = newest(&log).await?;
        let old = match &from {
            None => None,
            Some(bytes) => Some(continues(&log.reader, bytes, &trusted).await?),
        };
        let kinds = entries(&log.reader, &trusted.checkpoint, &mut progress).await;
        Ok((log, trusted, old, kinds))
    });
    progress.clear();
    let (log, trusted, old, kinds) = match checked? {
        Ok(checked) => checked,
        Err(exit) => return Ok(exit),
    };
    let kinds = kinds?;
    print(ui, &log, &trusted, old.as_ref(), &kinds)?;
    Ok(Exit::Ok)
}

/// Checks that the log goes on from a checkpoint that was kept.
async fn continues<S: TileSource>(
    reader: &LogReader<S>,
    kept: &[u8],
    new: &Trusted,
) -> anyhow::Result<Checkpoint> {
    let what = "the kept checkpoint cannot be used";
    let old = SignedCheckpoint::parse(kept).map_err(|error| of_read(what, &error.into()))?;
    let old = old.verify(&reader.trust().log);
    let old = old.map_err(|error| of_read(what, &error.into()))?.clone();
    compare(reader, &old, &new.checkpoint).await?;
    Ok(old)
}

/// Checks that one checkpoint continues another, both signed by the log.
///
/// # Errors
///
/// When it does not, or that cannot be found out.
pub async fn compare<S: TileSource>(
    reader: &LogReader<S>,
    old: &Checkpoint,
    new: &Checkpoint,
) -> Result<(), Failure> {
    let forked = |why: String| {
        Failure::new(Code::LogForked, "the log has shown two histories")
            .because(why)
            .exit(Exit::Proof)
    };
    if new.size < old.size {
        return Err(forked(format!(
            "it had {} entries and shows {} now; hint: keep the older checkpoint as evidence; ask again, since a server that lags behind shows this too",
            old.size, new.size
        )));
    }
    match reader.consistency(old, new).await {
        Ok(_) => Ok(()),
        Err(error @ ReadLogError::Proof { .. }) => Err(forked(error.to_string())),
        Err(error) => Err(of_read("the log could not be compared with before", &error)),
    }
}

/// Reads all entries.
async fn entries<S: TileSource>(
    reader: &LogReader<S>,
    checkpoint: &Checkpoint,
    progress: &mut ProgressLine,
) -> anyhow::Result<Kinds> {
    let what = || "the log's entries do not hold".to_owned();
    let mut kinds = Kinds::default();
    let options = WalkOptions {
        check_tiles: true,
        local: None,
    };
    let size = checkpoint.size;
    let walk = reader.walk(checkpoint, 0..size, options).await;
    let mut walk = walk.map_err(|error| of_read(what(), &error))?;
    while let Some(bundle) = walk.next().await.map_err(|error| of_read(what(), &error))? {
        for (leaf, bytes) in bundle.entries() {
            kinds.count(leaf, bytes)?;
        }
        let done = bundle.tile.start() + u64::from(bundle.tile.width());
        progress.show(done, size, "entries");
    }
    Ok(kinds)
}

fn print(
    ui: &Ui,
    log: &Named,
    trusted: &Trusted,
    old: Option<&Checkpoint>,
    kinds: &Kinds,
) -> anyhow::Result<()> {
    if ui.json {
        let mut object = describe(log, trusted);
        object["entries"] = json!(kinds.0);
        object["from"] = json!(old.map(|old| json!({ "size": old.size, "root": old.root })));
        object["ok"] = json!(true);
        return ui.object(&object);
    }
    let Checkpoint { origin, size, root } = &trusted.checkpoint;
    ui.line(format!("log        {origin}"))?;
    ui.line(format!("size       {}", grouped(*size)))?;
    ui.line(format!("root       {root}"))?;
    for (kind, count) in &kinds.0 {
        ui.line(format!("{kind:<10} {}", grouped(*count)))?;
    }
    for (name, cosignature) in &trusted.cosigned {
        let when = crate::text::date_ms(cosignature.time_s.saturating_mul(1000));
        ui.line(format!("cosigned   {name} at {when}"))?;
    }
    if let Some(old) = old {
        ui.line(format!("continues  {} entries", grouped(old.size)))?;
    }
    ui.line("ok: every entry, tile and signature holds")
}
