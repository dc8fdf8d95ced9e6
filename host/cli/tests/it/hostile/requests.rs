//! Requests that are not what they should be, in great numbers: signatures that do not hold, bodies
//! that cannot be read, floods of such that can, blobs that are not what they say.

use adit_net::http::client::Client;
use adit_net::signed::{self, Target, nonce};
use adit_net::{Clock as _, SystemClock};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{Echo, Poll};
use axum::http::{HeaderMap, HeaderValue, Method};
use futures_util::StreamExt as _;
use rand_core::OsRng;
use serde_json::{Value, json};

use super::world::{Seen, World, count, key, sent};

/// Requests at one time.
const AT_ONCE: usize = 32;

pub fn poll(want: u32, wait_ms: u32) -> Poll {
    Poll {
        want,
        wait_ms,
        accepted: Vec::new(),
        working: Vec::new(),
    }
}

/// Headers of a poll that `key` signed at `created_s` for this path.
fn headers(world: &World, key: &Keypair, created_s: u64, path: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let target = Target {
        method: &Method::POST,
        authority: world.url.strip_prefix("http://").unwrap(),
        path,
        query: None,
    };
    let digest = Some(signed::sha256(&poll(0, 0).to_cbor()));
    let nonce = nonce(&mut OsRng);
    signed::sign(
        &mut headers,
        &target,
        digest,
        created_s,
        &nonce,
        key,
        &mut OsRng,
    );
    headers
}

async fn send(anyone: &Client, headers: &HeaderMap, body: Vec<u8>) -> String {
    let mut call = anyone
        .post("/v1/miner/poll")
        .bytes("application/cbor", body);
    for (name, value) in headers {
        call = call.header(name.clone(), value.clone());
    }
    sent(call).await
}

/// What is to be answered to the signed request of this number, and what was.
async fn one_signed(
    world: &World,
    anyone: &Client,
    member: &str,
    number: u64,
) -> (&'static str, String) {
    let now_s = SystemClock.now_s();
    let path = "/v1/miner/poll";
    let (member, body) = (key(member), poll(0, 0).to_cbor());
    let stranger = key(&format!("Stranger{number}"));
    let (expected, headers, body) = match number % 8 {
        // A signature of another key in the name of a member.
        0 => {
            let mut forged = headers(world, &member, now_s, path);
            let other = headers(world, &stranger, now_s, path);
            forged.insert("signature", other["signature"].clone());
            ("bad-request-signature", forged, body)
        }
        1 => (
            "not-registered",
            headers(world, &stranger, now_s, path),
            body,
        ),
        2 => (
            "request-stale",
            headers(world, &member, now_s - 300, path),
            body,
        ),
        3 => (
            "request-stale",
            headers(world, &member, now_s + 300, path),
            body,
        ),
        4 => {
            // It counts once.
            let good = headers(world, &member, now_s, path);
            let first = send(anyone, &good, body.clone()).await;
            assert!(["ok", "hello-first"].contains(&first.as_str()), "{first}");
            ("request-replayed", good, body)
        }
        5 => (
            "bad-request-signature",
            headers(world, &member, now_s, "/v1/miner/hello"),
            body,
        ),
        6 => {
            let other = poll(1, 0).to_cbor();
            (
                "bad-request-signature",
                headers(world, &member, now_s, path),
                other,
            )
        }
        _ => {
            let mut none = HeaderMap::new();
            none.insert("signature-input", HeaderValue::from_static("sig=()"));
            ("bad-request-signature", none, body)
        }
    };
    (expected, send(anyone, &headers, body).await)
}

/// Signed requests that do not hold. Each has its code.
pub async fn signatures(world: &World, member: &str, many: u64) -> Seen {
    let anyone = world.client(None, None);
    let mut answers = futures_util::stream::iter(0..many)
        .map(|number| one_signed(world, &anyone, member, number))
        .buffer_unordered(AT_ONCE);
    let mut seen = Seen::new();
    while let Some((expected, found)) = answers.next().await {
        assert_eq!(found, expected);
        count(&mut seen, found);
    }
    seen
}

/// Bodies that a member signed and that nobody can read, and bodies of clients.
pub async fn garbage(world: &World, member: &str, many: u64) -> Seen {
    let miner = world.client(None, Some(key(member)));
    let client = world.client(Some(&world.token), None);
    let bodies: [&[u8]; 6] = [
        b"",
        b"\0",
        b"{",
        b"\xff\xff\xff\xff",
        &[0x9f; 5000],
        b"\xbf",
    ];
    let paths = ["hello", "echo", "poll", "progress", "receipts"];
    let one = async |number: u64| {
        let at = usize::try_from(number).unwrap();
        let body = bodies[at % bodies.len()].to_vec();
        match number % 6 {
            5 => {
                let call = client.post("/v1/tasks").bytes("application/json", body);
                (&["invalid-request"][..], sent(call).await)
            }
            _ => {
                let path = format!("/v1/miner/{}", paths[at % paths.len()]);
                let call = miner.post(&path).bytes("application/cbor", body).signed();
                (&["bad-encoding", "too-large"][..], sent(call).await)
            }
        }
    };
    let mut answers = futures_util::stream::iter(0..many)
        .map(one)
        .buffer_unordered(AT_ONCE);
    let mut seen = Seen::new();
    while let Some((expected, found)) = answers.next().await {
        assert!(expected.contains(&found.as_str()), "{found}");
        count(&mut seen, found);
    }
    seen
}

/// A member that says hello, polls and sends echoes as fast as it can. It is answered until it has
/// sent as many as are remembered of one node.
pub async fn flood(world: &World, member: &str, many: u64) -> Seen {
    let miner = world.client(None, Some(key(member)));
    let one = async |number: u64| {
        let call = match number % 3 {
            0 => miner
                .post("/v1/miner/hello")
                .cbor(&super::answers::offer(1, "flood")),
            1 => miner.post("/v1/miner/poll").cbor(&poll(0, 0)),
            _ => miner.post("/v1/miner/echo").cbor(&Echo { echo: [7; 32] }),
        };
        sent(call.signed()).await
    };
    let mut answers = futures_util::stream::iter(0..many)
        .map(one)
        .buffer_unordered(AT_ONCE);
    let mut seen = Seen::new();
    while let Some(found) = answers.next().await {
        let expected = ["ok", "hello-first", "quota-exceeded", "overloaded"];
        assert!(expected.contains(&found.as_str()), "{found}");
        count(&mut seen, found);
    }
    seen
}

/// Blobs that are longer than they may be, that are others, or for which there is no right.
pub async fn blobs(world: &World, many: u64) -> Seen {
    let client = world.client(Some(&world.token), None);
    let anyone = world.client(None, None);
    let mut seen = Seen::new();
    for number in 0..many {
        let text = format!("blob {number}").into_bytes();
        let hash = Hash::of(&text);
        let path = format!("/v1/blobs/{hash}");
        let put = |client: &Client, bytes: Vec<u8>| {
            client.put(&path).bytes("application/octet-stream", bytes)
        };
        let mut cut = text.clone();
        cut.pop();
        // A long one goes another way than a short one.
        let mut long = text.clone();
        long.resize(200_000, 0);
        for (call, expected) in [
            (put(&client, cut), "blob-mismatch"),
            (put(&client, long), "blob-mismatch"),
            (put(&anyone, text.clone()), "unauthorized"),
        ] {
            assert_eq!(sent(call).await, expected);
            count(&mut seen, expected);
        }
        // Nothing of it was kept.
        let missing = client
            .post("/v1/blobs/missing")
            .json(&json!({ "hashes": [hash] }));
        let answer: Value = missing.send().await.unwrap().json().unwrap();
        assert_eq!(answer["missing"], json!([hash]));
    }
    seen
}
