//! Requests that are not what they should be: each has a typed answer, and the server goes on.

use adit_net::http::client::ClientError;
use adit_net::signed::{self, Target, nonce};
use adit_net::{Clock as _, SystemClock};
use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::Poll;
use http::{HeaderMap, Method};
use rand_core::OsRng;
use serde_json::json;

use crate::support::{Net, code, key, miner_key, ok, pause, refused};

fn poll() -> Vec<u8> {
    let poll = Poll {
        want: 0,
        wait_ms: 0,
        accepted: Vec::new(),
        working: Vec::new(),
    };
    poll.to_cbor()
}

/// Headers of a signed poll.
fn headers(
    net: &Net,
    key: &Keypair,
    authority: Option<&str>,
    created_s: u64,
    path: &str,
) -> HeaderMap {
    let own = net.running().addr().to_string();
    let mut headers = HeaderMap::new();
    let target = Target {
        method: &Method::POST,
        authority: authority.unwrap_or(&own),
        path,
        query: None,
    };
    signed::sign(
        &mut headers,
        &target,
        Some(signed::sha256(&poll())),
        created_s,
        &nonce(&mut OsRng),
        key,
        &mut OsRng,
    );
    headers
}

async fn send(net: &Net, headers: &HeaderMap, body: Vec<u8>) -> Option<Code> {
    let mut call = net
        .anyone()
        .post("/v1/miner/poll")
        .bytes("application/cbor", body);
    for (name, value) in headers {
        call = call.header(name.clone(), value.clone());
    }
    match call.send().await {
        Ok(_) => None,
        Err(error) => Some(error.problem().unwrap().code.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_members_fresh_signature_counts_and_once() {
    let net = Net::start().await;
    net.miner(0).await;
    let now = SystemClock.now_s();
    let path = "/v1/miner/poll";
    let miner = miner_key(0);
    let good = headers(&net, &miner, None, now, path);
    assert_eq!(send(&net, &good, poll()).await, None);
    assert_eq!(send(&net, &good, poll()).await, Some(Code::RequestReplayed));
    for (headers, expected) in [
        (
            headers(&net, &key(77), None, now, path),
            Code::NotRegistered,
        ),
        (
            headers(&net, &miner, None, now - 300, path),
            Code::RequestStale,
        ),
        (
            headers(&net, &miner, None, now + 300, path),
            Code::RequestStale,
        ),
        (
            headers(&net, &miner, Some("elsewhere.test"), now, path),
            Code::BadRequestSignature,
        ),
        (
            headers(&net, &miner, None, now, "/v1/miner/hello"),
            Code::BadRequestSignature,
        ),
        (HeaderMap::new(), Code::BadRequestSignature),
    ] {
        assert_eq!(send(&net, &headers, poll()).await, Some(expected));
    }
    let mut other = poll();
    other[2] ^= 1;
    let fresh = headers(&net, &miner, None, now, path);
    assert_eq!(
        send(&net, &fresh, other).await,
        Some(Code::BadRequestSignature)
    );
    // By the address that it is registered with.
    let registered = headers(&net, &miner, Some("coordinator.test"), now, path);
    assert_eq!(
        send(&net, &registered, poll()).await,
        Some(Code::BadRequestSignature)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_everywhere() {
    let net = Net::start().await;
    let client = net.client();
    let node = net.node(&miner_key(0));
    for garbage in [
        &b""[..],
        b"\0",
        b"{",
        b"null",
        b"\xff\xff\xff\xff",
        &[0x9f; 5000],
    ] {
        for path in ["hello", "echo", "poll", "progress", "receipts"] {
            let path = format!("/v1/miner/{path}");
            let call = node
                .post(&path)
                .bytes("application/cbor", garbage.to_vec())
                .signed();
            let code = refused(call).await;
            assert!(
                matches!(code, Code::BadEncoding | Code::TooLarge),
                "{path}: {code}"
            );
        }
        for path in ["/v1/tasks", "/v1/blobs/missing", "/v1/blobs/batch"] {
            let call = client
                .post(path)
                .bytes("application/json", garbage.to_vec());
            assert_eq!(refused(call).await, Code::InvalidRequest, "{path}");
        }
    }
    for path in [
        "/v1/tasks/x",
        "/v1/tasks/blake3:0/result",
        "/v1/receipts/1",
        "/v1/miners/0x12",
        "/v1/documents/none",
    ] {
        assert_eq!(
            refused(client.get(path)).await,
            Code::InvalidRequest,
            "{path}"
        );
    }
    let unknown = adit_protocol::Hash::of(b"?");
    for (path, expected) in [
        (format!("/v1/tasks/{unknown}"), Code::UnknownTask),
        (format!("/v1/receipts/{unknown}"), Code::NotFound),
        (format!("/v1/documents/{unknown}"), Code::NotFound),
        (format!("/v1/blobs/{unknown}"), Code::UnknownBlob),
        ("/v2/tasks".to_owned(), Code::NotFound),
    ] {
        assert_eq!(refused(client.get(&path)).await, expected, "{path}");
    }
    assert_eq!(
        refused(client.delete("/v1/tasks")).await,
        Code::MethodNotAllowed
    );
    ok(client.get("/v1/status")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded() {
    let net = Net::start().await;
    let client = net.client();
    let call = client
        .post("/v1/tasks")
        .bytes("application/json", vec![b' '; 5 << 20]);
    // The answer comes before the body has gone, and the connection may end under it.
    match call.send().await.unwrap_err() {
        ClientError::Unreachable { .. } => {}
        other => assert_eq!(code(Err(other)), Code::TooLarge),
    }
    let node = net.node(&miner_key(0));
    for (path, bytes) in [("echo", 100), ("poll", 2 << 20), ("hello", 3 << 20)] {
        let path = format!("/v1/miner/{path}");
        let call = node
            .post(&path)
            .bytes("application/cbor", vec![0; bytes])
            .signed();
        assert_eq!(refused(call).await, Code::TooLarge, "{path}");
    }
    // Of another kind than is read there.
    let call = client.post("/v1/tasks").bytes("text/plain", b"{}".to_vec());
    assert_eq!(refused(call).await, Code::InvalidRequest);
    let task = net.task(json!({ "inptu": "x" })).await;
    let error = client
        .post("/v1/tasks")
        .json(&task)
        .send()
        .await
        .unwrap_err();
    let problem = error.problem().unwrap().clone();
    assert_eq!(problem.hint.as_deref(), Some("did you mean `input`?"));
    pause().await;
    ok(client.get("/v1/status")).await;
}
