//! `adit man`: the manual pages, made from the same descriptions as `--help`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::error::Exit;
use crate::state::write_file;
use crate::ui::Ui;

/// Options of `adit man`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the pages, which is made if need be
    folder: PathBuf,
}

/// Writes a page for `command` and one for each of its commands, and says which.
pub fn command(ui: &Ui, args: &Args, mut command: clap::Command) -> anyhow::Result<Exit> {
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("the folder {} cannot be made", args.folder.display()))?;
    // Passes the options of every command on, so that each page names them.
    command.build();
    let mut pages = Vec::new();
    add(&command, "", &mut pages)?;
    for (name, page) in &pages {
        write_file(&args.folder.join(name), page, 0o644)?;
    }
    if ui.json {
        let names: Vec<_> = pages.iter().map(|(name, _)| name).collect();
        ui.object(&serde_json::json!({ "pages": names }))?;
    } else {
        ui.note(format!(
            "{} pages in {}",
            pages.len(),
            args.folder.display()
        ));
    }
    Ok(Exit::Ok)
}

fn add(
    command: &clap::Command,
    prefix: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> anyhow::Result<()> {
    let name = match prefix {
        "" => command.get_name().to_owned(),
        _ => format!("{prefix}-{}", command.get_name()),
    };
    let mut page = Vec::new();
    // A page's name has to be its title; clap would take the last word of it.
    let named = command.clone().name(&name).display_name(&name);
    clap_mangen::Man::new(named)
        .render(&mut page)
        .context("a manual page cannot be made")?;
    pages.push((format!("{name}.1"), page));
    for child in command.get_subcommands() {
        if child.get_name() != "help" && !child.is_hide_set() {
            add(child, &name, pages)?;
        }
    }
    Ok(())
}
