//! The description of the interface, made from the code. It is committed as `openapi.json` beside
//! this crate's manifest, so that a change of the interface is seen in review.

use adit_net::openapi::complete;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
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
    )
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

/// The description of the interface.
pub async fn serve() -> Response {
    match json() {
        Ok(text) => {
            let mut response = text.into_response();
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => adit_net::Problem::internal(error).into_response(),
    }
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
}
