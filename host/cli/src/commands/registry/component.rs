//! `adit registry add-component`: settlement components, which the rules of rewards name by their hash.

use std::path::Path;

use adit_ledger::Parameters;
use adit_protocol::codes::Code;
use adit_protocol::{Document as _, Hash};
use adit_registry::settling::program::{COMPONENTS, ProgramError, Programs, RunError, Sandbox};
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;
use serde_json::json;

use super::{documents, folder};
use crate::component::{self, world_name};
use crate::error::{Exit, Failure};
use crate::order::{must_be_component, read_component};
use crate::remote::block_on;
use crate::scratch::Scratch;
use crate::state::{State, private_folder};
use crate::ui::Ui;

/// `adit registry add-component FILE`.
pub fn command(ui: &Ui, state: &State, file: &Path) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let (genesis, ledger) = documents(&folder)?;
    let wasm = read(ui, file)?;
    let hash = match add(state, &folder, &wasm, &ledger.parameters, genesis.hash())? {
        Ok(hash) => hash,
        Err(interrupted) => return Ok(interrupted),
    };
    match ui.json {
        true => ui.object(&json!({ "component": hash, "bytes": wasm.len() }))?,
        false => ui.line(hash.to_string())?,
    }
    ui.note(format!(
        "it settles epochs once a vote has made it the rule: adit gov propose --set rewards.settlement={hash}"
    ));
    Ok(Exit::Ok)
}

/// Reads a settlement component, and refuses what cannot be one.
///
/// # Errors
///
/// When it cannot be read, or is no component of the world `wasi:cli/command`.
pub fn read(ui: &Ui, file: &Path) -> anyhow::Result<Vec<u8>> {
    let wasm = read_component(ui, file)?;
    must_be_component(file, &wasm)?;
    let facts = component::read(&wasm).unwrap_or_default();
    if !facts.command {
        return Failure::new(
            Code::MissingExport,
            format!("{} settles nothing", file.display()),
        )
        .why(format!(
            "it does not export the entry point of {}",
            world_name(adit_protocol::exec::World::Command)
        ))
        .hint("build a program with stdin and stdout for wasm32-wasip2")
        .into_err();
    }
    Ok(wasm)
}

/// Has a component settle an epoch in which nothing was done, and keeps it where the registry finds it,
/// which may be running.
///
/// # Errors
///
/// When it does not, or cannot be kept.
pub fn add(
    state: &State,
    folder: &Path,
    wasm: &[u8],
    rules: &Parameters,
    genesis: Hash,
) -> anyhow::Result<Result<Hash, Exit>> {
    let scratch = Scratch::new(state)?;
    let hash = scratch.blobs().put(wasm)?;
    let sandbox = Sandbox {
        worker: std::env::current_exe().context("this program cannot find its own file")?,
        components: scratch.blobs().clone(),
        scratch: scratch.blobs().clone(),
        code: state.root()?.join("code"),
    };
    let tried = block_on(async {
        let programs = Programs::new(sandbox);
        let tried = programs.try_out(hash, rules, genesis).await;
        tried.map_err(|error| failure("the component was not added", &error).into())
    })?;
    if let Err(interrupted) = tried {
        return Ok(Err(interrupted));
    }
    let data = folder.join("data");
    private_folder(&data).with_context(|| format!("{} could not be made", data.display()))?;
    let components = BlobStore::open(data.join(COMPONENTS))?;
    components.put(wasm)?;
    components.flush()?;
    Ok(Ok(hash))
}

/// Why a component has settled nothing.
pub fn failure(what: &str, error: &ProgramError) -> Failure {
    let (code, exit) = match error {
        ProgramError::Missing { .. } => (Code::UnknownBlob, Exit::Unchecked),
        ProgramError::Fetch { error, .. } => match error.code() {
            Code::BlobMismatch => (Code::BlobMismatch, Exit::Signature),
            code => (code, Exit::Unchecked),
        },
        ProgramError::Store(error) => (error.code(), Exit::Fixable),
        ProgramError::Run(error) => match &**error {
            RunError::Failed { status, .. } => (Code::from(*status), Exit::Fixable),
            RunError::Output { .. } | RunError::Other { .. } => (Code::BadAnswer, Exit::Fixable),
            RunError::NotRun { status, .. } => (Code::from(*status), Exit::Unchecked),
            RunError::Store(error) => (error.code(), Exit::Fixable),
            RunError::TooLarge { .. } => (Code::TooLarge, Exit::Unchecked),
            _ => (Code::Internal, Exit::Unexpected),
        },
        _ => (Code::Internal, Exit::Unexpected),
    };
    Failure::new(code, what)
        .because(error)
        .or_hint(format!("see `adit explain {code}`"))
        .exit(exit)
}
