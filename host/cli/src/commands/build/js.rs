//! A project in JavaScript to a component, by componentize-js.

use std::path::Path;

use super::tool;
use crate::error::Failure;
use crate::project::contract::{FOLDER, WORLD};
use crate::ui::Ui;

/// The module with the task.
const SOURCE: &str = "src/task.js";

/// The tool's package, in a `node_modules` of the project or of a folder above it.
const PACKAGE: &str = "node_modules/@bytecodealliance/componentize-js/package.json";

const HINT: &str = "install Node.js 20 or later with npm (nodejs.org; macOS: brew install node)";

/// Builds the project in `folder`, an absolute path, into `out`.
pub fn build(ui: &Ui, folder: &Path, out: &Path) -> anyhow::Result<()> {
    if !folder.join(SOURCE).is_file() {
        return Failure::argument("the project has no task")
            .why(format!("there is no {SOURCE}"))
            .hint("export a function run from it; `adit new --lang js` has one")
            .into_err();
    }
    if !has_package(folder) {
        install(ui, folder)?;
    }
    let mut command = tool::command("node", folder);
    command.arg(format!("{FOLDER}/componentize.mjs"));
    command
        .args([SOURCE, &format!("{FOLDER}/wit"), WORLD])
        .arg(out);
    tool::run(ui, &mut command, missing, || {
        Failure::argument("the project could not be built")
            .hint("fix what it says; `node --test` needs no sandbox")
    })
}

/// Looks where Node looks for a package.
fn has_package(folder: &Path) -> bool {
    folder
        .ancestors()
        .any(|folder| folder.join(PACKAGE).is_file())
}

fn install(ui: &Ui, folder: &Path) -> anyhow::Result<()> {
    let depend = "add to its package.json: \
        \"devDependencies\": { \"@bytecodealliance/componentize-js\": \"0.23.0\" }";
    if !folder.join("package.json").is_file() {
        return Failure::argument("the project could not be built")
            .why("it has no package.json, which would say which componentize-js to install")
            .hint(depend)
            .into_err();
    }
    let mut npm = tool::command("npm", folder);
    // The tools need no scripts of packages to be run, so none is.
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
    tool::run(ui, &mut npm, missing, || {
        Failure::argument("the project's packages could not be installed").hint("fix what npm says")
    })?;
    if !has_package(folder) {
        return Failure::argument("the project could not be built")
            .why("componentize-js is not among its packages")
            .hint(depend)
            .into_err();
    }
    Ok(())
}

fn missing() -> Failure {
    tool::missing("Node.js", "node and npm are looked for in PATH", HINT)
}
