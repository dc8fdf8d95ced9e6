//! A registry as its users see it.

mod attacks;
mod components;
mod coordinator;
mod late;
mod misdeeds;
mod network;
mod serving;
mod settling;
mod support;

use adit_ledger::root::AccountProof;
use adit_ledger::{Action, LedgerGenesis};
use adit_net::ManualClock;
use adit_net::http::client::ClientError;
use adit_net::log::LogReader;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::{Amount, Code, Document as _};
use adit_registry::StartError;
use adit_registry::follow::{FollowError, Follower, trust};
use serde_json::json;
use support::*;

fn refused(result: Result<serde_json::Value, ClientError>) -> Code {
    match result {
        Err(error @ ClientError::Refused { .. }) => error.code(),
        other => panic!("not refused: {other:?}"),
    }
}

fn transfer(to: u8, tokens: u64) -> Action {
    Action::Transfer {
        to: key(to),
        amount: Amount::tokens(tokens),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlasts_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let first = done(&registry, 1, transfer(2, 5)).await;
    // After the block of the start and its own.
    assert_eq!(first["leaf"], 2);
    assert_eq!(first["events"][1]["event"], "transferred");
    let again = body(
        &registry,
        1,
        Action::Stake {
            amount: Amount::tokens(7),
        },
    )
    .await;
    let second = post(&registry, &again).await.unwrap();
    // Answered the same when it is sent again, as after a lost answer; and nothing is done twice.
    let repeated = post(&registry, &again).await.unwrap();
    assert_eq!(repeated["leaf"], second["leaf"]);
    // Ended without a word, as by a kill.
    drop(registry);
    let registry = restart(&folder, &clock).await;
    let account = get(&registry, &format!("/v1/accounts/{}", key(1)))
        .await
        .unwrap();
    assert_eq!(account["number"], 2);
    assert_eq!(account["stake"], Amount::tokens(7).units().to_string());
    let id = second["id"].as_str().unwrap();
    let found = get(&registry, &format!("/v1/transactions/{id}"))
        .await
        .unwrap();
    assert_eq!(found["text"], again["text"]);
    let path = format!("/v1/accounts/{}/transactions", key(1));
    let all = get(&registry, &path).await.unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[0]["id"], second["id"]);
    let page = get(&registry, &format!("{path}?before=1")).await.unwrap();
    assert_eq!(page[0]["id"], first["id"]);
    registry.stop().await;
}

/// The folder is let go of a moment after the process that had it.
async fn restart(folder: &tempfile::TempDir, clock: &ManualClock) -> adit_registry::Running {
    for _ in 0..100 {
        match start(folder.path(), clock).await {
            Ok(running) => return running,
            Err(StartError::Store(_)) => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the folder stays locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_have_members_and_roots_that_anyone_can_follow() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let proof = format!("/v1/accounts/{}/proof", key(2));
    assert_eq!(refused(get(&registry, &proof).await), Code::NotFound);
    let stake = Action::Stake {
        amount: Amount::tokens(20_000),
    };
    done(&registry, 1, stake).await;
    let miner = registration(1, 50);
    done(&registry, 1, miner).await;
    assert!(members(&registry).await.miners.is_empty());
    for epoch in 1..4 {
        clock.set_ms(BEGIN_MS + epoch * EPOCH_MS);
        wait_for_epoch(&registry, epoch).await;
        done(&registry, 1, transfer(2, epoch)).await;
    }
    let membership = members(&registry).await;
    assert_eq!(membership.version, 4);
    assert_eq!(membership.miners[0].node, *key(50).as_bytes());
    let file = std::fs::read(registry.network_file()).unwrap();
    assert_eq!(
        NetworkFile::from_cbor(&file).unwrap().verify().unwrap(),
        membership
    );

    // The state at the end of epoch 2, when two of the three transfers were done.
    let proven = get(&registry, &proof).await.unwrap();
    let expected = get(&registry, "/v1/ledger").await.unwrap();
    assert_eq!(proven["root"], expected["root"]);

    // A stranger, with nothing but the log and the genesis documents.
    let answer = client(&registry)
        .get("/v1/ledger/genesis")
        .send()
        .await
        .unwrap();
    let ledger: LedgerGenesis = answer.cbor().unwrap();
    let log = log_reader(&registry, &ledger);
    // A checkpoint covers what was answered a moment later.
    let mut checkpoint = log.checkpoint().await.unwrap().checkpoint;
    for _ in 0..100 {
        if checkpoint.size == 17 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        checkpoint = log.checkpoint().await.unwrap().checkpoint;
    }
    let mut follower = Follower::new(&genesis(), &ledger).unwrap();
    follower.walk(&log, &checkpoint).await.unwrap();
    assert_eq!((follower.epochs(), follower.transactions()), (3, 5));
    assert_eq!(*follower.members(), membership);
    let tree = follower.tree().unwrap();
    let own: AccountProof = tree.prove(&key(2));
    assert_eq!(serde_json::to_value(&own).unwrap(), proven);
    let account = own.verify(&key(2), &tree.root()).unwrap().unwrap();
    assert_eq!(account.free, Amount::tokens(3));

    // From a snapshot, it comes to the same; a damaged one is not believed.
    drop(registry);
    for damaged in [false, true] {
        let registry = restart(&folder, &clock).await;
        assert_eq!(members(&registry).await, membership);
        assert_eq!(get(&registry, &proof).await.unwrap(), proven);
        registry.stop().await;
        let database = rusqlite::Connection::open(folder.path().join("registry.db")).unwrap();
        if !damaged {
            let altered = "UPDATE snapshots SET entries = zeroblob(length(entries))";
            assert_eq!(database.execute(altered, []).unwrap(), 2);
        }
    }
}

fn log_reader(
    registry: &adit_registry::Running,
    ledger: &LedgerGenesis,
) -> LogReader<adit_net::http::client::Client> {
    use adit_net::http::client::{Client, ClientConfig};
    let base = format!("{}/log/", registry.url()).parse().unwrap();
    let client = Client::new(ClientConfig::new(base)).unwrap();
    LogReader::new(client, trust(&genesis(), ledger).unwrap())
}

async fn members(
    registry: &adit_registry::Running,
) -> adit_protocol::network::membership::Membership {
    let answer = client(registry).get("/v1/network").send().await.unwrap();
    answer.cbor::<NetworkFile>().unwrap().verify().unwrap()
}

async fn wait_for_epoch(registry: &adit_registry::Running, epoch: u64) {
    for _ in 0..200 {
        let ledger = get(registry, "/v1/ledger").await.unwrap();
        if ledger["epoch"] == epoch {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("epoch {epoch} does not begin");
}

fn registration(operator: u8, node: u8) -> Action {
    use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
    let keys = NodeKeys {
        node: key(node),
        log: None,
    };
    let possession = Possession {
        genesis: genesis().hash(),
        operator: key(operator),
        keys,
    };
    Action::Register {
        registration: Registration {
            role: Role::Miner,
            keys,
            name: None,
            profile: Profile {
                commission_ppm: 100_000,
                url: None,
                region: None,
                introduction: None,
                service: None,
            },
            proof: possession.sign(&keypair(node), &mut rand_core::OsRng),
        },
        bond: Amount::tokens(20_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let good = body(&registry, 1, transfer(2, 1)).await;
    let size = log_size(&registry).await;
    let text = good["text"].as_str().unwrap();
    let signature = good["signature"].as_str().unwrap();
    for (body, code) in [
        (json!({"text": text}), Code::InvalidRequest),
        (
            json!({"text": text, "signature": "0x12"}),
            Code::InvalidRequest,
        ),
        (
            json!({"text": text, "signature": format!("0x{}", "+1".repeat(64))}),
            Code::InvalidRequest,
        ),
        (
            json!({"text": text, "signature": format!("0x{}", "0".repeat(128))}),
            Code::BadSignature,
        ),
        (
            json!({"text": "", "signature": signature}),
            Code::BadEncoding,
        ),
        (
            json!({"text": text.replace("amount: 1", "amount: 2"), "signature": signature}),
            Code::BadSignature,
        ),
        (
            json!({"text": text.replace("amount: 1", "amount: 1.0"), "signature": signature}),
            Code::BadEncoding,
        ),
        (
            json!({"text": "a".repeat(49_000), "signature": signature}),
            Code::BadEncoding,
        ),
        (
            json!({"text": "a".repeat(49_153), "signature": signature}),
            Code::TooLarge,
        ),
        (
            json!({"text": "a".repeat(70_000), "signature": signature}),
            Code::TooLarge,
        ),
        (
            json!({"text": text, "signature": signature, "more": 1}),
            Code::InvalidRequest,
        ),
    ] {
        assert_eq!(refused(post(&registry, &body).await), code, "{body}");
    }
    let poor = body(&registry, 9, transfer(1, 1)).await;
    assert_eq!(
        refused(post(&registry, &poor).await),
        Code::InsufficientFunds
    );
    for (path, code) in [
        ("/v1/accounts/nobody", Code::BadKey),
        ("/v1/transactions/1", Code::InvalidRequest),
        (
            &format!("/v1/transactions/{}", adit_protocol::Hash::ZERO),
            Code::NotFound,
        ),
        (&format!("/v1/nodes/{}", key(3)), Code::NotFound),
        ("/v1/nodes?role=king", Code::InvalidRequest),
        ("/v1/nodes?page=1", Code::InvalidRequest),
    ] {
        assert_eq!(refused(get(&registry, path).await), code, "{path}");
    }
    assert_eq!(log_size(&registry).await, size);
    let before = get(&registry, "/v1/ledger").await.unwrap();
    assert_eq!(before["height"], 1);
    // And then the good one.
    let accepted = post(&registry, &good).await.unwrap();
    assert_eq!(accepted["leaf"], size + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_few_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for from in 10..60 {
        let body = body(
            &registry,
            from,
            Action::Faucet {
                amount: Amount::tokens(10),
            },
        )
        .await;
        let client = client(&registry);
        asked.spawn(async move { client.post("/v1/transactions").json(&body).send().await });
    }
    let mut leaves = std::collections::BTreeSet::new();
    while let Some(answer) = asked.join_next().await {
        let answer: serde_json::Value = answer.unwrap().unwrap().json().unwrap();
        leaves.insert(answer["leaf"].as_u64().unwrap());
    }
    assert_eq!(leaves.len(), 50);
    let ledger = get(&registry, "/v1/ledger").await.unwrap();
    assert_eq!(
        ledger["issued"],
        Amount::tokens(1_000_500).units().to_string()
    );
    let supply = get(&registry, "/v1/ledger/supply").await.unwrap();
    assert_eq!(supply["free"], ledger["issued"]);
    // A clock that is set back does not stop it.
    clock.set_ms(BEGIN_MS - 5);
    done(&registry, 10, transfer(2, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_keys_and_a_second_process_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let mut wrong = options(folder.path(), &clock);
    wrong.authority = keypair(1);
    let started = adit_registry::Registry::start(wrong).await;
    assert!(matches!(started.err(), Some(StartError::Authority { .. })));
    let mut wrong = options(folder.path(), &clock);
    wrong.log = keypair(1);
    let started = adit_registry::Registry::start(wrong).await;
    assert!(matches!(started.err(), Some(StartError::LogKey { .. })));
    let mut wrong = options(folder.path(), &clock);
    wrong.genesis.ledger = None;
    let started = adit_registry::Registry::start(wrong).await;
    assert!(matches!(
        started.err(),
        Some(StartError::Follow(FollowError::Genesis(_)))
    ));
    let registry = start(folder.path(), &clock).await.unwrap();
    let second = start(folder.path(), &clock).await;
    assert_eq!(
        second.err().map(|error| error.code()),
        Some(Code::StateLocked)
    );
    registry.stop().await;
}
