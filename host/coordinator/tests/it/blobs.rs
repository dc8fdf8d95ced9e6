//! Blobs: uploads that are what they say, reads in parts.

use std::time::Duration;

use adit_coordinator::options::Bounds;
use adit_coordinator::tokens::Quota;
use adit_protocol::{Code, Hash};
use http::header::RANGE;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::support::{Net, code, miner_key, ok, put, refused};

fn large() -> Vec<u8> {
    (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_come_back_whole_and_in_parts() {
    let net = Net::start().await;
    let client = net.client();
    for blob in [
        Vec::new(),
        b"short".to_vec(),
        vec![7; 65_536],
        vec![8; 65_537],
        large(),
    ] {
        let path = format!("/v1/blobs/{}", Hash::of(&blob));
        let expected = if blob.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        assert_eq!(put(&client, &blob).await.unwrap().status, expected);
        assert_eq!(put(&client, &blob).await.unwrap().status, StatusCode::OK);
        let read = net.anyone().get(&path).send().await.unwrap();
        assert!(read.bytes == blob, "{} bytes", blob.len());
        assert_eq!(
            read.headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
        if blob.len() < 5 {
            continue;
        }
        let range = HeaderValue::from_static("bytes=1-3");
        let part = net
            .anyone()
            .get(&path)
            .header(RANGE, range)
            .send()
            .await
            .unwrap();
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.bytes, blob[1..4]);
        let total = format!("bytes 1-3/{}", blob.len());
        assert_eq!(part.headers["content-range"], total);
        let range = HeaderValue::from_static("bytes=-2");
        let part = net
            .anyone()
            .get(&path)
            .header(RANGE, range)
            .send()
            .await
            .unwrap();
        assert_eq!(part.bytes, blob[blob.len() - 2..]);
        let range = HeaderValue::from_static("bytes=999999999-");
        let beyond = net.anyone().get(&path).header(RANGE, range).send().await;
        assert_eq!(beyond.unwrap_err().problem().unwrap().status, 416);
        let head = net
            .anyone()
            .call(http::Method::HEAD, &path)
            .send()
            .await
            .unwrap();
        assert_eq!(head.headers["content-length"], blob.len().to_string());
        assert!(head.bytes.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_it_says_is_not_kept() {
    let net = Net::start().await;
    let client = net.client();
    for blob in [b"short".to_vec(), large()] {
        let wrong = Hash::of(b"another");
        let path = format!("/v1/blobs/{wrong}");
        let call = client.put(&path).bytes("application/octet-stream", blob);
        assert_eq!(refused(call).await, Code::BlobMismatch);
        assert_eq!(refused(net.anyone().get(&path)).await, Code::UnknownBlob);
    }
    let data = net.folder.path().join("data/blobs");
    let left: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    for path in [
        "/v1/blobs/blake3:00",
        "/v1/blobs/x",
        "/v1/blobs/..%2f..%2fetc",
    ] {
        assert_eq!(
            refused(client.get(path)).await,
            Code::InvalidRequest,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_need_a_token_or_a_members_signature() {
    let net = Net::start().await;
    assert_eq!(code(put(&net.anyone(), b"x").await), Code::Unauthorized);
    let blob = large();
    let path = format!("/v1/blobs/{}", Hash::of(&blob));
    let upload = |client: adit_net::http::client::Client| {
        let call = client
            .put(&path)
            .bytes("application/octet-stream", blob.clone());
        call.signed().send()
    };
    assert_eq!(
        code(upload(net.node(&crate::support::key(77))).await),
        Code::NotRegistered
    );
    let answer = upload(net.node(&miner_key(0))).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_bounded_each_and_all_together() {
    let bounds = Bounds {
        blob_bytes_max: 1_300_000,
        blob_bytes_all: 1_500_000,
        blob_retention: Duration::from_secs(7 * 86_400),
        ..Bounds::default()
    };
    let net = Net::with(Quota::default(), bounds).await;
    let client = net.client();
    assert_eq!(
        code(put(&client, &vec![1; 1_300_001]).await),
        Code::BlobTooLarge
    );
    put(&client, &large()).await.unwrap();
    assert_eq!(code(put(&client, &vec![1; 400_000]).await), Code::DiskFull);
    put(&client, &vec![1; 200_000]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_what_is_missing_and_many_are_read_at_once() {
    let net = Net::start().await;
    let client = net.client();
    let (one, two) = (b"one".to_vec(), large());
    put(&client, &one).await.unwrap();
    put(&client, &two).await.unwrap();
    let none = Hash::of(b"none");
    let hashes: Vec<String> = [Hash::of(&one), none, Hash::of(&two), none]
        .iter()
        .map(ToString::to_string)
        .collect();
    let list = json!({ "hashes": hashes });
    let missing = ok(client.post("/v1/blobs/missing").json(&list)).await;
    assert_eq!(missing["missing"], json!([none.to_string()]));
    let call = net.anyone().post("/v1/blobs/missing").json(&list);
    assert_eq!(refused(call).await, Code::Unauthorized);
    let many = json!({ "hashes": vec![none.to_string(); 1025] });
    let call = client.post("/v1/blobs/missing").json(&many);
    assert_eq!(refused(call).await, Code::InvalidRequest);

    let call = net.anyone().post("/v1/blobs/batch").json(&list);
    let answer = call.send().await.unwrap();
    let mut decoder = minicbor::Decoder::new(&answer.bytes);
    let count = decoder.array().unwrap().unwrap();
    let mut found = Vec::new();
    for _ in 0..count {
        assert_eq!(decoder.array().unwrap(), Some(2));
        let hash = decoder.bytes().unwrap().to_vec();
        let blob = match decoder.datatype().unwrap() {
            minicbor::data::Type::Null => {
                decoder.null().unwrap();
                None
            }
            _ => Some(decoder.bytes().unwrap().to_vec()),
        };
        found.push((hash, blob));
    }
    let expected = [
        (Hash::of(&one), Some(one)),
        (none, None),
        (Hash::of(&two), Some(two)),
        (none, None),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(hash, blob)| (hash.as_bytes().to_vec(), blob))
        .collect();
    assert!(found == expected);
}
