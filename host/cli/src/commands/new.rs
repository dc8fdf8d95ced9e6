//! `adit new`: a project for a task, with the SDK's sources beside it.

use std::fs;
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use anyhow::Context as _;
use serde_json::json;

use crate::error::{Exit, Failure};
use crate::text::one_line;
use crate::ui::Ui;

/// The SDK and the WIT packages of this build: names relative to the repository, and contents.
const SDK_FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// Where they go in a project.
const SDK_FOLDER: &str = ".adit/sdk";

/// The files of a new project; `{name}` stands for its name, `{crate}` for that of its library.
const TEMPLATE: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("new/lib.rs.txt")),
    ("README.md", include_str!("new/README.md.txt")),
    (".gitignore", include_str!("new/gitignore.txt")),
    ("numbers.txt", include_str!("new/numbers.txt")),
];

/// Options of `adit new`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the project; its last part is the project's name
    path: PathBuf,
    /// The language of the task
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Language {
    /// Rust, with adit-sdk
    Rust,
}

/// `adit new NAME`.
pub fn command(ui: &Ui, args: &Args) -> anyhow::Result<Exit> {
    let Language::Rust = args.lang;
    let folder = &args.path;
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    check_name(name)?;
    let occupied = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || folder.is_file() {
        return Failure::argument(format!("{} cannot be made", folder.display()))
            .why("there is something of that name")
            .hint("choose another name; nothing is ever overwritten")
            .into_err();
    }
    for (path, text) in TEMPLATE {
        let text = text
            .replace("{name}", name)
            .replace("{crate}", &name.replace('-', "_"));
        write(&folder.join(path), &text)?;
    }
    for (path, text) in SDK_FILES {
        write(&folder.join(SDK_FOLDER).join(path), text)?;
    }
    if ui.json {
        ui.object(&json!({ "project": folder, "name": name }))?;
    } else {
        let shown = folder.display();
        ui.line(format!("{shown}"))?;
        ui.note(format!("a task in {shown}/src/lib.rs; now:"));
        ui.note(format!("  cd {shown}"));
        ui.note("  cargo test                       # its logic, natively");
        ui.note("  adit build                       # a component");
        ui.note("  adit run --input numbers.txt     # in the sandbox, with a receipt");
    }
    Ok(Exit::Ok)
}

/// What cargo takes as the name of a package, and Rust as that of a crate.
fn check_name(name: &str) -> anyhow::Result<()> {
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
    let refuse = |why: &str| {
        Failure::new(
            Code::InvalidArgument,
            format!("`{}` cannot be the name of a project", one_line(name)),
        )
        .why(why)
        .hint("use letters, digits, - and _, and begin with a letter, as word-stats")
        .into_err()
    };
    let mut chars = name.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if !begins || !chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return refuse("a package of Rust cannot have it");
    }
    if name.len() > 64 {
        return refuse("it is longer than 64 characters");
    }
    if TAKEN.contains(&name) || is_keyword(name) {
        return refuse("Rust or the SDK use it themselves");
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

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} could not be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_complete() {
        let has = |name: &str| SDK_FILES.iter().any(|(path, _)| *path == name);
        for name in [
            "guest-sdk/Cargo.toml",
            "guest-sdk/src/lib.rs",
            "guest-sdk/macros/Cargo.toml",
            "guest-sdk/macros/src/lib.rs",
            "wit/task.wit",
            "wit/deps/wasi-nn.wit",
        ] {
            assert!(has(name), "{name}");
        }
    }

    #[test]
    fn names() {
        for good in ["a", "word-stats", "x_1"] {
            check_name(good).unwrap();
        }
        for bad in ["", "1a", "-a", "a b", "é", "..", "fn", "std", "a/b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }
}
