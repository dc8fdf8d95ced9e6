//! The description of the interface, made from the code. It is committed as `openapi.json` beside
//! this crate's manifest, so that a change of the interface is seen in review.

use std::sync::OnceLock;

use adit_net::Problem;
use adit_net::http::files::{About, Cache, bytes};
use adit_net::openapi::complete;
use adit_protocol::Hash;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use utoipa::OpenApi;

use super::{blobs, metrics, miner, network, receipts, tasks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adit coordinator",
        description = "Clients submit tasks and get results with receipts; miners get assignments and hand in receipts; auditors read the log.\n\nHashes are written `blake3:` and 64 digits, keys `0x` and 64 digits, amounts as decimal strings in 10^-12 token. Errors are `application/problem+json` (RFC 9457) with `code`, `hint` and `retryable`; `adit explain CODE` tells more of each code. The log is served as C2SP tlog-tiles under `/log/`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        tasks::submit::submit,
        tasks::list,
        tasks::show,
        tasks::cancel,
        tasks::explain,
        tasks::spec,
        tasks::exec,
        tasks::result::output,
        tasks::result::log,
        tasks::events::stream,
        receipts::show,
        receipts::log,
        blobs::read,
        blobs::write,
        blobs::missing,
        blobs::batch,
        blobs::document,
        network::network,
        network::membership,
        network::info,
        network::miners,
        network::miner,
        network::status,
        miner::hello,
        miner::echo,
        miner::poll,
        miner::progress,
        miner::receipts::hand_in,
        metrics::live,
        metrics::ready,
        metrics::version,
    ),
    components(schemas(tasks::StateName))
)]
struct Api;

/// The description as JSON, each line as it is committed.
///
/// # Errors
/// Only if it could not be written as JSON.
pub fn json() -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&complete(Api::openapi()))?;
    text.push('\n');
    Ok(text)
}

/// The description of the interface. Made once: it takes longer than anything else that is answered
/// to anyone.
pub async fn serve(headers: HeaderMap) -> Result<Response, Problem> {
    static MADE: OnceLock<(Bytes, String)> = OnceLock::new();
    let (text, etag) = match MADE.get() {
        Some(made) => made,
        None => {
            let text = Bytes::from(json().map_err(Problem::internal)?);
            let etag = Hash::of(&text).to_string();
            MADE.get_or_init(|| (text, etag))
        }
    };
    let about = About {
        content_type: HeaderValue::from_static("application/json"),
        etag: Some(etag.clone()),
        cache: Cache::Revalidate,
    };
    Ok(bytes(&headers, text.clone(), &about))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

    /// With `ADIT_WRITE_OPENAPI=1` in the environment this test writes the file.
    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let made = json().unwrap();
        if std::env::var_os("ADIT_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, &made).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            made == committed,
            "openapi.json differs from the code; if the change is intended, write it anew: \
             ADIT_WRITE_OPENAPI=1 cargo test --release -p adit-coordinator openapi"
        );
    }

    /// Programs that are made from the description have a function of that name for each.
    #[test]
    fn operations_have_names_of_their_own() {
        let described: serde_json::Value = serde_json::from_str(&json().unwrap()).unwrap();
        let paths = described["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|path| path.as_object().unwrap().values());
        let mut names: Vec<_> = operations
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
