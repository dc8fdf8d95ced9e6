//! Members that take work and never answer, or answer what is not so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_net::http::client::Client;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{
    HandIn, HandInAnswer, HandInItem, Hello, OfferedDevice, PollAnswer, Welcome, Work,
};
use adit_protocol::network::genesis::network_id;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;
use adit_runtime::engine_document::engine_document;
use rand_core::OsRng;

use super::requests::poll;
use super::world::{Seen, World, count, genesis, key, sent};

/// The environment that a hostile miner claims; `device` tells one from another.
pub fn environment(device: &str) -> EnvironmentDocument {
    let text = |text: &str| text.to_owned();
    EnvironmentDocument {
        engine: engine_document().hash(),
        triple: text("x86_64-unknown-linux-gnu"),
        cpu_baseline: text("x86-64-v2"),
        backend: text("rten"),
        backend_version: text("0.27.0"),
        build: text(""),
        execution_provider: text("cpu"),
        device: text(device),
        driver: text(""),
        precision: text("fp32"),
        threads: 1,
        requested: None,
        options: None,
        fallback: None,
    }
}

pub fn offer(slots: u32, device: &str) -> Hello {
    Hello {
        genesis: genesis().hash(),
        software: "0.1.0".to_owned(),
        engine: engine_document().hash(),
        devices: vec![OfferedDevice {
            environment: environment(device).to_cbor(),
            gpu: false,
            memory_bytes: 0,
        }],
        slots,
        hardware: None,
    }
}

async fn hello(client: &Client, device: &str) -> Welcome {
    let call = client.post("/v1/miner/hello").cbor(&offer(1, device));
    call.signed().send().await.unwrap().cbor().unwrap()
}

/// Says hello with a device of its own, and takes nothing. The hash of the environment.
pub async fn introduce(world: &World, member: &str, device: &str) -> Hash {
    let client = world.client(None, Some(key(member)));
    hello(&client, device).await;
    let call = client.post("/v1/miner/poll").cbor(&poll(0, 0)).signed();
    call.send().await.unwrap();
    environment(device).hash()
}

async fn work(client: &Client) -> Vec<Work> {
    let call = client.post("/v1/miner/poll").cbor(&poll(1, 500)).signed();
    let answer: PollAnswer = call.send().await.unwrap().cbor().unwrap();
    answer.work
}

/// Says hello, and takes the next assignment that comes.
pub async fn take_one(world: &World, member: &str) {
    let client = world.client(None, Some(key(member)));
    // What was signed in the second in which the coordinator began counts for nothing.
    let call = || {
        client
            .post("/v1/miner/hello")
            .cbor(&offer(1, member))
            .signed()
    };
    for _ in 0..100 {
        match sent(call()).await.as_str() {
            "ok" => break,
            "request-stale" => tokio::time::sleep(Duration::from_millis(200)).await,
            other => panic!("{other}"),
        }
    }
    while work(&client).await.is_empty() {}
}

/// Says hello, takes what it is given, and never answers.
pub async fn silent(world: &World, member: &str, stop: Arc<AtomicBool>) -> Seen {
    let client = world.client(None, Some(key(member)));
    hello(&client, member).await;
    let mut taken = std::collections::BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        let found = work(&client).await;
        taken.extend(found.iter().map(|work| work.assignment.body_hash()));
        // What is not said to be worked on comes again and again.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Seen::from([("leases never answered".to_owned(), taken.len() as u64)])
}

/// What is needed to make the receipts of a miner.
struct Series {
    key: Keypair,
    coordinator: [u8; 32],
    seq: u64,
    prev: Hash,
}

impl Series {
    /// The next receipt for an assignment, and what is behind it.
    fn item(&mut self, work: &Work, output: &[u8]) -> HandInItem {
        let assignment = work.assignment.verify(|a| a.coordinator).unwrap();
        let task = TaskSpec::from_cbor(&work.task).unwrap();
        let exec = ExecSpec::from_cbor(&work.exec).unwrap();
        let opening = ReceiptOpening {
            input: exec.input,
            output: Hash::of(output),
            transcript: Transcript::default().hash(),
        };
        let body = ReceiptBody {
            network: network_id(&genesis().hash()),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: assignment.epoch,
            seq: self.seq + 1,
            start_ms: assignment.issued_ms,
            duration_us: 10,
            fuel: 1000,
            nn_units: 0,
            peak_memory: 65_536,
            miner: self.key.public().to_bytes(),
            coordinator: self.coordinator,
            task: assignment.task,
            assignment: work.assignment.body_hash(),
            component: exec.component,
            input: opening.input.commit(&task.salt),
            output: opening.output.commit(&task.salt),
            transcript: opening.transcript.commit(&task.salt),
            environment: environment("liar").hash(),
            prev: self.prev,
        };
        HandInItem {
            receipt: body.sign(&self.key, &mut OsRng).to_bytes().to_vec(),
            opening,
            blobs: vec![output.to_vec().into()],
            detail: None,
            log: None,
        }
    }

    async fn hand_in(&self, client: &Client, item: HandInItem) -> String {
        let call = client
            .post("/v1/miner/receipts")
            .cbor(&HandIn { items: vec![item] });
        let answer: HandInAnswer = call.signed().send().await.unwrap().cbor().unwrap();
        let result = &answer.results[0];
        match &result.refused {
            Some(code) => {
                assert!(result.countersignature.is_none() && result.leaf.is_none());
                code.clone()
            }
            None => "taken".to_owned(),
        }
    }
}

/// Answers each assignment with everything that is wrong, in this order: bytes that are no receipt,
/// an altered one, one that carries a countersignature of its own making, one of another network,
/// and at last one that is signed well and whose output is another than it says.
pub async fn liar(world: &World, member: &str, stop: Arc<AtomicBool>) -> Seen {
    let client = world.client(None, Some(key(member)));
    let welcome = hello(&client, "liar").await;
    let mut series = Series {
        key: key(member),
        coordinator: world.node,
        seq: welcome.last_seq,
        prev: welcome.last_receipt,
    };
    let mut seen = Seen::new();
    while !stop.load(Ordering::SeqCst) {
        for work in work(&client).await {
            let good = series.item(&work, b"lines 1\n");
            let mut cases = Vec::new();
            let mut item = good.clone();
            item.receipt = vec![7; 520];
            cases.push((item, "bad-encoding"));
            let mut item = good.clone();
            item.receipt.truncate(519);
            cases.push((item, "bad-encoding"));
            let mut item = good.clone();
            item.receipt[60] ^= 1;
            cases.push((item, "bad-signature"));
            // Of another network: it says so in its first bytes.
            let mut item = good.clone();
            item.receipt[8] ^= 1;
            cases.push((item, "version-mismatch"));
            for (item, expected) in cases {
                assert_eq!(series.hand_in(&client, item).await, expected);
                count(&mut seen, expected);
            }
            let mut swapped = good;
            swapped.opening.output = Hash::of(b"something else");
            swapped.blobs = vec![b"something else".to_vec().into()];
            let mut forged = Receipt::from_bytes(&swapped.receipt).unwrap();
            let id = forged.id();
            forged.countersign(&series.key, &mut OsRng);
            let mut countersigned = swapped.clone();
            countersigned.receipt = forged.to_bytes().to_vec();
            let answer = series.hand_in(&client, countersigned).await;
            count(&mut seen, format!("forged countersignature: {answer}"));
            let answer = series.hand_in(&client, swapped).await;
            count(&mut seen, format!("swapped output: {answer}"));
            if answer == "taken" {
                series.seq += 1;
                series.prev = id;
                let path = format!("/v1/receipts/{id}");
                let anyone = world.client(None, None);
                let view: serde_json::Value =
                    anyone.get(&path).send().await.unwrap().json().unwrap();
                let decision = view["decision"].as_str().unwrap_or("none").to_owned();
                assert_ne!(decision, "accepted", "{view:#}");
                count(&mut seen, format!("decision {decision}"));
            }
        }
    }
    // Others have no use for what it signed.
    let thief = world.client(None, Some(key("Garbage")));
    let call = thief
        .post("/v1/miner/receipts")
        .cbor(&HandIn { items: Vec::new() });
    count(
        &mut seen,
        format!("nothing handed in: {}", sent(call.signed()).await),
    );
    seen
}
