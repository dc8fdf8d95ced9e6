//! Logs that a registry cannot have written, and proofs that prove nothing.

use adit_ledger::entry::{EpochRoot, LogEntry};
use adit_ledger::root::{AccountProof, StateTree};
use adit_ledger::{Action, Key};
use adit_protocol::{Amount, Hash};
use serde_json::{Value, json};

use super::ledgers::Story;
use super::transactions::{key, pair};
use super::values;

/// A log of which one entry is wrong.
pub struct Broken {
    pub name: &'static str,
    pub entries: Vec<Vec<u8>>,
    pub at: usize,
    pub error: &'static str,
    pub why: &'static str,
}

/// Logs that are made of a good one by changing an entry, leaving one out or adding one. What comes
/// after the entry that is wrong is left out.
pub fn logs(story: &Story) -> Vec<Broken> {
    let log = &story.log;
    let read = |entry: &Vec<u8>| LogEntry::from_bytes(entry).unwrap();
    let find =
        |fits: fn(&LogEntry) -> bool| log.iter().position(|entry| fits(&read(entry))).unwrap();
    let root = find(|entry| matches!(entry, LogEntry::Epoch(_)));
    let transaction = find(|entry| matches!(entry, LogEntry::Transaction(_)));
    let register = log
        .iter()
        .position(|entry| match read(entry) {
            LogEntry::Transaction(signed) => {
                matches!(signed.transaction().action, Action::Register { .. })
            }
            _ => false,
        })
        .unwrap();
    let LogEntry::Epoch(said) = read(&log[root]) else {
        unreachable!()
    };
    let LogEntry::Block { height, time_ms } = read(&log[root + 1]) else {
        unreachable!("a block comes after a root");
    };
    let cut = |entries: &[Vec<u8>], last: Vec<u8>| [entries, &[last]].concat();
    let flipped = |at: usize, byte: usize| {
        let mut entry = log[at].clone();
        entry[byte] ^= 1;
        cut(&log[..at], entry)
    };
    let with_root = |other: EpochRoot| cut(&log[..root], LogEntry::Epoch(other).to_bytes());
    let block = |height, time_ms| LogEntry::Block { height, time_ms }.to_bytes();
    let signed = |uri: &str, action| {
        let account = pair(uri);
        // Made of the last state, so of an account whose number is 0 in every state.
        let mut transaction = story.transaction(&account, action);
        transaction.expires_ms = story.network.created_ms + 1_000_000;
        let signed = transaction.sign(&account, &mut super::transactions::rng());
        LogEntry::Transaction(Box::new(signed)).to_bytes()
    };
    let poor = signed(
        "//Poor",
        Action::Stake {
            amount: Amount::tokens(1),
        },
    );
    let add = |bytes: &[u8], more: &[u8]| [bytes, more].concat();
    // The proof is the last line: one of its digits is another, and the account signs that.
    let LogEntry::Transaction(proven) = read(&log[register]) else {
        unreachable!()
    };
    let mut unproven = proven.transaction().clone();
    if let Action::Register { registration, .. } = &mut unproven.action {
        registration.proof[0] ^= 1;
    }
    let operator = super::stories::PEOPLE
        .into_iter()
        .find(|uri| key(uri) == unproven.account);
    let unproven = unproven.sign(&pair(operator.unwrap()), &mut super::transactions::rng());
    let unproven = LogEntry::Transaction(Box::new(unproven)).to_bytes();
    let mut long_form = log[root].clone();
    // The epoch, 0, as an integer of two bytes in place of one: after type, map, key.
    long_form.splice(3..4, [0x18, 0]);
    let bad = |name, entries: Vec<Vec<u8>>, error, why| Broken {
        name,
        at: entries.len() - 1,
        entries,
        error,
        why,
    };
    let mut larger = said;
    larger.state.size += 1;
    vec![
        bad(
            "root-tampered",
            flipped(root, log[root].len() - 1),
            "root",
            "a bit of an epoch's root is another",
        ),
        bad(
            "root-of-another-size",
            with_root(larger),
            "root",
            "the root is said to be over one entry more",
        ),
        bad(
            "balance-tampered",
            {
                // A transaction of the first epoch is left out, so the root is that of another state.
                let mut other = log[..=root].to_vec();
                other.remove(root - 1);
                other
            },
            "root",
            "the last transaction before the root is missing",
        ),
        bad(
            "root-missing",
            cut(&log[..root], block(height, time_ms)),
            "root-place",
            "an epoch begins without the root of the one before",
        ),
        bad(
            "root-twice",
            cut(&log[..=root], log[root].clone()),
            "root-place",
            "an epoch has its root twice",
        ),
        bad(
            "root-of-another-epoch",
            with_root(EpochRoot {
                epoch: said.epoch + 1,
                ..said
            }),
            "root-place",
            "the root is said to be of the next epoch",
        ),
        bad(
            "root-too-early",
            cut(&log[..=root], block(height, time_ms - 1)),
            "root-place",
            "the root comes before the last block of its epoch",
        ),
        bad(
            "height-skipped",
            cut(&log[..=root], block(height + 1, time_ms)),
            "height",
            "a block's number is left out",
        ),
        bad(
            "height-twice",
            cut(&log[..=root + 1], block(height, time_ms)),
            "height",
            "a block's number comes twice",
        ),
        bad(
            "height-0",
            vec![block(0, story.network.created_ms)],
            "height",
            "the first block has the number 1",
        ),
        bad(
            "time-back",
            cut(&log[..=root + 1], block(height + 1, time_ms - 1)),
            "time",
            "a block is before the one before it",
        ),
        bad(
            "time-before-network",
            vec![block(1, story.network.created_ms - 1)],
            "time",
            "the first block is before the network",
        ),
        bad(
            "transaction-first",
            vec![log[transaction].clone()],
            "no-block",
            "a transaction comes before the first block",
        ),
        bad(
            "transaction-after-root",
            cut(&log[..=root], poor.clone()),
            "no-block",
            "a transaction comes after the root of its epoch",
        ),
        bad(
            "signature-tampered",
            flipped(transaction, 1),
            "signature account",
            "a bit of an account's signature is another",
        ),
        bad(
            "proof-tampered",
            cut(&log[..register], unproven),
            "signature node",
            "a bit of a node key's proof is another",
        ),
        bad(
            "transaction-twice",
            cut(&log[..=transaction], log[transaction].clone()),
            "refused number",
            "a transaction is done twice",
        ),
        bad(
            "transaction-without-tokens",
            cut(&log[..=transaction], poor),
            "refused insufficient",
            "an account that has nothing pays a fee",
        ),
        bad(
            "entry-of-another-type",
            cut(&log[..2], vec![4, 0]),
            "entry form",
            "there is no entry of type 4",
        ),
        bad(
            "entry-empty",
            cut(&log[..2], Vec::new()),
            "entry form",
            "an entry has no type",
        ),
        bad(
            "block-too-long",
            vec![add(&log[0], &[0])],
            "entry form",
            "a block has a byte too many",
        ),
        bad(
            "block-cut-off",
            vec![log[0][..16].to_vec()],
            "entry form",
            "a block has a byte too few",
        ),
        bad(
            "root-too-long",
            cut(&log[..root], add(&log[root], &[0])),
            "entry form",
            "a root has a byte too many",
        ),
        bad(
            "root-in-longer-form",
            cut(&log[..root], long_form),
            "entry form",
            "an integer in a root is not in its shortest form",
        ),
        bad(
            "text-with-line-feed",
            cut(&log[..transaction], add(&log[transaction], b"\n")),
            "entry text left",
            "a transaction's text goes on after its end",
        ),
    ]
}

/// Proofs that are not of the account, or of another tree.
pub fn proofs(tree: &StateTree, accounts: &[Key]) -> Vec<Value> {
    let [present, absent] = [0, accounts.len() - 3].map(|at| accounts[at]);
    let bad = |account: &Key, change: &dyn Fn(&mut AccountProof), error: &str, why: &str| {
        let mut proof = tree.prove(if why.starts_with("another") {
            &accounts[1]
        } else {
            account
        });
        change(&mut proof);
        json!({
            "account": values::key(account), "entries": proof.entries, "error": error, "why": why,
        })
    };
    let last = |proof: &mut AccountProof| *proof.entries[0].leaf.last_mut().unwrap() ^= 1;
    vec![
        bad(
            &present,
            &|proof| last(proof),
            "proof",
            "a byte of the entry is another",
        ),
        bad(
            &present,
            &|proof| proof.entries[0].index += 1,
            "proof",
            "the entry is said to stand elsewhere",
        ),
        bad(
            &present,
            &|proof| proof.entries[0].proof.truncate(1),
            "proof",
            "a hash is missing",
        ),
        bad(
            &present,
            &|proof| proof.entries[0].proof[0] = Hash::ZERO,
            "proof",
            "a hash is another",
        ),
        bad(&present, &|_| {}, "other", "another account's entry"),
        bad(
            &present,
            &|proof| proof.entries.clear(),
            "other",
            "no entry",
        ),
        bad(
            &absent,
            &|proof| proof.entries.truncate(1),
            "other",
            "one of two neighbours",
        ),
        bad(
            &absent,
            &|proof| proof.entries.swap(0, 1),
            "other",
            "neighbours in the wrong order",
        ),
    ]
}
