//! A registry in a folder, on a clock that is moved by hand, and a client of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use adit_ledger::genesis::Allocation;
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, Transaction};
use adit_net::ManualClock;
use adit_net::http::client::{Client, ClientConfig, ClientError};
use adit_net::http::server::{Limits, Listen};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};
use adit_registry::{Options, Registry, Running, StartError};
use rand_core::OsRng;
use serde_json::{Value, json};

pub const EPOCH_MS: u64 = 30_000;
pub const BEGIN_MS: u64 = 1_700_000_000_000;

/// A keypair that tests use.
pub fn keypair(seed: u8) -> Keypair {
    Keypair::from_seed([seed; 32])
}

pub fn key(seed: u8) -> Key {
    Key::new(&keypair(seed).public())
}

/// A million tokens of account 1, and of nobody else.
pub fn ledger() -> LedgerGenesis {
    LedgerGenesis {
        log: key(201),
        parameters: Parameters {
            fee_min: Amount::from_units(10_000_000_000),
            miner_stake_min: Amount::tokens(20_000),
            coordinator_stake_min: Amount::tokens(200_000),
            checker_stake_min: Amount::tokens(50_000),
            vote_min: Amount::tokens(1),
            unbonding_epochs: 2,
            faucet_account: Amount::tokens(1_000),
            faucet_epoch: Amount::tokens(100_000),
            engines: vec![Hash::of(b"engine")],
            rewards: RewardRules::default(),
            slashing: SlashingRules::default(),
            governance: GovernanceRules::default(),
        },
        allocations: vec![Allocation {
            account: key(1),
            amount: Amount::tokens(1_000_000),
        }],
    }
}

pub fn genesis() -> Genesis {
    Genesis {
        name: "test".to_owned(),
        created_ms: BEGIN_MS,
        authority: *key(200).as_bytes(),
        epoch_ms: EPOCH_MS,
        miner_stake_min: Amount::tokens(20_000).units(),
        coordinator_stake_min: Amount::tokens(200_000).units(),
        saturation: 50,
        development: true,
        ledger: Some(ledger().hash()),
    }
}

pub fn options(folder: &Path, clock: &ManualClock) -> Options {
    Options {
        state: folder.to_owned(),
        network_file: folder.join("network"),
        genesis: genesis(),
        ledger: ledger(),
        authority: keypair(200),
        log: keypair(201),
        listen: Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        limits: Limits::default(),
        clock: Arc::new(clock.clone()),
        settler: None,
        witnesses: Vec::new(),
    }
}

pub async fn start(folder: &Path, clock: &ManualClock) -> Result<Running, StartError> {
    Registry::start(options(folder, clock)).await
}

/// A client of a registry.
pub fn client(running: &Running) -> Client {
    Client::new(ClientConfig::new(running.url().parse().unwrap())).unwrap()
}

pub async fn get(running: &Running, path: &str) -> Result<Value, ClientError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let call = query
        .split_once('=')
        .into_iter()
        .fold(client(running).get(path), |call, (name, value)| {
            call.query(name, value)
        });
    call.send().await?.json()
}

/// The body of a transaction with the account's next number.
pub async fn body(running: &Running, from: u8, action: Action) -> Value {
    let account = get(running, &format!("/v1/accounts/{}", key(from)))
        .await
        .unwrap();
    let ledger = get(running, "/v1/ledger").await.unwrap();
    let fee = match action {
        Action::Faucet { .. } => Amount::ZERO,
        // A hundred times the least, as the first release of a new name costs.
        Action::Publish(_) => Amount::tokens(1),
        _ => Amount::from_units(10_000_000_000),
    };
    let signed = Transaction {
        genesis: genesis().hash(),
        account: key(from),
        number: account["number"].as_u64().unwrap(),
        fee,
        expires_ms: ledger["time_ms"].as_u64().unwrap() + 60_000,
        action,
    }
    .sign(&keypair(from), &mut OsRng);
    let digits: String = signed.to_bytes()[..64]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    json!({"text": signed.text(), "signature": format!("0x{digits}")})
}

pub async fn post(running: &Running, body: &Value) -> Result<Value, ClientError> {
    client(running)
        .post("/v1/transactions")
        .json(body)
        .send()
        .await?
        .json()
}

/// Hands in a transaction that must take effect.
pub async fn done(running: &Running, from: u8, action: Action) -> Value {
    let body = body(running, from, action).await;
    post(running, &body).await.unwrap()
}

/// The number of entries of the log.
pub async fn log_size(running: &Running) -> u64 {
    let answer = client(running).get("/log/checkpoint").send().await.unwrap();
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    text.lines().nth(1).unwrap().parse().unwrap()
}
