//! What a hostile peer can try.

use std::time::{Duration, Instant};

use adit_net::http::extract::{Raw as RawBody, body_limit};
use adit_net::http::server::Limits;
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;

use crate::fixtures::{Raw, client, serve};

/// Bounds in which a test can wait.
fn short() -> Limits {
    Limits {
        first_request_ms: 300,
        idle_ms: 600,
        body_wait_ms: 300,
        body_bytes_per_s_min: 1000,
        answer_stall_ms: 500,
        ..Limits::default()
    }
}

fn router() -> Router {
    let upload = Router::new().route(
        "/upload",
        post(async |RawBody(bytes): RawBody| bytes.len().to_string()),
    );
    Router::new()
        .merge(body_limit(upload, 1_000_000))
        .route("/", get(async || "hello"))
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                "slow"
            }),
        )
        .route(
            "/endless",
            get(async || {
                let part = Bytes::from_static(&[0; 8192]);
                Body::from_stream(futures_util::stream::repeat_with(move || {
                    Ok::<_, std::io::Error>(part.clone())
                }))
            }),
        )
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = serve(short(), router()).await;
    let begun = Instant::now();
    let mut socket = Raw::connect(&server).await;
    assert_eq!(socket.rest().await, "");
    let after = begun.elapsed().as_millis();
    assert!((250..5000).contains(&after), "{after} ms");
}

#[tokio::test]
async fn headers_that_trickle_are_cut_off() {
    let server = serve(short(), router()).await;
    for begin in ["GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n"] {
        let begun = Instant::now();
        let mut socket = Raw::connect(&server).await;
        socket.send(begin).await;
        while socket.try_send("x: y\r\n").await.is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(
        client(&server).get("/").send().await.unwrap().bytes,
        "hello"
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_slow_handler_is_not_idle() {
    let server = serve(short(), router()).await;
    let mut socket = Raw::connect(&server).await;
    socket.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = socket.until("slow").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let begun = Instant::now();
    socket.rest().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_stops_or_trickles_is_refused() {
    let server = serve(short(), router()).await;
    // 10 bytes in 50 ms are 200 a second, of which 1,000 are asked for.
    for (pause_ms, times) in [(0, 0), (50, 200)] {
        let mut socket = Raw::connect(&server).await;
        socket
            .send("POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nabc")
            .await;
        let (mut reader, mut writer) = socket.split();
        let trickle = tokio::spawn(async move {
            for _ in 0..times {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                if writer.try_send("0123456789").await.is_err() {
                    break;
                }
            }
            writer
        });
        let begun = Instant::now();
        let answer = reader.until("\"code\":\"timeout\"").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        // Well before the trickle ends by itself.
        assert!(begun.elapsed() < Duration::from_secs(6));
        drop(trickle.await);
    }
}

#[tokio::test]
async fn a_body_that_is_slow_but_fast_enough_is_taken() {
    let server = serve(short(), router()).await;
    let mut socket = Raw::connect(&server).await;
    socket
        .send("POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n")
        .await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        socket.send([b'x'; 200]).await;
    }
    socket.until("4000").await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_the_connection() {
    let server = serve(short(), router()).await;
    let mut socket = Raw::connect(&server).await;
    socket
        .send("GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    socket.until("HTTP/1.1 200").await;
    // The buffers of both sides fill up, and nothing is read for longer than is allowed.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    // What the buffers hold is all that comes: the stream itself never ends.
    socket.rest().await;
    assert!(server.shutdown(Duration::from_secs(2)).await);
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let server = serve(short(), router()).await;
    for length in [20_000, 60_000, 1_000_000] {
        let mut socket = Raw::connect(&server).await;
        let _ = socket
            .try_send(format!(
                "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
                "y".repeat(length)
            ))
            .await;
        let answer = socket.rest().await;
        match length {
            1_000_000 => assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
                "{answer}"
            ),
            _ => assert!(answer.contains("\"code\":\"too-large\""), "{answer}"),
        }
    }
    for count in [90, 5000] {
        let mut socket = Raw::connect(&server).await;
        let _ = socket
            .try_send(format!(
                "GET / HTTP/1.1\r\n{}\r\n",
                "x: y\r\n".repeat(count)
            ))
            .await;
        let answer = socket.rest().await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut socket = Raw::connect(&server).await;
    let _ = socket
        .try_send(format!(
            "GET /{} HTTP/1.1\r\nhost: x\r\n\r\n",
            "y".repeat(20_000)
        ))
        .await;
    let answer = socket.rest().await;
    assert!(answer.contains("\"code\":\"too-large\""), "{answer}");
    assert_eq!(
        client(&server).get("/").send().await.unwrap().bytes,
        "hello"
    );
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let server = serve(short(), router()).await;
    let mut garbage: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n".to_vec(),
        b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"
            .to_vec(),
        b"POST /upload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        vec![0; 100_000],
    ];
    let mut state: u32 = 1;
    for _ in 0..16 {
        garbage.push(
            (0..4096)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect(),
        );
    }
    for bytes in garbage {
        let mut socket = Raw::connect(&server).await;
        let _ = socket.try_send(&bytes).await;
        let answer = socket.rest().await;
        assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("HTTP/1.1 5"), "{answer}");
    }
    assert_eq!(
        client(&server).get("/").send().await.unwrap().bytes,
        "hello"
    );
}

#[tokio::test]
async fn connections_are_bounded_in_all_and_for_each_address() {
    let of_all = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let of_each = Limits {
        connections_per_address_max: 2,
        ..Limits::default()
    };
    for limits in [of_all, of_each] {
        let server = serve(limits, router()).await;
        let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut socket = Raw::connect(&server).await;
            socket.send(request).await;
            socket.until("hello").await;
            open.push(socket);
        }
        let mut third = Raw::connect(&server).await;
        let _ = third.try_send(request).await;
        assert_eq!(third.rest().await, "");
        // A place becomes free when one is closed.
        drop(open.pop());
        let again = async {
            loop {
                let mut socket = Raw::connect(&server).await;
                let _ = socket
                    .try_send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    .await;
                if socket.rest().await.contains("hello") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), again)
            .await
            .expect("a place becomes free");
    }
}

#[tokio::test]
async fn requests_above_the_bound_are_told_to_come_back() {
    let limits = Limits {
        requests_max: 1,
        ..Limits::default()
    };
    let server = serve(limits, router()).await;
    let mut first = Raw::connect(&server).await;
    first.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // The first request is on its way once the second one is refused.
    let refused = async {
        loop {
            let mut second = Raw::connect(&server).await;
            second
                .send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await;
            let answer = second.rest().await;
            if answer.contains("overloaded") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), refused)
        .await
        .expect("the bound is kept");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: 1"), "{answer}");
    first.until("slow").await;
}

#[tokio::test]
async fn bodies_that_stop_are_held_up_to_a_bound_and_no_longer_than_they_last() {
    let limits = Limits {
        memory_per_address_max: 200_000,
        ..Limits::default()
    };
    let server = serve(limits, router()).await;
    let begin = "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n";
    let mut first = Raw::connect(&server).await;
    first.send(begin).await;
    first.send([b'x'; 180_000]).await;
    // Once the first is there, the second is more than the address may have.
    let refused = async {
        loop {
            let mut second = Raw::connect(&server).await;
            second
                .send(begin.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"))
                .await;
            let _ = second.try_send([b'x'; 200_000]).await;
            let answer = second.rest().await;
            if answer.contains("overloaded") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), refused).await;
    let answer = answer.expect("the bound is kept");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // What is short is taken all the same.
    let mut short = Raw::connect(&server).await;
    let begin_short = "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n";
    short.send(begin_short).await;
    short.send([b'x'; 60_000]).await;
    short.until("60000").await;
    first.send([b'x'; 20_000]).await;
    first.until("200000").await;
    let mut third = Raw::connect(&server).await;
    third.send(begin).await;
    third.send([b'x'; 200_000]).await;
    third.until("200000").await;
}
