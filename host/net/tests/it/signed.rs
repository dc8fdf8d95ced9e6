//! Signed requests: what a coordinator accepts, and every way in which one can be wrong.

use std::sync::Arc;

use adit_net::clock::{Clock, ManualClock};
use adit_net::http::client::{Answer, Call, Client, ClientConfig, ClientError, Retry};
use adit_net::http::server::{Bound, Limits, Listen, Server};
use adit_net::problem::Problem;
use adit_net::signed::nonces::NonceLimits;
use adit_net::signed::verify::{Previous, Window};
use adit_net::signed::{self, Gate, RequestVerifier, SignedBody, SignedHead, Target};
use adit_protocol::Code;
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::rand_core::OsRng;
use axum::Router;
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::fixtures::{LOOPBACK, Raw, client, config, serve};

const START_MS: u64 = 1_700_000_000_000;

/// Everyone but the key of seed 9.
struct NotNine;

impl Gate for NotNine {
    fn admit(&self, node: &PublicKey) -> Result<(), Problem> {
        match *node == Keypair::from_seed([9; 32]).public() {
            true => Err(Problem::new(
                Code::NotRegistered,
                "that node is not a member",
            )),
            false => Ok(()),
        }
    }
}

struct World {
    server: Server,
    clock: ManualClock,
    verifier: Arc<RequestVerifier>,
}

fn router() -> Router<Arc<RequestVerifier>> {
    let body = async |request: SignedBody| format!("{:?} {}", request.node, request.bytes.len());
    let head = async |SignedHead(verified): SignedHead| format!("{:?}", verified.node);
    Router::new()
        .route("/v1/poll", post(body))
        .route("/v1/other", post(body))
        .route("/v1/head", get(head).put(head))
}

async fn world(previous: Previous, limits: NonceLimits) -> World {
    let clock = ManualClock::at_ms(START_MS);
    let bound = Bound::bind(Listen::plain(LOOPBACK)).await.unwrap();
    let urls = [
        Url::parse(&bound.url()).unwrap(),
        Url::parse("http://coordinator.example").unwrap(),
    ];
    let verifier = Arc::new(RequestVerifier::new(
        &urls,
        Window::default(),
        limits,
        previous,
        Arc::new(clock.clone()),
        Arc::new(NotNine),
    ));
    let router = router().with_state(Arc::clone(&verifier));
    World {
        server: bound.serve(Limits::default(), router, CancellationToken::new()),
        clock,
        verifier,
    }
}

async fn fresh() -> World {
    world(Previous::None, NonceLimits::default()).await
}

fn node(seed: u8) -> Arc<Keypair> {
    Arc::new(Keypair::from_seed([seed; 32]))
}

impl World {
    fn client(&self, seed: u8) -> Client {
        let config = ClientConfig {
            node: Some(node(seed)),
            clock: Arc::new(self.clock.clone()),
            ..config(&self.server)
        };
        Client::new(config).unwrap()
    }

    /// The headers of a signed POST to /v1/poll with the body `abc`, and a change of them.
    fn headers(&self, change: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
        let authority = self.server.address().to_string();
        self.headers_for(&authority, self.clock.now_s(), change)
    }

    fn headers_for(
        &self,
        authority: &str,
        created_s: u64,
        change: impl FnOnce(&mut HeaderMap),
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let target = Target {
            method: &Method::POST,
            authority,
            path: "/v1/poll",
            query: None,
        };
        signed::sign(
            &mut headers,
            &target,
            Some(signed::sha256(b"abc")),
            created_s,
            &signed::nonce(&mut OsRng),
            &node(1),
            &mut OsRng,
        );
        change(&mut headers);
        headers
    }

    fn call(&self, path: &str, headers: &HeaderMap) -> Call {
        let mut call = client(&self.server).post(path).bytes("x/y", &b"abc"[..]);
        for (name, value) in headers {
            call = call.header(name.clone(), value.clone());
        }
        call
    }

    async fn send(&self, headers: &HeaderMap) -> Result<Answer, ClientError> {
        self.call("/v1/poll", headers).send().await
    }

    async fn refusal(&self, headers: &HeaderMap) -> (u16, Code) {
        refusal(self.send(headers).await)
    }
}

fn refusal(result: Result<Answer, ClientError>) -> (u16, Code) {
    match result {
        Err(ClientError::Refused { problem, .. }) => {
            (problem.status, problem.code.expect("a code that is known"))
        }
        other => panic!("{other:?}"),
    }
}

const BAD: (u16, Code) = (401, Code::BadRequestSignature);

#[tokio::test]
async fn a_signed_request_is_known_by_its_node() {
    let world = fresh().await;
    let expected = format!("{:?} 3", node(1).public());
    for http2_without_tls in [false, true] {
        let config = ClientConfig {
            http2_without_tls,
            node: Some(node(1)),
            clock: Arc::new(world.clock.clone()),
            ..config(&world.server)
        };
        let client = Client::new(config).unwrap();
        let call = client.post("/v1/poll").query("a", "b c&d").signed();
        let answer = call.bytes("x/y", &b"abc"[..]).send().await.unwrap();
        assert_eq!(answer.bytes, expected);
        let answer = client.get("/v1/head").signed().send().await.unwrap();
        assert_eq!(answer.bytes, format!("{:?}", node(1).public()));
        let empty = client.post("/v1/poll").signed().send().await.unwrap();
        assert!(empty.bytes.ends_with(b" 0"));
    }
    assert_eq!(
        world.send(&world.headers(|_| ())).await.unwrap().bytes,
        expected
    );
}

#[tokio::test]
async fn unsigned_and_foreign_nodes_are_refused() {
    let world = fresh().await;
    assert_eq!(world.refusal(&HeaderMap::new()).await, BAD);
    let stranger = world.client(9).post("/v1/poll").signed().send().await;
    assert_eq!(refusal(stranger), (403, Code::NotRegistered));
}

#[tokio::test]
async fn what_was_altered_does_not_fit() {
    let world = fresh().await;
    // The body.
    let headers = world.headers(|_| ());
    let mut call = client(&world.server)
        .post("/v1/poll")
        .bytes("x/y", &b"abd"[..]);
    for (name, value) in &headers {
        call = call.header(name.clone(), value.clone());
    }
    assert_eq!(refusal(call.send().await), BAD);
    // The body, and its digest with it.
    let altered = world.headers(|headers| {
        let mut other = HeaderMap::new();
        let target = Target {
            method: &Method::POST,
            authority: "x",
            path: "/",
            query: None,
        };
        let digest = Some(signed::sha256(b"abd"));
        signed::sign(
            &mut other,
            &target,
            digest,
            1,
            "0123456789abcdef",
            &node(2),
            &mut OsRng,
        );
        headers.insert(
            signed::CONTENT_DIGEST,
            other[signed::CONTENT_DIGEST].clone(),
        );
    });
    assert_eq!(world.refusal(&altered).await, BAD);
    // The path, the query, the method.
    let headers = world.headers(|_| ());
    assert_eq!(refusal(world.call("/v1/other", &headers).send().await), BAD);
    let with_query = world.call("/v1/poll", &headers).query("a", "b");
    assert_eq!(refusal(with_query.send().await), BAD);
    let mut put = client(&world.server)
        .put("/v1/head")
        .bytes("x/y", &b"abc"[..]);
    for (name, value) in &headers {
        put = put.header(name.clone(), value.clone());
    }
    assert_eq!(refusal(put.send().await), BAD);
    // After all this, the request itself is good: none of these has used up its nonce.
    assert!(world.send(&headers).await.is_ok());
}

#[tokio::test]
async fn another_signer_or_parameter_does_not_fit() {
    let world = fresh().await;
    let input = |headers: &mut HeaderMap, from: &str, to: &str| {
        let text = headers[signed::SIGNATURE_INPUT].to_str().unwrap();
        assert!(text.contains(from), "{text}");
        let value = HeaderValue::try_from(text.replace(from, to)).unwrap();
        headers.insert(signed::SIGNATURE_INPUT, value);
    };
    let one = format!("{:?}", node(1).public());
    let two = format!("{:?}", node(2).public());
    let created = format!("created={}", world.clock.now_s());
    let later = format!("created={}", world.clock.now_s() + 1);
    let cases = [
        (one.as_str(), two.as_str()),
        (created.as_str(), later.as_str()),
        ("nonce=\"", "nonce=\"A"),
        // Not in the profile.
        ("alg=\"sr25519\"", "alg=\"ed25519\""),
        ("tag=\"adit-request\"", "tag=\"other\""),
        (";tag=", ";expires=9999999999;tag="),
        (" \"content-digest\"", ""),
        ("(\"@method\" \"@authority\"", "(\"@authority\" \"@method\""),
        (";created", "; created"),
        ("sig=", "sig1="),
        ("sig=", "a=(\"@method\"), sig="),
        ("keyid=\"0x", "keyid=\"0X"),
        ("keyid=\"0x", "keyid=\"0x00"),
    ];
    for (from, to) in cases {
        let headers = world.headers(|headers| input(headers, from, to));
        assert_eq!(world.refusal(&headers).await, BAD, "{from} -> {to}");
    }
    let zero = format!("0x{}", "0".repeat(64));
    let headers = world.headers(|headers| input(headers, &one, &zero));
    assert_eq!(world.refusal(&headers).await, BAD);
}

#[tokio::test]
async fn headers_that_are_missing_or_doubled_are_refused() {
    let world = fresh().await;
    let names = [
        signed::SIGNATURE,
        signed::SIGNATURE_INPUT,
        signed::CONTENT_DIGEST,
    ];
    for name in &names {
        let headers = world.headers(|headers| drop(headers.remove(name)));
        assert_eq!(world.refusal(&headers).await, BAD, "{name}");
        // A client of ours sends no header twice.
        let mut socket = Raw::connect(&world.server).await;
        let mut text = format!(
            "POST /v1/poll HTTP/1.1\r\nhost: {}\r\n",
            world.server.address()
        );
        let headers = world.headers(|_| ());
        for (header, value) in &headers {
            for _ in 0..1 + usize::from(header == name) {
                text.push_str(&format!("{header}: {}\r\n", value.to_str().unwrap()));
            }
        }
        text.push_str("content-length: 3\r\n\r\nabc");
        socket.send(text).await;
        let answer = socket.until("code").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_covered_is_not_taken() {
    let world = fresh().await;
    let authority = world.server.address().to_string();
    let mut headers = HeaderMap::new();
    let target = Target {
        method: &Method::POST,
        authority: &authority,
        path: "/v1/poll",
        query: None,
    };
    let (now, nonce) = (world.clock.now_s(), signed::nonce(&mut OsRng));
    signed::sign(
        &mut headers,
        &target,
        None,
        now,
        &nonce,
        &node(1),
        &mut OsRng,
    );
    assert_eq!(world.refusal(&headers).await, BAD);
}

#[tokio::test]
async fn a_request_counts_once() {
    let world = fresh().await;
    let headers = world.headers(|_| ());
    assert!(world.send(&headers).await.is_ok());
    assert_eq!(world.refusal(&headers).await, (401, Code::RequestReplayed));
    world.clock.advance_ms(59_000);
    assert_eq!(world.refusal(&headers).await, (401, Code::RequestReplayed));
    world.clock.advance_ms(2_000);
    assert_eq!(world.refusal(&headers).await, (401, Code::RequestStale));
    // Setting the clock back does not make it new.
    let newer = world.headers(|_| ());
    assert!(world.send(&newer).await.is_ok());
    world.clock.set_ms(START_MS);
    let refusal = world.refusal(&headers).await;
    assert_eq!(refusal, (401, Code::RequestStale));
}

#[tokio::test]
async fn only_recent_requests_count() {
    let world = fresh().await;
    let authority = world.server.address().to_string();
    let now = world.clock.now_s();
    for (created_s, expected) in [
        (now - 60, None),
        (now - 61, Some(Code::RequestStale)),
        (now + 10, None),
        (now + 11, Some(Code::RequestStale)),
        (0, Some(Code::RequestStale)),
        (999_999_999_999_999, Some(Code::RequestStale)),
    ] {
        let headers = world.headers_for(&authority, created_s, |_| ());
        let result = world.send(&headers).await;
        assert_eq!(
            result.err().map(|error| error.code()),
            expected,
            "{created_s}"
        );
    }
}

#[tokio::test]
async fn requests_for_other_coordinators_are_refused() {
    let world = fresh().await;
    let now = world.clock.now_s();
    // The signature is good for that host, and the header says that host.
    for (host, expected) in [
        ("coordinator.example", "200"),
        ("Coordinator.EXAMPLE:80", "200"),
        ("coordinator.example:81", "401"),
        ("evil.example", "401"),
        ("user@coordinator.example", "401"),
    ] {
        let authority = host.to_lowercase();
        let authority = authority
            .strip_suffix(":80")
            .unwrap_or(&authority)
            .to_owned();
        let headers = world.headers_for(&authority, now, |_| ());
        let mut text = format!("POST /v1/poll HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        for (name, value) in &headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        text.push_str("content-length: 3\r\n\r\nabc");
        let mut socket = Raw::connect(&world.server).await;
        socket.send(text).await;
        let answer = socket.rest().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{host}: {answer}"
        );
    }
}

#[tokio::test]
async fn what_a_former_process_may_have_seen_is_refused() {
    let world = world(Previous::Unknown, NonceLimits::default()).await;
    let authority = world.server.address().to_string();
    let now = world.clock.now_s();
    let before = world.headers_for(&authority, now - 5, |_| ());
    assert_eq!(world.refusal(&before).await, (401, Code::RequestStale));
    // Up to 10 s ahead a former process may have accepted; then come 15 s and one more.
    match world.send(&before).await {
        Err(ClientError::Refused { problem, .. }) => assert_eq!(problem.retry_after_s, Some(16)),
        other => panic!("{other:?}"),
    }
    // Signed by a clock that is ahead, and possibly accepted before the restart.
    let ahead = world.headers_for(&authority, now + 9, |_| ());
    world.clock.advance_ms(9_000);
    assert_eq!(world.refusal(&ahead).await, (401, Code::RequestStale));
    world.clock.advance_ms(2_000);
    assert!(world.send(&world.headers(|_| ())).await.is_ok());

    let latest_s = world.verifier.latest_s();
    assert_eq!(latest_s, world.clock.now_s());
    let ended = Previous::Ended { latest_s };
    let next = self::world(ended, NonceLimits::default()).await;
    next.clock.set_ms(latest_s * 1000);
    assert_eq!(
        next.refusal(&next.headers(|_| ())).await,
        (401, Code::RequestStale)
    );
    next.clock.advance_ms(1_000);
    assert!(next.send(&next.headers(|_| ())).await.is_ok());
}

#[tokio::test]
async fn a_full_memory_of_nonces_refuses() {
    let limits = NonceLimits {
        entries_max: 3,
        entries_per_node_max: 2,
    };
    let world = world(Previous::None, limits).await;
    let poll = async |seed| world.client(seed).post("/v1/poll").signed().send().await;
    assert!(poll(1).await.is_ok() && poll(1).await.is_ok());
    assert_eq!(refusal(poll(1).await), (429, Code::QuotaExceeded));
    assert!(poll(2).await.is_ok());
    assert_eq!(refusal(poll(3).await), (503, Code::Overloaded));
    world.clock.advance_ms(62_000);
    assert!(poll(1).await.is_ok() && poll(3).await.is_ok());
}

#[tokio::test]
async fn a_client_whose_clock_is_wrong_takes_the_servers() {
    // The header `date` of a server is real time, so that here the client's clock is the wrong one.
    let real = adit_net::SystemClock.now_ms();
    for ours in [real - 3_600_000, real + 3_600_000] {
        let world = fresh().await;
        world.clock.set_ms(real);
        let config = ClientConfig {
            node: Some(node(1)),
            clock: Arc::new(ManualClock::at_ms(ours)),
            retry: Retry {
                attempts_max: 2,
                first_ms: 1,
                wait_ms_max: 1,
            },
            ..config(&world.server)
        };
        let client = Client::new(config).unwrap();
        let call = client.post("/v1/poll").signed();
        assert!(call.clone().send().await.is_ok());
        // What was learnt stays: one attempt is enough.
        assert!(call.send().await.is_ok());
    }
}

#[tokio::test]
async fn a_client_without_a_key_does_not_send() {
    let server = serve(Limits::default(), Router::new()).await;
    let error = client(&server).get("/").signed().send().await.unwrap_err();
    assert!(matches!(error, ClientError::Build(_)), "{error}");
}

/// Headers of a request that is well formed.
fn well_formed() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let target = Target {
        method: &Method::POST,
        authority: "example.com",
        path: "/",
        query: None,
    };
    let digest = Some(signed::sha256(b""));
    signed::sign(
        &mut headers,
        &target,
        digest,
        1,
        "0123456789abcdef",
        &node(1),
        &mut OsRng,
    );
    headers
}

proptest! {
    #[test]
    fn any_headers_are_read_without_harm(
        input in "[ -~]{0,600}",
        signature in "[ -~]{0,200}",
        digest in "[ -~]{0,200}",
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(signed::SIGNATURE_INPUT, HeaderValue::try_from(input).unwrap());
        headers.insert(signed::SIGNATURE, HeaderValue::try_from(signature).unwrap());
        headers.insert(signed::CONTENT_DIGEST, HeaderValue::try_from(digest).unwrap());
        prop_assert!(signed::parse::headers(&headers).is_err());
    }

    /// The headers have one form: whatever else is read is another request, and never the same.
    #[test]
    fn an_altered_header_is_refused_or_says_something_else(
        which in 0..3usize,
        at in any::<prop::sample::Index>(),
        to in 32..127u8,
    ) {
        let original = well_formed();
        let name = [signed::SIGNATURE_INPUT, signed::SIGNATURE, signed::CONTENT_DIGEST][which].clone();
        let mut bytes = original[&name].as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let mut altered = original.clone();
        altered.insert(name, HeaderValue::from_bytes(&bytes).unwrap());
        let read = signed::parse::headers(&original).unwrap();
        if let Ok(other) = signed::parse::headers(&altered) {
            prop_assert_ne!(other, read);
        }
    }
}
