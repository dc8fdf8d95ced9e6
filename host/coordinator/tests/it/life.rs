//! Starting, ending and starting again.

use std::sync::Arc;
use std::time::Duration;

use adit_coordinator::options::{Bounds, Options};
use adit_coordinator::running::{Coordinator, StartError};
use adit_coordinator::tokens::Quota;
use adit_net::http::server::{Limits, Listen};
use adit_protocol::Code;
use adit_protocol::keys::Keypair;
use http::StatusCode;
use serde_json::json;

use crate::support::{Miner, Net, code, hash, key, miner_key, ok, pause, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_coordinator_takes_nothing_new_and_ends_what_it_has() {
    let mut net = Net::start().await;
    let mut miner = net.miner(0).await;
    let task = net.task(json!({})).await;
    let client = net.client();
    let id = hash(&ok(client.post("/v1/tasks").json(&task)).await["task"]);
    let work = miner.work().await;
    let running = net.running.take().unwrap();
    let drained = tokio::spawn(running.drain(Duration::from_secs(30)));
    for _ in 0..100 {
        match client.get("/readyz").send().await {
            Ok(_) => pause().await,
            refused => {
                assert_eq!(code(refused), Code::Draining);
                break;
            }
        }
    }
    let error = client
        .post("/v1/tasks")
        .json(&task)
        .send()
        .await
        .unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, problem.status), (Some(Code::Draining), 503));
    assert!(problem.retry_after_s.is_some());
    let answer = miner
        .poll(0, vec![work.assignment.body_hash()])
        .await
        .unwrap();
    assert!(answer.work.is_empty());
    // What is under way is taken and answered.
    let item = miner.honest(&work);
    miner.deliver(item).await;
    assert!(drained.await.unwrap(), "an assignment was left open");

    net.restart().await;
    let view = net.ended(&id).await;
    assert_eq!(view["state"], "completed");
    let result = net
        .client()
        .get(&format!("/v1/tasks/{id}/result"))
        .send()
        .await
        .unwrap();
    assert_eq!(&result.bytes[..], b"HELLO");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_outlives_the_process() {
    let mut net = Net::start().await;
    let miner = net.miner(0).await;
    let task = net.task(json!({})).await;
    let call = net
        .client()
        .post("/v1/tasks")
        .idempotency_key("once")
        .json(&task);
    let id = hash(&ok(call).await["task"]);
    let work = miner.work().await;
    let waiting = net
        .submit(json!({ "input": { "text": "waits" }, "requirements": { "device": "gpu" } }))
        .await;
    net.running.take().unwrap().stop().await;

    net.restart().await;
    let call = net
        .client()
        .post("/v1/tasks")
        .idempotency_key("once")
        .json(&task);
    let again = call.send().await.unwrap();
    assert_eq!(again.status, StatusCode::OK);
    let mut miner = Miner::new(&net, miner_key(0));
    // It does not know yet that the coordinator was started anew.
    let code = loop {
        let poll = miner.poll(0, Vec::new()).await.unwrap_err();
        match poll.problem().unwrap().code {
            // What was signed in the second of the end could be a replay.
            Some(Code::RequestStale) => tokio::time::sleep(Duration::from_millis(200)).await,
            code => break code,
        }
    };
    assert_eq!(code, Some(Code::HelloFirst));
    let welcome = miner.hello().await.unwrap();
    assert_eq!(welcome.open, [work.assignment.body_hash()]);
    // It lost the assignment, and is sent it again.
    let sent = miner.work().await;
    assert_eq!(sent.assignment.body_hash(), work.assignment.body_hash());
    let item = miner.honest(&sent);
    let (receipt, leaf) = miner.deliver(item).await;
    assert_eq!(net.ended(&id).await["state"], "completed");
    let view = ok(net.client().get(&format!("/v1/receipts/{}", receipt.id()))).await;
    assert_eq!(view["leaf"], leaf);
    let view = ok(net.client().get(&format!("/v1/tasks/{waiting}"))).await;
    assert_eq!(view["state"], "waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_with_the_server() {
    let mut net = Net::start().await;
    let miner = net.miner(0).await;
    let poll = tokio::spawn(async move { miner.poll(30_000, Vec::new()).await });
    pause().await;
    let begin = std::time::Instant::now();
    net.running.take().unwrap().stop().await;
    let answer = poll.await.unwrap().unwrap();
    assert!(answer.work.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(10));
}

fn options(net: &Net, node: Keypair, log: Keypair) -> Options {
    let folder = net.folder.path();
    Options {
        clock: Arc::new(adit_net::SystemClock),
        rng: adit_net::SharedRng::system(),
        state: folder.join("data"),
        network: folder.join("network"),
        tokens: folder.join("tokens.toml"),
        node,
        log,
        listen: Listen::plain(([127, 0, 0, 1], 0).into()),
        urls: Vec::new(),
        region: String::new(),
        quota: Quota::default(),
        bounds: Bounds::default(),
        limits: Limits::default(),
        worker: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let net = Net::start().await;
    let (node, log) = (net.coordinator.clone(), net.log.clone());
    let failed = async |options: Options| match Coordinator::start(options).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    };
    let error = failed(options(&net, key(50), log.clone())).await;
    assert!(matches!(error, StartError::NotRegistered { .. }), "{error}");
    let error = failed(options(&net, node.clone(), key(50))).await;
    assert!(matches!(error, StartError::LogKey { .. }), "{error}");
    // The first one runs on this folder.
    let error = failed(options(&net, node.clone(), log.clone())).await;
    assert_eq!(error.code(), Code::StateLocked, "{error}");
    let mut wrong = options(&net, node.clone(), log.clone());
    wrong.state = net.folder.path().join("other");
    wrong.listen = Listen::plain(([0, 0, 0, 0], 0).into());
    let error = failed(wrong).await;
    assert_eq!(error.code(), Code::InsecureListen, "{error}");
    let mut wrong = options(&net, node, log);
    wrong.state = net.folder.path().join("another");
    wrong.network = net.folder.path().join("tokens.toml");
    let error = failed(wrong).await;
    assert_eq!(error.code(), Code::BadEncoding, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_token_ends_within_seconds() {
    let net = Net::start().await;
    let client = net.client();
    ok(client.get("/v1/tasks")).await;
    let path = net.folder.path().join("tokens.toml");
    let mut tokens = adit_coordinator::tokens::TokenFile::load(&path).unwrap();
    tokens.remove("app").unwrap();
    tokens.save(&path).unwrap();
    for _ in 0..100 {
        match client.get("/v1/tasks").send().await {
            Ok(_) => pause().await,
            answer => {
                assert_eq!(code(answer), Code::Unauthorized);
                assert_eq!(refused(client.get("/v1/tasks")).await, Code::Unauthorized);
                return;
            }
        }
    }
    panic!("the token holds still");
}
