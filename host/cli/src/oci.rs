//! Components from OCI registries: artifacts as the Wasm working group of the CNCF has them, whose
//! layer has the media type `application/wasm`.
//!
//! Nothing is asked for but what anyone may read: no credentials are sent. The layer is compared with
//! the digest in the manifest, and the manifest with the digest in the reference, where it has one. A
//! tag can be moved by its owner; what was got is named by its hash afterwards, as from a file.

use std::path::Path;
use std::time::Duration;

use adit_ledger::oci::{OciReference, OciTarget};
use adit_protocol::codes::Code;
use futures_util::StreamExt as _;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use crate::error::{Exit, Failure};
use crate::text::{one_line, size};
use crate::ui::Ui;

/// What a reference begins with.
const SCHEME: &str = "oci://";
/// The layer that is a component.
const WASM: &str = "application/wasm";
/// Longest silence of a registry.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time for a token, and for a manifest. The library reads both into memory, however long
/// they are: it bounds them too.
const ANSWER: Duration = Duration::from_secs(30);

/// The reference of an artifact, if an argument means one, and not a file.
pub fn reference(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.starts_with(SCHEME))
}

/// Gets a component of at most `bytes_max` bytes.
///
/// # Errors
///
/// When the registry does not have it, or it is no component of that length.
pub async fn pull(ui: &Ui, text: &str, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let what = || format!("{} cannot be had", one_line(text));
    let parsed: OciReference = match text.parse() {
        Ok(parsed) => parsed,
        Err(error) => return Err(Failure::argument(what()).because(error).into()),
    };
    let reference = of_library(&parsed);
    // The library builds its own TLS, of what the process has.
    adit_net::tls::install_provider();
    let client = Client::try_from(ClientConfig {
        protocol: match is_loopback(&parsed.host) {
            // What is on this machine needs no certificate.
            true => ClientProtocol::HttpsExcept(vec![parsed.host.clone()]),
            false => ClientProtocol::Https,
        },
        read_timeout: Some(SILENCE),
        connect_timeout: Some(SILENCE),
        user_agent: concat!("adit/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
    .map_err(|error| failure(what(), &error))?;
    let anonymous = RegistryAuth::Anonymous;
    let answered = tokio::time::timeout(ANSWER, async {
        client
            .auth(&reference, &anonymous, RegistryOperation::Pull)
            .await?;
        client.pull_manifest(&reference, &anonymous).await
    });
    let (manifest, digest) = match answered.await {
        Ok(answer) => answer.map_err(|error| failure(what(), &error))?,
        Err(_) => {
            return Failure::new(Code::Timeout, what())
                .why(format!("{} did not answer in time", parsed.host))
                .hint("try again later, or download the component yourself")
                .into_err();
        }
    };
    let refuse = |why: String| {
        Failure::new(Code::NotAComponent, what())
            .why(why)
            .hint("publish it as a Wasm artifact, for example with `wkg oci push` or `oras push`")
    };
    let OciManifest::Image(manifest) = manifest else {
        return Err(refuse("it is an index of artifacts for several platforms".to_owned()).into());
    };
    let mut layers = manifest.layers.iter();
    let layer = match (layers.next(), layers.next()) {
        (Some(layer), None) if layer.media_type == WASM => layer,
        _ => {
            let found = manifest.layers.iter().take(4);
            let found: Vec<_> = found.map(|layer| one_line(&layer.media_type)).collect();
            let found = found.join(", ");
            return Err(refuse(format!("it is not one layer of {WASM}, but: {found}")).into());
        }
    };
    let len = u64::try_from(layer.size).unwrap_or(u64::MAX);
    if len > bytes_max {
        return Failure::new(Code::ComponentTooLarge, what())
            .why(format!(
                "it has {}, and a component has at most {}",
                size(len),
                size(bytes_max)
            ))
            .hint("strip debug information, and keep data in the input or in models")
            .into_err();
    }
    let mut stream = (client.pull_blob_stream(&reference, layer).await)
        .map_err(|error| failure(what(), &error))?;
    let mut bytes = Vec::new();
    // The stream itself ends with an error where the digest differs.
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| broken(what(), &error))?;
        bytes.extend_from_slice(&part);
        if bytes.len() as u64 > len {
            break;
        }
    }
    if bytes.len() as u64 != len {
        return Failure::new(Code::BlobCorrupt, what())
            .why("the registry sent a layer of another length than its manifest says")
            .hint("try again; if it comes back, the registry is broken")
            .exit(Exit::Signature)
            .into_err();
    }
    ui.note(format!(
        "{}: {} of the artifact {}",
        one_line(text),
        size(len),
        one_line(&digest)
    ));
    Ok(bytes)
}

/// A reference as the library has it.
fn of_library(of: &OciReference) -> Reference {
    let (host, repository) = (of.host.clone(), of.repository.clone());
    match &of.reference {
        OciTarget::Tag(tag) => Reference::with_tag(host, repository, tag.clone()),
        OciTarget::Digest(digest) => Reference::with_digest(host, repository, digest.clone()),
    }
}

/// Whether a host with or without a port is this machine.
fn is_loopback(host: &str) -> bool {
    let url = url::Url::parse(&format!("http://{host}"));
    match url.as_ref().ok().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The registry's words, which are anyone's, in ours.
fn failure(what: String, error: &OciDistributionError) -> Failure {
    let not_found = |code: &OciErrorCode| {
        matches!(
            code,
            OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound
        )
    };
    let hidden = "check the reference; what needs a login cannot be had, so download it yourself";
    let (code, exit, hint) = match error {
        OciDistributionError::RegistryError { envelope, .. }
            if envelope.errors.iter().any(|error| not_found(&error.code)) =>
        {
            (Code::NotFound, Exit::Fixable, hidden)
        }
        OciDistributionError::ServerError { code: 404, .. }
        | OciDistributionError::ImageManifestNotFoundError(_) => {
            (Code::NotFound, Exit::Fixable, hidden)
        }
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => {
            (Code::Unauthorized, Exit::Fixable, hidden)
        }
        OciDistributionError::DigestError(_) => (
            Code::BlobMismatch,
            Exit::Signature,
            "try again; if it comes back, the registry is broken or lies",
        ),
        OciDistributionError::RequestError(_) | OciDistributionError::IoError(_) => (
            Code::Unreachable,
            Exit::Fixable,
            "check the host, and whether this machine reaches it",
        ),
        _ => (
            Code::BadAnswer,
            Exit::Fixable,
            "check the reference; it may be no registry of OCI artifacts",
        ),
    };
    Failure::new(code, what)
        .why(said(error))
        .hint(hint)
        .exit(exit)
}

/// A stream that broke off, or of which the digest differs.
fn broken(what: String, error: &std::io::Error) -> Failure {
    let digest = error
        .get_ref()
        .is_some_and(|inner| inner.is::<oci_client::errors::DigestError>());
    let (code, exit) = match digest {
        true => (Code::BlobMismatch, Exit::Signature),
        false => (Code::Unreachable, Exit::Fixable),
    };
    Failure::new(code, what)
        .why(said(error))
        .hint("try again; if it comes back, the registry is broken or lies")
        .exit(exit)
}

/// An error with what is behind it, short: part of it may be what the registry sent.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    one_line(&text.chars().take(300).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::extract::{Path as PathOf, State};
    use axum::http::{StatusCode, header};
    use axum::response::{IntoResponse, Response};
    use axum::routing::get;
    use serde_json::{Value, json};

    use super::*;

    const UI: Ui = Ui {
        json: false,
        quiet: true,
        verbose: false,
    };
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    /// SHA-256 of [`COMPONENT`], by `sha256sum`.
    const DIGEST: &str = "sha256:24eaf3439a60c96764c4f2c92a0a81b52bd4fe5d5b91f090184a0f6486b1bf29";

    /// A registry of one repository: a manifest, and bytes that it gives for every blob.
    struct Registry {
        manifest: Value,
        blob: &'static [u8],
    }

    async fn manifest(State(of): State<Arc<Registry>>, PathOf(tag): PathOf<String>) -> Response {
        if tag == "absent" {
            let errors = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]});
            return (StatusCode::NOT_FOUND, errors.to_string()).into_response();
        }
        let kind = of.manifest["mediaType"].as_str().unwrap().to_owned();
        ([(header::CONTENT_TYPE, kind)], of.manifest.to_string()).into_response()
    }

    async fn blob(State(of): State<Arc<Registry>>) -> &'static [u8] {
        of.blob
    }

    fn layer(media_type: &str, size: i64) -> Value {
        json!({"mediaType": media_type, "digest": DIGEST, "size": size})
    }

    fn image(layers: &[Value]) -> Value {
        let config = json!({
            "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": DIGEST,
            "size": 2,
        });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        })
    }

    /// Pulls `tag` from a registry on a port of its own.
    async fn pulled(
        manifest_of: Value,
        blob_of: &'static [u8],
        tag: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let registry = Registry {
            manifest: manifest_of,
            blob: blob_of,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v2/", get(|| async {}))
            .route("/v2/acme/count/manifests/{tag}", get(manifest))
            .route("/v2/acme/count/blobs/{digest}", get(blob))
            .with_state(Arc::new(registry));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let done = pull(&UI, &format!("oci://{address}/acme/count{tag}"), 1000).await;
        server.abort();
        done
    }

    #[tokio::test]
    async fn a_component_comes_whole_or_not_at_all() {
        let len = i64::try_from(COMPONENT.len()).unwrap();
        let good = image(&[layer(WASM, len)]);
        let bytes = pulled(good.clone(), COMPONENT, ":1.0.0").await.unwrap();
        assert_eq!(bytes, COMPONENT);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [],
        });
        let altered = format!("@sha256:{}", "0".repeat(64));
        let cases: [(&str, Value, &'static [u8], &str, &str); 10] = [
            ("absent", good.clone(), COMPONENT, ":absent", "gone"),
            (
                "another manifest",
                good.clone(),
                COMPONENT,
                &altered,
                "digest",
            ),
            (
                "other bytes",
                good.clone(),
                b"\0asm\x0d\0\x01\x01",
                ":1",
                "digest",
            ),
            ("fewer bytes", good.clone(), b"\0asm", ":1", "digest"),
            ("more bytes", good, b"\0asm\x0d\0\x01\0\0", ":1", ""),
            (
                "an image",
                image(&[layer("application/vnd.oci.image.layer.v1.tar", len)]),
                COMPONENT,
                ":1",
                "not one layer",
            ),
            (
                "two layers",
                image(&[layer(WASM, len), layer(WASM, len)]),
                COMPONENT,
                ":1",
                "not one layer",
            ),
            ("no layer", image(&[]), COMPONENT, ":1", "not one layer"),
            (
                "too large",
                image(&[layer(WASM, 1001)]),
                COMPONENT,
                ":1",
                "at most",
            ),
            ("an index", index, COMPONENT, ":1", "index"),
        ];
        for (name, manifest, blob, tag, said) in cases {
            let error = pulled(manifest, blob, tag).await.unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
            assert!(error.contains("; hint: "), "{name}: {error}");
        }
        let negative = pulled(image(&[layer(WASM, -1)]), COMPONENT, ":1").await;
        assert!(negative.is_err());
        let nowhere = pull(&UI, "oci://127.0.0.1:1/acme/count:1", 1000).await;
        assert!(nowhere.is_err());
        for malformed in ["oci://", "oci://ghcr.io/acme", "oci://ghcr.io/Acme:1"] {
            let error = pull(&UI, malformed, 1000).await.unwrap_err().to_string();
            assert!(
                error.contains("oci://ghcr.io/acme/word-count:1.2.3"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        for here in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "ghcr.io",
            "localhost.example",
            "10.0.0.1",
            "127.0.0.1.example",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
        assert!(reference(Path::new("oci://ghcr.io/acme/x:1")).is_some());
        assert!(reference(Path::new("oci/x.wasm")).is_none());
    }
}
