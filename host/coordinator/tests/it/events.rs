//! Events of tasks, as they are streamed.

use adit_protocol::network::exchange::{Progress, ProgressReport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use crate::support::{Net, pause};

/// Ids and data of the events in a stream.
fn events(bytes: &[u8]) -> Vec<(Option<String>, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.split("\n\n")
        .filter(|event| !event.trim().is_empty() && !event.starts_with(':'))
        .map(|event| {
            let line = |name: &str| {
                let found = event.lines().find_map(|line| line.strip_prefix(name));
                found.map(|value| value.trim().to_owned())
            };
            (
                line("id:"),
                serde_json::from_str(&line("data:").unwrap()).unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_what_happens_and_goes_on_where_it_was() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let path = format!("/v1/tasks/{id}/events");
    let watch = {
        let call = net.client().get(&path).timeout_ms(60_000);
        tokio::spawn(async move { call.send().await.unwrap().bytes })
    };
    let work = miner.work().await;
    // The watcher is there before anything is emitted.
    for _ in 0..50 {
        pause().await;
        if net.running().handle().stats().live > 0 {
            break;
        }
    }
    let report = ProgressReport {
        reports: (1..=3)
            .map(|number| Progress {
                assignment: work.assignment.body_hash(),
                number,
                done: number,
                total: 3,
                note: format!("step {number}"),
                chunk: Some(ByteVec::from(format!("chunk {number}").into_bytes())),
            })
            .collect(),
    };
    let call = miner.client.post("/v1/miner/progress").cbor(&report);
    call.signed().send().await.unwrap();
    pause().await;
    let item = miner.honest(&work);
    miner.deliver(item).await;
    let seen = events(&watch.await.unwrap());
    let kinds: Vec<&str> = seen
        .iter()
        .map(|(_, event)| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "state");
    let chunks: Vec<Vec<u8>> = seen
        .iter()
        .filter(|(_, event)| event["type"] == "chunk")
        .map(|(_, event)| STANDARD.decode(event["chunk"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(chunks, [b"chunk 1", b"chunk 2", b"chunk 3"]);
    assert!(kinds.contains(&"progress"), "{kinds:?}");
    let last = &seen.last().unwrap().1;
    assert_eq!(
        (&last["type"], &last["state"]),
        (&json!("state"), &json!("completed"))
    );

    // From the second event on, as after a connection that broke.
    let known = seen[1].0.clone().unwrap();
    let header = HeaderName::from_static("last-event-id");
    let call = net
        .client()
        .get(&path)
        .header(header.clone(), HeaderValue::try_from(&known).unwrap());
    let rest = events(&call.send().await.unwrap().bytes);
    assert_eq!(rest, seen[2..]);
    // An id that this feed never had.
    let unknown = HeaderValue::from_static("00000000000000ff-7");
    let call = net.client().get(&path).header(header, unknown);
    let all = events(&call.send().await.unwrap().bytes);
    assert_eq!(all[0].1["type"], "lost");
    assert_eq!(all[1..], seen[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_ended_tells_its_end_at_once() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let item = miner.honest(&work);
    miner.deliver(item).await;
    net.ended(&id).await;
    let call = net.client().get(&format!("/v1/tasks/{id}/events"));
    let seen = events(&call.send().await.unwrap().bytes);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1["state"], "completed");
}
