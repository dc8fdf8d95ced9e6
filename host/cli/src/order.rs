//! What the command line says of a task to be run, here or elsewhere: component, input, models,
//! limits. `adit run` and `adit task submit` share it, so that a task means the same in both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_protocol::exec::{Limits, World};
use adit_protocol::status::Status;
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Access, access};
use serde_json::json;

use crate::commands::build;
use crate::component::{self, Kind, world_name};
use crate::error::{Exit, Failure};
use crate::ledger::components::{Published, Wanted};
use crate::models::{self, Models};
use crate::remote::block_on;
use crate::text::size;
use crate::ui::Ui;
use crate::{amounts, input, oci};

/// Options that say what is to be run.
#[derive(clap::Args)]
pub struct OrderArgs {
    /// The component: a .wasm file, oci://host/repository:tag, or what is published as NAME or
    /// NAME@VERSION; in a project folder, what `adit build` made last
    component: Option<PathBuf>,
    /// Input: a file, a folder (given as a tar archive), or - for standard input [default: empty]
    #[arg(long, short, value_name = "FILE|DIR|-")]
    input: Option<PathBuf>,
    /// A model that the task may load by NAME: an ONNX file or a manifest; may be repeated
    #[arg(long, short, value_name = "NAME=FILE", value_parser = amounts::named_file)]
    model: Vec<(String, PathBuf)>,
    /// Most fuel, about one unit for each instruction, as 500M or 20G [default: 100G]
    #[arg(long, value_name = "N", value_parser = amounts::fuel)]
    fuel: Option<u64>,
    /// Most memory of the task, as 256MiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
    memory: Option<u64>,
    /// Most output, as 10MiB [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
    output_limit: Option<u64>,
    /// Most time, as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = amounts::duration)]
    pub deadline: Duration,
    /// Seed of the task's random numbers
    #[arg(long, value_name = "N", default_value = "0", value_parser = amounts::seed)]
    pub seed: [u8; 32],
    /// What the task's clock shows at the start, as 2025-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = amounts::moment_ns)]
    pub clock: Option<u64>,
    /// The world to run it in [default: the one that it exports, task before command]
    #[arg(long, value_enum)]
    world: Option<WorldArg>,
    /// Write the receipt, 520 bytes, to this file too
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Arguments of the task
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum WorldArg {
    /// `adit:task/task`: a function from bytes to bytes
    Task,
    /// `wasi:cli/command`: a program with stdin and stdout
    Command,
}

impl From<WorldArg> for World {
    fn from(world: WorldArg) -> World {
        match world {
            WorldArg::Task => World::Task,
            WorldArg::Command => World::Command,
        }
    }
}

/// A component whose file was read and looked at.
#[derive(Debug)]
pub struct Component {
    /// Its bytes.
    pub wasm: Vec<u8>,
    /// The world to run it in.
    pub world: World,
}

/// What was put into the blob store for a run.
#[derive(Debug)]
pub struct Stored {
    /// Hash of the component.
    pub component: Hash,
    /// Hash of the input.
    pub input: Hash,
    /// The models.
    pub models: Models,
}

impl OrderArgs {
    /// Reads the component, and refuses what cannot be run and places where no receipt can go:
    /// before an hour of work and not after it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is not what it has to be.
    pub fn component(&self, ui: &Ui) -> anyhow::Result<Component> {
        let path = match &self.component {
            Some(path) => path.clone(),
            None => build::last_build(Path::new("."))?,
        };
        if let Some(path) = &self.receipt {
            check_place(path)?;
        }
        let wasm = read_component(ui, &path)?;
        let world = world(self.world, &path, &wasm)?;
        Ok(Component { wasm, world })
    }

    /// What the component's argument means where it is no file: a name of the component index.
    pub fn named(&self) -> Option<Wanted> {
        self.component.as_deref().and_then(Wanted::meant)
    }

    /// What a published component is run as, with what goes along from this machine: the input, and
    /// models of `--model`, which go before those that were published.
    ///
    /// # Errors
    ///
    /// When it is of another world than is asked for, or something cannot be read or stored.
    pub fn store_published(
        &self,
        ui: &Ui,
        blobs: &BlobStore,
        published: &Published,
    ) -> anyhow::Result<Stored> {
        if let Some(wanted) = self.world.map(World::from)
            && wanted != published.world
        {
            return Failure::new(
                Code::MissingExport,
                format!(
                    "{} cannot be run in the world {}",
                    published.name,
                    world_name(wanted)
                ),
            )
            .why(format!(
                "it was published for {}",
                world_name(published.world)
            ))
            .hint("leave --world out")
            .into_err();
        }
        if let Some(path) = &self.receipt {
            check_place(path)?;
        }
        let mut models = models::store(ui, blobs, &self.model)?;
        for model in &published.models {
            let hashes = &mut models.hashes;
            hashes.entry(model.name.clone()).or_insert(model.manifest);
        }
        Ok(Stored {
            component: published.component,
            input: store_input(ui, blobs, self.input.as_deref())?,
            models,
        })
    }

    /// Puts component, input and models into the blob store.
    ///
    /// # Errors
    ///
    /// When one cannot be read or stored.
    pub fn store(&self, ui: &Ui, blobs: &BlobStore, wasm: &[u8]) -> anyhow::Result<Stored> {
        Ok(Stored {
            component: blobs.put(wasm)?,
            input: store_input(ui, blobs, self.input.as_deref())?,
            models: models::store(ui, blobs, &self.model)?,
        })
    }

    /// The limits of the run: those asked for, else the usual ones.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(fuel) = self.fuel {
            limits.fuel = fuel;
        }
        if let Some(memory) = self.memory {
            limits.memory_bytes = memory;
        }
        if let Some(output) = self.output_limit {
            limits.output_bytes = output;
            limits.emit_bytes = output;
        }
        limits
    }

    /// The time for the run, in milliseconds.
    pub fn deadline_ms(&self) -> u64 {
        u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reads a component of a file or an OCI artifact, which is not looked into.
///
/// # Errors
///
/// When it is too large or cannot be read.
pub fn read_component(ui: &Ui, path: &Path) -> anyhow::Result<Vec<u8>> {
    if let Some(reference) = oci::reference(path) {
        return match block_on(oci::pull(ui, reference, COMPONENT_BYTES_MAX))? {
            Ok(wasm) => Ok(wasm),
            Err(interrupted) => Failure::new(Code::Cancelled, "the component was not downloaded")
                .why("this was ended")
                .hint("run it again")
                .exit(interrupted)
                .into_err(),
        };
    }
    check_size(path)?;
    input::read_file(path, COMPONENT_BYTES_MAX, "the component")
}

/// Refuses a file that is too large to be a component, before it is read.
fn check_size(path: &Path) -> anyhow::Result<()> {
    // What cannot be looked at is reported by whoever reads it.
    let len = std::fs::metadata(path).map_or(0, |about| about.len());
    if len <= COMPONENT_BYTES_MAX {
        return Ok(());
    }
    Failure::new(
        Code::ComponentTooLarge,
        format!("{} cannot be run", path.display()),
    )
    .why(format!(
        "it has {}, and a component has at most {}",
        size(len),
        size(COMPONENT_BYTES_MAX)
    ))
    .hint("strip debug information, and keep data in the input or in models")
    .into_err()
}

/// Refuses a place for a receipt that cannot be one.
///
/// # Errors
///
/// When it is a folder, or nothing can be written there.
pub fn check_place(path: &Path) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if path.is_dir() || !folder.is_dir() {
        return Failure::argument(format!("the receipt cannot go to {}", path.display()))
            .why(match path.is_dir() {
                true => "it is a folder".to_owned(),
                false => format!("there is no folder {}", folder.display()),
            })
            .hint("name a file in a folder that exists")
            .into_err();
    }
    // A file is replaced, which its folder must allow; what is no file is written to.
    let replaced = std::fs::metadata(path).map_or(true, |about| about.is_file());
    let target = if replaced { folder } else { path };
    if let Err(error) = access(target, Access::WRITE_OK) {
        let error = StoreError::io("write to", target)(error.into());
        return Err(error).with_context(|| format!("the receipt cannot go to {}", path.display()));
    }
    Ok(())
}

/// The world to run in. Files that are no component at all are refused here, where more can be
/// said than a status.
fn world(wanted: Option<WorldArg>, path: &Path, wasm: &[u8]) -> anyhow::Result<World> {
    let shown = path.display();
    must_be_component(path, wasm)?;
    // What is malformed gets its status, and a receipt, from the runtime.
    let facts = component::read(wasm).unwrap_or_default();
    let Some(wanted) = wanted.map(World::from) else {
        return Ok(facts.world().unwrap_or(World::Task));
    };
    let exported = match wanted {
        World::Task => facts.task,
        World::Command => facts.command,
    };
    if !exported {
        return Failure::new(
            Code::MissingExport,
            format!("{shown} cannot be run in the world {}", world_name(wanted)),
        )
        .why("it does not export that world's entry point")
        .hint(format!("leave --world out; see `adit inspect {shown}`"))
        .into_err();
    }
    Ok(wanted)
}

/// Refuses a file that does not begin as a component does.
///
/// # Errors
///
/// What it is instead.
pub fn must_be_component(path: &Path, wasm: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    match component::kind(wasm) {
        Kind::Component => Ok(()),
        Kind::CoreModule => Failure::new(Code::CoreModule, format!("{shown} cannot be run"))
            .why("it is a core WebAssembly module, and tasks are components")
            .hint(format!(
                "build it with --target wasm32-wasip2, or adapt it: adit build {shown} --out component.wasm"
            ))
            .into_err(),
        Kind::Other => Failure::new(Code::NotAComponent, format!("{shown} cannot be run"))
            .why("it is not WebAssembly: it does not begin with the bytes 00 61 73 6d")
            .hint("give the .wasm file that `adit build` makes")
            .into_err(),
    }
}

fn store_input(ui: &Ui, blobs: &BlobStore, input: Option<&Path>) -> anyhow::Result<Hash> {
    let Some(path) = input else {
        return Ok(blobs.put(b"")?);
    };
    if path == Path::new("-") {
        let bytes = input::read_stdin(input::INPUT_BYTES_MAX)?;
        return Ok(blobs.put(&bytes)?);
    }
    if path.is_dir() {
        let archive = input::archive(path)?;
        for name in &archive.skipped {
            ui.note(format!(
                "note: {name} is left out of the input: it is a link or a special file"
            ));
        }
        return Ok(blobs.put(&archive.bytes)?);
    }
    let (hash, _) = blobs
        .put_file(path, input::INPUT_BYTES_MAX)
        .context("the input cannot be used")?;
    Ok(hash)
}

/// An output as a part of a JSON object: text where it is text, else base64.
pub fn output_json(hash: Hash, output: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(output).ok();
    let encoded = match text {
        Some(_) => None,
        None => Some(STANDARD.encode(output)),
    };
    json!({ "hash": hash, "bytes": output.len(), "text": text, "base64": encoded })
}

/// Why a run ended as it did, and in whose words.
#[derive(Clone, Debug)]
pub enum Words {
    /// Those of the guest, or of a machine that is not this one: what looks like a hint in them is
    /// not ours.
    Foreign(String),
    /// Those of this program's own runtime.
    Own(String),
    /// Nothing more is known.
    None,
}

/// How the process ends for the status of a run. `interrupted` is the exit of a process that was
/// asked to end meanwhile.
///
/// # Errors
///
/// For every status but `ok`: what it means.
pub fn ended(status: Status, words: Words, interrupted: Option<Exit>) -> anyhow::Result<Exit> {
    let exit = match status {
        Status::Ok => return Ok(Exit::Ok),
        Status::HostFault => Exit::Unexpected,
        Status::Cancelled => interrupted.unwrap_or(Exit::Fixable),
        _ => Exit::Fixable,
    };
    let code = Code::from(status);
    let failure = Failure::new(code, format!("the run ended with {code}")).exit(exit);
    let failure = match words {
        Words::Foreign(words) => failure.why(words),
        Words::Own(words) => failure.because(words),
        Words::None => failure.why(code.summary()),
    };
    failure
        .or_hint(format!("see `adit explain {code}`"))
        .into_err()
}
