//! What a client makes of servers that are slow, absent, hostile, or only busy.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adit_net::http::client::{Client, ClientConfig, ClientError, Retry, Sleeper};
use adit_net::http::server::Limits;
use adit_net::problem::Problem;
use adit_protocol::Code;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::{any, get};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use crate::fixtures::{client, config, serve};

/// Notes how long it was to wait, and does not.
#[derive(Default)]
struct Noted(Mutex<Vec<u64>>);

impl Sleeper for Noted {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let ms = u64::try_from(duration.as_millis()).unwrap();
        self.0.lock().unwrap().push(ms);
        Box::pin(std::future::ready(()))
    }
}

/// A server that refuses as many times as is said, and counts.
fn busy(times: usize, code: Code) -> (Router, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let handler = async move || match count.fetch_add(1, Ordering::SeqCst) {
        asked if asked < times => Problem::new(code, "not now")
            .retry_after_s(2)
            .into_response(),
        _ => "done".into_response(),
    };
    (Router::new().route("/", any(handler)), asked)
}

async fn patient(router: Router) -> (adit_net::http::server::Server, Client, Arc<Noted>) {
    let server = serve(Limits::default(), router).await;
    let noted = Arc::new(Noted::default());
    let config = ClientConfig {
        retry: Retry {
            attempts_max: 4,
            first_ms: 100,
            wait_ms_max: 5000,
        },
        sleeper: Arc::clone(&noted) as Arc<dyn Sleeper>,
        ..config(&server)
    };
    (server, Client::new(config).unwrap(), noted)
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let (router, asked) = busy(2, Code::Overloaded);
    let (_server, client, noted) = patient(router).await;
    assert_eq!(client.get("/").send().await.unwrap().bytes, "done");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    // As long as the server says.
    assert_eq!(*noted.0.lock().unwrap(), [2000, 2000]);
}

#[tokio::test]
async fn not_for_ever_and_not_if_it_does_not_help() {
    let (router, asked) = busy(99, Code::Overloaded);
    let (_server, client, _) = patient(router).await;
    let error = client.get("/").send().await.unwrap_err();
    assert_eq!(
        (error.code(), asked.load(Ordering::SeqCst)),
        (Code::Overloaded, 4)
    );

    let (router, asked) = busy(99, Code::UnknownTask);
    let (_server, client, _) = patient(router).await;
    let error = client.get("/").send().await.unwrap_err();
    assert_eq!(
        (error.code(), asked.load(Ordering::SeqCst)),
        (Code::UnknownTask, 1)
    );
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_repeated() {
    // The server failed half way, perhaps after it had done something.
    let (router, asked) = busy(1, Code::Internal);
    let (_server, client, _) = patient(router).await;
    assert!(client.post("/").send().await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // With a key by which the server knows it again, it is.
    let (router, asked) = busy(1, Code::Internal);
    let (_server, client, _) = patient(router).await;
    assert!(client.post("/").idempotency_key("k-1").send().await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // Refused before anything was done.
    let (router, asked) = busy(1, Code::QuotaExceeded);
    let (_server, client, _) = patient(router).await;
    assert!(client.post("/").send().await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn absent_servers_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let noted = Arc::new(Noted::default());
    let config = ClientConfig {
        sleeper: Arc::clone(&noted) as Arc<dyn Sleeper>,
        ..ClientConfig::new(Url::parse(&base).unwrap())
    };
    // Nothing was sent, so that even a POST is tried again.
    let error = Client::new(config)
        .unwrap()
        .post("/")
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { unsent: true, .. }),
        "{error}"
    );
    assert_eq!(error.code(), Code::Unreachable);
    assert_eq!(noted.0.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn slow_servers_time_out() {
    let router = Router::new()
        .route("/", get(async || std::future::pending::<()>().await))
        .route(
            "/drip",
            get(async || {
                // Headers at once, and then nothing.
                Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
            }),
        );
    let server = serve(Limits::default(), router).await;
    for path in ["/", "/drip"] {
        let begun = Instant::now();
        let call = client(&server).get(path).timeout_ms(200);
        let error = call.send().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Timeout { after_ms: 200, .. }),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn long_answers_are_refused() {
    let router = Router::new()
        .route("/announced", get(async || vec![0u8; 1001]))
        .route(
            "/endless",
            get(async || {
                let part = Bytes::from_static(&[0; 512]);
                Body::from_stream(futures_util::stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(part.clone())
                }))
            }),
        )
        .route("/exact", get(async || vec![0u8; 1000]));
    let server = serve(Limits::default(), router).await;
    for path in ["/announced", "/endless"] {
        let call = client(&server).get(path).answer_bytes_max(1000);
        let error = call.send().await.unwrap_err();
        assert!(
            matches!(
                error,
                ClientError::TooLarge {
                    bytes_max: 1000,
                    ..
                }
            ),
            "{error}"
        );
    }
    let call = client(&server).get("/exact").answer_bytes_max(1000);
    assert_eq!(call.send().await.unwrap().bytes.len(), 1000);
}

#[tokio::test]
async fn answers_of_other_programs_are_told_as_such() {
    let router = Router::new()
        .route("/json", get(async || "<html>"))
        .route(
            "/moved",
            get(async || Redirect::temporary("http://elsewhere.example/")),
        )
        .route(
            "/teapot",
            get(async || (http::StatusCode::IM_A_TEAPOT, "<html>")),
        )
        .route("/gateway", get(async || http::StatusCode::BAD_GATEWAY));
    let server = serve(Limits::default(), router).await;
    let client = client(&server);
    let answer = client.get("/json").send().await.unwrap();
    let error = answer.json::<u32>().unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    let error = client.get("/moved").send().await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    let error = client.get("/teapot").send().await.unwrap_err();
    assert_eq!((error.code(), error.retryable()), (Code::BadAnswer, false));
    let error = client.get("/gateway").send().await.unwrap_err();
    assert!(error.retryable(), "{error}");
}

/// Answers every connection with the same bytes.
async fn raw_server(answer: &'static [u8]) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // All of the request: closing with a part of it unread would reset the connection.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    let config = ClientConfig {
        retry: Retry::NEVER,
        ..ClientConfig::new(Url::parse(&base).unwrap())
    };
    Client::new(config).unwrap()
}

#[tokio::test]
async fn answers_that_are_no_http_are_errors() {
    for answer in [
        &b""[..],
        b"\x00\x01\x02\x03\xff",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let client = raw_server(answer).await;
        let error = client.post("/").send().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Unreachable { unsent: false, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn problems_of_hostile_servers_are_bounded() {
    let endless = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
                   content-length: 100000000\r\n\r\n{\"code\": \"";
    let client = raw_server(endless.as_bytes()).await;
    let error = client.get("/").send().await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 400);
}

#[test]
fn only_addresses_of_nodes_are_taken() {
    for base in [
        "ftp://x/",
        "https://user:secret@x/",
        "mailto:x@y",
        "https://user@x/",
    ] {
        let error = Client::new(ClientConfig::new(Url::parse(base).unwrap())).unwrap_err();
        assert!(matches!(error, ClientError::Base { .. }), "{base}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let config = ClientConfig {
        token: Some("line\nbreak".into()),
        ..ClientConfig::new(Url::parse("http://127.0.0.1").unwrap())
    };
    assert!(Client::new(config).is_err());
}

#[tokio::test]
async fn a_path_of_the_base_is_kept() {
    let echo = async |uri: http::Uri| uri.to_string();
    let server = serve(
        Limits::default(),
        Router::new().route("/{*path}", get(echo)),
    )
    .await;
    let config = ClientConfig {
        base: Url::parse(&format!("{}/prefix/?x=y#z", server.url())).unwrap(),
        ..config(&server)
    };
    let client = Client::new(config).unwrap();
    let answer = client
        .get("/v1/a b")
        .query("k", "ä&=")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes, "/prefix/v1/a%20b?k=%C3%A4%26%3D");
}
