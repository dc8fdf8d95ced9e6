//! `adit run`: run a component in the sandbox, and keep a signed receipt of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::receipt::Receipt;
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::{Op, Transcript};
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::attest;
use adit_runtime::engine::Target;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::supervisor::{Ran, Task};
use anyhow::Context as _;
use base64::Engine as _;
use rustix::fs::{Access, access};
use serde_json::json;

use super::build;
use crate::component::{self, Kind, world_name};
use crate::device::{self, DeviceArgs};
use crate::error::{Exit, Failure};
use crate::state::{State, write_file};
use crate::text::{count, grouped, micros, one_line, size};
use crate::ui::Ui;
use crate::{amounts, input, known, models};

pub mod watch;
use watch::{Interrupt, Watch};

/// Options of `adit run`.
#[derive(clap::Args)]
pub struct Args {
    /// The component, a .wasm file; in a project folder, what `adit build` made last
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
    deadline: Duration,
    /// Seed of the task's random numbers
    #[arg(long, value_name = "N", default_value = "0", value_parser = amounts::seed)]
    seed: [u8; 32],
    /// What the task's clock shows at the start, as 2025-01-31T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = amounts::moment_ns)]
    clock: Option<u64>,
    /// The world to run it in [default: the one that it exports, task before command]
    #[arg(long, value_enum)]
    world: Option<WorldArg>,
    /// Write the receipt, 520 bytes, to this file too
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Arguments of the task
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum WorldArg {
    /// `adit:task/task`: a function from bytes to bytes
    Task,
    /// `wasi:cli/command`: a program with stdin and stdout
    Command,
}

/// `adit run [COMPONENT]`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let path = match &args.component {
        Some(path) => path.clone(),
        None => build::last_build(Path::new("."))?,
    };
    check_size(&path)?;
    let wasm = input::read_file(&path, COMPONENT_BYTES_MAX, "the component")?;
    if let Some(path) = &args.receipt {
        check_place(path)?;
    }
    let world = world(args, &path, &wasm)?;

    let blobs = state.blobs()?;
    let key = state.local_key()?;
    let journal = state.journal()?;
    // Before an hour of work, and not after it.
    journal.ready(&key)?;
    let component = blobs.put(&wasm)?;
    let input = store_input(ui, &blobs, args.input.as_deref())?;
    let models = models::store(ui, &blobs, &args.model)?;

    // Before the first thread of this process is started.
    let interrupt = Interrupt::install()?;
    let chosen = args.device.choose(ui, state)?;
    let supervisor = state.supervisor(&blobs, Target::Processor, &chosen.device, chosen.threads)?;
    let hello = chosen.hello(&supervisor)?;
    ui.detail(format!(
        "engine {}, worker: {}",
        hello.engine, hello.sandbox
    ));
    let environment = EnvironmentDocument::from_cbor(&hello.environment)
        .context("the worker describes its environment wrongly")?;
    if chosen.device != DeviceChoice::Embedded {
        ui.note(format!("device: {}", device::in_words(&environment)));
        for (name, manifest) in &models.hashes {
            known::check(ui, state, &blobs, &environment, name, manifest)?;
        }
    }
    let exec = ExecSpec {
        engine: hello.engine,
        world,
        component,
        input,
        args: args.args.clone(),
        clock_start_ns: args.clock.unwrap_or_else(amounts::now_ns),
        models: models.hashes.into_iter().collect(),
        seed: args.seed,
        limits: limits(args),
    };
    if let Err(error) = exec.validate() {
        return Failure::argument("the run cannot be made")
            .why(error.reason.to_string())
            .hint("change the arguments or the names of the models")
            .into_err();
    }
    let deadline_ms = u64::try_from(args.deadline.as_millis()).unwrap_or(u64::MAX);
    let task = TaskSpec::local(blobs.put(&exec.to_cbor())?, deadline_ms);
    blobs.put(&task.to_cbor())?;
    blobs.put(&hello.environment)?;

    let start_ms = amounts::now_ns() / 1_000_000;
    let mut watch = Watch::new(*ui, &interrupt);
    let run = Task {
        spec: exec.clone(),
        manifests: models.manifests,
        deadline: args.deadline,
        mode: Mode::Live,
    };
    let ran = supervisor
        .run(&run, &mut watch)
        .context("the run could not be made")?;
    let shown = watch.finish(&ran.output);

    let output = blobs.put(&ran.output)?;
    blobs.put(&ran.transcript)?;
    // A receipt must not be on disk before what it speaks of.
    blobs.flush()?;
    let environments = attest::environments(&blobs, &ran.transcript);
    // A model that the guest brought along runs on the processor, whatever the device is.
    let on_device = |used: &EnvironmentDocument| used.backend == environment.backend;
    let gpu = hello.gpu && environments.iter().any(on_device);
    let opening = attest::opening(&exec, &ran);
    let receipt = journal.add(&key, &opening, |seq, prev| {
        attest::body(&attest::Facts {
            task: &task,
            exec: &exec,
            ran: &ran,
            environment: environment.hash(),
            gpu,
            start_ms,
            miner: key.public().to_bytes(),
            epoch: 0,
            seq,
            assignment: Hash::ZERO,
            network: [0; 4],
            prev,
        })
    })?;
    if ui.json {
        let used = Environments {
            device: &environment,
            models: &environments,
        };
        ui.object(&as_json(&receipt, &ran, world, output, &exec, used))?;
    } else {
        ui.note(format!("receipt {}", receipt.id()));
        ui.note(summary(&receipt, &ran, &environment));
    }
    // In either form: nobody should have to look for it.
    for used in &environments {
        if let Some(fell_back) = device::fell_back(used) {
            ui.note(fell_back);
        }
    }
    // The run and its receipt are complete, but the user has not got the output.
    shown?;
    if let Some(path) = &args.receipt {
        write_file(path, &receipt.to_bytes(), 0o644)?;
    }
    ended(&ran, interrupt.happened())
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

/// Refuses a place for the receipt that cannot be one, before an hour of work and not after it.
fn check_place(path: &Path) -> anyhow::Result<()> {
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
fn world(args: &Args, path: &Path, wasm: &[u8]) -> anyhow::Result<World> {
    let shown = path.display();
    match component::kind(wasm) {
        Kind::Component => {}
        Kind::CoreModule => {
            return Failure::new(Code::CoreModule, format!("{shown} cannot be run"))
                .why("it is a core WebAssembly module, and tasks are components")
                .hint(format!(
                    "build it with --target wasm32-wasip2, or adapt it: adit build {shown} --out component.wasm"
                ))
                .into_err();
        }
        Kind::Other => {
            return Failure::new(Code::NotAComponent, format!("{shown} cannot be run"))
                .why("it is not WebAssembly: it does not begin with the bytes 00 61 73 6d")
                .hint("give the .wasm file that `adit build` makes")
                .into_err();
        }
    }
    // What is malformed gets its status, and a receipt, from the runtime.
    let facts = component::read(wasm).unwrap_or_default();
    let wanted = match args.world {
        None => return Ok(facts.world().unwrap_or(World::Task)),
        Some(WorldArg::Task) => World::Task,
        Some(WorldArg::Command) => World::Command,
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

fn limits(args: &Args) -> Limits {
    let mut limits = Limits::default();
    if let Some(fuel) = args.fuel {
        limits.fuel = fuel;
    }
    if let Some(memory) = args.memory {
        limits.memory_bytes = memory;
    }
    if let Some(output) = args.output_limit {
        limits.output_bytes = output;
        limits.emit_bytes = output;
    }
    limits
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

/// The run in one line.
fn summary(receipt: &Receipt, ran: &Ran, environment: &EnvironmentDocument) -> String {
    let mut parts = vec![
        ran.status.name().to_owned(),
        format!("{} out", size(ran.output.len() as u64)),
        format!("{} fuel", grouped(ran.fuel)),
        format!("{} peak memory", size(ran.peak_memory)),
    ];
    if receipt.body.nn {
        parts.push(format!(
            "{} ({} units) on {} {} {}",
            count(computations(ran), "inference"),
            grouped(ran.nn_units),
            one_line(&environment.backend),
            one_line(&environment.backend_version),
            one_line(&environment.device),
        ));
    }
    parts.push(micros(ran.duration_us));
    parts.join(", ")
}

/// Computations that the guest asked for.
fn computations(ran: &Ran) -> u64 {
    let transcript = Transcript::from_cbor(&ran.transcript).unwrap_or_default();
    let computed = |call: &&adit_protocol::transcript::Call| call.op == Op::Compute;
    transcript.calls.iter().filter(computed).count() as u64
}

fn as_json(
    receipt: &Receipt,
    ran: &Ran,
    world: World,
    output: Hash,
    exec: &ExecSpec,
    environments: Environments<'_>,
) -> serde_json::Value {
    let text = std::str::from_utf8(&ran.output).ok();
    let encoded = match text {
        Some(_) => None,
        None => Some(base64::engine::general_purpose::STANDARD.encode(&ran.output)),
    };
    let body = &receipt.body;
    json!({
        "receipt": receipt.id(),
        "seq": body.seq,
        "status": ran.status,
        "attestable": ran.status.attestable(),
        "output": {
            "hash": output,
            "bytes": ran.output.len(),
            "text": text,
            "base64": encoded,
        },
        "log": String::from_utf8_lossy(&ran.log),
        "task_error": ran.task_error.as_ref().map(|(code, message)| json!({
            "code": code,
            "message": message,
        })),
        "detail": ran.detail,
        "world": world_name(world),
        "component": exec.component,
        "input": exec.input,
        "exec": body_exec(exec),
        "task": body.task,
        "fuel": ran.fuel,
        "peak_memory_bytes": ran.peak_memory,
        "nn": {
            "used": body.nn,
            "computations": computations(ran),
            "units": ran.nn_units,
            "gpu": body.gpu,
            "environments": environments.models,
        },
        "environment": {
            "hash": body.environment,
            "document": environments.device,
        },
        "start_ms": body.start_ms,
        "duration_us": ran.duration_us,
    })
}

/// Where a run computed.
#[derive(Clone, Copy)]
struct Environments<'a> {
    /// The worker's device.
    device: &'a EnvironmentDocument,
    /// That of each model that was used.
    models: &'a [EnvironmentDocument],
}

/// The exec spec with its hash.
fn body_exec(exec: &ExecSpec) -> serde_json::Value {
    json!({ "hash": exec.hash(), "spec": exec })
}

/// How the process ends for the status of the run.
fn ended(ran: &Ran, interrupted: Option<Exit>) -> anyhow::Result<Exit> {
    let exit = match ran.status {
        Status::Ok => return Ok(Exit::Ok),
        Status::HostFault => Exit::Unexpected,
        Status::Cancelled => interrupted.unwrap_or(Exit::Fixable),
        _ => Exit::Fixable,
    };
    let code = Code::from(ran.status);
    let failure = Failure::new(code, format!("the run ended with {code}")).exit(exit);
    let failure = match (&ran.task_error, &ran.detail) {
        // These are the guest's words, hints included.
        (Some((number, message)), _) => failure.why(format!("its error {number}: {message}")),
        (None, Some(detail)) => failure.because(detail),
        (None, None) => failure.why(code.summary()),
    };
    failure
        .or_hint(format!("see `adit explain {code}`"))
        .into_err()
}
