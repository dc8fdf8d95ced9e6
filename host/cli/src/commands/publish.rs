//! `adit publish`: uploads a component and models, so that tasks can name them by their hashes, and
//! with `--name` has the network's registry keep a name for them.

use std::path::PathBuf;

use adit_ledger::Action;
use adit_ledger::index::{ComponentName, Model, Publication, Version};
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::World;
use adit_protocol::manifest::ModelManifest;
use anyhow::Context as _;
use serde_json::json;

use super::task::send;
use crate::error::{Exit, Failure};
use crate::keyring::PasswordFile;
use crate::ledger::IndexArgs;
use crate::ledger::components::Wanted;
use crate::ledger::submit::SignArgs;
use crate::models::Models;
use crate::remote::{RemoteArgs, block_on, shown};
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;
use crate::{amounts, component, models, order, supply};

/// Options of `adit publish`.
#[derive(clap::Args)]
pub struct Args {
    /// The component: a .wasm file, or oci://host/repository:tag
    component: PathBuf,
    /// A model that goes with it: an ONNX file or a manifest; may be repeated
    #[arg(long, short, value_name = "NAME=FILE", value_parser = amounts::named_file)]
    model: Vec<(String, PathBuf)>,
    #[command(flatten)]
    named: NamedArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    index: IndexArgs,
}

/// Options of a name, which is a transaction.
#[derive(clap::Args)]
#[command(next_help_heading = "Name")]
struct NamedArgs {
    /// The name under which it is to be found, for ever: count@1.0.0 or acme/count@1.0.0. The first
    /// name of an account costs 100 of the least fees
    #[arg(long, value_name = "NAME@VERSION", requires = "key", value_parser = Wanted::with_version)]
    name: Option<(ComponentName, Version)>,
    /// What it does, for people, in a sentence
    #[arg(long, value_name = "TEXT", requires = "name")]
    description: Option<String>,
    /// Where others can get it: a coordinator, as https://host:port, or oci://host/repository:tag
    /// [default: the artifact, else the coordinator if its address is https]
    #[arg(long, value_name = "URL", requires = "name")]
    source: Option<String>,
    /// The account that signs and pays: a keystore file, `local`, a development key as //Alice, or -
    /// for a secret URI on stdin
    #[arg(long, value_name = "KEY", requires = "name")]
    key: Option<String>,
    #[command(flatten)]
    password: PasswordFile,
    /// What is burned for it, in tokens [default: the least that the network takes]
    #[arg(long, value_name = "TOKENS", requires = "name", value_parser = amounts::tokens)]
    fee: Option<u128>,
    /// Print the transaction; send and upload nothing
    #[arg(long, requires = "name")]
    dry_run: bool,
    /// Send the transaction without asking. On networks for development nothing is asked
    #[arg(long, short, requires = "name")]
    yes: bool,
}

/// `adit publish COMPONENT`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let wasm = order::read_component(ui, &args.component)?;
    order::must_be_component(&args.component, &wasm)?;
    // A name is for ever: what nobody could run gets none.
    let world = match args.named.name {
        Some(_) => Some(world(args, &wasm)?),
        None => None,
    };
    let remote = args.remote.remote(ui, state)?;
    let blobs = state.blobs()?;
    let component = blobs.put(&wasm)?;
    let models = models::store(ui, &blobs, &args.model)?;
    let mut hashes = vec![component];
    hashes.extend(models.hashes.values());
    for manifest in models.manifests.values() {
        let manifest = ModelManifest::from_cbor(manifest).context("the model cannot be used")?;
        hashes.extend(manifest.files.values().map(|file| file.hash));
    }
    if !args.named.dry_run {
        let sent = block_on(send(ui, &remote, &blobs, hashes))?;
        if let Err(interrupted) = sent {
            return Ok(interrupted);
        }
    }
    if let (Some(world), Some((name, version)), Some(key)) =
        (world, args.named.name.clone(), &args.named.key)
    {
        let source = args.named.source.clone();
        let publication = Publication {
            name,
            version,
            component,
            world,
            models: named(&models),
            description: args.named.description.clone(),
            source: source.or_else(|| supply::source(&args.component, &remote.url)),
        };
        ui.note(format!("component {component}"));
        let sign = SignArgs {
            key: key.clone(),
            password: args.named.password.clone(),
            fee: args.named.fee,
            dry_run: args.named.dry_run,
            yes: args.named.yes,
            registry: args.index.with_network(args.remote.network_file()),
        };
        return sign.run(ui, state, |_| Ok(Action::Publish(publication)));
    }
    if ui.json {
        ui.object(&json!({
            "component": component,
            "models": models.hashes,
            "coordinator": shown(&remote.url),
        }))?;
        return Ok(Exit::Ok);
    }
    ui.line(component.to_string())?;
    for (name, manifest) in &models.hashes {
        ui.note(format!("model {}: {manifest}", one_line(name)));
    }
    Ok(Exit::Ok)
}

/// The world that it was made for.
fn world(args: &Args, wasm: &[u8]) -> anyhow::Result<World> {
    let shown = args.component.display();
    let what = format!("{shown} is not published");
    let facts = match component::read(wasm) {
        Ok(facts) => facts,
        Err(why) => {
            return Failure::new(adit_protocol::Code::InvalidComponent, what)
                .why(why)
                .hint("build it again with `adit build`")
                .into_err();
        }
    };
    match facts.world() {
        Some(world) => Ok(world),
        None => Failure::new(adit_protocol::Code::MissingExport, what)
            .why("it exports the entry point of neither world")
            .hint(format!("see `adit inspect {shown}`"))
            .into_err(),
    }
}

/// Models as the ledger has them; the map is in the order of names already.
fn named(models: &Models) -> Vec<Model> {
    let hashes = models.hashes.iter();
    hashes
        .map(|(name, manifest)| Model {
            name: name.clone(),
            manifest: *manifest,
        })
        .collect()
}
