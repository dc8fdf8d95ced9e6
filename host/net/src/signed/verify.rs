//! Checking signed requests, and the extractors that hand them to handlers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use adit_protocol::Code;
use adit_protocol::keys::PublicKey;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::uri::Scheme;
use thiserror::Error;
use url::Url;

use super::base::{Target, normal_authority, signature_base};
use super::nonces::{NonceError, NonceLimits, Nonces};
use super::parse::{self, HeaderError};
use super::{CONTEXT, sha256};
use crate::clock::Clock;
use crate::http::extract::read_body;
use crate::problem::Problem;

/// Decides which nodes may send requests, before their signatures cost anything.
pub trait Gate: Send + Sync {
    /// Whether the node may.
    ///
    /// # Errors
    /// The answer to one that may not: `not-registered` or `jailed`.
    fn admit(&self, node: &PublicKey) -> Result<(), Problem>;
}

/// How old, and how far ahead, a request may be. Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The greatest age.
    pub past_s: u64,
    /// How far `created` may lie in the future, for clocks that are ahead. It is also how long a
    /// server that was not ended in order refuses requests once it is started again, so it is
    /// short: see [`RequestVerifier::new`].
    pub future_s: u64,
}

impl Default for Window {
    fn default() -> Window {
        Window {
            past_s: 60,
            future_s: 10,
        }
    }
}

/// What became of the process that used the same authority before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// There was none: the state is new.
    None,
    /// It ended in order and left its [`RequestVerifier::latest_s`].
    Ended {
        /// What it left.
        latest_s: u64,
    },
    /// It was killed, or nothing is known of it.
    Unknown,
}

/// A request that its node signed, now, for this server, and once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The node's key.
    pub node: PublicKey,
    /// What made the request unique.
    pub nonce: String,
    /// When it was signed by the node's clock, in seconds since 1970.
    pub created_s: u64,
    /// The SHA-256 that the body must have, if the signature covers it.
    pub digest: Option<[u8; 32]>,
}

/// Why a request is not accepted as a node's.
#[derive(Debug, Error)]
pub enum SignedError {
    /// The headers are missing or malformed.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The request names no authority, two, or one with user information.
    #[error("the request names no host, or two different ones; hint: send one `host` header")]
    NoAuthority,
    /// The request was meant for another server.
    #[error(
        "the request is for the host `{found}`, which is not this server; hint: use the address that the coordinator is registered with, and let proxies keep the header `host`"
    )]
    ForeignAuthority {
        /// The authority that it names.
        found: String,
    },
    /// Signed too long ago.
    #[error(
        "the request was signed {by_s} s ago, at most {max_s} are accepted; hint: sign it again, and compare the clocks"
    )]
    Old {
        /// Its age.
        by_s: u64,
        /// The greatest age.
        max_s: u64,
    },
    /// Signed in the future.
    #[error(
        "the request was signed {by_s} s in the future, at most {max_s} are accepted; hint: set the clock by NTP"
    )]
    Early {
        /// How far ahead.
        by_s: u64,
        /// How far is accepted.
        max_s: u64,
    },
    /// The node may not send requests.
    #[error("{0}")]
    NotAdmitted(Problem),
    /// The signature is not that of this request by this key.
    #[error(
        "the signature does not fit the request; hint: was the method, the path, the host or the digest changed on the way, or another key used?"
    )]
    Signature,
    /// The nonce is not accepted.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// The body is not the one that was signed.
    #[error("the body does not have the digest that was signed; hint: it was altered on the way")]
    Digest,
    /// The body is not covered, and the handler needs it to be.
    #[error("the signature does not cover the body; hint: cover `content-digest`")]
    BodyNotCovered,
}

impl From<SignedError> for Problem {
    fn from(error: SignedError) -> Problem {
        // After a restart nothing is taken for a while, however often it is signed anew.
        let mut wait_s = 1;
        let code = match error {
            SignedError::NotAdmitted(problem) => return problem,
            SignedError::Nonce(NonceError::Forgotten { wait_s: until }) => {
                wait_s = u32::try_from(until).map_or(WAIT_S_MAX, |until| until.min(WAIT_S_MAX));
                Code::RequestStale
            }
            SignedError::Old { .. } | SignedError::Early { .. } => Code::RequestStale,
            SignedError::Nonce(NonceError::Replayed) => Code::RequestReplayed,
            SignedError::Nonce(NonceError::NodeFull) => Code::QuotaExceeded,
            SignedError::Nonce(NonceError::Full) => Code::Overloaded,
            _ => Code::BadRequestSignature,
        };
        let problem = Problem::new(code, &error);
        match code {
            Code::QuotaExceeded | Code::Overloaded => problem.retry_after_s(5),
            Code::RequestStale => problem.retry_after_s(wait_s),
            _ => problem,
        }
    }
}

/// Longest time after which a client is told to try again, in seconds: clocks differ by no more, or
/// are to be set.
const WAIT_S_MAX: u32 = 60;

/// Checks signed requests. One for each server.
pub struct RequestVerifier {
    /// Scheme and authority of each address that the server goes by. The authority is in normal
    /// form.
    authorities: BTreeSet<String>,
    /// The scheme that default ports follow.
    scheme: Scheme,
    window: Window,
    clock: Arc<dyn Clock>,
    gate: Arc<dyn Gate>,
    nonces: Mutex<Nonces>,
}

impl RequestVerifier {
    /// A verifier for a server that is reached under `urls`: its public address, and others by
    /// which nodes may call it. All have the scheme of the first.
    ///
    /// Which requests a former process has seen is not stored. What it may have accepted is
    /// refused by its time: what was signed up to its latest request, or, if that is not known, up
    /// to now and as far ahead as a request may be.
    pub fn new(
        urls: &[Url],
        window: Window,
        limits: NonceLimits,
        previous: Previous,
        clock: Arc<dyn Clock>,
        gate: Arc<dyn Gate>,
    ) -> RequestVerifier {
        let scheme = match urls.first().map(Url::scheme) {
            Some("https") => Scheme::HTTPS,
            _ => Scheme::HTTP,
        };
        let authorities = urls
            .iter()
            .filter_map(|url| normal_authority(url.authority(), &scheme))
            .collect();
        let floor_s = match previous {
            Previous::None => 0,
            Previous::Ended { latest_s } => latest_s,
            Previous::Unknown => clock.now_s().saturating_add(window.future_s),
        };
        RequestVerifier {
            authorities,
            scheme,
            window,
            clock,
            gate,
            nonces: Mutex::new(Nonces::new(limits, floor_s)),
        }
    }

    /// The latest second in which a request that was accepted was signed: what to store when the
    /// server has ended, for the next one's [`Previous::Ended`].
    pub fn latest_s(&self) -> u64 {
        self.nonces().latest_s()
    }

    /// Checks all of a request but its body, and uses up its nonce.
    ///
    /// # Errors
    /// [`SignedError`], which becomes a [`Problem`].
    pub fn verify(&self, parts: &Parts) -> Result<Verified, SignedError> {
        let headers = parse::headers(&parts.headers)?;
        let authority = self.authority(parts)?;
        self.check_age(headers.created_s)?;
        self.gate
            .admit(&headers.node)
            .map_err(SignedError::NotAdmitted)?;
        let target = Target {
            method: &parts.method,
            authority: &authority,
            path: match parts.uri.path() {
                "" => "/",
                path => path,
            },
            query: parts.uri.query(),
        };
        let digest = headers.digest.as_ref().map(|(_, header)| header.as_str());
        let base = signature_base(&target, digest, &headers.parameters);
        headers
            .node
            .verify(CONTEXT, base.as_bytes(), &headers.signature)
            .map_err(|_| SignedError::Signature)?;
        // Only now, so that nobody can use up the nonces of others.
        let now_s = self.clock.now_s();
        let mut nonces = self.nonces();
        nonces.forget(now_s.saturating_sub(self.window.past_s.saturating_add(1)));
        nonces.insert(&headers.node.to_bytes(), &headers.nonce, headers.created_s)?;
        drop(nonces);
        Ok(Verified {
            node: headers.node,
            nonce: headers.nonce,
            created_s: headers.created_s,
            digest: headers.digest.map(|(digest, _)| digest),
        })
    }

    fn check_age(&self, created_s: u64) -> Result<(), SignedError> {
        let now_s = self.clock.now_s();
        let (age, ahead) = (
            now_s.saturating_sub(created_s),
            created_s.saturating_sub(now_s),
        );
        if age > self.window.past_s {
            return Err(SignedError::Old {
                by_s: age,
                max_s: self.window.past_s,
            });
        }
        if ahead > self.window.future_s {
            return Err(SignedError::Early {
                by_s: ahead,
                max_s: self.window.future_s,
            });
        }
        Ok(())
    }

    /// The authority that the request names, if it is one of this server.
    fn authority(&self, parts: &Parts) -> Result<String, SignedError> {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => Some(host.to_str().map_err(|_| SignedError::NoAuthority)?),
            (Some(_), Some(_)) => return Err(SignedError::NoAuthority),
        };
        // HTTP/2 has it in the target, HTTP/1 in the header, and a proxy's request in both.
        let target = parts.uri.authority().map(http::uri::Authority::as_str);
        let normal = |text| normal_authority(text, &self.scheme).ok_or(SignedError::NoAuthority);
        let found = match (target, host) {
            (None, None) => return Err(SignedError::NoAuthority),
            (Some(one), None) | (None, Some(one)) => normal(one)?,
            (Some(target), Some(host)) => {
                let found = normal(target)?;
                if found != normal(host)? {
                    return Err(SignedError::NoAuthority);
                }
                found
            }
        };
        match self.authorities.contains(&found) {
            true => Ok(found),
            false => Err(SignedError::ForeignAuthority { found }),
        }
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A signed request with its body, for handlers: `async fn handler(request: SignedBody)`. The state
/// of the router must give an `Arc<RequestVerifier>`.
#[derive(Clone, Debug)]
pub struct SignedBody {
    /// The node that signed.
    pub node: PublicKey,
    /// The body, as it was signed.
    pub bytes: Bytes,
}

impl<S> FromRequest<S> for SignedBody
where
    S: Send + Sync,
    Arc<RequestVerifier>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<SignedBody, Problem> {
        let (parts, body) = request.into_parts();
        let verified = Arc::<RequestVerifier>::from_ref(state).verify(&parts)?;
        let digest = verified.digest.ok_or(SignedError::BodyNotCovered)?;
        let bytes = read_body(Request::from_parts(parts, body)).await?;
        if sha256(&bytes) != digest {
            return Err(SignedError::Digest.into());
        }
        Ok(SignedBody {
            node: verified.node,
            bytes,
        })
    }
}

/// A signed request without its body, for handlers of requests that have none, or whose body is
/// checked in another way, as by a hash in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead(pub Verified);

impl<S> FromRequestParts<S> for SignedHead
where
    S: Send + Sync,
    Arc<RequestVerifier>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<SignedHead, Problem> {
        let verified = Arc::<RequestVerifier>::from_ref(state).verify(parts)?;
        Ok(SignedHead(verified))
    }
}
