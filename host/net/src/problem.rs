//! Errors on the wire: RFC 9457 `application/problem+json`.
//!
//! ```json
//! {"type": "urn:adit:problem:unknown-task", "title": "the coordinator does not know that task",
//!  "status": 404, "detail": "no task blake3:...", "code": "unknown-task",
//!  "hint": "check the id", "retryable": false}
//! ```
//!
//! `code` is stable and what programs match on; the texts are for people. A server writes
//! [`Problem`]; a client reads [`RemoteProblem`], whose code may be one that it does not know.

use std::borrow::Cow;
use std::fmt;

use adit_protocol::Code;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::status;

/// The media type of a problem.
pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// The longest body that is read as a problem, in bytes.
pub const PROBLEM_BYTES_MAX: usize = 16 * 1024;

/// The longest text that is taken from a foreign problem, in bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// What stands between a message and its advice, in all messages of this project.
const HINT: &str = "; hint: ";

/// Why a request failed, as a server answers it. The status, the title and whether a retry makes
/// sense come from the code; [`status::of`] has the statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What happened, by kind.
    pub code: Code,
    /// The particulars of this case: what, and why.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Seconds after which the same request may succeed; goes into `retry-after` as well.
    pub retry_after_s: Option<u32>,
    /// Further headers of the answer, as `allow`.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of kind `code`. A message that ends in `; hint: ...`, as the errors of this project
    /// do, is taken apart into detail and hint.
    pub fn new(code: Code, message: impl fmt::Display) -> Problem {
        let message = message.to_string();
        let (detail, hint) = match message.split_once(HINT) {
            Some((detail, hint)) => (detail.to_owned(), Some(hint.to_owned())),
            None => (message, None),
        };
        Problem {
            code,
            detail,
            hint,
            retry_after_s: None,
            headers: Vec::new(),
        }
    }

    /// An error of the server itself. The particulars go to its own log and not to the peer, since
    /// they may name files and addresses.
    pub fn internal(error: impl fmt::Display) -> Problem {
        tracing::error!(%error, "a request failed for an internal reason");
        Problem::new(
            Code::Internal,
            "the server has an error of its own, which its log names; hint: try again, and tell the operator if it stays",
        )
    }

    /// The same with an advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same with the seconds after which a retry makes sense.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same with one more header in the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// The status that goes with the code.
    pub fn status(&self) -> StatusCode {
        status::of(self.code)
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            kind: format!("urn:adit:problem:{}", self.code),
            title: self.code.summary().to_owned(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code.as_str().to_owned(),
            hint: self.hint.clone(),
            retryable: Some(self.code.retryable()),
            retry_after_s: self.retry_after_s,
        };
        // Texts, numbers and booleans only, so that it cannot fail.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.detail)?;
        match &self.hint {
            Some(hint) => write!(f, "{HINT}{hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-store"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}

/// The members of a problem. All have a default, since RFC 9457 demands none of them.
#[derive(Serialize, Deserialize, Default, ToSchema)]
#[serde(default)]
struct Wire {
    /// `urn:adit:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// What happened in general.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened in this case, and why.
    detail: String,
    /// The stable code, which programs match on; `adit explain CODE` explains it.
    code: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The same request may succeed later.
    retryable: Option<bool>,
    /// Seconds after which to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Wire::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }
}

/// A problem that another node answered. Its texts are bounded and hold no control characters, so
/// that they can be shown; otherwise nothing of it is to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteProblem {
    /// The status of the answer; the one in the body is not looked at.
    pub status: u16,
    /// The code, if this version knows it.
    pub code: Option<Code>,
    /// The code as it was sent; empty if there was none.
    pub code_text: String,
    /// What happened in general.
    pub title: String,
    /// What happened in this case.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The same request may succeed later. Without a body that says so, 408, 429 and 5xx do,
    /// except for 501 and 505.
    pub retryable: bool,
    /// Seconds to wait before that, from the body or from `retry-after`.
    pub retry_after_s: Option<u32>,
}

impl RemoteProblem {
    /// Reads the answer of a failed request. It never fails: an answer that is no problem, as a
    /// proxy sends it, becomes one that has a status alone.
    pub fn parse(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> RemoteProblem {
        let is_problem = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let essence = value.split(';').next().unwrap_or_default();
                essence.trim().eq_ignore_ascii_case(CONTENT_TYPE_PROBLEM)
            });
        let wire = match is_problem && body.len() <= PROBLEM_BYTES_MAX {
            true => serde_json::from_slice::<Wire>(body).ok(),
            false => None,
        };
        let after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        let by_status = match status.as_u16() {
            408 | 429 => true,
            501 | 505 => false,
            _ => status.is_server_error(),
        };
        let Some(wire) = wire else {
            return RemoteProblem {
                status: status.as_u16(),
                code: None,
                code_text: String::new(),
                title: status.canonical_reason().unwrap_or_default().to_owned(),
                detail: String::new(),
                hint: None,
                retryable: by_status,
                retry_after_s: after,
            };
        };
        RemoteProblem {
            status: status.as_u16(),
            code: wire.code.parse().ok(),
            code_text: shown(&wire.code),
            title: shown(&wire.title),
            detail: shown(&wire.detail),
            hint: wire.hint.as_deref().map(shown),
            retryable: wire.retryable.unwrap_or(by_status),
            retry_after_s: wire.retry_after_s.or(after),
        }
    }
}

impl fmt::Display for RemoteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.detail.is_empty() {
            true => &self.title,
            false => &self.detail,
        };
        write!(f, "{text} (")?;
        if !self.code_text.is_empty() {
            write!(f, "{}, ", self.code_text)?;
        }
        write!(f, "HTTP status {})", self.status)?;
        match &self.hint {
            Some(hint) => write!(f, "{HINT}{hint}"),
            None => Ok(()),
        }
    }
}

/// A foreign text, cut to a bound and without characters that could change a terminal.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json; charset=utf-8"),
        );
        headers
    }

    #[test]
    fn a_problem_is_read_back() {
        for code in Code::ALL {
            let problem = Problem::new(*code, "the disk is on fire; hint: put it out");
            let read = RemoteProblem::parse(problem.status(), &headers(), &problem.to_json());
            assert_eq!(read.code, Some(*code));
            assert_eq!(read.detail, "the disk is on fire");
            assert_eq!(read.hint.as_deref(), Some("put it out"));
            assert_eq!(read.retryable, code.retryable());
            assert_eq!(read.title, code.summary());
        }
    }

    #[test]
    fn the_members_have_the_names_of_the_standard() {
        let problem = Problem::new(Code::QuotaExceeded, "20 tasks are in flight").retry_after_s(3);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:adit:problem:quota-exceeded",
            "title": Code::QuotaExceeded.summary(),
            "status": 429,
            "detail": "20 tasks are in flight",
            "code": "quota-exceeded",
            "retryable": true,
            "retry_after_s": 3,
        });
        assert_eq!(json, expected);
        let response = problem.into_response();
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE_PROBLEM);
    }

    #[test]
    fn foreign_answers_are_bounded_and_never_fail() {
        let long = "x\u{1b}[2J".repeat(3000);
        let body = serde_json::json!({"code": "from-the-future", "detail": long}).to_string();
        let read = RemoteProblem::parse(StatusCode::CONFLICT, &headers(), body.as_bytes());
        // Above the bound as a whole, so nothing of it is taken.
        assert_eq!((read.code, read.detail.as_str()), (None, ""));

        let body = serde_json::json!({"code": "from-the-future", "detail": &long[..6000]});
        let read = RemoteProblem::parse(
            StatusCode::CONFLICT,
            &headers(),
            body.to_string().as_bytes(),
        );
        assert_eq!(
            (read.code, read.code_text.as_str()),
            (None, "from-the-future")
        );
        assert!(read.detail.len() <= TEXT_BYTES_MAX && !read.detail.contains('\u{1b}'));
        assert!(!read.retryable);

        for body in [&b"<html>"[..], b"", b"[]", b"{\"status\": \"x\"}", b"\xff"] {
            let read = RemoteProblem::parse(StatusCode::BAD_GATEWAY, &headers(), body);
            assert_eq!(read.status, 502);
            assert!(read.retryable, "{body:?}");
        }
        let read = RemoteProblem::parse(StatusCode::NOT_FOUND, &HeaderMap::new(), b"no");
        assert_eq!(read.to_string(), "Not Found (HTTP status 404)");
    }
}
