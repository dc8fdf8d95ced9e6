//! What a well-behaved client meets.

use std::sync::Arc;
use std::time::Duration;

use adit_net::http::client::{Client, ClientConfig, ClientError};
use adit_net::http::extract::{self, Json, Path, Query, Raw};
use adit_net::http::server::{Limits, Listen, ListenError, Peer, Server};
use adit_protocol::Code;
use axum::body::Body;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fixtures::{Raw as Socket, client, config, serve, serve_draining};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
    amounts: Vec<u32>,
}

#[derive(Deserialize)]
struct Wait {
    wait: u32,
}

fn router() -> Router {
    let small = Router::new()
        .route(
            "/orders",
            post(async |Json(order): Json<Order>| Json(order)),
        )
        .route("/raw", post(async |Raw(bytes): Raw| bytes));
    Router::new()
        .merge(extract::body_limit(small, 1000))
        .route("/hello", get(async || "hello"))
        .route("/items/{n}", get(async |Path(n): Path<u32>| n.to_string()))
        .route(
            "/wait",
            get(async |Query(wait): Query<Wait>| wait.wait.to_string()),
        )
        .route(
            "/panic",
            get(async || -> &'static str { panic!("this test panics on purpose") }),
        )
        .route(
            "/panic-later",
            get(async || {
                let parts = futures_util::stream::iter(0..2).map(|n| match n {
                    0 => Ok::<_, std::io::Error>(Bytes::from_static(b"begun")),
                    _ => panic!("this test panics on purpose, in a stream"),
                });
                Body::from_stream(parts)
            }),
        )
        .route("/large", get(async || vec![7u8; 3_000_000]))
        .route(
            "/peer",
            get(async |Extension(peer): Extension<Peer>| peer.address.to_string()),
        )
}

use futures_util::StreamExt as _;

fn refused(result: Result<adit_net::http::client::Answer, ClientError>) -> (u16, Code, String) {
    match result {
        Err(ClientError::Refused { problem, .. }) => {
            let text = problem.to_string();
            (problem.status, problem.code.expect("a known code"), text)
        }
        other => panic!("{other:?}"),
    }
}

/// Both protocols behave alike, so both are asked.
async fn both(check: impl AsyncFn(&Client)) {
    let server = serve(Limits::default(), router()).await;
    for http2_without_tls in [false, true] {
        let client = Client::new(ClientConfig {
            http2_without_tls,
            ..config(&server)
        });
        check(&client.unwrap()).await;
    }
    assert!(server.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn answers_come_back_over_both_protocols() {
    both(async |client| {
        let answer = client.get("/hello").send().await.unwrap();
        assert_eq!(answer.bytes, "hello");
        let order = Order {
            name: "x".into(),
            amounts: vec![1, 2],
        };
        let answer = client.post("/orders").json(&order).send().await.unwrap();
        assert_eq!(answer.json::<Order>().unwrap(), order);
        let answer = client.get("/large").send().await.unwrap();
        assert_eq!(answer.bytes, vec![7u8; 3_000_000]);
        assert_eq!(answer.headers["content-length"], "3000000");
        let answer = client.get("/wait").query("wait", 30).send().await.unwrap();
        assert_eq!(answer.bytes, "30");
        let peer = client.get("/peer").send().await.unwrap();
        assert!(peer.bytes.starts_with(b"127.0.0.1:"));
    })
    .await;
}

#[tokio::test]
async fn head_has_the_headers_without_the_body() {
    both(async |client| {
        let answer = client.call(Method::HEAD, "/large").send().await.unwrap();
        assert_eq!(answer.headers["content-length"], "3000000");
        assert!(answer.bytes.is_empty());
        let missing = client.call(Method::HEAD, "/nothing").send().await;
        assert!(
            matches!(missing, Err(ClientError::Refused { problem, .. }) if problem.status == 404)
        );
    })
    .await;
}

#[tokio::test]
async fn failures_are_problems() {
    both(async |client| {
        let (status, code, _) = refused(client.get("/nothing").send().await);
        assert_eq!((status, code), (404, Code::NotFound));

        let (status, code, _) = refused(client.delete("/hello").send().await);
        assert_eq!((status, code), (405, Code::MethodNotAllowed));

        let call = client
            .post("/orders")
            .bytes("application/json", &b"{\"name\": 3}"[..]);
        let (status, code, text) = refused(call.send().await);
        assert_eq!((status, code), (400, Code::InvalidRequest));
        assert!(text.contains("name: invalid type: integer"), "{text}");

        let call = client.post("/orders").bytes(
            "application/json",
            &b"{\"name\": \"\", \"amounts\": [1, -2]}"[..],
        );
        let (_, _, text) = refused(call.send().await);
        assert!(text.contains("amounts[1]: invalid value"), "{text}");

        let call = client.post("/orders").bytes("text/plain", &b"{}"[..]);
        let (_, code, text) = refused(call.send().await);
        assert!(
            code == Code::InvalidRequest && text.contains("content-type"),
            "{text}"
        );

        let (_, code, _) = refused(client.get("/items/many").send().await);
        assert_eq!(code, Code::InvalidRequest);
        let (_, code, text) = refused(client.get("/wait").send().await);
        assert!(
            code == Code::InvalidRequest && text.contains("wait"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_allow_header_says_which_methods_there_are() {
    let server = serve(Limits::default(), router()).await;
    let mut socket = Socket::connect(&server).await;
    socket
        .send("DELETE /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    let answer = socket.rest().await.to_lowercase();
    assert!(answer.contains("allow: get,head"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_survives() {
    both(async |client| {
        let before = client.get("/peer").send().await.unwrap().bytes;
        let (status, code, text) = refused(client.get("/panic").send().await);
        assert_eq!((status, code), (500, Code::Internal));
        assert!(!text.contains("on purpose"), "{text}");
        let after = client.get("/peer").send().await.unwrap().bytes;
        assert_eq!(before, after);

        let broken = client.get("/panic-later").send().await;
        assert!(
            matches!(broken, Err(ClientError::Unreachable { .. })),
            "{broken:?}"
        );
        assert_eq!(client.get("/hello").send().await.unwrap().bytes, "hello");
    })
    .await;
}

#[tokio::test]
async fn a_body_above_the_routes_bound_is_refused_and_the_answer_arrives() {
    both(async |client| {
        for length in [1001, 900_000] {
            let call = client.post("/raw").bytes("x/y", vec![0u8; length]);
            let (status, code, text) = refused(call.send().await);
            assert_eq!((status, code), (413, Code::TooLarge), "{text}");
        }
        let call = client.post("/raw").bytes("x/y", vec![1u8; 1000]);
        assert_eq!(call.send().await.unwrap().bytes.len(), 1000);
    })
    .await;
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_while_it_comes() {
    let server = serve(Limits::default(), router()).await;
    let mut socket = Socket::connect(&server).await;
    socket
        .send("POST /raw HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..3 {
        socket
            .send(format!("190\r\n{}\r\n", "x".repeat(0x190)))
            .await;
    }
    let answer = socket.until("too-large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn who_asks_first_is_told_no_before_sending() {
    let server = serve(Limits::default(), router()).await;
    let mut socket = Socket::connect(&server).await;
    socket
        .send(
            "POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n",
        )
        .await;
    let answer = socket.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let mut socket = Socket::connect(&server).await;
    socket
        .send("POST /raw HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        .await;
    socket.until("HTTP/1.1 100").await;
    socket.send("abc").await;
    socket.until("abc").await;
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        async move || {
            begun.notify_one();
            go_on.notified().await;
            "done"
        }
    };
    let server = serve(Limits::default(), Router::new().route("/", get(handler))).await;
    let address = server.address();
    // One that only keeps a connection open must not delay the end.
    let _idle = Socket::connect(&server).await;
    let client = client(&server);
    let request = tokio::spawn(async move { client.get("/").send().await });
    begun.notified().await;
    let shutdown = tokio::spawn(server.shutdown(Duration::from_secs(10)));
    // Nothing new is accepted: the port is closed as soon as the shutdown has begun.
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .expect("the port is closed");
    go_on.notify_one();
    assert_eq!(request.await.unwrap().unwrap().bytes, "done");
    assert!(shutdown.await.unwrap());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let begun = Arc::new(Notify::new());
    let handler = {
        let begun = Arc::clone(&begun);
        async move || {
            begun.notify_one();
            std::future::pending::<()>().await;
        }
    };
    let server = serve(Limits::default(), Router::new().route("/", get(handler))).await;
    let client = client(&server);
    let request = tokio::spawn(async move { client.get("/").send().await });
    begun.notified().await;
    assert!(!server.shutdown(Duration::from_millis(200)).await);
    let error = request.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_half_a_request() {
    let server = serve(Limits::default(), router()).await;
    let mut fresh = Socket::connect(&server).await;
    fresh.send("GET /hello HTTP/1.1\r\nhost").await;
    let mut used = Socket::connect(&server).await;
    used.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n").await;
    used.until("hello").await;
    used.send("GET /hello HTTP/1.1\r\nhost").await;
    // Both parts have arrived.
    assert!(client(&server).get("/hello").send().await.is_ok());
    assert!(server.shutdown(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn the_bound_nearest_to_the_route_counts() {
    let inner = Router::new().route("/inner", post(async |Raw(bytes): Raw| bytes));
    let outer = Router::new()
        .route("/outer", post(async |Raw(bytes): Raw| bytes))
        .merge(extract::body_limit(inner, 2000));
    let server = serve(Limits::default(), extract::body_limit(outer, 1000)).await;
    let send = async |path| {
        let call = client(&server).post(path).bytes("x/y", vec![1u8; 1500]);
        call.send().await.map_err(|error| error.code())
    };
    assert!(send("/inner").await.is_ok());
    assert_eq!(send("/outer").await.unwrap_err(), Code::TooLarge);
}

#[tokio::test]
async fn long_polls_learn_that_the_server_drains() {
    let draining = CancellationToken::new();
    let begun = Arc::new(Notify::new());
    let handler = {
        let (draining, begun) = (draining.clone(), Arc::clone(&begun));
        async move || {
            begun.notify_one();
            draining.cancelled().await;
            "nothing yet"
        }
    };
    let router = Router::new().route("/", get(handler));
    let server = serve_draining(Limits::default(), router, draining).await;
    let client = client(&server);
    let request = tokio::spawn(async move { client.get("/").send().await });
    begun.notified().await;
    assert!(server.shutdown(Duration::from_secs(10)).await);
    assert_eq!(request.await.unwrap().unwrap().bytes, "nothing yet");
}

#[tokio::test]
async fn only_this_machine_is_served_without_tls() {
    let listen = Listen::plain("0.0.0.0:0".parse().unwrap());
    let start = |listen| {
        Server::start(
            listen,
            Limits::default(),
            router(),
            CancellationToken::new(),
        )
    };
    let error = start(listen.clone()).await.unwrap_err();
    assert!(matches!(error, ListenError::Insecure(_)), "{error}");
    assert_eq!(error.code(), Code::InsecureListen);
    let allowed = Listen {
        allow_insecure: true,
        ..listen
    };
    let server = start(allowed).await.unwrap();
    let taken = Listen::plain(([127, 0, 0, 1], server.address().port()).into());
    let error = start(taken).await.unwrap_err();
    assert_eq!(error.code(), Code::AddressInUse);
}

#[tokio::test]
async fn headers_of_a_call_are_sent() {
    let echo = async |headers: http::HeaderMap| headers["x-a"].to_str().unwrap().to_owned();
    let server = serve(Limits::default(), Router::new().route("/", get(echo))).await;
    let name = http::HeaderName::from_static("x-a");
    let call = client(&server)
        .get("/")
        .header(name, HeaderValue::from_static("b"));
    assert_eq!(call.send().await.unwrap().bytes, "b");
}
