//! Accounts of a registry's clients, and what a client was told: every transaction that was
//! acknowledged, where, and every checkpoint.

use std::collections::BTreeMap;
use std::sync::Mutex;

use adit_net::http::client::{Answer, Client, ClientConfig, ClientError, Retry};
use adit_protocol::Hash;
use serde_json::Value;

use crate::ledger::transfer;

/// Alice, who sends.
pub const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// A client that tries everything once.
pub fn client(url: &str) -> Client {
    let config = ClientConfig {
        retry: Retry::NEVER,
        ..ClientConfig::new(url.parse().unwrap())
    };
    Client::new(config).unwrap()
}

/// What was told of a transaction that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub id: String,
    pub leaf: u64,
    pub height: u64,
}

/// What a client keeps.
#[derive(Default)]
pub struct Book {
    /// By the number of the account.
    told: Mutex<BTreeMap<u64, Told>>,
    checkpoints: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

impl Book {
    /// Notes an acknowledgement. It must not be another later.
    pub fn told(&self, number: u64, view: &Value) {
        let told = Told {
            id: view["id"].as_str().unwrap().to_owned(),
            leaf: view["leaf"].as_u64().unwrap(),
            height: view["height"].as_u64().unwrap(),
        };
        let mut all = self.told.lock().unwrap();
        let known = all.entry(number).or_insert(told.clone());
        if *known != told {
            let what = format!("transaction {number} was {known:?}, and then {told:?}");
            self.wrong.lock().unwrap().push(what);
        }
    }

    pub fn all(&self) -> BTreeMap<u64, Told> {
        self.told.lock().unwrap().clone()
    }

    pub fn saw_checkpoint(&self, text: String) {
        let mut checkpoints = self.checkpoints.lock().unwrap();
        if checkpoints.last() != Some(&text) {
            checkpoints.push(text);
        }
    }

    pub fn checkpoints(&self) -> Vec<String> {
        self.checkpoints.lock().unwrap().clone()
    }

    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }
}

/// Sends Alice's transfer of this number.
pub async fn send(client: &Client, genesis: Hash, number: u64) -> Result<Value, ClientError> {
    let (id, body) = transfer(genesis, number);
    let answer = post(client, &body).await?;
    let view: Value = answer.json()?;
    assert_eq!(view["id"], id);
    Ok(view)
}

pub async fn post(client: &Client, body: &Value) -> Result<Answer, ClientError> {
    let call = client.post("/v1/transactions").json(body);
    call.timeout_ms(20_000).send().await
}

/// The number of Alice's next transaction.
pub async fn next_number(client: &Client) -> Result<u64, ClientError> {
    let answer = client.get(&format!("/v1/accounts/{ALICE}")).send().await?;
    let account: Value = answer.json()?;
    Ok(account["number"].as_u64().unwrap())
}
