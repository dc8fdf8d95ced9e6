//! `adit new`: a project for a task, with all that it needs to be built.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::error::{Exit, Failure};
use crate::project::contract::{self, write};
use crate::project::{Language, bad_name, check_name};
use crate::ui::Ui;

mod templates;

/// Options of `adit new`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the project; its last part is the project's name
    path: PathBuf,
    /// The language of the task
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
}

/// `adit new NAME`.
pub fn command(ui: &Ui, args: &Args) -> anyhow::Result<Exit> {
    let folder = &args.path;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let checked = check_name(name).and_then(|()| match args.lang {
        Language::Rust => check_crate_name(name),
        _ => Ok(()),
    });
    if let Err(why) = checked {
        return bad_name(name, why).into_err();
    }
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || folder.is_file() {
        return Failure::argument(format!("{} cannot be made", folder.display()))
            .why("there is something of that name")
            .hint("choose another name; nothing is ever overwritten")
            .into_err();
    }
    let template = templates::of(args.lang);
    for (path, text) in template.files {
        let text = text
            .replace("{name}", name)
            .replace("{crate}", &name.replace('-', "_"))
            .replace("{lang}", &args.lang.to_string());
        write(&folder.join(path), &text)?;
    }
    contract::update(folder, args.lang)?;
    if ui.json {
        ui.object(&json!({ "project": folder, "name": name, "lang": args.lang.to_string() }))?;
    } else {
        let shown = folder.display();
        ui.line(format!("{shown}"))?;
        ui.note(format!("a task in {shown}/{}; now:", template.source));
        ui.note(format!("  cd {shown}"));
        for (command, what) in template.steps {
            ui.note(format!("  {command:<32} # {what}"));
        }
    }
    Ok(Exit::Ok)
}

/// Checks what Rust takes as the name of a crate beyond [`check_name`].
fn check_crate_name(name: &str) -> Result<(), &'static str> {
    const TAKEN: [&str; 9] = [
        "test",
        "core",
        "std",
        "alloc",
        "proc-macro",
        "proc_macro",
        "adit-sdk",
        "adit_sdk",
        "build",
    ];
    if TAKEN.contains(&name) || is_keyword(name) {
        return Err("Rust or the SDK use it themselves");
    }
    Ok(())
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &str = " abstract as async await become box break const continue crate do dyn \
        else enum extern false final fn for gen if impl in let loop macro match mod move mut \
        override priv pub ref return self static struct super trait true try type typeof unsafe \
        unsized use virtual where while yield ";
    KEYWORDS.contains(&format!(" {name} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates() {
        check_crate_name("word-stats").unwrap();
        for bad in ["fn", "std", "proc-macro"] {
            assert!(check_crate_name(bad).is_err(), "{bad}");
        }
    }
}
