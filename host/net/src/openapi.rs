//! What the OpenAPI documents of all nodes have in common.
//!
//! A role describes its handlers with `#[utoipa::path]`, collects them with `#[derive(OpenApi)]`,
//! and passes the result through [`complete`].

use axum::Router;
use axum::routing::get;
use http::{HeaderValue, StatusCode};
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

/// Adds the problem that every operation may answer with, and the ways to authenticate. Statuses of
/// failures that an operation names itself are described as problems, too; the malformed request is
/// added where there is something to send, and the unauthorized one where a right is asked for.
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
            complete_operation(operation);
        }
    }
    document
}

fn complete_operation(operation: &mut Operation) {
    let parameters = operation.parameters.as_ref();
    let sends = operation.request_body.is_some() || parameters.is_some_and(|all| !all.is_empty());
    let asks = operation.security.is_some();
    let responses = &mut operation.responses.responses;
    let usual = [
        (sends, "400", "the request is malformed"),
        (
            asks,
            "401",
            "the token or the signature is missing, or not valid",
        ),
        (true, "default", "The request failed: a problem by RFC 9457"),
    ];
    for (applies, status, description) in usual {
        if applies && !responses.contains_key(status) {
            responses.insert(status.to_owned(), RefOr::T(ApiResponse::new(description)));
        }
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let code = status
            .parse()
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok());
        let fails = code.is_none_or(|code| code.is_client_error() || code.is_server_error());
        if fails && response.content.is_empty() {
            let reference = RefOr::Ref(Ref::from_schema_name(Problem::name()));
            let content = Content::new(Some(reference)).into();
            response
                .content
                .insert(CONTENT_TYPE_PROBLEM.to_owned(), content);
        }
        // The standard demands one.
        if response.description.is_empty() {
            let reason = code.and_then(|code| code.canonical_reason());
            response.description = reason.unwrap_or(status).to_owned();
        }
    }
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
