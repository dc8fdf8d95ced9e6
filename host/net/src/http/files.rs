//! Files as answers: streamed, in ranges, with headers for caches (RFC 9110, 9111).

use std::io;

use adit_protocol::Code;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::problem::Problem;

/// Bytes that are read from the file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long others may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// For ever: the address names these bytes and no others.
    Immutable,
    /// Until the etag changes: each use asks whether it has.
    Revalidate,
    /// Not at all.
    Never,
}

impl Cache {
    /// The value of `cache-control`.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Cache::Immutable => "public, max-age=31536000, immutable",
            Cache::Revalidate => "public, no-cache",
            Cache::Never => "no-store",
        })
    }
}

/// What is said of a file.
#[derive(Clone, Debug)]
pub struct About {
    /// The media type.
    pub content_type: HeaderValue,
    /// What identifies these bytes, without quotation marks: a hash. A file without one can be
    /// neither compared nor continued safely, and is sent whole.
    pub etag: Option<String>,
    /// Who may keep it.
    pub cache: Cache,
}

impl About {
    /// A file whose address names its bytes for ever, as a blob or a full tile.
    pub fn immutable(content_type: &'static str, etag: impl Into<String>) -> About {
        About {
            content_type: HeaderValue::from_static(content_type),
            etag: Some(etag.into()),
            cache: Cache::Immutable,
        }
    }

    fn etag(&self) -> Option<HeaderValue> {
        let etag = self.etag.as_ref()?;
        HeaderValue::try_from(format!("\"{etag}\"")).ok()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, self.cache.header());
        if let Some(etag) = self.etag() {
            headers.insert(ETAG, etag);
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        headers
    }
}

/// Whether the client has these bytes already (`if-none-match`).
fn is_known(request: &HeaderMap, about: &About) -> bool {
    let Some(etag) = about.etag() else {
        return false;
    };
    request.get_all(IF_NONE_MATCH).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value.split(',').map(str::trim).any(|one| {
            one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == etag.as_bytes()
        })
    })
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From a byte on, for a length that is not 0.
    Range(u64, u64),
    /// A range that does not begin within the file.
    Beyond,
}

/// The part that the client asks for. Several ranges, and what is not understood, count as none,
/// as RFC 9110, 14.2, allows.
fn part(request: &HeaderMap, about: &About, length: u64) -> Part {
    let mut ranges = request.get_all(RANGE).iter();
    let (Some(range), None, Some(etag)) = (ranges.next(), ranges.next(), about.etag()) else {
        return Part::All;
    };
    if request.get(IF_RANGE).is_some_and(|value| value != etag) {
        return Part::All;
    }
    let range = range.to_str().ok().and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.trim(), last.trim()))
    });
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (begin, end) = match range {
        None => return Part::All,
        Some(("", last)) => match number(last) {
            None => return Part::All,
            Some(suffix) => (length.saturating_sub(suffix), length),
        },
        Some((first, "")) => match number(first) {
            None => return Part::All,
            Some(first) => (first, length),
        },
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => {
                (first, last.saturating_add(1).min(length))
            }
            _ => return Part::All,
        },
    };
    match end.checked_sub(begin) {
        None | Some(0) => Part::Beyond,
        Some(part) => Part::Range(begin, part),
    }
}

/// The answer with a file, or with the part of it that `request` asks for, or that it is known.
///
/// # Errors
/// `internal` if the file cannot be read.
pub async fn file(request: &HeaderMap, mut file: File, about: &About) -> Result<Response, Problem> {
    let length = file.metadata().await.map_err(failed)?.len();
    if is_known(request, about) {
        return Ok((StatusCode::NOT_MODIFIED, about.headers()).into_response());
    }
    let (status, begin, part) = match part(request, about, length) {
        Part::All => (StatusCode::OK, 0, length),
        Part::Range(begin, part) => (StatusCode::PARTIAL_CONTENT, begin, part),
        Part::Beyond => return Ok(beyond(length)),
    };
    if begin > 0 {
        file.seek(io::SeekFrom::Start(begin))
            .await
            .map_err(failed)?;
    }
    // A file that grows must not send more than is announced.
    let body = ReaderStream::with_capacity(file.take(part), CHUNK_BYTES);
    Ok(answer(
        status,
        begin,
        part,
        length,
        about,
        Body::from_stream(body),
    ))
}

/// The same for bytes in memory.
pub fn bytes(request: &HeaderMap, bytes: bytes::Bytes, about: &About) -> Response {
    let length = bytes.len() as u64;
    if is_known(request, about) {
        return (StatusCode::NOT_MODIFIED, about.headers()).into_response();
    }
    match part(request, about, length) {
        Part::All => answer(StatusCode::OK, 0, length, length, about, bytes.into()),
        Part::Beyond => beyond(length),
        Part::Range(begin, part) => {
            // Both are below the length, which is a usize.
            let cut = bytes.slice(begin as usize..(begin + part) as usize);
            let status = StatusCode::PARTIAL_CONTENT;
            answer(status, begin, part, length, about, cut.into())
        }
    }
}

fn failed(error: io::Error) -> Problem {
    Problem::internal(format!("a file could not be read: {error}"))
}

fn beyond(length: u64) -> Response {
    let problem = Problem::new(
        Code::RangeNotSatisfiable,
        format!("the range begins behind the end, there are {length} bytes; hint: ask for less"),
    );
    match HeaderValue::try_from(format!("bytes */{length}")) {
        Ok(value) => problem.header(CONTENT_RANGE, value).into_response(),
        Err(_) => problem.into_response(),
    }
}

fn answer(
    status: StatusCode,
    begin: u64,
    part: u64,
    length: u64,
    about: &About,
    body: Body,
) -> Response {
    let mut response = (status, about.headers(), body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, about.content_type.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(part));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = begin.saturating_add(part).saturating_sub(1);
        if let Ok(value) = HeaderValue::try_from(format!("bytes {begin}-{last}/{length}")) {
            headers.insert(CONTENT_RANGE, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &'static str, length: u64) -> Part {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_static(range));
        part(&request, &About::immutable("x/y", "tag"), length)
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        assert_eq!(of("bytes=0-9", 100), Part::Range(0, 10));
        assert_eq!(of("bytes=90-", 100), Part::Range(90, 10));
        assert_eq!(of("bytes=90-200", 100), Part::Range(90, 10));
        assert_eq!(of("bytes=-10", 100), Part::Range(90, 10));
        assert_eq!(of("bytes=-200", 100), Part::Range(0, 100));
        assert_eq!(of("bytes=100-", 100), Part::Beyond);
        assert_eq!(of("bytes=-0", 100), Part::Beyond);
        assert_eq!(of("bytes=0-", 0), Part::Beyond);
        assert_eq!(of("bytes=99999999999999999999999-", 100), Part::Beyond);
        for other in [
            "bytes=9-0",
            "bytes=0-1,5-6",
            "lines=0-1",
            "bytes=a-b",
            "bytes=",
            "bytes=+1-2",
        ] {
            assert_eq!(of(other, 100), Part::All, "{other}");
        }
    }

    #[test]
    fn a_range_of_other_bytes_is_not_continued() {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_static("bytes=5-"));
        request.insert(IF_RANGE, HeaderValue::from_static("\"tag\""));
        let about = About::immutable("x/y", "tag");
        assert_eq!(part(&request, &about, 10), Part::Range(5, 5));
        request.insert(IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(part(&request, &about, 10), Part::All);
        request.remove(IF_RANGE);
        let without = About {
            etag: None,
            ..about
        };
        assert_eq!(part(&request, &without, 10), Part::All);
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let about = About::immutable("x/y", "tag");
        let known = |value: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            bytes(&request, "abc".into(), &about).status()
        };
        assert_eq!(known("\"tag\""), StatusCode::NOT_MODIFIED);
        assert_eq!(known("\"a\", W/\"tag\""), StatusCode::NOT_MODIFIED);
        assert_eq!(known("*"), StatusCode::NOT_MODIFIED);
        assert_eq!(known("\"tags\""), StatusCode::OK);
        assert_eq!(known("tag"), StatusCode::OK);
    }
}
