//! Transfers of files: ranges, resumption, checks of hashes, uploads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_net::http::client::{
    Client, ClientConfig, ClientError, FileSink, MemorySink, Retry, Sink as _,
};
use adit_net::http::extract::{Raw, body_limit};
use adit_net::http::files::{About, file};
use adit_net::http::server::Limits;
use adit_net::problem::Problem;
use adit_protocol::{Code, Hash};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, put};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue};

use crate::fixtures::{client, config, serve};

fn content() -> Vec<u8> {
    (0..1_000_000u32).map(|n| (n * 7 % 251) as u8).collect()
}

/// A server of one file at `/file`; at `/breaking` each answer breaks off after 300,000 bytes, and
/// at `/whole` ranges are not known.
fn router(path: std::path::PathBuf, asked: Arc<AtomicUsize>) -> Router {
    let serve = {
        let path = path.clone();
        async move |headers: HeaderMap| -> Result<Response, Problem> {
            let opened = tokio::fs::File::open(&path)
                .await
                .map_err(Problem::internal)?;
            file(&headers, opened, &About::immutable("x/y", "tag")).await
        }
    };
    let breaking = {
        let serve = serve.clone();
        async move |headers: HeaderMap| -> Result<Response, Problem> {
            asked.fetch_add(1, Ordering::SeqCst);
            let response = serve(headers).await?;
            Ok(response.map(|body| {
                let mut left = 300_000usize;
                Body::from_stream(body.into_data_stream().map(move |part| {
                    let part = part.map_err(std::io::Error::other)?;
                    left = left
                        .checked_sub(part.len())
                        .ok_or_else(|| std::io::Error::other("cut"))?;
                    Ok::<Bytes, std::io::Error>(part)
                }))
            }))
        }
    };
    Router::new()
        .route("/file", get(serve))
        .route("/breaking", get(breaking))
        .route(
            "/whole",
            get(async move || tokio::fs::read(&path).await.unwrap()),
        )
}

struct World {
    server: adit_net::http::server::Server,
    client: Client,
    folder: tempfile::TempDir,
    asked: Arc<AtomicUsize>,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content()).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let server = serve(Limits::default(), router(path, Arc::clone(&asked))).await;
    let config = ClientConfig {
        retry: Retry {
            attempts_max: 2,
            first_ms: 1,
            wait_ms_max: 1,
        },
        ..config(&server)
    };
    World {
        client: Client::new(config).unwrap(),
        server,
        folder,
        asked,
    }
}

#[tokio::test]
async fn a_range_is_a_range() {
    let world = world().await;
    let range = |text| {
        let call = client(&world.server).get("/file");
        call.header(http::header::RANGE, HeaderValue::from_static(text))
            .send()
    };
    let content = content();
    let answer = range("bytes=10-19").await.unwrap();
    assert_eq!(answer.status, 206);
    assert_eq!(answer.bytes, content[10..20]);
    assert_eq!(answer.headers["content-range"], "bytes 10-19/1000000");
    let answer = range("bytes=-5").await.unwrap();
    assert_eq!(answer.bytes, content[999_995..]);
    let answer = range("bytes=0-1,4-5").await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.bytes.len()),
        (200, 1_000_000)
    );
    assert!(
        answer.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
    let error = range("bytes=1000000-").await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(
        (problem.status, problem.code),
        (416, Some(Code::RangeNotSatisfiable))
    );
    let call = client(&world.server).get("/file");
    let known = call.header(
        http::header::IF_NONE_MATCH,
        HeaderValue::from_static("\"tag\""),
    );
    let answer = known.send().await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0));
}

#[tokio::test]
async fn a_download_that_breaks_off_is_continued() {
    let world = world().await;
    let hash = Hash::of(&content());
    let mut sink = MemorySink::default();
    let call = world.client.get("/breaking");
    // In a task of its own, as a miner does it: the future can be sent between threads.
    let (length, sink) = tokio::spawn(async move {
        let length = call.download(&mut sink, &hash, 1_000_000).await.unwrap();
        (length, sink)
    })
    .await
    .unwrap();
    assert_eq!(length, 1_000_000);
    assert_eq!(sink.0, content());
    // Parts of 300,000 bytes at most: each was asked for once.
    let asked = world.asked.load(Ordering::SeqCst);
    assert!((4..=6).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_file_of_an_earlier_process_is_continued() {
    let world = world().await;
    let content = content();
    let hash = Hash::of(&content);
    let path = world.folder.path().join("part");
    for (before, from) in [
        (&content[..400_000], "/file"),
        // All of it is there.
        (&content[..], "/file"),
        // What is there is of another file, of the same length or longer.
        (&[1u8; 400_000][..], "/file"),
        (&[1u8; 1_000_000][..], "/file"),
        (&[1u8; 1_000_001][..], "/file"),
        // The server knows no ranges.
        (&content[..400_000], "/whole"),
        (&[][..], "/file"),
    ] {
        std::fs::write(&path, before).unwrap();
        let mut sink = FileSink::open(&path).await.unwrap();
        assert_eq!(sink.len(), before.len() as u64);
        let call = world.client.get(from);
        let length = call.download(&mut sink, &hash, 1_000_000).await.unwrap();
        assert_eq!((length, sink.hash()), (1_000_000, hash));
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn what_is_not_the_blob_is_not_kept() {
    let world = world().await;
    let path = world.folder.path().join("part");
    let mut sink = FileSink::open(&path).await.unwrap();
    let wrong = Hash::of(b"other");
    let call = world.client.get("/file");
    let error = call
        .download(&mut sink, &wrong, 1_000_000)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Mismatch { .. }), "{error}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);

    let hash = Hash::of(&content());
    for from in ["/file", "/breaking"] {
        let call = world.client.get(from);
        let error = call.download(&mut sink, &hash, 999_999).await.unwrap_err();
        assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
    let call = world.client.get("/nothing");
    let error = call
        .download(&mut sink, &hash, 1_000_000)
        .await
        .unwrap_err();
    assert_eq!(error.problem().unwrap().status, 404);
}

#[tokio::test]
async fn a_file_is_uploaded_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content()).unwrap();
    let upload = Router::new().route(
        "/blob",
        put(async |Raw(bytes): Raw| Hash::of(&bytes).to_string()),
    );
    let server = serve(Limits::default(), body_limit(upload, 2_000_000)).await;
    for http2_without_tls in [false, true] {
        let config = ClientConfig {
            http2_without_tls,
            ..config(&server)
        };
        let client = Client::new(config).unwrap();
        let answer = client.put("/blob").upload(&path).await.unwrap();
        assert_eq!(answer.bytes, Hash::of(&content()).to_string());
    }
    std::fs::write(&path, vec![0; 3_000_000]).unwrap();
    let error = client(&server)
        .put("/blob")
        .upload(&path)
        .await
        .unwrap_err();
    assert_eq!(
        error.problem().map(|problem| problem.status),
        Some(413),
        "{error}"
    );
    let error = client(&server)
        .put("/blob")
        .upload(folder.path().join("none"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Local(_)), "{error}");
}

#[tokio::test]
async fn events_come_one_by_one_and_are_bounded() {
    let stream = async |headers: HeaderMap| {
        let from = headers
            .get("last-event-id")
            .map_or(0, |id| id.to_str().unwrap().parse().unwrap());
        let events = (from..3).map(|n: u32| {
            let event = axum::response::sse::Event::default()
                .event("state")
                .id((n + 1).to_string());
            Ok::<_, std::convert::Infallible>(event.data(format!("step {n}")))
        });
        axum::response::Sse::new(futures_util::stream::iter(events))
    };
    let router = Router::new()
        .route("/events", get(stream))
        .route("/text", get(async || "data: x\n\n"));
    let server = serve(Limits::default(), router).await;
    let client = client(&server);
    let mut events = client.get("/events").events().await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        assert_eq!(event.name, "state");
        seen.push((event.data, event.id.unwrap()));
    }
    let step = |n: u32| (format!("step {n}"), (n + 1).to_string());
    assert_eq!(seen, [step(0), step(1), step(2)]);

    let mut events = client
        .get("/events")
        .last_event_id("2")
        .events()
        .await
        .unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().data, "step 2");
    assert_eq!(events.next().await.unwrap(), None);

    let error = client.get("/text").events().await.unwrap_err();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    let mut events = client
        .get("/events")
        .answer_bytes_max(5)
        .events()
        .await
        .unwrap();
    let error = events.next().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}
