//! Whole ledgers: what they begin with, their logs, and what they come to.

use std::collections::BTreeSet;

use adit_ledger::entry::{EpochRoot, LogEntry, LogEntryError, Replay, ReplayError};
use adit_ledger::root::{AccountProof, AccountProofError, StateTree};
use adit_ledger::transaction::SignedTransaction;
use adit_ledger::tree::{Included, TreeRoot};
use adit_ledger::{Action, Key, LedgerGenesis, State, Transaction};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Document as _, Hash};
use rand_chacha::ChaCha20Rng;
use serde_json::{Map, Value, json};

use super::transactions::{key, pair, rng};
use super::values::{self, json_file, unhex};
use super::{Files, broken, read, read_json, stories};

/// A ledger as it comes about, with all that was written down of it.
pub struct Story {
    pub name: &'static str,
    pub about: &'static str,
    pub network: Genesis,
    pub ledger: LedgerGenesis,
    pub state: State,
    pub log: Vec<Vec<u8>>,
    pub rng: ChaCha20Rng,
    /// Whether the state at its end is told in full, and not by its root alone.
    pub tells_state: bool,
    /// How long transactions are good, in milliseconds.
    expires_after_ms: u64,
    roots: Vec<EpochRoot>,
    refused: Vec<Value>,
    refused_transactions: Vec<Vec<u8>>,
}

impl Story {
    pub fn new(
        name: &'static str,
        about: &'static str,
        network: Genesis,
        ledger: LedgerGenesis,
    ) -> Story {
        Story {
            name,
            about,
            state: State::new(&network, &ledger).unwrap(),
            network,
            ledger,
            log: Vec::new(),
            rng: rng(),
            tells_state: true,
            expires_after_ms: 600_000,
            roots: Vec::new(),
            refused: Vec::new(),
            refused_transactions: Vec::new(),
        }
    }

    /// Begins a block so long after the beginning, with the root of the epoch before if it is over.
    pub fn block(&mut self, after_ms: u64) {
        let time_ms = self.network.created_ms + after_ms;
        let epoch = self.state.head().epoch;
        if self.state.epoch_at(time_ms) > epoch {
            let state = StateTree::of(&self.state).root();
            let root = EpochRoot { epoch, state };
            self.roots.push(root);
            self.log.push(LogEntry::Epoch(root).to_bytes());
        }
        let height = self.state.head().height + 1;
        self.state.begin_block(time_ms).unwrap();
        self.log
            .push(LogEntry::Block { height, time_ms }.to_bytes());
    }

    /// What an account would sign now.
    pub fn transaction(&self, account: &Keypair, action: Action) -> Transaction {
        let account = Key::new(&account.public());
        Transaction {
            genesis: self.network.hash(),
            account,
            number: self.state.account(&account).number,
            fee: self.state.least_fee(&action),
            expires_ms: self.state.head().time_ms + self.expires_after_ms,
            action,
        }
    }

    /// A transaction that takes effect. Returns its id.
    pub fn done(&mut self, uri: &str, action: Action) -> Hash {
        let account = pair(uri);
        let transaction = self.transaction(&account, action);
        let signed = transaction.sign(&account, &mut self.rng);
        self.log
            .push(LogEntry::Transaction(Box::new(signed.clone())).to_bytes());
        let name = transaction.action.name();
        let id = signed.id();
        let done = self.state.apply(&signed.verify().unwrap());
        done.unwrap_or_else(|refusal| panic!("{}: {name} of {uri}: {refusal}", self.name));
        id
    }

    /// A transaction that is refused here.
    pub fn refused(&mut self, uri: &str, action: Action, refusal: &str) {
        self.refused_with(uri, action, refusal, |_| {});
    }

    /// As [`Story::refused`], of something else than what the account should sign now.
    pub fn refused_with(
        &mut self,
        uri: &str,
        action: Action,
        refusal: &str,
        change: impl Fn(&mut Transaction),
    ) {
        let account = pair(uri);
        let mut transaction = self.transaction(&account, action);
        change(&mut transaction);
        let signed = transaction.sign(&account, &mut self.rng);
        let before = self.state.clone();
        let found = self.state.apply(&signed.clone().verify().unwrap());
        let found = values::refusal(&found.expect_err(refusal));
        assert_eq!(found, refusal, "{}: {transaction:?}", self.name);
        assert_eq!(self.state, before, "{refusal} changed something");
        self.refused_transactions.push(signed.to_bytes());
        self.refused
            .push(json!({ "before": self.log.len(), "refusal": refusal }));
    }

    fn expected(&self, absent: &[Key]) -> Value {
        let tree = StateTree::of(&self.state);
        let present = stories::PEOPLE.map(key).into_iter();
        let accounts: Vec<Key> = present.chain(absent.iter().copied()).collect();
        // In others the proofs are longer, and show nothing more.
        let (proofs, bad_proofs) = match self.name {
            "everyday" | "quiet" => (
                (accounts.iter().map(|key| proof(&tree.prove(key), key))).collect(),
                broken::proofs(&tree, &accounts),
            ),
            _ => (Vec::new(), Vec::new()),
        };
        json!({
            "roots": self.roots,
            "refused": self.refused,
            "state": self.tells_state.then(|| values::state(&self.state)),
            "root": tree.root(),
            "proofs": proofs,
            "bad_proofs": bad_proofs,
        })
    }
}

/// A proof as JSON, with what it proves.
fn proof(of: &AccountProof, account: &Key) -> Value {
    let proven = of.verify(account, &of.root).unwrap();
    json!({
        "account": values::key(account),
        "entries": of.entries,
        "value": proven.as_ref().map(values::account),
    })
}

/// Entries, each after its length as u32 LE.
fn framed(log: &[Vec<u8>]) -> Vec<u8> {
    let frame = |entry: &Vec<u8>| {
        let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
        [&length, entry.as_slice()].concat()
    };
    log.iter().flat_map(frame).collect()
}

fn unframed(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut log = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap();
        let (entry, rest) = rest.split_at(length);
        log.push(entry.to_vec());
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a length is cut off");
    log
}

/// Accounts that no ledger here has: between others, and at both ends.
fn absent() -> [Key; 4] {
    let bytes = |byte| Key::from_bytes([byte; 32]);
    [bytes(0), key("//Nobody"), key("//Nobody//2"), bytes(0xff)]
}

pub fn files() -> Files {
    let mut files = Files::new();
    let (mut good, mut bad) = (Map::new(), Map::new());
    let stories = stories::all();
    for story in &stories {
        let mut file = |name: &str, bytes: Vec<u8>| {
            files.insert(format!("ledgers/good/{}/{name}", story.name), bytes)
        };
        file("network.bin", story.network.to_cbor());
        file("ledger.bin", story.ledger.to_cbor());
        file("log.bin", framed(&story.log));
        file("refused.bin", framed(&story.refused_transactions));
        file("expected.json", json_file(story.expected(&absent())));
        good.insert(story.name.to_owned(), json!({ "about": story.about }));
    }
    for log in broken::logs(&stories[0]) {
        let file = format!("{}.bin", log.name);
        let pairs = log.entries.iter().zip(&stories[0].log);
        let same = pairs.take_while(|(other, good)| other == good).count();
        let entry = json!({
            "ledger": stories[0].name, "same": same, "at": log.at, "error": log.error,
            "why": log.why,
        });
        assert!(bad.insert(file.clone(), entry).is_none(), "{file} twice");
        files.insert(format!("ledgers/bad/{file}"), framed(&log.entries[same..]));
    }
    let index = json!({
        "kind": "ledgers",
        "about": "good: the genesis documents of a network and its ledger, the registry's log as length u32 LE ‖ entry, transactions that are refused in the same form, and what comes of it; bad: a log that the registry of the good `ledger` cannot have written, of which the first entries are the `same` as of that and the others in the file, and the index of the entry that shows it",
        "good": good,
        "bad": bad,
    });
    files.insert("ledgers/index.json".to_owned(), json_file(index));
    files
}

fn begin(name: &str) -> Replay {
    let network = Genesis::from_cbor(&read(&format!("ledgers/good/{name}/network.bin")));
    let ledger = LedgerGenesis::from_cbor(&read(&format!("ledgers/good/{name}/ledger.bin")));
    Replay::new(State::new(&network.unwrap(), &ledger.unwrap()).unwrap())
}

/// The name of an error in an index: the variant, and the variant of the error within.
fn error_name(error: &ReplayError) -> String {
    match error {
        ReplayError::Entry(LogEntryError::Form) => "entry form".to_owned(),
        ReplayError::Entry(LogEntryError::Text(error)) => {
            format!("entry text {}", values::text_error(error).0)
        }
        ReplayError::Height { .. } => "height".to_owned(),
        ReplayError::Time(_) => "time".to_owned(),
        ReplayError::NoBlock => "no-block".to_owned(),
        ReplayError::Signature(error) => {
            format!("signature {}", values::signature_error(*error))
        }
        ReplayError::Refused(refusal) => format!("refused {}", values::refusal(refusal)),
        ReplayError::RootPlace { .. } => "root-place".to_owned(),
        ReplayError::Root { .. } => "root".to_owned(),
        other => panic!("no name for {other:?}"),
    }
}

/// Reads the files alone, without what they were made from.
#[test]
fn ledgers_come_to_what_is_expected() {
    let index = read_json("ledgers/index.json");
    let (mut refusals, mut actions) = (BTreeSet::new(), BTreeSet::new());
    for name in index["good"].as_object().unwrap().keys() {
        let expected = read_json(&format!("ledgers/good/{name}/expected.json"));
        let log = unframed(&read(&format!("ledgers/good/{name}/log.bin")));
        let mut replay = begin(name);
        let mut roots = Vec::new();
        let transactions = unframed(&read(&format!("ledgers/good/{name}/refused.bin")));
        let refused = expected["refused"].as_array().unwrap();
        assert_eq!(refused.len(), transactions.len());
        let mut refused = refused.iter().zip(transactions).peekable();
        for at in 0..=log.len() {
            while let Some((entry, transaction)) =
                refused.next_if(|(entry, _)| entry["before"] == at)
            {
                let signed = SignedTransaction::from_bytes(&transaction);
                let verified = signed.unwrap().verify().unwrap();
                let Err(ReplayError::Refused(refusal)) = replay.transaction(&verified) else {
                    panic!(
                        "{name}, {at}: not refused, and {} was expected",
                        entry["refusal"]
                    );
                };
                assert_eq!(entry["refusal"], values::refusal(&refusal), "{name}, {at}");
                refusals.insert(values::refusal(&refusal));
            }
            let Some(entry) = log.get(at) else { break };
            if let LogEntry::Epoch(root) = LogEntry::from_bytes(entry).unwrap() {
                roots.push(json!(root));
            } else if let LogEntry::Transaction(signed) = LogEntry::from_bytes(entry).unwrap() {
                actions.insert(signed.transaction().action.name());
            }
            let done = replay.entry(entry);
            done.unwrap_or_else(|error| panic!("{name}, entry {at}: {error}"));
        }
        assert!(refused.next().is_none(), "{name}: a refusal out of order");
        let portable = |value: Value| values::portable(value);
        assert_eq!(portable(json!(roots)), expected["roots"], "{name}");
        if !expected["state"].is_null() {
            let state = portable(values::state(replay.state()));
            assert_eq!(state, expected["state"], "{name}");
        }
        let root = StateTree::of(replay.state()).root();
        assert_eq!(portable(json!(root)), expected["root"], "{name}");
        check_proofs(name, &root, &expected);
    }
    let missing = |all: &[&'static str]| -> Vec<_> {
        all.iter()
            .filter(|one| !refusals.contains(*one))
            .copied()
            .collect()
    };
    assert!(
        missing(&values::REFUSALS).is_empty(),
        "{:?}",
        missing(&values::REFUSALS)
    );
    assert_eq!(actions.len(), 27, "{actions:?}");
}

fn check_proofs(name: &str, root: &TreeRoot, expected: &Value) {
    let read = |value: &Value| -> (Key, AccountProof) {
        let entries = value["entries"].as_array().unwrap().iter();
        let entries = entries.map(|entry| Included {
            index: entry["index"].as_u64().unwrap(),
            leaf: unhex(&entry["leaf"]),
            proof: (entry["proof"].as_array().unwrap().iter())
                .map(|hash| hash.as_str().unwrap().parse().unwrap())
                .collect(),
        });
        let proof = AccountProof {
            root: *root,
            entries: entries.collect(),
        };
        let account = unhex(&value["account"]).try_into().unwrap();
        (Key::from_bytes(account), proof)
    };
    for value in expected["proofs"].as_array().unwrap() {
        let (account, proof) = read(value);
        let proven = proof.verify(&account, root).unwrap();
        let proven = proven.map(|account| values::portable(values::account(&account)));
        assert_eq!(json!(proven), value["value"], "{name}, {account}");
    }
    for value in expected["bad_proofs"].as_array().unwrap() {
        let (account, proof) = read(value);
        let error = match proof.verify(&account, root) {
            Err(AccountProofError::Proof(_)) => "proof",
            Err(AccountProofError::Other) => "other",
            Ok(_) => "none",
        };
        assert_eq!(value["error"], error, "{name}: {}", value["why"]);
    }
}

#[test]
fn broken_logs_are_found() {
    let index = read_json("ledgers/index.json");
    let mut errors = BTreeSet::new();
    for (file, entry) in index["bad"].as_object().unwrap() {
        let ledger = entry["ledger"].as_str().unwrap();
        let mut log = unframed(&read(&format!("ledgers/good/{ledger}/log.bin")));
        log.truncate(entry["same"].as_u64().unwrap().try_into().unwrap());
        log.extend(unframed(&read(&format!("ledgers/bad/{file}"))));
        let mut replay = begin(ledger);
        let mut steps = log.iter().enumerate();
        let found = steps.find_map(|(at, bytes)| Some((at, replay.entry(bytes).err()?)));
        let (at, error) = found.unwrap_or_else(|| panic!("{file} is accepted"));
        assert_eq!(
            (&json!(at), &json!(error_name(&error))),
            (&entry["at"], &entry["error"]),
            "{file}"
        );
        errors.insert(error_name(&error).split(' ').next().unwrap().to_owned());
    }
    assert_eq!(errors.len(), 8, "an error has no file: {errors:?}");
}
