//! `adit log mirror`.

use std::path::Path;

use adit_net::log::{Mirror, MirrorError};
use serde_json::json;

use super::check::{describe, newest};
use super::failure::of_mirror;
use super::place::LogArgs;
use super::watch::keep_fork;
use crate::error::{Exit, Failure};
use crate::remote::block_on;
use crate::text::grouped;
use crate::ui::{ProgressLine, Ui};

/// `adit log mirror`.
pub fn command(ui: &Ui, args: &LogArgs, folder: &Path) -> anyhow::Result<Exit> {
    let mut progress = ProgressLine::new(ui.shows_progress());
    let done = block_on(async {
        let log = args.find(ui).await?;
        let trusted = newest(&log).await?;
        let size = trusted.checkpoint.size;
        let described = describe(&log, &trusted);
        let what = || format!("the mirror {}", folder.display());
        let mirror = Mirror::open(folder, log.reader.trust());
        let mut mirror = mirror.map_err(|error| of_mirror(what(), &error))?;
        let each = |bundle: &adit_net::log::Bundle, _: usize| {
            progress.show(bundle.tile.start(), size, "entries");
        };
        let updated = mirror.update_to(&log.reader, trusted, each).await;
        progress.clear();
        match updated {
            Ok(updated) => Ok((updated, described)),
            Err(error @ MirrorError::Forked { .. }) => Err(forked(ui, folder, &error)?.into()),
            Err(error) => Err(of_mirror(what(), &error).into()),
        }
    });
    progress.clear();
    let (updated, mut described) = match done? {
        Ok(done) => done,
        Err(exit) => return Ok(exit),
    };
    let size = updated.checkpoint.size;
    if ui.json {
        described["size"] = json!(size);
        described["root"] = json!(updated.checkpoint.root);
        described["size_before"] = json!(updated.old);
        described["folder"] = json!(folder);
        ui.object(&described)?;
    } else {
        ui.line(format!(
            "{} entries, {} of them new",
            grouped(size),
            grouped(size.saturating_sub(updated.old))
        ))?;
    }
    Ok(Exit::Ok)
}

/// Keeps the two checkpoints beside the mirror.
fn forked(ui: &Ui, folder: &Path, error: &MirrorError) -> anyhow::Result<Failure> {
    if let MirrorError::Forked { old, new, .. } = error {
        keep_fork(ui, folder, old, new)?;
    }
    let what = format!("the mirror {} was not changed", folder.display());
    Ok(of_mirror(what, error))
}
