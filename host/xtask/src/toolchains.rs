//! What tasks in other languages than Rust are built with, for the tests.
//!
//! It is installed the way a stranger installs it: `adit new` makes a project, and `adit build`
//! brings the tools that it needs. The tests then find them in `target/tools/LANGUAGE`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::debian;
use crate::error::{Error, Result};
use crate::project::{self, Project};

/// A language of `adit new --lang`, and the file that decides which tools it needs.
const LANGUAGES: &[(&str, &str)] = &[
    ("python", "host/cli/src/commands/build/python.rs"),
    ("js", "host/cli/src/commands/new/js/package.json.txt"),
    ("c", "host/cli/src/commands/build/c.rs"),
];

/// Of Debian, for C. `adit build` installs nothing that belongs to the system.
const DEBIAN: &[&str] = &["clang", "lld", "wasi-libc", "libclang-rt-dev-wasm32"];

/// A copy of the deciding file in the language's folder, once a task was built there.
const READY: &str = "ready";

/// Installs what is missing. A language that cannot be had is left out with a hint, and the tests
/// leave it out as well.
///
/// # Errors
///
/// The same is an error where the environment has `CI` set.
pub fn install(project: &Project) -> Result<()> {
    for (language, decides) in LANGUAGES {
        let folder = project.target.join("tools").join(language);
        let decides = project.root.join(decides);
        let wanted = fs::read(&decides).map_err(Error::io("read", &decides))?;
        let ready = folder.join(READY);
        if fs::read(&ready).is_ok_and(|found| found == wanted) {
            eprintln!("    {language:<8} (already here)");
            continue;
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        }
        let mut built = build_first_task(project, language, &folder);
        if built.is_err() && *language == "c" && debian::is_root() {
            // Elsewhere the hint of `adit build` says what to install.
            debian::install(DEBIAN)?;
            built = build_first_task(project, language, &folder);
        }
        match built {
            Ok(()) => fs::write(&ready, wanted).map_err(Error::io("write", &ready))?,
            Err(_) if std::env::var_os("CI").is_none() => {
                eprintln!("    {language:<8} skipped, and so will be its tests; see above");
            }
            Err(_) => return Err(Error::NoToolchain(language)),
        }
    }
    Ok(())
}

fn build_first_task(project: &Project, language: &str, folder: &Path) -> Result<()> {
    if !folder.exists() {
        let mut new = Command::new(project.adit());
        new.args(["--quiet", "new", "--lang", language]).arg(folder);
        project::run(new.stdin(Stdio::null()).stdout(Stdio::null()))?;
    }
    let mut build = Command::new(project.adit());
    build.arg("build").arg(folder);
    project::run(build.stdin(Stdio::null()).stdout(Stdio::null()))
}
