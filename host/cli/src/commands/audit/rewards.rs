//! `adit audit rewards`: every settlement of a network, computed again from public logs alone.

mod openzeppelin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_ledger::Key;
use adit_ledger::rewards::Settlement;
use adit_net::log::LogReader;
use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_registry::follow::{FollowError, Follower, trust};
use adit_registry::settling::audit::{AuditError, Auditor, Recomputed};
use adit_registry::settling::epoch::EpochError;
use adit_registry::settling::logs::LogsError;
use adit_registry::settling::program::{ProgramError, Programs, Sandbox};
use adit_registry::settling::sources::{Directory, Served};
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::commands::registry::{check, component};
use crate::error::{Exit, Failure};
use crate::ledger::{Ledger, RegistryArgs};
use crate::remote::{block_on, shown};
use crate::scratch::Scratch;
use crate::state::{State, write_file};
use crate::text::{grouped, one_line};
use crate::ui::{ProgressLine, Ui};

/// Options of `adit audit rewards`.
#[derive(clap::Args)]
pub struct Args {
    /// Address of the registry, as https://host:port, or `dev` for that of the `adit dev` that runs
    /// here
    #[arg(value_name = "URL|dev")]
    url: Option<String>,
    /// Show this epoch, with what each account and node earned in it. All epochs before it are
    /// computed too: what accounts earned adds up
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// Also write what accounts have earned up to then, as the tree that claim contracts on EVM chains
    /// read (OpenZeppelin's standard-v1)
    #[arg(long, value_name = "FILE.json")]
    export: Option<PathBuf>,
    /// A settlement component that the rules name, in place of what the registry gives; may be repeated
    #[arg(long, value_name = "FILE")]
    settlement: Vec<PathBuf>,
    /// The certificate authority of the nodes' certificates, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The network file that you have from elsewhere: the registry must be of the same network
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
}

/// `adit audit rewards`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let registry = RegistryArgs {
        registry: args.url.clone(),
        ca: args.ca.clone(),
        network: args.network.clone(),
    };
    let components = state.blobs()?;
    for file in &args.settlement {
        components.put(&component::read(ui, file)?)?;
    }
    let scratch = Scratch::new(state)?;
    let sandbox = Sandbox {
        worker: std::env::current_exe().context("this program cannot find its own file")?,
        components,
        scratch: scratch.blobs().clone(),
        code: state.root()?.join("code"),
    };
    let mut line = ProgressLine::new(ui.shows_progress());
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let programs = Programs::fetching(sandbox, ledger.client().clone());
        let found = recompute(&ledger, args, programs, &mut line).await?;
        if !ledger.pinned {
            ui.note(format!(
                "note: the network is the one that {} says itself; --network FILE compares with a file that you have from elsewhere",
                shown(&ledger.url)
            ));
        }
        for (log, why) in &found.copies {
            ui.note(format!(
                "note: the log of the node key {log} was read from the registry's copy, which comes to the same roots: {}",
                one_line(why)
            ));
        }
        if let Some(path) = &args.export {
            export(ui, path, &found)?;
        }
        report(ui, args, &found)
    });
    line.clear();
    Ok(done?.unwrap_or_else(|exit| exit))
}

/// What was found.
struct Found {
    network: Hash,
    entries: u64,
    epochs: Vec<Recomputed>,
    /// Logs that were read from the registry's copies, by the node keys that name them, and why.
    copies: BTreeMap<Key, String>,
}

async fn recompute(
    ledger: &Ledger,
    args: &Args,
    programs: Programs,
    line: &mut ProgressLine,
) -> anyhow::Result<Found> {
    let what = format!("the rewards of {} were not computed", shown(&ledger.url));
    let failed = |error: FollowError| check::failure(&what, &error);
    let document = ledger.ledger_genesis().await?;
    let trust = trust(&ledger.genesis, &document).map_err(failed)?;
    let reader = LogReader::new(ledger.log()?, trust);
    let checkpoint = reader.checkpoint().await;
    let checkpoint = checkpoint.map_err(|error| failed(error.into()))?.checkpoint;
    let begin = || Follower::new(&ledger.genesis, &document).map_err(|error| failed(error.into()));
    // Keys that the ledger has forgotten, and where coordinators are now: in a first round.
    let directory = Directory::follow(&mut begin()?, &reader, &checkpoint).await;
    let directory = directory.map_err(failed)?;
    let places = Served {
        genesis: ledger.genesis_hash,
        roots: ledger.roots.clone(),
        directory,
        registry: shown(&ledger.url),
        copies: BTreeMap::new(),
    };
    let mut auditor = Auditor::new(begin()?, places, Arc::new(programs));
    let walk = reader.walk(&checkpoint, 0..checkpoint.size, Default::default());
    let mut walk = walk.await.map_err(|error| failed(error.into()))?;
    let mut epochs = Vec::new();
    'all: while let Some(bundle) = walk.next().await.map_err(|error| failed(error.into()))? {
        line.show(bundle.tile.start(), checkpoint.size, "entries");
        for (_, entry) in bundle.entries() {
            let recomputed = auditor.entry(entry).await;
            let recomputed = recomputed.map_err(|error| audit_failure(&what, &error))?;
            if let Some(one) = recomputed {
                if args.epoch.is_some_and(|epoch| one.said.epoch > epoch) {
                    break 'all;
                }
                epochs.push(one);
            }
        }
    }
    Ok(Found {
        network: ledger.genesis_hash,
        entries: checkpoint.size,
        epochs,
        copies: std::mem::take(&mut auditor.places().copies),
    })
}

/// Writes what accounts have earned by the last settlement.
fn export(ui: &Ui, path: &Path, found: &Found) -> anyhow::Result<()> {
    let earned = found
        .epochs
        .last()
        .map(|last| last.found.kept.tree.earned());
    let Some(dump) = earned.and_then(openzeppelin::dump) else {
        return Failure::new(Code::NotFound, "nothing was exported")
            .why("nobody has earned anything by then, and there is no tree of nothing")
            .hint("do it again when work was paid")
            .into_err();
    };
    write_file(path, format!("{dump:#}\n").as_bytes(), 0o644)?;
    ui.note(format!(
        "what accounts have earned is in {}",
        path.display()
    ));
    Ok(())
}

fn audit_failure(what: &str, error: &AuditError) -> Failure {
    let code = match error {
        AuditError::Follow(error) => return check::failure(what, error),
        AuditError::Logs(LogsError::Root { .. } | LogsError::Short { .. }) => Code::BadProof,
        AuditError::Logs(_) => Code::Unreachable,
        AuditError::Epoch(EpochError::Program(error)) => return program_failure(what, error),
        _ => Code::Internal,
    };
    Failure::new(code, what).because(error).exit(exit(code))
}

fn program_failure(what: &str, error: &ProgramError) -> Failure {
    let failure = component::failure(what, error);
    match error {
        // A quorum has signed a settlement that the component which was voted on does not come to.
        ProgramError::Run(error) if error.is_components() => failure.exit(Exit::Diverged),
        ProgramError::Missing { .. } | ProgramError::Fetch { .. } => {
            failure.hint("give it with --settlement FILE; whoever proposed it has it")
        }
        _ => failure,
    }
}

fn exit(code: Code) -> Exit {
    match code {
        Code::Internal => Exit::Unexpected,
        code => check::exit(code),
    }
}

/// The fields in which two settlements differ, with both values.
fn differences(said: &Settlement, found: &Settlement) -> Vec<(String, String, String)> {
    let mut all: Vec<(String, String, String)> = vec![
        (
            "input".into(),
            said.input.to_string(),
            found.input.to_string(),
        ),
        (
            "output".into(),
            said.output.to_string(),
            found.output.to_string(),
        ),
        (
            "minted".into(),
            said.minted.to_string(),
            found.minted.to_string(),
        ),
        (
            "treasury".into(),
            said.treasury.to_string(),
            found.treasury.to_string(),
        ),
        ("paid".into(), said.paid.to_string(), found.paid.to_string()),
        (
            "accounts".into(),
            said.earned.size.to_string(),
            found.earned.size.to_string(),
        ),
        (
            "earned".into(),
            said.earned.root.to_string(),
            found.earned.root.to_string(),
        ),
    ];
    let charges = |settlement: &Settlement| -> BTreeMap<Key, String> {
        let all = settlement.charges.iter();
        all.map(|one| (one.node, format!("{}, {} burned", one.spent, one.burned)))
            .collect()
    };
    let (said, found) = (charges(said), charges(found));
    let nodes: std::collections::BTreeSet<_> = said.keys().chain(found.keys()).collect();
    for node in nodes {
        let of = |all: &BTreeMap<Key, String>| all.get(node).cloned().unwrap_or_default();
        all.push((format!("charge of {node}"), of(&said), of(&found)));
    }
    all.retain(|(_, said, found)| said != found);
    all
}

fn report(ui: &Ui, args: &Args, found: &Found) -> anyhow::Result<Exit> {
    let shown = |one: &&Recomputed| args.epoch.is_none_or(|epoch| one.said.epoch == epoch);
    if let Some(epoch) = args.epoch
        && !found.epochs.iter().any(|one| shown(&one))
    {
        return Failure::new(Code::NotFound, format!("epoch {epoch} is not settled"))
            .why("there is no settlement of it in the registry's log")
            .hint("without --epoch all that are settled are shown")
            .into_err();
    }
    let agrees = found.epochs.iter().all(Recomputed::agrees);
    if ui.json {
        let epochs: Vec<Value> = found.epochs.iter().filter(shown).map(as_json).collect();
        ui.object(&json!({
            "network": found.network,
            "entries": found.entries,
            "computed": found.epochs.len(),
            "epochs": epochs,
            "copies": found.copies.iter().map(|(log, why)| json!({ "log": log, "why": why })).collect::<Vec<_>>(),
            "ok": agrees,
        }))?;
    } else {
        ui.line(format!("network   {}", found.network))?;
        for one in found.epochs.iter().filter(shown) {
            print(ui, one)?;
            if args.epoch.is_some() {
                details(ui, one)?;
            }
        }
        let settled = grouped(u64::try_from(found.epochs.len()).unwrap_or(u64::MAX));
        match agrees {
            true => ui.line(format!(
                "{settled} settlements computed again from the logs, all of them as the ledger has them"
            ))?,
            false => ui.line(format!("{settled} settlements computed again, and not all agree"))?,
        }
    }
    match agrees {
        true => Ok(Exit::Ok),
        false => Failure::new(Code::Diverged, "a settlement is not what the logs come to")
            .why("what differs is in the report")
            .hint("keep the logs; a quorum of checkers signed it")
            .exit(Exit::Diverged)
            .into_err(),
    }
}

fn as_json(one: &Recomputed) -> Value {
    let differences = differences(&one.said, &one.found.settlement);
    let output = &one.found.kept.output;
    let counts = &output.totals.counts;
    json!({
        "epoch": one.said.epoch,
        "leaf": one.leaf,
        "agrees": one.agrees(),
        "program": one.found.program,
        "said": one.said,
        "found": one.found.settlement,
        "receipts": { "paid": counts.paid, "unpaid": counts.unpaid.iter().sum::<u64>() },
        "differences": differences
            .into_iter()
            .map(|(field, said, found)| json!({ "field": field, "said": said, "found": found }))
            .collect::<Vec<_>>(),
        "accounts": output
            .accounts
            .iter()
            .map(|row| json!({
                "account": Key::from_bytes(row.account),
                "earned": row.amount.to_string(),
            }))
            .collect::<Vec<_>>(),
    })
}

fn print(ui: &Ui, one: &Recomputed) -> anyhow::Result<()> {
    let found = &one.found.settlement;
    let counts = &one.found.kept.output.totals.counts;
    let word = match one.agrees() {
        true => "agrees",
        false => "DIFFERS",
    };
    ui.line(format!(
        "epoch {:<6} {word:<8} {} receipts paid, {} not; minted {}, burned {}, earned {}",
        one.said.epoch,
        grouped(counts.paid),
        grouped(counts.unpaid.iter().sum::<u64>()),
        found.minted,
        found.burned(),
        found.paid
    ))?;
    if let Some(component) = one.found.program {
        ui.line(format!("  by the component {component}"))?;
    }
    for (field, said, found) in differences(&one.said, found) {
        ui.line(format!(
            "  {field}: the ledger has {said}, the logs come to {found}"
        ))?;
    }
    Ok(())
}

/// What nodes and accounts earned.
fn details(ui: &Ui, one: &Recomputed) -> anyhow::Result<()> {
    let tokens = adit_protocol::Amount::from_units;
    let output = &one.found.kept.output;
    for row in output.coordinators.iter().filter(|row| row.spent > 0) {
        ui.line(format!(
            "  coordinator {}: spent {}, of it burned {}; slice {}, earned {}",
            Key::from_bytes(row.node),
            tokens(row.spent),
            tokens(row.burned),
            tokens(row.slice),
            tokens(row.earned)
        ))?;
    }
    for row in output.miners.iter().filter(|row| row.counts.paid > 0) {
        ui.line(format!(
            "  miner {}: {} receipts paid; pay {}, by work {}, by stake {}",
            Key::from_bytes(row.node),
            grouped(row.counts.paid),
            tokens(row.income),
            tokens(row.by_work),
            tokens(row.by_stake)
        ))?;
    }
    for row in &output.accounts {
        ui.line(format!(
            "  account {}: {}",
            Key::from_bytes(row.account),
            tokens(row.amount)
        ))?;
    }
    Ok(())
}
