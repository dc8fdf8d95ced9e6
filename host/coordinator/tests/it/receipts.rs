//! Receipts that are not as they should be.

use adit_protocol::cbor::Document as _;
use adit_protocol::network::exchange::{HandInResult, Progress, ProgressReport};
use adit_protocol::{Code, Hash};
use minicbor::bytes::ByteVec;
use serde_json::json;

use crate::support::{Miner, Net, code, environment, key, miner_key, ok, pause, put};

fn why(result: &HandInResult) -> Code {
    let code = result.refused.as_deref().unwrap();
    assert!(result.leaf.is_none() && result.countersignature.is_none());
    code.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_signed_is_refused_and_nothing_is_countersigned() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let good = miner.honest(&work);
    let mut altered = good.clone();
    altered.receipt[60] ^= 1;
    let mut unsigned = good.clone();
    unsigned.receipt[400] ^= 1;
    let mut cut = good.clone();
    cut.receipt.truncate(519);
    let results = miner.hand_in(vec![altered, unsigned, cut]).await;
    let codes: Vec<Code> = results.iter().map(why).collect();
    assert_eq!(
        codes,
        [Code::BadSignature, Code::BadSignature, Code::BadEncoding]
    );
    // Another member that has the bytes gains nothing by them.
    let thief = net.miner(1).await;
    assert_eq!(
        why(&thief.hand_in(vec![good.clone()]).await[0]),
        Code::Forbidden
    );
    let (first, leaf) = miner.deliver(good.clone()).await;
    // Handed in again, it is the same entry of the log with the same countersignature.
    let (second, again) = miner.deliver(good).await;
    assert_eq!((first, leaf), (second, again));
    assert_eq!(net.ended(&id).await["state"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_does_not_fit_its_task_is_logged_and_rejected() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let item = miner.run_as(&work, b"HELLO", |body| body.component = Hash::of(b"other"));
    let (receipt, _) = miner.deliver(item).await;
    pause().await;
    let view = ok(net.client().get(&format!("/v1/receipts/{}", receipt.id()))).await;
    assert_eq!(view["decision"], "mismatch");
    let view = ok(net.client().get(&format!("/v1/tasks/{id}"))).await;
    assert!(view["result"].is_null());

    let id = net.submit(json!({ "input": { "text": "again" } })).await;
    let mut other = net.miner(1).await;
    let (work, miner) = tokio::select! {
        work = miner.work() => (work, &mut miner),
        work = other.work() => (work, &mut other),
    };
    let mut item = miner.honest(&work);
    // The opening is of another output than the one that was signed.
    item.opening.output = Hash::of(b"something else");
    let (receipt, _) = miner.deliver(item).await;
    pause().await;
    let view = ok(net.client().get(&format!("/v1/receipts/{}", receipt.id()))).await;
    assert_eq!(view["decision"], "mismatch", "{view}");
    assert!(ok(net.client().get(&format!("/v1/tasks/{id}"))).await["result"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_missing_are_asked_for() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let output = vec![b'A'; 100_000];
    let mut item = miner.run(&work, &output);
    item.blobs.clear();
    let result = miner.hand_in(vec![item.clone()]).await.remove(0);
    assert_eq!(why(&result), Code::UnknownBlob);
    assert_eq!(result.missing, [Hash::of(&output)]);
    let path = format!("/v1/blobs/{}", Hash::of(&output));
    let call = miner
        .client
        .put(&path)
        .bytes("application/octet-stream", output.clone());
    call.signed().send().await.unwrap();
    miner.deliver(item).await;
    assert_eq!(net.ended(&id).await["state"], "completed");
    let result = net
        .client()
        .get(&format!("/v1/tasks/{id}/result"))
        .send()
        .await
        .unwrap();
    assert!(result.bytes == output);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_environment_is_asked_for_too() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let mut other = environment();
    other.device = "another device".to_owned();
    let mut item = miner.run_as(&work, b"HELLO", |body| body.environment = other.hash());
    let result = miner.hand_in(vec![item.clone()]).await.remove(0);
    assert_eq!(
        (why(&result), result.missing),
        (Code::UnknownBlob, vec![other.hash()])
    );
    item.blobs.push(ByteVec::from(other.to_cbor()));
    miner.deliver(item).await;
    assert_eq!(net.ended(&id).await["state"], "completed");
    let path = format!("/v1/documents/{}", other.hash());
    assert_eq!(
        net.anyone().get(&path).send().await.unwrap().bytes,
        other.to_cbor()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_a_cancelled_task_is_logged_as_late() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    ok(net.client().post(&format!("/v1/tasks/{id}/cancel"))).await;
    let answer = miner
        .poll(0, vec![work.assignment.body_hash()])
        .await
        .unwrap();
    assert_eq!(answer.ended, [work.assignment.body_hash()]);
    let item = miner.honest(&work);
    let (receipt, _) = miner.deliver(item).await;
    pause().await;
    let view = ok(net.client().get(&format!("/v1/receipts/{}", receipt.id()))).await;
    let decision = view["decision"].as_str().unwrap();
    assert!(["late", "task-cancelled"].contains(&decision), "{decision}");
    assert_eq!(net.ended(&id).await["state"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_receipts_for_one_assignment_are_equivocation() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    net.submit(json!({})).await;
    let work = miner.work().await;
    let (seq, prev) = (miner.seq, miner.prev);
    let first = miner.honest(&work);
    let second = miner.run(&work, b"something else");
    // With its own number, and with that of the first.
    (miner.seq, miner.prev) = (seq, prev);
    let third = miner.run(&work, b"yet another");
    miner.deliver(first).await;
    assert_eq!(
        why(&miner.hand_in(vec![second]).await[0]),
        Code::Equivocation
    );
    let refusal = why(&miner.hand_in(vec![third]).await[0]);
    assert!(
        matches!(refusal, Code::Equivocation | Code::SeqOutOfOrder),
        "{refusal}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_come_without_gaps() {
    let net = Net::start().await;
    let mut miner = net.miner(0).await;
    net.submit(json!({})).await;
    net.submit(json!({ "input": { "text": "two" } })).await;
    let (one, two) = loop {
        let answer = miner.poll(3_000, Vec::new()).await.unwrap();
        if let [one, two] = &answer.work[..] {
            break (one.clone(), two.clone());
        }
    };
    let first = miner.honest(&one);
    let second = miner.honest(&two);
    assert_eq!(
        why(&miner.hand_in(vec![second.clone()]).await[0]),
        Code::SeqOutOfOrder
    );
    let results = miner.hand_in(vec![first, second]).await;
    let leaves: Vec<_> = results.iter().map(|result| result.leaf.unwrap()).collect();
    assert!(leaves[0] < leaves[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_work_is_told_why() {
    let net = Net::start().await;
    for (key, expected) in [
        (key(77), Code::NotRegistered),
        (miner_key(4), Code::Jailed),
        (miner_key(5), Code::BelowMinimumStake),
    ] {
        let mut miner = Miner::new(&net, key);
        match miner.hello().await {
            Err(adit_net::http::client::ClientError::Refused { problem, .. }) => {
                assert_eq!(problem.code, Some(expected));
                assert!(problem.hint.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
    // Of another engine, of another network, without an environment that can be read.
    let miner = Miner::new(&net, miner_key(0));
    let of_engine = |name: &[u8]| {
        let mut hello = miner.offer();
        hello.engine = Hash::of(name);
        let mut document = environment();
        document.engine = hello.engine;
        hello.devices[0].environment = document.to_cbor();
        hello
    };
    // One that nobody has any more, and one that others of the network have.
    let (stale, others) = (of_engine(b"old"), of_engine(b"next"));
    let mut foreign = miner.offer();
    foreign.genesis = Hash::of(b"elsewhere");
    let mut garbled = miner.offer();
    garbled.devices[0].environment = b"garbage".to_vec();
    for (hello, expected) in [
        (stale, Code::StaleEngine),
        (others, Code::StaleEngine),
        (foreign, Code::VersionMismatch),
        (garbled, Code::BadEncoding),
    ] {
        let call = miner.client.post("/v1/miner/hello").cbor(&hello).signed();
        let answer = call.send().await;
        let problem = answer.unwrap_err().problem().unwrap().clone();
        assert_eq!(problem.code, Some(expected), "{problem}");
    }
    // A poll before a hello.
    let poll = miner.poll(0, Vec::new()).await.unwrap_err();
    assert_eq!(poll.problem().unwrap().code, Some(Code::HelloFirst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_another_miners_assignment_is_passed_over() {
    let net = Net::start().await;
    let miner = net.miner(0).await;
    let id = net.submit(json!({})).await;
    let work = miner.work().await;
    let other = net.miner(1).await;
    let report = |note: &str| ProgressReport {
        reports: vec![Progress {
            assignment: work.assignment.body_hash(),
            number: 1,
            done: 1,
            total: 2,
            note: note.to_owned(),
            chunk: None,
        }],
    };
    let path = "/v1/miner/progress";
    other
        .client
        .post(path)
        .cbor(&report("theirs"))
        .signed()
        .send()
        .await
        .unwrap();
    let task = format!("/v1/tasks/{id}");
    assert!(ok(net.client().get(&task)).await["progress"].is_null());
    miner
        .client
        .post(path)
        .cbor(&report("mine"))
        .signed()
        .send()
        .await
        .unwrap();
    assert_eq!(
        ok(net.client().get(&task)).await["progress"]["note"],
        "mine"
    );
    assert_eq!(code(put(&net.anyone(), b"y").await), Code::Unauthorized);
}
