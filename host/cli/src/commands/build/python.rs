//! A project in Python to a component, by componentize-py.

use std::path::{Path, PathBuf};

use super::tool;
use crate::error::Failure;
use crate::project::contract::{FOLDER, WORLD};
use crate::text::one_line;
use crate::ui::Ui;

/// The release that this was tested with, and that is installed where there is none.
const VERSION: &str = "0.25.1";

/// The module with the task, in [`SOURCES`].
const MODULE: &str = "app";
const SOURCES: &str = "src";

const HINT: &str = "install Python 3 with venv and pip (Debian: apt install python3-venv; macOS: \
    brew install python)";

/// Builds the project in `folder`, an absolute path, into `out`.
pub fn build(ui: &Ui, folder: &Path, out: &Path) -> anyhow::Result<()> {
    let source = folder.join(SOURCES).join(format!("{MODULE}.py"));
    if !source.is_file() {
        return Failure::argument("the project has no task")
            .why(format!("there is no {SOURCES}/{MODULE}.py"))
            .hint("put a class WitWorld with a method run there; `adit new --lang python` has one")
            .into_err();
    }
    let program = find_or_install(ui, folder)?;
    let mut command = tool::command(program, folder);
    command.args(["--wit-path", &format!("{FOLDER}/wit"), "--world", WORLD]);
    command.args(["componentize", MODULE, "--python-path", SOURCES]);
    command.arg("--output").arg(out);
    // The project's own packages are the task's. Without one of these, componentize-py would take
    // those of whatever Python is at hand, and the component would depend on the machine.
    let venvs = [folder.join(".venv"), own_venv(folder)];
    let venv = venvs.iter().find(|venv| venv.is_dir());
    if let Some(venv) = venv {
        command.env("VIRTUAL_ENV", venv);
    }
    tool::run(
        ui,
        &mut command,
        || tool::missing("componentize-py", "it is gone since it was found", HINT),
        || {
            Failure::argument("the project could not be built")
                .hint("fix what it says; `python3 -m unittest discover src` needs no sandbox")
        },
    )
}

/// The environment that is made where the user has none.
fn own_venv(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join("venv")
}

/// The program: of the project's environment, in PATH, or of an environment made for it.
fn find_or_install(ui: &Ui, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = |venv: PathBuf| venv.join("bin/componentize-py");
    let own = program(own_venv(folder));
    // Whether the one in PATH works is known only by trying it: it may be a stand-in that does not.
    for candidate in [
        program(folder.join(".venv")),
        "componentize-py".into(),
        own.clone(),
    ] {
        let Some(said) = tool::version(&candidate) else {
            continue;
        };
        if said != format!("componentize-py {VERSION}") {
            // What is installed here is replaced; what the user has installed is the user's choice.
            if candidate == own {
                continue;
            }
            let said = one_line(&said);
            ui.note(format!(
                "note: using {said}; tasks were tested with {VERSION}"
            ));
        }
        return Ok(candidate);
    }
    install(ui, folder)?;
    Ok(own)
}

fn install(ui: &Ui, folder: &Path) -> anyhow::Result<()> {
    let failed = || Failure::argument("componentize-py could not be installed").hint(HINT);
    let missing = || tool::missing("python3", "componentize-py is a package of it", HINT);
    let venv = own_venv(folder);
    let mut make = tool::command("python3", folder);
    make.args(["-m", "venv"]).arg(&venv);
    tool::run(ui, &mut make, missing, failed)?;
    let mut pip = tool::command(venv.join("bin/python3"), folder);
    pip.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--quiet",
    ]);
    // A wheel runs no code of its own while it is installed.
    pip.args(["--only-binary", ":all:"]);
    pip.arg(format!("componentize-py=={VERSION}"));
    tool::run(ui, &mut pip, missing, failed)
}
