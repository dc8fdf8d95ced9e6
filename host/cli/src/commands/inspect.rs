//! `adit inspect`: what a file is, without running any of it.

use std::path::Path;

use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::codes::Code;
use adit_protocol::device_report::DeviceReport;
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::hardware::{HardwareRecord, SignedHardwareRecord};
use adit_protocol::manifest::{ModelManifest, TensorSpec};
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::RECEIPT_LEN;
use adit_protocol::task::TaskSpec;
use adit_protocol::tensor::TensorBlob;
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::Transcript;
use adit_runtime::engine_document::engine_document;
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::receipt;
use crate::component::{self, Kind, world_name};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::State;
use crate::text::{grouped, one_line, printable, size};
use crate::ui::Ui;

/// Longest file that is looked at, in bytes: the longest model.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Options of `adit inspect`.
#[derive(clap::Args)]
pub struct Args {
    /// A file, a blob of the state folder by its hash (blake3:...), or `engine` for this build's
    /// engine document
    #[arg(value_name = "FILE|HASH|engine")]
    what: String,
}

/// `adit inspect FILE|HASH|engine`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let what = args.what.as_str();
    if what == "engine" && !Path::new(what).exists() {
        let document = engine_document();
        return print_document(ui, "engine document", document.hash(), &document);
    }
    let bytes = if what.starts_with("blake3:") {
        let hash: Hash = what.parse().map_err(|error| {
            Failure::argument(format!("`{}` is not a hash", one_line(what))).because(error)
        })?;
        state
            .blobs()?
            .get(&hash, FILE_BYTES_MAX)
            .context("the blob cannot be shown")?
    } else {
        read_file(Path::new(what), FILE_BYTES_MAX, "the file")?
    };
    match component::kind(&bytes) {
        Kind::Component => return component(ui, what, &bytes),
        Kind::CoreModule => {
            return print(
                ui,
                "core module",
                &bytes,
                json!({ "runs": false }),
                &["not a component: adapt it with `adit build MODULE.wasm --out FILE`".to_owned()],
            );
        }
        Kind::Other => {}
    }
    if bytes.starts_with(b"aditrcpt") && bytes.len() == RECEIPT_LEN {
        let receipt = what.to_owned();
        let from = Default::default();
        return receipt::command(ui, state, &receipt::Command::Show { receipt, from });
    }
    if let Some(exit) = document(ui, &bytes)? {
        return Ok(exit);
    }
    if let Ok((dtype, dims, data)) = TensorBlob::decode(&bytes) {
        let about = json!({ "dtype": dtype, "dims": dims, "data_bytes": data.len() });
        return print(ui, "tensor", &bytes, about, &[format!("{dtype} {dims:?}")]);
    }
    model(ui, what, &bytes)
}

fn component(ui: &Ui, what: &str, bytes: &[u8]) -> anyhow::Result<Exit> {
    let facts = component::read(bytes).map_err(|error| {
        Failure::new(
            Code::InvalidComponent,
            format!("{what} begins as a component but is none"),
        )
        .why(error)
        .hint("build it again, or get it again from its source")
    })?;
    let world = facts.world().map(world_name);
    let mut lines = vec![format!(
        "world     {}",
        world.unwrap_or("none: it exports no entry point of a task")
    )];
    for (title, names) in [
        ("imports", &facts.imports),
        ("exports", &facts.exports),
        ("made by", &facts.producers),
    ] {
        for (at, name) in names.iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            lines.push(format!("{title:<9} {name}"));
        }
    }
    lines.push(format!("inside    {} core modules", facts.modules));
    let about = json!({
        "world": world,
        "imports": facts.imports,
        "exports": facts.exports,
        "core_modules": facts.modules,
        "producers": facts.producers,
    });
    print(ui, "component", bytes, about, &lines)
}

/// Tries each kind of document; there is only one encoding of each, so at most one fits.
fn document(ui: &Ui, bytes: &[u8]) -> anyhow::Result<Option<Exit>> {
    fn attempt<D: Document + Serialize>(ui: &Ui, bytes: &[u8]) -> anyhow::Result<Option<Exit>> {
        match D::from_cbor(bytes) {
            Ok(document) => print_document(ui, D::NAME, Hash::of(bytes), &document).map(Some),
            Err(_) => Ok(None),
        }
    }
    for attempt in [
        attempt::<ExecSpec>,
        attempt::<TaskSpec>,
        attempt::<ModelManifest>,
        attempt::<Transcript>,
        attempt::<EnvironmentDocument>,
        attempt::<EngineDocument>,
        attempt::<ReceiptOpening>,
        attempt::<HardwareRecord>,
        attempt::<DeviceReport>,
    ] {
        if let Some(exit) = attempt(ui, bytes)? {
            return Ok(Some(exit));
        }
    }
    match SignedHardwareRecord::from_cbor(bytes) {
        Ok(signed) => hardware(ui, bytes, &signed).map(Some),
        Err(_) => Ok(None),
    }
}

/// Shows a signed record as what was signed, and only if its node signed it.
fn hardware(ui: &Ui, bytes: &[u8], signed: &SignedHardwareRecord) -> anyhow::Result<Exit> {
    let record = signed
        .verify()
        .context("the hardware record cannot be shown")?;
    let kind = SignedHardwareRecord::NAME;
    print_document(ui, kind, Hash::of(bytes), &record)
}

fn model(ui: &Ui, what: &str, bytes: &[u8]) -> anyhow::Result<Exit> {
    let name = Path::new(what)
        .file_name()
        .map(|name| name.to_string_lossy());
    let name = match what.starts_with("blake3:") {
        true => "model.onnx",
        false => name.as_deref().unwrap_or("model.onnx"),
    };
    let manifest = match manifest_from_onnx(bytes, name, &OnnxLimits::default()) {
        Ok(manifest) => manifest,
        Err(error) if what.ends_with(".onnx") => {
            return Err(error).with_context(|| format!("{what} is not a usable model"));
        }
        Err(_) => {
            return Failure::new(
                Code::BadEncoding,
                format!("{} is nothing that this program knows", one_line(what)),
            )
            .why(format!(
                "{} bytes, {}: no component, model, document, tensor or receipt",
                bytes.len(),
                Hash::of(bytes)
            ))
            .hint("was it cut off, or packed?")
            .into_err();
        }
    };
    let hash = manifest.hash();
    let tensor = |tensor: &TensorSpec| {
        let dims: Vec<_> = tensor.dims.iter().map(ToString::to_string).collect();
        format!("{} {}[{}]", tensor.name, tensor.dtype, dims.join(", "))
    };
    let mut lines = vec![format!("manifest  {hash} (made from the file)")];
    for (title, tensors) in [("inputs", &manifest.inputs), ("outputs", &manifest.outputs)] {
        for (at, spec) in tensors.iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            lines.push(format!("{title:<9} {}", tensor(spec)));
        }
    }
    lines.push(format!(
        "work      {} units a call, and {} for each element of an input",
        grouped(manifest.cost.base),
        grouped(manifest.cost.per_input_element)
    ));
    lines.push(format!("memory    {}", size(manifest.memory_bytes)));
    lines.push(format!("agreement {}", agreement(&manifest.tolerance)));
    lines.push(format!(
        "licence   {}",
        match manifest.licence.as_str() {
            "" => "not stated",
            licence => licence,
        }
    ));
    let about = json!({ "manifest_hash": hash, "manifest": manifest });
    print(ui, "onnx model", bytes, about, &lines)
}

/// When two answers of a model agree.
fn agreement(tolerance: &Tolerance) -> String {
    match tolerance {
        Tolerance::Exact => "to the bit".to_owned(),
        Tolerance::MaxAbsRel { abs_nano, rel_ppm } => format!(
            "within {:e} absolute or {:e} relative",
            *abs_nano as f64 / 1e9,
            *rel_ppm as f64 / 1e6
        ),
        Tolerance::Cosine { min_ppm } => {
            format!("cosine similarity from {} on", *min_ppm as f64 / 1e6)
        }
        Tolerance::TopK { k, min_ppm } => format!(
            "{} % of the {k} largest elements of each row the same",
            *min_ppm as f64 / 1e4
        ),
        Tolerance::PerceptualHash { max_bits } => {
            format!("images whose perceptual hashes differ in at most {max_bits} of 64 bits")
        }
    }
}

/// Prints what every file has, and what is particular to one.
fn print(
    ui: &Ui,
    kind: &str,
    bytes: &[u8],
    about: Value,
    lines: &[String],
) -> anyhow::Result<Exit> {
    let hash = Hash::of(bytes);
    if ui.json {
        let mut object = json!({ "kind": kind, "hash": hash, "bytes": bytes.len() });
        if let (Value::Object(object), Value::Object(about)) = (&mut object, about) {
            object.extend(about);
        }
        ui.object(&object)?;
        return Ok(Exit::Ok);
    }
    ui.line(format!("{kind}, {}", size(bytes.len() as u64)))?;
    ui.line(format!("hash      {hash}"))?;
    for line in lines {
        ui.line(one_line(line))?;
    }
    Ok(Exit::Ok)
}

fn print_document(
    ui: &Ui,
    kind: &str,
    hash: Hash,
    document: &impl Serialize,
) -> anyhow::Result<Exit> {
    let fields = serde_json::to_value(document).context("the document has no form as JSON")?;
    if ui.json {
        ui.object(&json!({ "kind": kind, "hash": hash, "document": fields }))?;
    } else {
        ui.line(format!("{kind} {hash}"))?;
        let text = serde_json::to_string_pretty(&fields).context("it has no form as JSON")?;
        ui.line(printable(&text))?;
    }
    Ok(Exit::Ok)
}
