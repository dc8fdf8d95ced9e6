//! `adit run`: run a component in the sandbox, and keep a signed receipt of it.

use std::path::PathBuf;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::{ExecSpec, World};
use adit_protocol::receipt::Receipt;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::{Op, Transcript};
use adit_runtime::attest;
use adit_runtime::engine::Target;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::supervisor::{Ran, Task};
use anyhow::Context as _;
use serde_json::json;

use crate::component::world_name;
use crate::device::{self, DeviceArgs};
use crate::error::{Exit, Failure};
use crate::ledger::IndexArgs;
use crate::ledger::components::{Published, resolve};
use crate::order::{Component, OrderArgs, Stored, Words, ended, output_json};
use crate::remote::block_on;
use crate::state::{State, write_file};
use crate::text::{count, grouped, micros, one_line, size};
use crate::ui::Ui;
use crate::{amounts, known, supply};

pub mod watch;
use watch::{Interrupt, Watch};

/// Options of `adit run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    index: IndexArgs,
    /// The network file that you have from elsewhere: the registry must be of the same network
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    network: Option<PathBuf>,
}

/// `adit run [COMPONENT]`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let order = &args.order;
    let chosen = match order.named() {
        None => Chosen::Here(order.component(ui)?),
        Some(wanted) => {
            let registry = args.index.with_network(args.network.clone());
            match block_on(resolve(ui, &registry, &wanted))? {
                Ok(published) => Chosen::Published(Box::new(published)),
                Err(interrupted) => return Ok(interrupted),
            }
        }
    };

    let blobs = state.blobs()?;
    let key = state.local_key()?;
    let journal = state.journal()?;
    // Before an hour of work, and not after it.
    journal.ready(&key)?;
    let (world, stored) = match &chosen {
        Chosen::Here(Component { wasm, world }) => (*world, order.store(ui, &blobs, wasm)?),
        Chosen::Published(published) => match fetched(ui, order, &blobs, published)? {
            Ok(stored) => (published.world, stored),
            Err(interrupted) => return Ok(interrupted),
        },
    };
    let Stored {
        component,
        input,
        models,
    } = stored;

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
        args: order.args.clone(),
        clock_start_ns: order.clock.unwrap_or_else(amounts::now_ns),
        models: models.hashes.into_iter().collect(),
        seed: order.seed,
        limits: order.limits(),
    };
    if let Err(error) = exec.validate() {
        return Failure::argument("the run cannot be made")
            .why(error.reason.to_string())
            .hint("change the arguments or the names of the models")
            .into_err();
    }
    let task = TaskSpec::local(blobs.put(&exec.to_cbor())?, order.deadline_ms());
    blobs.put(&task.to_cbor())?;
    blobs.put(&hello.environment)?;

    let start_ms = amounts::now_ns() / 1_000_000;
    let mut watch = Watch::new(*ui, &interrupt);
    let run = Task {
        spec: exec.clone(),
        input: None,
        manifests: models.manifests,
        deadline: order.deadline,
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
    if let Some(path) = &order.receipt {
        write_file(path, &receipt.to_bytes(), 0o644)?;
    }
    ended(ran.status, words(&ran), interrupt.happened())
}

/// Where the component comes from.
enum Chosen {
    /// A file of this machine, or an artifact.
    Here(Component),
    /// The component index.
    Published(Box<Published>),
}

/// A published component, with all that it needs, in the blob store.
fn fetched(
    ui: &Ui,
    order: &OrderArgs,
    blobs: &BlobStore,
    published: &Published,
) -> anyhow::Result<Result<Stored, Exit>> {
    let mut stored = order.store_published(ui, blobs, published)?;
    let given = &stored.models.manifests;
    let done = block_on(supply::here(ui, blobs, published, given))?;
    Ok(done.map(|manifests| {
        stored.models.manifests.extend(manifests);
        stored
    }))
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
    let body = &receipt.body;
    json!({
        "receipt": receipt.id(),
        "seq": body.seq,
        "status": ran.status,
        "attestable": ran.status.attestable(),
        "output": output_json(output, &ran.output),
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

/// Why it ended so.
fn words(ran: &Ran) -> Words {
    match (&ran.task_error, &ran.detail) {
        // These are the guest's words, hints included.
        (Some((number, message)), _) => Words::Foreign(format!("its error {number}: {message}")),
        (None, Some(detail)) => Words::Own(detail.clone()),
        (None, None) => Words::None,
    }
}
