//! `adit publish`: uploads a component and models, so that tasks can name them by their hashes.

use std::path::PathBuf;

use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::ModelManifest;
use anyhow::Context as _;
use serde_json::json;

use super::task::send;
use crate::error::{Exit, Failure};
use crate::remote::{RemoteArgs, block_on, shown};
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;
use crate::{amounts, models, order};

/// Options of `adit publish`.
#[derive(clap::Args)]
pub struct Args {
    /// The component, a .wasm file
    component: PathBuf,
    /// A model that goes with it: an ONNX file or a manifest; may be repeated
    #[arg(long, short, value_name = "NAME=FILE", value_parser = amounts::named_file)]
    model: Vec<(String, PathBuf)>,
    /// The name under which it is to be found
    #[arg(long, value_name = "NAME@VERSION")]
    name: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// `adit publish COMPONENT`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    if let Some(name) = &args.name {
        return Failure::argument(format!("`{}` cannot be registered", one_line(name)))
            .why("names are kept by a network's registry, which this version does not have")
            .hint("leave --name out; tasks name a component by the hash that is printed")
            .into_err();
    }
    let wasm = order::read_component(&args.component)?;
    order::must_be_component(&args.component, &wasm)?;
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
    let sent = block_on(send(ui, &remote, &blobs, hashes))?;
    if let Err(interrupted) = sent {
        return Ok(interrupted);
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
