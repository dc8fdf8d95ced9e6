//! Models that a run may load by name: bare ONNX files, or manifests with files beside them.

use std::collections::BTreeMap;
use std::path::{Component as PathPart, Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;

use crate::error::Failure;
use crate::input::read_file;
use crate::text::{one_line, size};
use crate::ui::Ui;

/// The models of a run.
#[derive(Debug, Default)]
pub struct Models {
    /// Hash of each manifest by the name that the guest uses.
    pub hashes: BTreeMap<String, Hash>,
    /// The same manifests, encoded.
    pub manifests: BTreeMap<String, Vec<u8>>,
}

/// Stores the files and manifests of `--model NAME=FILE` options.
///
/// # Errors
///
/// When a file is no model, is missing, or is not the one that its manifest names.
pub fn store(ui: &Ui, blobs: &BlobStore, named: &[(String, PathBuf)]) -> anyhow::Result<Models> {
    let mut models = Models::default();
    for (name, path) in named {
        let manifest = store_one(ui, blobs, path)
            .with_context(|| format!("the model `{}` cannot be used", one_line(name)))?;
        let bytes = manifest.to_cbor();
        let hash = blobs.put(&bytes)?;
        ui.detail(format!(
            "model {name}: {} ({}), manifest {hash}",
            path.display(),
            size(manifest.files.values().map(|file| file.len).sum()),
        ));
        models.hashes.insert(name.clone(), hash);
        if models.manifests.insert(name.clone(), bytes).is_some() {
            return Failure::argument(format!("the model `{}` is given twice", one_line(name)))
                .why("a task loads a model by its name")
                .hint("give each model a name of its own")
                .into_err();
        }
    }
    Ok(models)
}

fn store_one(ui: &Ui, blobs: &BlobStore, path: &Path) -> anyhow::Result<ModelManifest> {
    let limits = OnnxLimits::default();
    let bytes = read_file(path, limits.file_bytes, "the model file")?;
    // No ONNX file is a valid manifest: the decoder admits exactly one form of each document.
    if let Ok(manifest) = ModelManifest::from_cbor(&bytes) {
        store_files(blobs, path, &manifest)?;
        return Ok(manifest);
    }
    let name = path.file_name().map(|name| name.to_string_lossy());
    let manifest = manifest_from_onnx(&bytes, name.as_deref().unwrap_or("model.onnx"), &limits)?;
    blobs.put(&bytes)?;
    ui.detail(format!(
        "{}: a manifest was made; see `adit inspect {0}`",
        path.display()
    ));
    Ok(manifest)
}

/// Stores the files that a manifest names, from the folder that it lies in.
fn store_files(blobs: &BlobStore, path: &Path, manifest: &ModelManifest) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    for (name, file) in manifest.files.iter() {
        // A manifest may come from anyone, and must not name files elsewhere.
        let mut parts = Path::new(name).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(PathPart::Normal(_)), None)
        ) {
            return Failure::new(Code::ModelMalformed, "the manifest cannot be used")
                .why(format!(
                    "its file name {:?} is not a plain one",
                    one_line(name)
                ))
                .hint("write a manifest whose files lie beside it")
                .into_err();
        }
        // A damaged one is replaced.
        if blobs.check(&file.hash).is_ok_and(|len| len == file.len) {
            continue;
        }
        let (hash, len) = blobs.put_file(&folder.join(name), file.len)?;
        if (hash, len) != (file.hash, file.len) {
            return Failure::new(
                Code::ModelMismatch,
                format!("the file {} is not the manifest's", one_line(name)),
            )
            .why(format!(
                "the manifest has {} with {} bytes, the file is {hash} with {len}",
                file.hash, file.len
            ))
            .hint("get the file that belongs to the manifest, or make a new manifest from it")
            .into_err();
        }
    }
    Ok(())
}
