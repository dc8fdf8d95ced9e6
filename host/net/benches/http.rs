//! What a request costs: checking a signed one, and a round trip over the loopback interface.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_net::clock::ManualClock;
use adit_net::http::client::{Client, ClientConfig};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::problem::Problem;
use adit_net::signed::nonces::NonceLimits;
use adit_net::signed::verify::{Previous, Window};
use adit_net::signed::{self, Gate, RequestVerifier, Target};
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::rand_core::OsRng;
use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::request::Parts;
use url::Url;

struct Everyone;

impl Gate for Everyone {
    fn admit(&self, _: &PublicKey) -> Result<(), Problem> {
        Ok(())
    }
}

fn signed_parts(node: &Keypair) -> Parts {
    let request = http::Request::post("http://example.com/v1/poll")
        .body(())
        .unwrap();
    let (mut parts, ()) = request.into_parts();
    let target = Target {
        method: &parts.method.clone(),
        authority: "example.com",
        path: "/v1/poll",
        query: None,
    };
    let nonce = signed::nonce(&mut OsRng);
    let digest = Some(signed::sha256(b""));
    signed::sign(
        &mut parts.headers,
        &target,
        digest,
        1_000,
        &nonce,
        node,
        &mut OsRng,
    );
    parts
}

fn signatures(c: &mut Criterion) {
    let node = Keypair::from_seed([1; 32]);
    c.bench_function("sign a request", |b| b.iter(|| signed_parts(&node)));
    let verifier = RequestVerifier::new(
        &[Url::parse("http://example.com").unwrap()],
        Window::default(),
        NonceLimits {
            entries_max: usize::MAX,
            entries_per_node_max: usize::MAX,
        },
        Previous::None,
        Arc::new(ManualClock::at_ms(1_000_000)),
        Arc::new(Everyone),
    );
    c.bench_function("verify a request", |b| {
        b.iter_batched(
            || signed_parts(&node),
            |parts| verifier.verify(&parts).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn router() -> Router {
    let served = Arc::new(AtomicU64::new(0));
    let handler = async move || served.fetch_add(1, Ordering::Relaxed).to_string();
    Router::new().route("/", get(handler))
}

fn round_trips(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let listen = Listen::plain(([127, 0, 0, 1], 0).into());
    let server = Server::start(listen, Limits::default(), router(), Default::default());
    let server = runtime.block_on(server).unwrap();
    for (name, http2_without_tls) in [("http/1.1", false), ("http/2", true)] {
        let client = Client::new(ClientConfig {
            http2_without_tls,
            ..ClientConfig::new(Url::parse(&server.url()).unwrap())
        })
        .unwrap();
        c.bench_function(&format!("round trip, {name}"), |b| {
            b.iter(|| runtime.block_on(client.get("/").send()).unwrap());
        });
        c.bench_function(&format!("64 round trips at once, {name}"), |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let all = (0..64).map(|_| tokio::spawn(client.get("/").send()));
                    for one in all.collect::<Vec<_>>() {
                        one.await.unwrap().unwrap();
                    }
                });
            });
        });
    }
    bare(c, &runtime);
}

/// The same with axum's own server and reqwest alone: what the bounds, traces and retries add.
fn bare(c: &mut Criterion, runtime: &tokio::runtime::Runtime) {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    runtime.spawn(async move {
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, router()).await
    });
    let tls = adit_net::tls::Roots::none().client_config().unwrap();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let client = builder.no_proxy().http2_prior_knowledge().build().unwrap();
    let get = async |client: reqwest::Client, url: String| {
        client.get(url).send().await.unwrap().bytes().await.unwrap()
    };
    c.bench_function("round trip, http/2, bare", |b| {
        b.iter(|| runtime.block_on(get(client.clone(), url.clone())));
    });
    c.bench_function("64 round trips at once, http/2, bare", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let all = (0..64).map(|_| {
                    let (client, url) = (client.clone(), url.clone());
                    tokio::spawn(async move {
                        client.get(url).send().await.unwrap().bytes().await.unwrap()
                    })
                });
                for one in all.collect::<Vec<_>>() {
                    one.await.unwrap();
                }
            });
        });
    });
}

criterion_group!(benches, signatures, round_trips);
criterion_main!(benches);
