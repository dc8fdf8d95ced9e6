//! Components from OCI registries: artifacts as the Wasm working group of the CNCF has them, whose
//! layer has the media type `application/wasm`.
//!
//! Nothing is asked for but what anyone may read: no credentials are sent. The layer is compared with
//! the digest in the manifest, and the manifest with the digest in the reference, where it has one. A
//! tag can be moved by its owner; what was got is named by its hash afterwards, as from a file.

mod registry;

use std::path::Path;

use adit_ledger::oci::{OciReference, OciTarget};
use adit_net::http::client::ClientError;
use adit_net::signed::sha256;
use adit_protocol::codes::Code;
use oci_client::manifest::OciManifest;

use crate::error::{Exit, Failure};
use crate::text::{hex, one_line, size};
use crate::ui::Ui;
use registry::{Registry, RegistryError};

/// What a reference begins with.
const SCHEME: &str = "oci://";
/// The layer that is a component.
const WASM: &str = "application/wasm";

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
    let mut registry = Registry::of(&parsed).map_err(|error| failure(what(), &error))?;
    let answer = registry.manifest(&parsed.reference).await;
    let manifest = answer.map_err(|error| failure(what(), &error))?.bytes;
    let digest = digest_of(&manifest);
    if let OciTarget::Digest(named) = &parsed.reference
        && *named != digest
    {
        return Err(other(what(), "the manifest", &digest).into());
    }
    let refuse = |why: String| {
        Failure::new(Code::NotAComponent, what())
            .why(why)
            .hint("publish it as a Wasm artifact, for example with `wkg oci push` or `oras push`")
    };
    let manifest = match serde_json::from_slice(&manifest) {
        Ok(OciManifest::Image(manifest)) => manifest,
        Ok(OciManifest::ImageIndex(_)) => {
            let why = "it is an index of artifacts for several platforms";
            return Err(refuse(why.to_owned()).into());
        }
        Err(error) => {
            let error = error.to_string();
            let why = format!("its manifest is not understood: {}", one_line(&error));
            return Err(refuse(why).into());
        }
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
    if !is_digest(&layer.digest) {
        let why = format!("its layer has the digest {}", one_line(&layer.digest));
        return Err(refuse(format!("{why}, which is no SHA-256")).into());
    }
    let answer = registry.blob(&layer.digest, len).await;
    let bytes = answer.map_err(|error| failure(what(), &error))?.bytes;
    let found = digest_of(&bytes);
    if found != layer.digest {
        return Err(other(what(), "the component", &found).into());
    }
    // A layer that has the digest has the length, unless the manifest lies.
    if bytes.len() as u64 != len {
        return Err(refuse("its manifest has the wrong length of its layer".to_owned()).into());
    }
    ui.note(format!(
        "{}: {} of the artifact {digest}",
        one_line(text),
        size(len)
    ));
    Ok(bytes.to_vec())
}

/// The digest of bytes, as manifests and references have it.
fn digest_of(bytes: &[u8]) -> String {
    let hex = hex(&sha256(bytes));
    format!("sha256:{}", hex.trim_start_matches("0x"))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        digits.len() == 64 && digits.bytes().all(digit)
    })
}

/// What came has another digest than was asked for.
fn other(what: String, part: &str, found: &str) -> Failure {
    Failure::new(Code::BlobMismatch, what)
        .why(format!(
            "the registry sent something else for {part}: its digest is {found}"
        ))
        .hint("try again; if it comes back, the registry is broken or lies")
        .exit(Exit::Signature)
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

/// Why a registry gives nothing, in our words.
fn failure(what: String, error: &RegistryError) -> Failure {
    let hidden = "check the reference; what needs a login cannot be had, so download it yourself";
    let status = match error {
        RegistryError::Client(error) => error.problem().map(|problem| problem.status),
        _ => None,
    };
    match error {
        RegistryError::Client(_) if status == Some(404) => Failure::new(Code::NotFound, what)
            .why("the registry has no artifact of this name, or shows it to nobody")
            .hint(hidden),
        RegistryError::Client(_) if matches!(status, Some(401 | 403)) => {
            Failure::new(Code::Unauthorized, what)
                .why("the registry refuses it")
                .hint(hidden)
        }
        RegistryError::Client(ClientError::TooLarge { .. }) => Failure::new(Code::BadAnswer, what)
            .why("the registry sends more than it may")
            .hint("check the reference; if it comes back, the registry is broken or lies")
            .exit(Exit::Signature),
        RegistryError::Client(error) => Failure::from_error(what, error),
        RegistryError::Login { .. } => Failure::new(Code::Unauthorized, what)
            .why(one_line(&error.to_string()))
            .hint("download it yourself, and give the file"),
        RegistryError::Elsewhere { .. } => Failure::new(Code::BadAnswer, what)
            .why(one_line(&error.to_string()))
            .hint("check the reference; it may be no registry of OCI artifacts"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::extract::{Path as PathOf, RawQuery, State};
    use axum::http::{HeaderMap, StatusCode, header};
    use axum::response::{IntoResponse, Redirect, Response};
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

    /// The query of where blobs are, which must arrive as it was written.
    const SIGNED: &str = "signature=a%20b+c%2F";

    /// A registry of one repository, as one in a cloud: whoever asks needs a token, which it gives to
    /// anyone, and blobs are elsewhere, where no token must be shown.
    struct Registry {
        address: String,
        manifest: Value,
        /// What it gives for every blob.
        blob: &'static [u8],
    }

    /// The refusal of whoever has no token.
    fn refusal(headers: &HeaderMap, address: &str) -> Option<Response> {
        let shown = headers.get(header::AUTHORIZATION);
        if shown.is_some_and(|value| value == "Bearer t0ken") {
            return None;
        }
        let challenge = format!(
            "Bearer realm=\"http://{address}/token?a=b\",service=\"tests\",scope=\"repository:acme/count:pull\""
        );
        let headers = [(header::WWW_AUTHENTICATE, challenge)];
        Some((StatusCode::UNAUTHORIZED, headers).into_response())
    }

    async fn given(RawQuery(query): RawQuery) -> Response {
        let asked = "a=b&scope=repository%3Aacme%2Fcount%3Apull&service=tests";
        match query.as_deref() == Some(asked) {
            true => json!({"token": "t0ken"}).to_string().into_response(),
            false => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    async fn manifest(
        State(of): State<Arc<Registry>>,
        PathOf(tag): PathOf<String>,
        headers: HeaderMap,
    ) -> Response {
        if let Some(refused) = refusal(&headers, &of.address) {
            return refused;
        }
        if tag == "absent" {
            let errors = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]});
            return (StatusCode::NOT_FOUND, errors.to_string()).into_response();
        }
        let kind = of.manifest["mediaType"].as_str().unwrap().to_owned();
        ([(header::CONTENT_TYPE, kind)], of.manifest.to_string()).into_response()
    }

    async fn blob(State(of): State<Arc<Registry>>, headers: HeaderMap) -> Response {
        let there = || Redirect::temporary(&format!("/elsewhere?{SIGNED}")).into_response();
        refusal(&headers, &of.address).unwrap_or_else(there)
    }

    async fn elsewhere(
        State(of): State<Arc<Registry>>,
        RawQuery(query): RawQuery,
        headers: HeaderMap,
    ) -> Response {
        let fits = query.as_deref() == Some(SIGNED);
        match fits && !headers.contains_key(header::AUTHORIZATION) {
            true => of.blob.into_response(),
            false => StatusCode::BAD_REQUEST.into_response(),
        }
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
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let registry = Registry {
            address: address.clone(),
            manifest: manifest_of,
            blob: blob_of,
        };
        let router = Router::new()
            .route("/token", get(given))
            .route("/elsewhere", get(elsewhere))
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
            ("absent", good.clone(), COMPONENT, ":absent", "no artifact"),
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
            (
                "more bytes",
                good,
                b"\0asm\x0d\0\x01\0\0",
                ":1",
                "more than it may",
            ),
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
