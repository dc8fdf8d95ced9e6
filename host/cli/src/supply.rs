//! What a coordinator lacks of a published component: taken from this machine or from where the
//! component's publisher says that it is, and uploaded. Coordinators let go of what nobody uses. And
//! what this machine lacks, for runs that are made here.

use std::collections::BTreeMap;
use std::path::Path;

use adit_ledger::oci::OciReference;
use adit_net::http::client::{Client, ClientConfig, FileSink};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::manifest::ModelManifest;
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;
use url::Url;

use crate::commands::task::send;
use crate::error::{Exit, Failure};
use crate::ledger::components::Published;
use crate::oci;
use crate::remote::api::Api;
use crate::remote::{Remote, shown};
use crate::text::{one_line, size};
use crate::ui::Ui;

/// A blob that is needed.
#[derive(Clone, Copy, Debug)]
struct Needed {
    hash: Hash,
    /// The most bytes that it can have.
    bytes_max: u64,
    /// Whether it is the component itself, which is all that an OCI artifact has.
    component: bool,
}

/// Has the coordinator have the component and its models.
///
/// # Errors
///
/// When something is neither there, nor here, nor where its publisher says.
pub async fn published(
    ui: &Ui,
    remote: &Remote,
    blobs: &BlobStore,
    of: &Published,
) -> anyhow::Result<()> {
    let mut needed = vec![Needed {
        hash: of.component,
        bytes_max: COMPONENT_BYTES_MAX,
        component: true,
    }];
    needed.extend(of.models.iter().map(|model| Needed {
        hash: model.manifest,
        bytes_max: ModelManifest::MAX_LEN as u64,
        component: false,
    }));
    bring(ui, remote, blobs, of, &needed).await?;
    let mut files = Vec::new();
    for model in &of.models {
        let what = || format!("the model `{}` cannot be used", one_line(&model.name));
        // The coordinator has it now; whatever it answers is compared with the hash.
        let (manifest, _): (ModelManifest, _) =
            (remote.api.document(&model.manifest).await).with_context(what)?;
        files.extend(manifest.files.values().map(|file| Needed {
            hash: file.hash,
            bytes_max: file.len,
            component: false,
        }));
    }
    bring(ui, remote, blobs, of, &files).await
}

/// Has this machine have the component and its models, and returns the manifests by the names of the
/// models. What `given` has is the user's own and is not needed.
///
/// # Errors
///
/// When something is neither here nor where its publisher says.
pub async fn here(
    ui: &Ui,
    blobs: &BlobStore,
    of: &Published,
    given: &BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let component = Needed {
        hash: of.component,
        bytes_max: COMPONENT_BYTES_MAX,
        component: true,
    };
    keep(ui, blobs, of, &component).await?;
    let mut manifests = BTreeMap::new();
    let models = of.models.iter();
    for model in models.filter(|model| !given.contains_key(&model.name)) {
        let what = || format!("the model `{}` cannot be used", one_line(&model.name));
        let manifest = Needed {
            hash: model.manifest,
            bytes_max: ModelManifest::MAX_LEN as u64,
            component: false,
        };
        keep(ui, blobs, of, &manifest).await?;
        let bytes = blobs
            .get(&model.manifest, manifest.bytes_max)
            .with_context(what)?;
        let manifest = ModelManifest::from_cbor(&bytes).with_context(what)?;
        for file in manifest.files.values() {
            let file = Needed {
                hash: file.hash,
                bytes_max: file.len,
                component: false,
            };
            keep(ui, blobs, of, &file).await?;
        }
        manifests.insert(model.name.clone(), bytes);
    }
    Ok(manifests)
}

/// Gets what is not here.
async fn keep(ui: &Ui, blobs: &BlobStore, of: &Published, needed: &Needed) -> anyhow::Result<()> {
    match blobs.contains(&needed.hash) {
        true => Ok(()),
        false => fetch(ui, blobs, of, needed, "this machine").await,
    }
}

async fn bring(
    ui: &Ui,
    remote: &Remote,
    blobs: &BlobStore,
    of: &Published,
    needed: &[Needed],
) -> anyhow::Result<()> {
    let hashes: Vec<_> = needed.iter().map(|one| one.hash).collect();
    let missing = remote.api.missing(&hashes).await;
    let missing = missing.context("the coordinator does not say what it lacks")?;
    for one in needed.iter().filter(|one| missing.contains(&one.hash)) {
        if !blobs.contains(&one.hash) {
            fetch(ui, blobs, of, one, "the coordinator").await?;
        }
    }
    send(ui, remote, blobs, missing).await
}

/// Gets a blob from where the publisher says into the blob store, if it has its hash. `who` lacks it.
async fn fetch(
    ui: &Ui,
    blobs: &BlobStore,
    of: &Published,
    needed: &Needed,
    who: &str,
) -> anyhow::Result<()> {
    let what = || format!("{} {} cannot be had whole", of.name, of.version);
    let absent = |why: &str| {
        Failure::new(Code::UnknownBlob, what())
            .why(format!(
                "{who} lacks the blob {}, and {why}",
                needed.hash
            ))
            .hint("ask its publisher, or give the files: its component in place of the name, --model for models")
    };
    let Some(source) = &of.source else {
        return absent("its publisher does not say where it is").into_err();
    };
    ui.detail(format!(
        "fetching {} from {}",
        needed.hash,
        one_line(source)
    ));
    if source.parse::<OciReference>().is_ok() {
        if !needed.component {
            return absent("an OCI artifact has the component alone").into_err();
        }
        let bytes = oci::pull(ui, source, needed.bytes_max).await?;
        if Hash::of(&bytes) != needed.hash {
            return Failure::new(Code::BlobMismatch, what())
                .why(format!("{} is another component by now", one_line(source)))
                .hint("its tag was moved; ask its publisher")
                .exit(Exit::Signature)
                .into_err();
        }
        blobs.put(&bytes)?;
        return Ok(());
    }
    let url = Url::parse(source).with_context(what)?;
    let api = Api::new(Client::new(ClientConfig::new(url.clone())).with_context(what)?);
    let file = tempfile::NamedTempFile::new().with_context(what)?;
    let mut sink = FileSink::open(file.path()).await.with_context(what)?;
    let len = (api.blob_to(&mut sink, &needed.hash, needed.bytes_max).await)
        .with_context(|| format!("{}: {} does not give it", what(), shown(&url)))?;
    blobs.put_file(file.path(), needed.bytes_max)?;
    ui.detail(format!("{} came", size(len)));
    Ok(())
}

/// What is written as the source of a component that came from here: the artifact, else the
/// coordinator that it was uploaded to, if others reach it.
pub fn source(component: &Path, coordinator: &Url) -> Option<String> {
    if let Some(reference) = oci::reference(component) {
        return Some(reference.to_owned());
    }
    let address = shown(coordinator);
    // The ledger takes host and port alone.
    let plain = coordinator.path() == "/" && coordinator.query().is_none();
    (coordinator.scheme() == "https" && plain).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_others_reach() {
        let of =
            |component: &str, url: &str| source(Path::new(component), &Url::parse(url).unwrap());
        let there = "https://coordinator.example:4430";
        assert_eq!(of("a.wasm", there).as_deref(), Some(there));
        assert_eq!(of("a.wasm", "http://127.0.0.1:4430"), None);
        assert_eq!(of("a.wasm", "https://coordinator.example/below"), None);
        let artifact = "oci://ghcr.io/acme/count:1";
        assert_eq!(of(artifact, there).as_deref(), Some(artifact));
    }
}
