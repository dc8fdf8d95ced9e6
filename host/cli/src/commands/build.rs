//! `adit build`: from a project in any of the languages, or from a core module, to a component.

use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use anyhow::Context as _;
use serde_json::json;

use crate::component::{self, world_name};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::project::{Language, Project, contract};
use crate::state::write_file;
use crate::text::size;
use crate::ui::Ui;

mod adapt;
mod c;
mod cargo;
mod graph;
mod js;
mod python;
mod tool;
mod wasi_nn;

/// Options of `adit build`.
#[derive(clap::Args)]
pub struct Args {
    /// A project folder, or a core module (.wasm) to be adapted
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where to put the component [default: below `target` in the project]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `adit build [PATH]`.
pub fn command(ui: &Ui, args: &Args) -> anyhow::Result<Exit> {
    let (bytes, path) = if args.path.is_dir() {
        let built = build(ui, &args.path)?;
        let bytes = read_file(&built, COMPONENT_BYTES_MAX, "the component")?;
        (bytes, args.out.clone().unwrap_or(built))
    } else {
        let module = read_file(&args.path, COMPONENT_BYTES_MAX, "the module")?;
        let Some(out) = args.out.clone() else {
            return Failure::argument("the component has no place to go")
                .why("a core module is left as it is")
                .hint("name a file with --out")
                .into_err();
        };
        (adapt::adapt(&args.path, module)?, out)
    };
    let facts = component::read(&bytes).map_err(|error| {
        Failure::new(
            Code::InvalidComponent,
            format!("{} is not a usable component", path.display()),
        )
        .why(error)
        .hint("build it again with a current toolchain")
    })?;
    let Some(world) = facts.world() else {
        return Failure::new(
            Code::MissingExport,
            format!("{} exports no entry point", path.display()),
        )
        .why("it has neither `run` of adit:task/task nor `wasi:cli/run`")
        .hint("export `run` (in Rust: #[adit_sdk::task] in a cdylib), or write a main function")
        .into_err();
    };
    if args.out.is_some() {
        write_file(&path, &bytes, 0o644)?;
    }
    let hash = Hash::of(&bytes);
    if ui.json {
        ui.object(&json!({
            "component": path,
            "bytes": bytes.len(),
            "hash": hash,
            "world": world_name(world),
        }))?;
    } else {
        ui.line(path.display().to_string())?;
        ui.note(format!(
            "{hash}, {}, world {}",
            size(bytes.len() as u64),
            world_name(world)
        ));
    }
    Ok(Exit::Ok)
}

/// Builds the project in `folder` and returns the component's path.
fn build(ui: &Ui, folder: &Path) -> anyhow::Result<PathBuf> {
    let (language, name) = match Project::of(folder)? {
        Project::Cargo => return cargo::build(ui, folder),
        Project::Other { language, name } => (language, name),
    };
    contract::update(folder, language)?;
    let out = Project::component(folder, &name);
    tool::make_room(&out).with_context(|| format!("{} is in the way", out.display()))?;
    // The tools are run in the project's folder.
    let folder = folder
        .canonicalize()
        .context("the project's folder is gone")?;
    let whole = Project::component(&folder, &name);
    match language {
        Language::Rust => return cargo::build(ui, &folder),
        Language::Python => python::build(ui, &folder, &whole)?,
        Language::Js => js::build(ui, &folder, &whole)?,
        Language::C => c::build(ui, &folder, &whole)?,
    }
    Ok(out)
}

/// The component that the project in `folder` was built into last.
///
/// # Errors
///
/// When there is no project, or it was not built yet.
pub fn last_build(folder: &Path) -> anyhow::Result<PathBuf> {
    if !Project::is_one(folder) {
        return Failure::argument("no component was given")
            .why("and this is no project folder, whose last build could be meant")
            .hint("give a .wasm file, or make a project with `adit new NAME`")
            .into_err();
    }
    let built = match Project::of(folder)? {
        Project::Cargo => cargo::last_build(folder)?,
        Project::Other { name, .. } => Some(Project::component(folder, &name)),
    };
    built.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::argument("the project has no component yet")
            .why("it was not built, or not for the target of tasks")
            .hint("run `adit build` first")
            .into()
    })
}
