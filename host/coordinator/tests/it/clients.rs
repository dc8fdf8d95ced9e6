//! Clients: a task from its submission to its result, idempotency, quotas, who may see what.

use adit_coordinator::options::Bounds;
use adit_coordinator::tokens::Quota;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::receipt::Receipt;
use adit_protocol::task::TaskSpec;
use adit_protocol::{Code, Hash};
use http::header::ACCEPT;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::support::{Net, code, component, hash, ok, pause, put, refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_a_receipt_that_anyone_can_check() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let task = net.task(json!({})).await;
    let client = net.client();
    let answer = client.post("/v1/tasks").json(&task).send().await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED);
    let view: Value = answer.json().unwrap();
    let id = hash(&view["task"]);
    assert_eq!(answer.headers["location"], format!("/v1/tasks/{id}"));

    let work = miner.work().await;
    let item = miner.honest(&work);
    let (receipt, leaf) = miner.deliver(item).await;

    let view = net.ended(&id).await;
    assert_eq!(view["state"], "completed");
    assert_eq!(view["result"]["status"], "ok");
    assert_eq!(hash(&view["result"]["receipt"]), receipt.id());
    let path = format!("/v1/tasks/{id}/result");
    let answer = client.get(&path).send().await.unwrap();
    assert_eq!(&answer.bytes[..], b"HELLO");
    assert_eq!(answer.headers["adit-receipt"], receipt.id().to_string());
    assert_eq!(answer.headers["adit-status"], "ok");
    assert_eq!(answer.headers["adit-leaf"], leaf.to_string());

    // The 520 bytes, which anyone may have.
    let path = format!("/v1/receipts/{}", receipt.id());
    let bytes = HeaderValue::from_static("application/octet-stream");
    let call = net.anyone().get(&path).header(ACCEPT, bytes);
    let read = Receipt::from_bytes(&call.send().await.unwrap().bytes).unwrap();
    assert_eq!(read, receipt);
    read.verify().unwrap();
    let view = ok(client.get(&path)).await;
    assert_eq!(view["leaf"], leaf);
    assert_eq!(view["decision"], "accepted");
    assert_eq!(hash(&view["opening"]["output"]), Hash::of(b"HELLO"));

    let log = client
        .get(&format!("/v1/tasks/{id}/log"))
        .send()
        .await
        .unwrap();
    assert_eq!(&log.bytes[..], b"worked hard\n");
    let explain = ok(client.get(&format!("/v1/tasks/{id}/explain"))).await;
    assert_eq!(explain["draws"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_to_different_miners_and_must_agree() {
    let net = Net::start().await;
    let (mut one, mut two) = (net.miner(0).await, net.miner(1).await);
    // Both are in one roster.
    let polls = tokio::join!(one.poll(1_500, Vec::new()), two.poll(1_500, Vec::new()));
    assert!(polls.0.unwrap().work.is_empty() && polls.1.unwrap().work.is_empty());
    let id = net
        .submit(json!({ "verification": { "replicas": 2, "adaptive": false } }))
        .await;
    let (first, second) = tokio::join!(one.work(), two.work());
    let item = one.honest(&first);
    one.deliver(item).await;
    let path = format!("/v1/tasks/{id}");
    let view = ok(net.client().get(&path)).await;
    assert_eq!(view["state"], "running");
    // What the first one found is not given out before the second has ended.
    assert!(view["result"].is_null());
    assert_eq!(
        refused(net.client().get(&format!("{path}/result"))).await,
        Code::WaitingForQuorum
    );
    let item = two.honest(&second);
    two.deliver(item).await;
    let view = net.ended(&id).await;
    assert_eq!(view["state"], "completed");
    assert_eq!(view["result"]["agreed"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_task() {
    let net = Net::start().await;
    let client = net.client();
    let task = net.task(json!({})).await;
    let send = |task: &Value| {
        client
            .post("/v1/tasks")
            .idempotency_key("k1")
            .json(task)
            .send()
    };
    let first = send(&task).await.unwrap();
    let again = send(&task).await.unwrap();
    assert_eq!(
        (first.status, again.status),
        (StatusCode::CREATED, StatusCode::OK)
    );
    let id =
        |answer: &adit_net::http::client::Answer| hash(&answer.json::<Value>().unwrap()["task"]);
    assert_eq!(id(&first), id(&again));
    let other = net.task(json!({ "input": { "text": "other" } })).await;
    assert_eq!(code(send(&other).await), Code::IdempotencyConflict);
    // Also once it has ended: the client that lost the first answer is told the end.
    let mut miner = net.miner(0).await;
    let work = miner.work().await;
    let item = miner.honest(&work);
    miner.deliver(item).await;
    net.ended(&id(&first)).await;
    let late = send(&task).await.unwrap();
    assert_eq!((late.status, id(&late)), (StatusCode::OK, id(&first)));
    assert_eq!(late.json::<Value>().unwrap()["state"], "completed");
    assert_eq!(code(send(&other).await), Code::IdempotencyConflict);
    // Another client's key is another key.
    let call = net
        .other()
        .post("/v1/tasks")
        .idempotency_key("k1")
        .json(&task);
    assert_eq!(call.send().await.unwrap().status, StatusCode::CREATED);
    let long = "k".repeat(200);
    let call = client.post("/v1/tasks").idempotency_key(&long).json(&task);
    assert_eq!(refused(call).await, Code::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_is_answered_when_the_time_is_over() {
    let net = Net::start().await;
    let task = net.task(json!({})).await;
    let call = net.client().post("/v1/tasks").query("wait", 1).json(&task);
    let begin = std::time::Instant::now();
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert!(begin.elapsed().as_millis() >= 900);
    let view: Value = answer.json().unwrap();
    assert_eq!(view["state"], "waiting");
    assert_eq!(view["reason"]["code"], "waiting-for-miner");
    let call = net.client().post("/v1/tasks").query("wait", 61).json(&task);
    assert_eq!(refused(call).await, Code::InvalidRequest);
    let call = net.client().post("/v1/tasks").query("wiat", 1).json(&task);
    assert_eq!(refused(call).await, Code::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_quotas() {
    let quota = Quota {
        tasks_in_flight: 2,
        tasks_per_minute: 5,
        blob_bytes_per_day: 1000,
    };
    let net = Net::with(quota, Bounds::default()).await;
    let client = net.client();
    let task = net.task(json!({})).await;
    let submit = || client.post("/v1/tasks").json(&task);
    submit().send().await.unwrap();
    let second = ok(submit()).await;
    assert_eq!(refused(submit()).await, Code::QuotaExceeded);
    ok(client.post(&format!(
        "/v1/tasks/{}/cancel",
        second["task"].as_str().unwrap()
    )))
    .await;
    submit().send().await.unwrap();
    // The fifth in this minute is in flight too many, the sixth too many at all.
    assert_eq!(refused(submit()).await, Code::QuotaExceeded);
    assert_eq!(refused(submit()).await, Code::QuotaExceeded);
    assert_eq!(code(put(&client, &[1; 2000]).await), Code::QuotaExceeded);
    put(&net.other(), &[1; 500]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_its_clients_own() {
    let net = Net::start().await;
    let private = net.submit(json!({})).await;
    let public = net.submit(json!({ "disclosure": "public" })).await;
    let path = format!("/v1/tasks/{private}");
    assert_eq!(refused(net.anyone().get(&path)).await, Code::Unauthorized);
    assert_eq!(refused(net.other().get(&path)).await, Code::Forbidden);
    for part in ["spec", "exec", "explain", "events", "log", "result"] {
        let path = format!("{path}/{part}");
        assert_eq!(
            refused(net.other().get(&path)).await,
            Code::Forbidden,
            "{part}"
        );
    }
    let cancel = format!("{path}/cancel");
    assert_eq!(refused(net.other().post(&cancel)).await, Code::Forbidden);
    assert_eq!(
        refused(net.anyone().post("/v1/tasks").json(&json!({}))).await,
        Code::Unauthorized
    );

    // The id of a task is public; its spec, which that is the hash of, has the salt.
    let blob = format!("/v1/blobs/{private}");
    assert_eq!(refused(net.anyone().get(&blob)).await, Code::Unauthorized);
    assert_eq!(refused(net.other().get(&blob)).await, Code::Forbidden);
    let own = net.client().get(&blob).send().await.unwrap();
    assert_eq!(TaskSpec::from_cbor(&own.bytes).unwrap().hash(), private);
    let read = net
        .anyone()
        .get(&format!("/v1/blobs/{public}"))
        .send()
        .await
        .unwrap();
    assert_eq!(Hash::of(&read.bytes), public);
    let view = ok(net.anyone().get(&format!("/v1/tasks/{public}"))).await;
    assert_eq!(view["client"], "", "whose it is, is not public");
    let batch = json!({ "hashes": [private.to_string(), public.to_string()] });
    let answer = net
        .anyone()
        .post("/v1/blobs/batch")
        .json(&batch)
        .send()
        .await
        .unwrap();
    let salt = TaskSpec::from_cbor(&own.bytes).unwrap().salt;
    let leaked = answer.bytes.windows(32).any(|bytes| bytes == salt);
    assert!(!leaked, "the salt of a private task was given away");
    assert!(
        answer
            .bytes
            .windows(read.bytes.len())
            .any(|bytes| bytes == read.bytes)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_refers_to_must_be_there() {
    let net = Net::start().await;
    let client = net.client();
    let missing = Hash::of(b"nowhere");
    for field in [
        json!({ "component": missing.to_string() }),
        json!({ "input": missing.to_string() }),
        json!({ "models": { "m": missing.to_string() } }),
    ] {
        let task = net.task(field).await;
        let error = client
            .post("/v1/tasks")
            .json(&task)
            .send()
            .await
            .unwrap_err();
        let problem = error.problem().unwrap().clone();
        assert_eq!(problem.code, Some(Code::UnknownBlob));
        assert!(problem.detail.contains(&missing.to_string()), "{problem}");
    }
    let environment = json!({ "environments": [missing.to_string()] });
    let task = net.task(json!({ "requirements": environment })).await;
    assert_eq!(
        refused(client.post("/v1/tasks").json(&task)).await,
        Code::InvalidRequest
    );
    for (bytes, expected) in [
        (&b"#!/bin/sh"[..], Code::NotAComponent),
        (b"\0asm\x01\0\0\0", Code::CoreModule),
        (b"", Code::NotAComponent),
    ] {
        put(&client, bytes).await.unwrap();
        let task = net
            .task(json!({ "component": Hash::of(bytes).to_string() }))
            .await;
        assert_eq!(
            refused(client.post("/v1/tasks").json(&task)).await,
            expected
        );
    }
    put(&client, b"no manifest").await.unwrap();
    let models = json!({ "m": Hash::of(b"no manifest").to_string() });
    let task = net.task(json!({ "models": models })).await;
    assert_eq!(
        refused(client.post("/v1/tasks").json(&task)).await,
        Code::InvalidRequest
    );
    let validator = json!({ "validator": Hash::of(&component()).to_string() });
    let task = net.task(validator).await;
    assert_eq!(
        refused(client.post("/v1/tasks").json(&task)).await,
        Code::InvalidRequest
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_of_ones_own_tasks() {
    let net = Net::start().await;
    let client = net.client();
    let mut submitted = Vec::new();
    for number in 0..5 {
        let input = json!({ "input": { "text": format!("{number}") } });
        submitted.push(net.submit(input).await.to_string());
    }
    submitted.reverse();
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..3 {
        let mut call = client.get("/v1/tasks").query("page_size", 2);
        if let Some(token) = &token {
            call = call.query("page_token", token);
        }
        let page = ok(call).await;
        for item in page["items"].as_array().unwrap() {
            found.push(item["task"].as_str().unwrap().to_owned());
        }
        token = page["next_page_token"].as_str().map(str::to_owned);
    }
    assert_eq!((found, token), (submitted.clone(), None));
    let theirs = ok(net.other().get("/v1/tasks")).await;
    assert_eq!(theirs["items"].as_array().unwrap().len(), 0);
    for (name, value) in [
        ("page_size", "0"),
        ("page_token", "xyz"),
        ("state", "gone"),
        ("size", "1"),
    ] {
        let call = client.get("/v1/tasks").query(name, value);
        assert_eq!(refused(call).await, Code::InvalidRequest, "{name}");
    }
    ok(client.post(&format!("/v1/tasks/{}/cancel", submitted[0]))).await;
    pause().await;
    let cancelled = ok(client.get("/v1/tasks").query("state", "cancelled")).await;
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 1);
    let cancel = client.post(&format!("/v1/tasks/{}/cancel", submitted[0]));
    assert_eq!(refused(cancel).await, Code::TaskEnded);
}

#[tokio::test(flavor = "multi_thread")]
async fn anyone_may_know_the_network() {
    let net = Net::start().await;
    net.miner(0).await;
    let anyone = net.anyone();
    let answer = anyone.get("/v1/network").send().await.unwrap();
    assert_eq!(answer.headers["content-type"], "application/cbor");
    let file = NetworkFile::from_cbor(&answer.bytes).unwrap();
    file.verify().unwrap();
    assert_eq!(file.genesis.hash(), net.genesis);
    let json_wanted = HeaderValue::from_static("application/json");
    let view = ok(anyone.get("/v1/network").header(ACCEPT, json_wanted)).await;
    assert_eq!(hash(&view["network"]), net.genesis);
    let info = ok(anyone.get("/v1/info")).await;
    assert_eq!(info["name"], "test");
    assert_eq!(info["region"], "eu");
    let miners = ok(anyone.get("/v1/miners")).await;
    // Every member is listed, and one of them has said hello.
    let items = miners["items"].as_array().unwrap();
    assert_eq!(items.len(), 6);
    let active = |item: &&Value| !item["software"].is_null();
    assert_eq!(items.iter().filter(active).count(), 1);
    let environment = crate::support::environment();
    let path = format!("/v1/documents/{}", environment.hash());
    let document = anyone.get(&path).send().await.unwrap();
    assert_eq!(document.bytes, environment.to_cbor());
    let metrics = anyone.get("/metrics").send().await.unwrap();
    let text = String::from_utf8(metrics.bytes.to_vec()).unwrap();
    assert!(text.contains("adit_coordinator_miners 1"), "{text}");
    for path in [
        "/livez",
        "/readyz",
        "/version",
        "/v1/status",
        "/v1/openapi.json",
    ] {
        anyone.get(path).send().await.unwrap();
    }
}
