//! Who sends a request: a client by its token, a node by its signature.

use std::sync::Arc;

use adit_net::Problem;
use adit_net::http::extract::read_body;
use adit_net::signed::{SIGNATURE_INPUT, SignedError, Verified, sha256};
use adit_protocol::Code;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::app::App;
use crate::tokens::Client;

/// A client whose token is valid.
pub struct Caller(pub Arc<Client>);

/// Who reads. A token or a signature that is not valid is refused all the same.
pub enum Reader {
    /// Somebody without a token.
    Anyone,
    /// A client.
    Client(Arc<Client>),
    /// A node.
    Node([u8; 32]),
}

/// Somebody who may upload blobs.
pub struct Uploader {
    /// What it may use up.
    pub client: Arc<Client>,
}

/// A node's signed request with its body.
pub struct FromNode {
    /// The node key.
    pub node: [u8; 32],
    /// The body, as it was signed.
    pub bytes: Bytes,
}

fn client(app: &App, headers: &HeaderMap) -> Result<Option<Arc<Client>>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let Some(token) = token else {
        return Err(Problem::new(
            Code::Unauthorized,
            "the header `authorization` is not `Bearer TOKEN`",
        )
        .hint("send the token that the coordinator's operator gave you in that form"));
    };
    match app.tokens.client(token) {
        Some(client) => Ok(Some(client)),
        None => Err(Problem::new(
            Code::Unauthorized,
            "the coordinator does not know the token",
        )
        .hint("check it for typing errors; it may have been withdrawn")),
    }
}

/// The problem of a request that needs a token and has none.
pub fn no_token() -> Problem {
    Problem::new(Code::Unauthorized, "the request has no token")
        .hint("send it in the header `authorization: Bearer TOKEN`")
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Caller, Problem> {
        client(app, &parts.headers)?
            .map(Caller)
            .ok_or_else(no_token)
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Reader, Problem> {
        if parts.headers.contains_key(SIGNATURE_INPUT) {
            return Ok(Reader::Node(verify(app, parts)?.node.to_bytes()));
        }
        Ok(match client(app, &parts.headers)? {
            Some(client) => Reader::Client(client),
            None => Reader::Anyone,
        })
    }
}

impl FromRequestParts<App> for Uploader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Uploader, Problem> {
        if parts.headers.contains_key(SIGNATURE_INPUT) {
            let verified = verify(app, parts)?;
            return Ok(Uploader {
                client: app.uploads_of(verified.node.to_bytes()),
            });
        }
        let client = client(app, &parts.headers)?.ok_or_else(no_token)?;
        Ok(Uploader { client })
    }
}

impl FromRequest<App> for FromNode {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<FromNode, Problem> {
        let (parts, body) = request.into_parts();
        let verified = verify(app, &parts)?;
        let digest = verified.digest.ok_or(SignedError::BodyNotCovered)?;
        let bytes = read_body(Request::from_parts(parts, body)).await?;
        if sha256(&bytes) != digest {
            return Err(SignedError::Digest.into());
        }
        Ok(FromNode {
            node: verified.node.to_bytes(),
            bytes,
        })
    }
}

fn verify(app: &App, parts: &Parts) -> Result<Verified, Problem> {
    let verifier = app.verifier.get().ok_or_else(|| {
        Problem::new(Code::Overloaded, "the coordinator is still starting")
            .hint("try again in a moment")
            .retry_after_s(1)
    })?;
    Ok(verifier.verify(parts)?)
}
