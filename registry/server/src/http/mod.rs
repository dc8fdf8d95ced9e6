//! The registry's HTTP interface.
//!
//! | route | what |
//! |---|---|
//! | `POST /v1/transactions` | a transaction, as JSON `{text, signature}`; answered when it is durable |
//! | `GET /v1/transactions/{id}` | one that took effect |
//! | `GET /v1/accounts/{address}` | what an account has, and its votes |
//! | `GET /v1/accounts/{address}/transactions` | its transactions, newest first; `?before=` a number |
//! | `GET /v1/accounts/{address}/proof` | a proof of it, as of the end of the last epoch |
//! | `GET /v1/accounts/{address}/rewards` | what it earned, with the proof that a claim needs |
//! | `GET /v1/nodes/{address}/rewards` | how a node came to what it earned, newest epoch first |
//! | `GET /v1/proposals`, `/v1/proposals/{id}` | what is voted on, or was accepted and waits |
//! | `GET /v1/reports` | who is accused, and of what; `?node=`, `?after=` an id |
//! | `GET /v1/reports/{id}` | a report: what is known of it, and what comes next |
//! | `GET /v1/nodes/{address}/misdeeds` | what was reported of a node, and whether it is jailed |
//! | `GET /v1/rewards` | what is settled, and what comes next |
//! | `GET /v1/rewards/open` | where in coordinators' logs the leaves are that are not settled |
//! | `GET /v1/nodes`, `/v1/nodes/{address}` | nodes; `?role=`, `?after=` an address |
//! | `GET /v1/components` | the component index; `?q=` searches, `?after=` a name |
//! | `GET /v1/components/{name}` | a component with all its versions |
//! | `GET /v1/components/{name}/{version}` | one of them; `latest` for what the name alone means |
//! | `GET /v1/scopes/{scope}` | who owns names, and what publishing under them costs |
//! | `GET /v1/blobs/{hash}` | a settlement component, which the rules name by its hash |
//! | `GET /v1/ledger` | where the chain is, and the rules |
//! | `GET /v1/ledger/supply` | where the tokens are, counted every two seconds at most |
//! | `GET /v1/ledger/genesis` | the ledger's genesis document, CBOR |
//! | `GET /v1/events` | the log's entries and what they did, as they come; `?from=` an index |
//! | `GET /v1/network` | the network file, CBOR: who takes part in this epoch |
//! | `/log/` | the log: checkpoint and tiles |
//! | `/v1/mirrors/{address}/` | the same of a coordinator's log, by the node key that names it, as far as the checker here has copied it |
//! | `POST /add-checkpoint` | the witness that its checker is, if it runs one (C2SP `tlog-witness`) |
//! | `GET /v1/openapi.json` | all of this, described |
//! | `/livez`, `/readyz`, `/version`, `/metrics` | for operators |

mod accounts;
mod blobs;
mod components;
mod events;
mod governance;
mod ledger;
mod openapi;
mod reports;
mod rewards;
mod schema;
mod transactions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_ledger::state::Supply;
use adit_ledger::{Key, LedgerGenesis};
use adit_net::http::extract::body_limit;
use adit_net::http::health::{self, Version};
use adit_net::http::limit::{Places, RateLimit};
use adit_net::{Problem, blocking};
use adit_protocol::Code;
use adit_protocol::Document as _;
use adit_protocol::network::genesis::Genesis;
use adit_runtime::store::blobs::BlobStore;
use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::engine::{Handle, Live};
use crate::figures::Figures;
use crate::settling::keep::Keep;
use crate::store::{Reader, StoreError};

/// Longest body of a transaction, in bytes: a text, escaped, and a signature.
const SUBMISSION_BYTES_MAX: usize = 64 * 1024;
/// Streams of events at one time, of all and of one address.
const STREAMS_MAX: usize = 1024;
const STREAMS_OF_ADDRESS_MAX: usize = 64;
/// Transactions of one address whose signatures are checked and that are refused: at once, and in a
/// second. A check takes some 70 us; what takes effect pays a fee and does not count.
const CHECKS_MAX: u32 = 4096;
const CHECKS_PER_S: u32 = 100;

/// What all handlers share. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    handle: Handle,
    reader: Mutex<Reader>,
    /// For streams, so that nobody else waits for those who read much.
    watching: Mutex<Reader>,
    genesis: Genesis,
    ledger: Bytes,
    keep: Arc<Keep>,
    /// Settlement components.
    components: BlobStore,
    figures: Figures,
    /// Streams of events.
    streams: Places,
    /// Checks of signatures of transactions that were refused afterwards.
    checks: RateLimit,
    /// Cancelled when the server ends.
    draining: CancellationToken,
    /// Where the tokens were when they were last counted.
    supply: tokio::sync::Mutex<Option<(Instant, Supply)>>,
}

impl App {
    pub(crate) fn new(
        handle: Handle,
        (reader, watching): (Reader, Reader),
        (genesis, ledger): (&Genesis, &LedgerGenesis),
        keep: Arc<Keep>,
        components: BlobStore,
        figures: Figures,
        draining: CancellationToken,
    ) -> App {
        App(Arc::new(Inner {
            handle,
            reader: Mutex::new(reader),
            genesis: genesis.clone(),
            ledger: ledger.to_cbor().into(),
            keep,
            components,
            figures,
            watching: Mutex::new(watching),
            streams: Places::new(STREAMS_MAX, STREAMS_OF_ADDRESS_MAX),
            checks: RateLimit::new(CHECKS_MAX, CHECKS_PER_S),
            draining,
            supply: tokio::sync::Mutex::default(),
        }))
    }

    /// Looks at the state, off the threads that serve requests: it may have to wait for a commit.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Live) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        let looked = blocking(move || app.0.handle.shared().live().map(|live| look(&live)));
        Ok(looked.await.map_err(Problem::internal)??)
    }

    /// Reads from the database.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        with(move || read(&lock(&app.0.reader))).await
    }

    /// The same for streams.
    async fn watch<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        with(move || read(&lock(&app.0.watching))).await
    }
}

fn lock(reader: &Mutex<Reader>) -> MutexGuard<'_, Reader> {
    reader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads, off the threads that serve requests.
async fn with<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let done = blocking(read).await.map_err(Problem::internal)?;
    done.map_err(Problem::internal)
}

/// The routes, without those of the log.
///
/// # Errors
/// Those of serde, for a description that cannot be written as JSON.
pub(crate) fn router(app: App) -> Result<Router, serde_json::Error> {
    let version = Version {
        role: "registry".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: None,
        network: Some(app.0.genesis.hash().to_string()),
        node: None,
    };
    let metrics = app.0.figures.metrics().routes();
    let handle = app.0.handle.clone();
    let ready = move || match handle.shared().refuses() {
        None => Ok(()),
        Some(why) => Err(why.to_owned()),
    };
    let submissions = Router::new().route("/v1/transactions", post(transactions::submit));
    let described = adit_net::openapi::routes(&openapi::document())?;
    Ok(body_limit(submissions, SUBMISSION_BYTES_MAX)
        .route("/v1/transactions/{id}", get(transactions::show))
        .route("/v1/accounts/{address}", get(accounts::show))
        .route(
            "/v1/accounts/{address}/transactions",
            get(accounts::transactions),
        )
        .route("/v1/accounts/{address}/proof", get(accounts::proof))
        .route("/v1/accounts/{address}/rewards", get(rewards::account))
        .route("/v1/nodes/{address}/rewards", get(rewards::node))
        .route("/v1/rewards", get(rewards::show))
        .route("/v1/rewards/open", get(rewards::open))
        .route("/v1/proposals", get(governance::proposals))
        .route("/v1/proposals/{id}", get(governance::proposal))
        .route("/v1/reports", get(reports::list))
        .route("/v1/reports/{id}", get(reports::show))
        .route("/v1/nodes/{address}/misdeeds", get(reports::misdeeds))
        .route("/v1/nodes", get(ledger::nodes))
        .route("/v1/nodes/{address}", get(ledger::node))
        .route("/v1/components", get(components::list))
        .route("/v1/components/{name}", get(components::show))
        .route("/v1/components/{name}/{version}", get(components::release))
        .route("/v1/scopes/{scope}", get(components::scope))
        .route("/v1/blobs/{hash}", get(blobs::read))
        .route("/v1/ledger", get(ledger::show))
        .route("/v1/ledger/supply", get(ledger::supply))
        .route("/v1/ledger/genesis", get(ledger::genesis))
        .route("/v1/network", get(ledger::network))
        .route("/v1/events", get(events::stream))
        .merge(metrics)
        .merge(health::routes(version, ready))
        .merge(described)
        .with_state(app))
}

/// Reads an address in a path or a parameter.
fn address(text: &str) -> Result<Key, Problem> {
    text.parse()
        .map_err(|error| Problem::new(Code::BadKey, error))
}
