//! The description of the interface, made from the code. It is committed as `openapi.json` beside
//! this crate's manifest, so that a change of the interface is seen in review.

use adit_net::openapi::complete;
use utoipa::OpenApi;

use super::{
    accounts, blobs, components, events, governance, ledger, reports, rewards, transactions,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adit registry",
        description = "Who has which tokens, who votes for whom, which nodes take part, which components are published. A transaction is a text that its account signs; whatever is answered can be recomputed from the log, which is served as C2SP tlog-tiles under `/log/`; copies of the coordinators' logs, as far as the checker here has made them, under `/v1/mirrors/{address}/`, by the node key that names a log.\n\nHashes are written `blake3:` and 64 digits, accounts and nodes as SS58 addresses under prefix 42, amounts as decimal strings in 10^-12 token. Errors are `application/problem+json` (RFC 9457) with `code`, `hint` and `retryable`; `adit explain CODE` tells more of each code.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        transactions::submit,
        transactions::show,
        accounts::show,
        accounts::transactions,
        accounts::proof,
        rewards::account,
        rewards::node,
        rewards::show,
        rewards::open,
        governance::proposals,
        governance::proposal,
        reports::list,
        reports::show,
        reports::misdeeds,
        ledger::nodes,
        ledger::node,
        components::list,
        components::show,
        components::release,
        components::scope,
        blobs::read,
        ledger::show,
        ledger::supply,
        ledger::genesis,
        ledger::network,
        events::stream,
    )
)]
struct Api;

/// The description.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    complete(Api::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

    /// With `ADIT_WRITE_OPENAPI=1` in the environment this test writes the file.
    #[test]
    fn the_committed_description_is_that_of_the_code() {
        let made = format!("{}\n", document().to_pretty_json().unwrap());
        if std::env::var_os("ADIT_WRITE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, &made).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            made == committed,
            "openapi.json differs from the code; if the change is intended, write it anew: \
             ADIT_WRITE_OPENAPI=1 cargo test --release -p adit-registry openapi"
        );
    }
}
