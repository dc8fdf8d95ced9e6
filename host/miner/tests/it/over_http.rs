//! The same coordinator behind a real server: signed requests, documents, blobs in ranges.

use std::sync::Arc;
use std::time::Duration;

use adit_miner::transport::http::HttpApi;
use adit_miner::transport::{ApiError, CoordinatorApi, Upload};
use adit_miner::{Connect, Miner, Parts};
use adit_net::SharedRng;
use adit_net::http::extract::{Cbor, Path, body_limit, parse_cbor};
use adit_net::http::files::{self, About};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::signed::nonces::NonceLimits;
use adit_net::signed::verify::{Previous, Window};
use adit_net::signed::{Gate, RequestVerifier, SignedBody, SignedHead};
use adit_net::tls::Roots;
use adit_net::{Problem, SystemClock};
use adit_protocol::keys::PublicKey;
use adit_protocol::network::exchange::{HandIn, Hello, MESSAGE_BYTES_MAX, Poll};
use adit_protocol::receipt::Receipt;
use adit_protocol::status::Status;
use adit_protocol::{Code, Document, Hash};
use axum::Router;
use axum::extract::{FromRef, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;
use tokio::net::TcpListener;
use url::Url;

use crate::support::{Fake, Net, TestExecutor, is_chain, miner_key, open_cache, until};

/// Members only.
struct OnlyTheMiner([u8; 32]);

impl Gate for OnlyTheMiner {
    fn admit(&self, node: &PublicKey) -> Result<(), Problem> {
        match node.to_bytes() == self.0 {
            true => Ok(()),
            false => Err(Problem::new(Code::NotRegistered, "no member")),
        }
    }
}

#[derive(Clone)]
struct App {
    fake: Arc<Fake>,
    verifier: Arc<RequestVerifier>,
}

impl FromRef<App> for Arc<RequestVerifier> {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

fn problem(error: &ApiError) -> Problem {
    Problem::new(error.code(), error)
}

async fn hello(State(app): State<App>, request: SignedBody) -> Result<Response, Problem> {
    let hello: Hello = parse_cbor(&request.bytes)?;
    let welcome = app.fake.hello(&hello).await.map_err(|e| problem(&e))?;
    Ok(answer(welcome))
}

fn answer(document: impl Document) -> Response {
    use axum::response::IntoResponse as _;
    Cbor(document).into_response()
}

async fn echo(State(app): State<App>, request: SignedBody) -> Result<(), Problem> {
    let echo = parse_cbor(&request.bytes)?;
    app.fake.echo(&echo).await.map_err(|e| problem(&e))
}

async fn poll(State(app): State<App>, request: SignedBody) -> Result<Response, Problem> {
    let poll: Poll = parse_cbor(&request.bytes)?;
    let found = app.fake.poll(&poll).await.map_err(|e| problem(&e))?;
    Ok(answer(found))
}

async fn progress(State(app): State<App>, request: SignedBody) -> Result<(), Problem> {
    let report = parse_cbor(&request.bytes)?;
    app.fake.progress(&report).await.map_err(|e| problem(&e))
}

async fn receipts(State(app): State<App>, request: SignedBody) -> Result<Response, Problem> {
    let receipts: HandIn = parse_cbor(&request.bytes)?;
    let found = app.fake.hand_in(&receipts).await.map_err(|e| problem(&e))?;
    Ok(answer(found))
}

async fn fetch(
    State(app): State<App>,
    Path(hash): Path<String>,
    headers: HeaderMap,
    _: SignedHead,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Code::UnknownBlob, "no such blob");
    let name: Hash = hash.parse().map_err(|_| unknown())?;
    let mut state = app.fake.state();
    state.fetched += 1;
    let bytes = state.blobs.get(&name).cloned().ok_or_else(unknown)?;
    let about = About::immutable("application/octet-stream", hash);
    Ok(files::bytes(&headers, bytes.into(), &about))
}

async fn put(
    State(app): State<App>,
    Path(hash): Path<String>,
    _: SignedHead,
    bytes: axum::body::Bytes,
) -> Result<(), Problem> {
    let name: Hash = hash
        .parse()
        .map_err(|_| Problem::new(Code::InvalidRequest, "no hash"))?;
    let put = app.fake.put_blob(&name, Upload::Bytes(bytes)).await;
    put.map_err(|e| problem(&e))
}

async fn serve(fake: &Arc<Fake>) -> Server {
    // The port may be taken by another test in between; then the next one is tried.
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let verifier = RequestVerifier::new(
            &[Url::parse(&format!("http://{address}")).unwrap()],
            Window::default(),
            NonceLimits::default(),
            Previous::None,
            Arc::new(SystemClock),
            Arc::new(OnlyTheMiner(fake.miner)),
        );
        let app = App {
            fake: fake.clone(),
            verifier: Arc::new(verifier),
        };
        let router = Router::new()
            .route("/v1/miner/hello", post(hello))
            .route("/v1/miner/echo", post(echo))
            .route("/v1/miner/poll", post(poll))
            .route("/v1/miner/progress", post(progress))
            .route("/v1/miner/receipts", post(receipts))
            .route("/v1/blobs/{hash}", get(fetch).put(put));
        let router = body_limit(router, MESSAGE_BYTES_MAX)
            .layer(axum::extract::DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
            .with_state(app);
        let listen = Listen::plain(address);
        if let Ok(server) =
            Server::start(listen, Limits::default(), router, Default::default()).await
        {
            return server;
        }
    }
    panic!("no port is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_works_over_http() {
    let net = Net::new();
    let fake = net.fake().clone();
    let server = serve(&fake).await;
    let url = server.url();
    let cache = open_cache(net.dir.path(), 1 << 30);
    let executor = TestExecutor::new(cache.store(), 2);
    let connect: Arc<Connect> = Arc::new(move |_| {
        let api = HttpApi::new(&url, &miner_key(), Roots::none(), Arc::new(SystemClock))?;
        Ok(Arc::new(api) as Arc<dyn CoordinatorApi>)
    });
    let miner = Miner::start(Parts {
        options: net.options.clone(),
        executor: executor.clone(),
        cache,
        connect,
        network: net.network.subscribe(),
        clock: Arc::new(SystemClock),
        rng: SharedRng::system(),
    })
    .unwrap();
    // One of each kind: blobs that travel along, that are fetched, that are uploaded, progress.
    fake.give_many(50, &[]);
    let mut fetched = fake.order(100, &[]);
    fetched.blobs.clear();
    let input = vec![3u8; 700_000];
    fetched.exec.input = Hash::of(&input);
    {
        let mut state = fake.state();
        state
            .blobs
            .insert(Hash::of(b"component"), b"component".to_vec());
        state.blobs.insert(Hash::of(&input), input);
    }
    fake.give(&fetched);
    fake.give(&fake.order(101, &["report", "1300"]));
    until("all are handed in", || fake.state().receipts.len() == 52).await;
    let state = fake.state();
    is_chain(&state.receipts);
    let ok = |receipt: &Receipt| receipt.body.status == Status::Ok;
    assert!(state.receipts.iter().all(ok));
    let large = &state
        .items
        .iter()
        .find(|item| item.blobs.len() < 2)
        .unwrap();
    assert_eq!(state.blobs[&large.opening.output].len(), 700_000);
    assert_eq!((state.acceptances.len(), state.progress.len()), (1, 1));
    drop(state);
    assert!(miner.status().await.coordinators[0].round_trip_us.is_some());
    miner.stop(Duration::ZERO).await;
    server.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_keep_their_codes() {
    let net = Net::new();
    let fake = net.fake().clone();
    let server = serve(&fake).await;
    let clock = Arc::new(SystemClock);
    let api = |key| HttpApi::new(&server.url(), key, Roots::none(), clock.clone()).unwrap();
    let stranger = crate::support::key("somebody");
    let poll = Poll {
        want: 1,
        wait_ms: 0,
        accepted: Vec::new(),
        working: Vec::new(),
    };
    let refused = api(&stranger).poll(&poll).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotRegistered, "{refused}");
    let cache = open_cache(net.dir.path(), 1 << 30);
    let member = api(&miner_key());
    let unknown = cache
        .fetch(&fake.node(), &member, &Hash::of(b"?"), 100)
        .await
        .unwrap_err();
    assert!(unknown.to_string().contains("unknown-blob"), "{unknown}");
    let hash = Hash::of(b"long enough");
    fake.state().blobs.insert(hash, b"long enough".to_vec());
    let large = cache
        .fetch(&fake.node(), &member, &hash, 3)
        .await
        .unwrap_err();
    assert!(
        large.to_string().contains("more than the 3 bytes"),
        "{large}"
    );
    fake.state().blobs.insert(hash, b"other bytes".to_vec());
    let other = cache
        .fetch(&fake.node(), &member, &hash, 100)
        .await
        .unwrap_err();
    assert!(other.to_string().contains("are others"), "{other}");
    let url = server.url();
    server.shutdown(Duration::from_secs(1)).await;
    let gone = HttpApi::new(&url, &miner_key(), Roots::none(), clock).unwrap();
    let gone = gone.poll(&poll).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unreachable, "{gone}");
    // An address of the membership that is none.
    let clock = Arc::new(SystemClock);
    for bad in ["", "nonsense", "ftp://x", "https://user:pw@host"] {
        let api = HttpApi::new(bad, &miner_key(), Roots::none(), clock.clone());
        assert_eq!(api.unwrap_err().code(), Code::BadAnswer, "{bad}");
    }
}
