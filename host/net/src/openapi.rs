//! What the OpenAPI documents of all nodes have in common.
//!
//! A role describes its handlers with `#[utoipa::path]`, collects them with `#[derive(OpenApi)]`,
//! and passes the result through [`complete`].

use axum::Router;
use axum::routing::get;
use http::HeaderValue;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::Response as ApiResponse;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::http::files::{About, Cache, bytes};
use crate::problem::{CONTENT_TYPE_PROBLEM, Problem};

/// The name of the security scheme of clients, for `security(("token" = []))`.
pub const SECURITY_TOKEN: &str = "token";

/// The name of the security scheme of nodes, for `security(("node_signature" = []))`.
pub const SECURITY_NODE_SIGNATURE: &str = "node_signature";

/// Adds the problem that every operation may answer with, and the ways to authenticate.
pub fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_with(Components::default);
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(SECURITY_TOKEN, bearer);
    let signature = ApiKeyValue::with_description(
        "signature",
        "RFC 9421 with `signature-input` and, for bodies, `content-digest`; algorithm sr25519",
    );
    let signature = SecurityScheme::ApiKey(ApiKey::Header(signature));
    components.add_security_scheme(SECURITY_NODE_SIGNATURE, signature);

    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            operation
                .responses
                .responses
                .entry("default".to_owned())
                .or_insert_with(|| RefOr::T(problem_response()));
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        ..
    } = item;
    [get, put, post, delete, options, head, patch, trace]
        .into_iter()
        .flatten()
}

fn problem_response() -> ApiResponse {
    let reference = RefOr::Ref(Ref::from_schema_name(Problem::name()));
    let mut response = ApiResponse::new("The request failed: a problem by RFC 9457");
    response.content.insert(
        CONTENT_TYPE_PROBLEM.to_owned(),
        Content::new(Some(reference)).into(),
    );
    response
}

/// The route `/v1/openapi.json`.
///
/// # Errors
/// Those of serde, for a document that cannot be written as JSON.
pub fn routes<S: Clone + Send + Sync + 'static>(
    document: &OpenApi,
) -> Result<Router<S>, serde_json::Error> {
    let text = bytes::Bytes::from(document.to_pretty_json()?);
    let about = About {
        content_type: HeaderValue::from_static("application/json"),
        etag: Some(blake3::hash(&text).to_hex().to_string()),
        cache: Cache::Revalidate,
    };
    let handler = async move |headers: http::HeaderMap| bytes(&headers, text, &about);
    Ok(Router::new().route("/v1/openapi.json", get(handler)))
}
