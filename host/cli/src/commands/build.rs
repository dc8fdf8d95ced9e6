//! `adit build`: from a Rust project, or from a core module, to a component.

use std::path::PathBuf;

use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use serde_json::json;

use crate::component::{self, world_name};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::write_file;
use crate::text::size;
use crate::ui::Ui;

mod adapt;
mod cargo;
mod graph;
mod wasi_nn;

pub use cargo::last_build;

/// Options of `adit build`.
#[derive(clap::Args)]
pub struct Args {
    /// A project folder, or a core module (.wasm) to be adapted
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where to put the component [default: where cargo puts it]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `adit build [PATH]`.
pub fn command(ui: &Ui, args: &Args) -> anyhow::Result<Exit> {
    let (bytes, path) = if args.path.is_dir() {
        let built = cargo::build(ui, &args.path)?;
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
        .hint("put #[adit_sdk::task] on a function of a cdylib, or write a main function")
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
