//! `adit task submit`: sends a task to a coordinator, follows it, and checks the result.

use std::cell::Cell;
use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::manifest::ModelManifest;
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;
use rand_core::{OsRng, RngCore as _};
use serde_json::{Value, json};

use super::follow::{Follow, Show};
use super::outcome;
use crate::error::{Exit, Failure};
use crate::ledger::IndexArgs;
use crate::ledger::components::{Published, resolve};
use crate::order::{Component, OrderArgs, Stored};
use crate::remote::network::Known;
use crate::remote::wire::{Reason, Seen, Task, TaskState};
use crate::remote::{Remote, RemoteArgs, block_on, check, shown};
use crate::state::State;
use crate::text::{hex, one_line, size};
use crate::ui::Ui;
use crate::{amounts, supply};

/// Options of `adit task submit`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    policy: Policy,
    /// Print the task's id and return, without waiting for the result
    #[arg(long, conflicts_with = "receipt")]
    no_wait: bool,
    /// Wait for the result, and print it: as without --no-wait
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Print output as the task emits it, before it is confirmed, also where stdout is no terminal
    #[arg(long, conflicts_with = "no_wait")]
    stream: bool,
    /// Let the task wait where no miner that is there now meets its requirements
    #[arg(long)]
    queue: bool,
    /// Submit under this key, so that the same command run twice makes one task
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    index: IndexArgs,
}

/// Options that say who runs the task, and how its result is checked.
#[derive(clap::Args)]
#[command(next_help_heading = "Miners")]
struct Policy {
    /// Miners that run the task [default: 2, less for miners with a good record]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    replicas: Option<u8>,
    /// Equal results that make one accepted [default: more than half of the replicas]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    quorum: Option<u8>,
    /// Have one miner run the task, and take its word
    #[arg(long, conflicts_with_all = ["replicas", "quorum"])]
    no_replication: bool,
    /// The kind of device that the task needs [default: any]
    #[arg(long, value_enum)]
    device: Option<DeviceArg>,
    /// Memory that the GPU must have, as 8GiB
    #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
    device_memory: Option<u64>,
    /// Pay for an accepted result, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "0", value_parser = amounts::tokens)]
    price: u128,
    /// Who is given the input and the output [default: parties; public on a development network,
    /// where whoever audits may run the task again]
    #[arg(long, value_enum)]
    disclosure: Option<DisclosureArg>,
    /// The region that you are in, so that near miners are preferred
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DeviceArg {
    /// The processor
    Cpu,
    /// A GPU; never a processor in its place
    Gpu,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DisclosureArg {
    /// Anyone who asks
    Public,
    /// You, the coordinator, the miners of the task, and checkers
    Checkers,
    /// You, the coordinator and the miners of the task
    Parties,
}

impl DisclosureArg {
    /// As the coordinator's interface has it.
    fn name(self) -> &'static str {
        match self {
            DisclosureArg::Public => "public",
            DisclosureArg::Checkers => "checkers",
            DisclosureArg::Parties => "parties",
        }
    }
}

fn idempotency_key(text: &str) -> Result<String, String> {
    match (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("write it in 1 to 128 letters, digits and signs, without spaces".to_owned()),
    }
}

/// `adit task submit [COMPONENT]`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let order = &args.order;
    let policy = args.policy.as_json()?;
    let chosen = match order.named() {
        None => Chosen::Here(order.component(ui)?),
        Some(wanted) => match block_on(resolve(
            ui,
            &args.index.with_network(args.remote.network_file()),
            &wanted,
        ))? {
            Ok(published) => Chosen::Published(Box::new(published)),
            Err(interrupted) => return Ok(interrupted),
        },
    };
    let remote = args.remote.remote(ui, state)?;
    let blobs = state.blobs()?;
    let (world, stored) = match &chosen {
        Chosen::Here(Component { wasm, world }) => (*world, order.store(ui, &blobs, wasm)?),
        Chosen::Published(published) => {
            let stored = order.store_published(ui, &blobs, published)?;
            (published.world, stored)
        }
    };
    let wanted = ExecSpec {
        engine: Hash::ZERO,
        world,
        component: stored.component,
        input: stored.input,
        args: order.args.clone(),
        clock_start_ns: order.clock.unwrap_or_else(amounts::now_ns),
        models: stored.models.hashes.clone().into_iter().collect(),
        seed: order.seed,
        limits: order.limits(),
    };
    if let Err(error) = wanted.validate() {
        return Failure::argument("the task cannot be submitted")
            .why(error.reason.to_string())
            .hint("change the arguments or the names of the models")
            .into_err();
    }
    let mut body = submission(&wanted, order.clock.is_some(), order.deadline_ms());
    merge(&mut body, policy);
    let key = args.idempotency_key.clone().unwrap_or_else(|| {
        let mut random = [0; 16];
        OsRng.fill_bytes(&mut random);
        hex(&random)
    });
    let submitted = Cell::new(None);
    let done = block_on(async {
        let known = remote.network(ui, state).await?;
        if args.policy.disclosure.is_none() && known.genesis.development {
            body["disclosure"] = DisclosureArg::Public.name().into();
        }
        if let Chosen::Published(published) = &chosen {
            supply::published(ui, &remote, &blobs, published).await?;
        }
        upload(ui, &remote, &blobs, &stored).await?;
        let seen = (remote.api.submit(&body, &key).await).context("the task was not submitted")?;
        let task = seen.view.task;
        submitted.set(Some(task));
        ui.note(format!("task {task} at {}", shown(&remote.url)));
        if args.no_wait {
            match ui.json {
                true => ui.object(&seen.json)?,
                false => ui.line(task.to_string())?,
            }
            return Ok(Exit::Ok);
        }
        wait(ui, state, args, &remote, &known, &wanted, &seen).await
    })?;
    Ok(done.unwrap_or_else(|interrupted| {
        if let Some(task) = submitted.get() {
            ui.note(format!(
                "the task goes on; see `adit task wait {task}`, or end it with `adit task cancel {task}`"
            ));
        }
        interrupted
    }))
}

/// What is to be run.
enum Chosen {
    /// A component that is on this machine.
    Here(Component),
    /// One that the network's registry knows.
    Published(Box<Published>),
}

async fn wait(
    ui: &Ui,
    state: &State,
    args: &Args,
    remote: &Remote,
    known: &Known,
    wanted: &ExecSpec,
    seen: &Seen<Task>,
) -> anyhow::Result<Exit> {
    let task = &seen.view;
    // Who was given another task than was ordered would wait for nothing.
    let specs = check::specs(&remote.api, known, &task.task)
        .await
        .context("the task that the coordinator made cannot be checked")?;
    check::ordered(&specs, wanted, args.order.clock.is_some())?;
    if let (TaskState::Waiting, Some(reason), false) = (task.state, &task.reason, args.queue)
        && reason.known() == Some(Code::RequirementsUnmet)
    {
        return impossible(remote, &task.task, reason).await;
    }
    let show = match args.stream || std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        true => Show::Chunks,
        false => Show::Nothing,
    };
    let mut follow = Follow::new(*ui, show);
    let ended = follow.until_the_end(&remote.api, &task.task).await?;
    let receipt = args.order.receipt.as_deref();
    outcome::deliver(ui, state, remote, known, &ended.view, follow, receipt).await
}

/// Ends a task for which there is no miner, and says why.
async fn impossible(remote: &Remote, task: &Hash, reason: &Reason) -> anyhow::Result<Exit> {
    let cancelled = remote.api.cancel(task).await;
    let left = match cancelled {
        Ok(_) => "it was cancelled".to_owned(),
        Err(error) => format!("it could not be cancelled either: {error}"),
    };
    Failure::new(
        Code::RequirementsUnmet,
        format!("no miner that is there now can run the task; {left}"),
    )
    .why(one_line(&reason.detail))
    .hint("ask for less (--device, --device-memory), or wait for such a miner with --queue")
    .into_err()
}

impl Policy {
    fn as_json(&self) -> anyhow::Result<Value> {
        let (replicas, quorum) = match self.no_replication {
            true => (Some(1), Some(1)),
            false => (self.replicas, self.quorum),
        };
        let most = replicas.unwrap_or(2);
        if quorum.is_some_and(|quorum| quorum > most) {
            return Failure::argument("the results cannot be checked so")
                .why(format!(
                    "{} equal results are asked for, and {most} miners run the task",
                    quorum.unwrap_or_default()
                ))
                .hint(format!(
                    "raise --replicas, or lower --quorum to {most} at most"
                ))
                .into_err();
        }
        if self.device == Some(DeviceArg::Cpu) && self.device_memory.is_some() {
            return Failure::argument("the device cannot be chosen so")
                .why("--device-memory is the memory of a GPU, and --device asks for a processor")
                .hint("leave one of them out; --memory limits the task's own memory")
                .into_err();
        }
        let device = match (self.device, self.device_memory) {
            (None, None) => "any",
            (Some(DeviceArg::Cpu), _) => "cpu",
            (Some(DeviceArg::Gpu), _) | (None, Some(_)) => "gpu",
        };
        let mut verification = json!({
            // Who says how many miners are to run it means so many.
            "adaptive": self.replicas.is_none() && !self.no_replication,
        });
        if let Some(replicas) = replicas {
            verification["replicas"] = replicas.into();
        }
        if let Some(quorum) = quorum {
            verification["quorum"] = quorum.into();
        }
        let mut policy = json!({
            "requirements": {
                "device": device,
                "device_memory_bytes": self.device_memory.unwrap_or(0),
            },
            "verification": verification,
            "disclosure": self.disclosure.unwrap_or(DisclosureArg::Parties).name(),
            "price": self.price.to_string(),
        });
        if let Some(region) = &self.region {
            policy["region"] = region.as_str().into();
        }
        Ok(policy)
    }
}

/// The fields of a submission that say what is to be run.
fn submission(exec: &ExecSpec, clock_given: bool, deadline_ms: u64) -> Value {
    let models: BTreeMap<&str, &Hash> = exec.models.iter().map(|(n, h)| (n.as_str(), h)).collect();
    let Limits {
        fuel,
        memory_bytes,
        table_elements,
        output_bytes,
        emit_bytes,
        stderr_bytes,
        tensor_bytes_held,
        tensor_bytes_moved,
        model_bytes,
        handles,
    } = exec.limits;
    let mut body = json!({
        "component": exec.component,
        "world": match exec.world {
            World::Task => "task",
            World::Command => "command",
        },
        "input": exec.input,
        "args": exec.args,
        "models": models,
        "seed": hex(&exec.seed),
        "limits": {
            "fuel": fuel,
            "memory_bytes": memory_bytes,
            "table_elements": table_elements,
            "output_bytes": output_bytes,
            "emit_bytes": emit_bytes,
            "stderr_bytes": stderr_bytes,
            "tensor_bytes_held": tensor_bytes_held,
            "tensor_bytes_moved": tensor_bytes_moved,
            "model_bytes": model_bytes,
            "handles": handles,
        },
        "deadline_ms": deadline_ms,
    });
    if clock_given {
        body["clock_start_ns"] = exec.clock_start_ns.into();
    }
    body
}

fn merge(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

/// Uploads what the coordinator lacks of a task.
async fn upload(
    ui: &Ui,
    remote: &Remote,
    blobs: &BlobStore,
    stored: &Stored,
) -> anyhow::Result<()> {
    let mut hashes = vec![stored.component, stored.input];
    for (name, manifest) in &stored.models.manifests {
        let manifest = ModelManifest::from_cbor(manifest)
            .with_context(|| format!("the model `{}` cannot be used", one_line(name)))?;
        hashes.extend(manifest.files.values().map(|file| file.hash));
    }
    hashes.extend(stored.models.hashes.values());
    send(ui, remote, blobs, hashes).await
}

/// Uploads those of some blobs that the coordinator lacks.
///
/// # Errors
///
/// When the coordinator refuses one, or this machine has lost it.
pub async fn send(
    ui: &Ui,
    remote: &Remote,
    blobs: &BlobStore,
    mut hashes: Vec<Hash>,
) -> anyhow::Result<()> {
    hashes.sort_unstable();
    hashes.dedup();
    let missing = (remote.api.missing(&hashes).await).context("nothing could be uploaded")?;
    for hash in missing {
        let (_, len) = blobs.open_blob(&hash)?;
        ui.detail(format!("uploading {hash} ({})", size(len)));
        remote
            .api
            .put_blob(&hash, &blobs.path(&hash))
            .await
            .with_context(|| format!("the blob {hash} ({}) could not be uploaded", size(len)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: impl FnOnce(&mut Policy)) -> anyhow::Result<Value> {
        let mut policy = Policy {
            replicas: None,
            quorum: None,
            no_replication: false,
            device: None,
            device_memory: None,
            price: 0,
            disclosure: None,
            region: None,
        };
        change(&mut policy);
        policy.as_json()
    }

    #[test]
    fn who_asks_for_a_number_of_miners_gets_it_and_nonsense_is_refused() {
        let plain = policy(|_| ()).unwrap();
        assert_eq!(plain["verification"], json!({ "adaptive": true }));
        let three = policy(|p| p.replicas = Some(3)).unwrap();
        assert_eq!(three["verification"]["adaptive"], false);
        let one = policy(|p| p.no_replication = true).unwrap();
        assert_eq!(
            (
                &one["verification"]["replicas"],
                &one["verification"]["quorum"]
            ),
            (&json!(1), &json!(1))
        );
        assert!(policy(|p| p.quorum = Some(3)).is_err());
        assert!(policy(|p| (p.replicas, p.quorum) = (Some(3), Some(3))).is_ok());
        let gpu = policy(|p| p.device_memory = Some(1 << 30)).unwrap();
        assert_eq!(gpu["requirements"]["device"], "gpu");
        let both = policy(|p| (p.device, p.device_memory) = (Some(DeviceArg::Cpu), Some(1)));
        assert!(both.is_err());
    }
}
