//! The state as a list of entries, key and value, ascending by key: what its root is computed of,
//! and what a snapshot holds.
//!
//! | key | value, CBOR |
//! |---|---|
//! | 0 | [`Head`]: 0 genesis h, 1 height u, 2 time_ms u, 3 epoch u, 4 issued a, 5 burned a, 6 faucet a, 7 [parameters](crate::Parameters), 8 treasury a, 9 rewards a, 10 settled u, 11 staked a |
//! | 1 ‖ account | [`Account`]: 0 free a, 1 stake a, 2 number u, 3 votes u, 4 faucet a, 5 faucet_epoch u, 6 claimed a |
//! | 2 ‖ node | [`Node`]: 0 role u, 1 operator b32, 2 keys, 3 next_keys?, 4 name t?, 5 profile, 6 next_commission_ppm u?, 7 stake a, 8 escrow a, 9 leaving bool, 10 former_keys \[[`FormerKeys`](super::FormerKeys): {0 keys, 1 last_epoch u, 2 until_epoch u}\], 11 jailed? {0 misdeed u, 1 until_epoch u} |
//! | 3 ‖ node key | the node that it belongs to, b32 |
//! | 4 ‖ node ‖ voter | amount a |
//! | 5 ‖ epoch u64 BE ‖ account ‖ node ‖ [`Target`] u8 | amount a |
//! | 6 ‖ coordinator ‖ epoch u64 BE | [`Closing`]: 0 first u, 1 size u, 2 root h, 3 node_key b32 |
//! | 7 ‖ epoch u64 BE | [`Settled`]: 0 hash h, 1 in_epoch u, 2 from_epoch u, 3 minted a, 4 treasury a, 5 paid a, 6 earned {0 size u, 1 root h}, 7 charges \[{0 node b32, 1 spent a, 2 burned a}\] |
//! | 8 ‖ epoch u64 BE | [rules of rewards](crate::rules::RewardRules) that held up to then |
//! | 10 ‖ account ‖ epoch u64 BE | what it had staked as the epoch had begun, amount a |
//! | 11 ‖ proposal | [`Proposal`](super::Proposal): 0 proposer b32, 1 epoch u, 2 title t, 3 settings \[t\], 4 spends \[{0 account b32, 1 amount a}\], 5 deposit a, 6 staked a, 7 yes a, 8 no a, 9 until_epoch u, 10 effect_epoch u? |
//! | 12 ‖ proposal ‖ account | whether it voted for it, bool |
//! | 13 ‖ report | [`Report`](super::Report): 0 reporter b32, 1 node b32, 2 misdeed u, 3 evidence h, 4 deposit a, 5 until_epoch u, 6 verdict_ppm u?, 7 appeal a?, 8 decided bool |
//! | 14 ‖ node or node key ‖ misdeed | the transaction that reported it, h |
//! | 15 ‖ assignment | [`Claimed`](super::Claimed): 0 claimant b32, 1 coordinator b32, 2 receipt b520, 3 terms {0 price a, 1 attempt_fee a, 2 replicas u}, 4 log? {0 size u, 1 root h}, 5 deposit a, 6 until_epoch u, 7 owed_epoch u?, 8 settled_epoch u?, 9 closed bool |
//! | 16 ‖ assignment | the first epoch in which no receipt of it can be claimed, u |
//! | 30 ‖ scope | its owner, b32 |
//! | 31 ‖ name ‖ 0 ‖ version | [`Release`]: 0 component h, 1 world u, 2 models \[{0 name t, 1 manifest h}\] ascending, 3 description t?, 4 source t?, 5 yanked bool, 6 published_ms u, 7 publisher b32, 8 transaction h |
//!
//! A key is bytes one after the other, 32 for an account, node, key, proposal, report or
//! assignment. Whoever accused names the node, and a misdeed that proved itself the node key that signed;
//! a misdeed is BLAKE3 of its kind (u8) ‖ what it rests on: the assignment of receipts that contradict
//! each other, 32 zeros for a log that forked, else the evidence. A value that is a map has the
//! numbers before its fields as keys, and not those that are absent; h are 32 bytes; amounts are
//! integers, from 2^64 on bignums (tag 2). Keys of nodes: {0 node b32, 1 log b32?}. Profile: {0 commission_ppm u,
//! 1 url t?, 2 region t?, 3 introduction t?, 4 service? {0 class t, 1 uptime_ppm u, 2 latency_ms u}}.
//! Roles: 0 miner, 1 coordinator, 2 checker.
//! Misdeeds: 0 equivocation, 1 log-fork, 2 wrong-execution, 3 missing-receipt, 4 not-serving,
//! 5 judgement. Targets: 0 free, 1 stake, 2 escrow. Where tokens that
//! unbond were no votes and in no escrow, the node in the key is 32 zeros. Scopes, names and versions
//! are texts. Worlds: 0 `adit:task/task`, 1 `wasi:cli/command`.

use adit_protocol::Document as _;
use adit_protocol::network::genesis::Genesis;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::governance::Governance;
use super::index::{parse_release, parse_scope};
use super::late::Late;
use super::slashing::Slashing;
use super::{Account, Head, Node, State, Target, Unbonding};
use crate::index::{ComponentName, Release, Scope, Version};
use crate::key::Key;

const HEAD: u8 = 0;
const ACCOUNT: u8 = 1;
const NODE: u8 = 2;
const TAKEN: u8 = 3;
const VOTES: u8 = 4;
const UNBONDING: u8 = 5;
const CLOSING: u8 = 6;
const SETTLED: u8 = 7;
const FORMER_RULES: u8 = 8;
const SCOPE: u8 = 30;
const RELEASE: u8 = 31;

/// A part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub key: Vec<u8>,
    /// What stands there.
    pub value: Vec<u8>,
}

/// Why entries are no state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "entry {at} of the snapshot cannot be used: {why}; hint: it was altered; remove the snapshot, and the log is applied from the beginning"
)]
pub struct EntryError {
    /// Its index.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

impl State {
    /// Calls `each` with every entry, in order.
    pub fn entries(&self, mut each: impl FnMut(Entry)) {
        let mut put = |key: Vec<u8>, value: Vec<u8>| each(Entry { key, value });
        put(vec![HEAD], encode(&self.head));
        for (key, account) in &self.accounts {
            put(account_key(key), encode(account));
        }
        for (key, node) in &self.nodes {
            put(joined(NODE, &[key.as_bytes()]), encode(node));
        }
        for (key, node) in &self.taken {
            put(joined(TAKEN, &[key.as_bytes()]), encode(node));
        }
        for ((node, voter), amount) in &self.votes {
            put(
                joined(VOTES, &[node.as_bytes(), voter.as_bytes()]),
                encode(amount),
            );
        }
        for (unbonding, amount) in &self.unbonding {
            let mut key = vec![UNBONDING];
            key.extend(unbonding.until_epoch.to_be_bytes());
            key.extend(unbonding.account.as_bytes());
            key.extend(unbonding.node.as_bytes());
            key.push(unbonding.to as u8);
            put(key, encode(amount));
        }
        for ((node, epoch), closing) in &self.closings {
            put(
                [
                    &joined(CLOSING, &[node.as_bytes()])[..],
                    &epoch.to_be_bytes(),
                ]
                .concat(),
                encode(closing),
            );
        }
        for (epoch, settled) in &self.settlements {
            put(of_epoch(SETTLED, *epoch), encode(settled));
        }
        for (epoch, rules) in &self.former_rules {
            put(of_epoch(FORMER_RULES, *epoch), encode(rules));
        }
        self.governance.entries(&mut put);
        self.slashing.entries(&mut put);
        self.late.entries(&mut put);
        let tagged = |tag: u8, rest: &[u8]| [&[tag], rest].concat();
        for (scope, owner) in &self.index.scopes {
            put(tagged(SCOPE, scope.as_str().as_bytes()), encode(owner));
        }
        for (key, release) in self.index.releases() {
            put(tagged(RELEASE, &key), encode(release));
        }
    }

    /// The state of entries, of the network of this genesis document. They are trusted as far as
    /// their sums go; compare the root.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn from_entries(
        network: &Genesis,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<State, EntryError> {
        let mut entries = entries.into_iter().enumerate();
        let wrong = |at: usize, why: &str| EntryError {
            at,
            why: why.to_owned(),
        };
        let head: Head = match entries.next() {
            Some((at, Entry { key, value })) if key == [HEAD] => decode(at, &value)?,
            _ => return Err(wrong(0, "it is not the head")),
        };
        if head.genesis != network.hash() {
            return Err(wrong(0, "it is of another network"));
        }
        let mut state = State {
            created_ms: network.created_ms,
            epoch_ms: network.epoch_ms,
            head,
            accounts: Default::default(),
            nodes: Default::default(),
            taken: Default::default(),
            votes: Default::default(),
            unbonding: Default::default(),
            closings: Default::default(),
            settlements: Default::default(),
            former_rules: Default::default(),
            governance: Default::default(),
            slashing: Default::default(),
            late: Default::default(),
            index: Default::default(),
            by_account: Default::default(),
        };
        let mut last = vec![HEAD];
        for (at, Entry { key, value }) in entries {
            if key <= last {
                return Err(wrong(at, "its key does not come after the one before"));
            }
            match parse(&key).ok_or_else(|| wrong(at, "there is no such key"))? {
                Place::Account(account) => {
                    state.accounts.insert(account, decode(at, &value)?);
                }
                Place::Node(node) => {
                    let found: Node = decode(at, &value)?;
                    state.by_account.nodes.insert((found.operator, node));
                    state.nodes.insert(node, found);
                }
                Place::Taken(key) => {
                    state.taken.insert(key, decode(at, &value)?);
                }
                Place::Votes(node, voter) => {
                    state.votes.insert((node, voter), decode(at, &value)?);
                    state.by_account.votes.insert((voter, node));
                }
                Place::Unbonding(unbonding) => {
                    state.unbonding.insert(unbonding, decode(at, &value)?);
                    let entry = (unbonding.account, unbonding);
                    state.by_account.unbonding.insert(entry);
                    if unbonding.was_votes() {
                        let entry = (unbonding.node, unbonding);
                        state.by_account.unbonding_from.insert(entry);
                    }
                }
                Place::Governance => {
                    let taken = state.governance.restore(at, &key, &value)?;
                    taken.ok_or_else(|| wrong(at, "there is no such key"))?;
                }
                Place::Slashing => {
                    let taken = state.slashing.restore(at, &key, &value)?;
                    taken.ok_or_else(|| wrong(at, "there is no such key"))?;
                }
                Place::Late => {
                    let taken = state.late.restore(at, &key, &value)?;
                    taken.ok_or_else(|| wrong(at, "there is no such key"))?;
                }
                Place::Closing(node, epoch) => {
                    state.closings.insert((node, epoch), decode(at, &value)?);
                }
                Place::Settled(epoch) => {
                    state.settlements.insert(epoch, decode(at, &value)?);
                }
                Place::FormerRules(epoch) => {
                    state.former_rules.insert(epoch, decode(at, &value)?);
                }
                Place::Scope(scope) => {
                    state.index.scopes.insert(scope, decode(at, &value)?);
                }
                Place::Release(name, version) => {
                    let release: Release = decode(at, &value)?;
                    if !state.index.restore(name, version, release) {
                        return Err(wrong(at, "nobody owns the scope of its name"));
                    }
                }
            }
            last = key;
        }
        Ok(state)
    }
}

/// The key of an account's entry.
pub(crate) fn account_key(account: &Key) -> Vec<u8> {
    joined(ACCOUNT, &[account.as_bytes()])
}

/// An account's entry, decoded.
pub(crate) fn account_value(bytes: &[u8]) -> Option<Account> {
    decode(0, bytes).ok()
}

pub(super) fn joined(tag: u8, keys: &[&[u8; 32]]) -> Vec<u8> {
    let mut bytes = vec![tag];
    keys.iter().for_each(|key| bytes.extend(*key));
    bytes
}

/// Where an entry belongs.
enum Place {
    Account(Key),
    Node(Key),
    Taken(Key),
    Votes(Key, Key),
    Unbonding(Unbonding),
    Closing(Key, u64),
    Settled(u64),
    FormerRules(u64),
    Governance,
    Slashing,
    Late,
    Scope(Scope),
    Release(ComponentName, Version),
}

fn of_epoch(tag: u8, epoch: u64) -> Vec<u8> {
    [&[tag][..], &epoch.to_be_bytes()].concat()
}

fn parse(key: &[u8]) -> Option<Place> {
    let (tag, rest) = key.split_first()?;
    let one = |rest: &[u8]| rest.try_into().ok().map(Key::from_bytes);
    let epoch = |rest: &[u8]| rest.try_into().ok().map(u64::from_be_bytes);
    Some(match *tag {
        ACCOUNT => Place::Account(one(rest)?),
        NODE => Place::Node(one(rest)?),
        TAKEN => Place::Taken(one(rest)?),
        VOTES => {
            let (node, voter) = rest.split_at_checked(32)?;
            Place::Votes(one(node)?, one(voter)?)
        }
        UNBONDING => {
            let (epoch, rest) = rest.split_first_chunk::<8>()?;
            let (account, rest) = rest.split_at_checked(32)?;
            let (node, to) = rest.split_at_checked(32)?;
            let to = match to {
                [0] => Target::Free,
                [1] => Target::Stake,
                [2] => Target::Escrow,
                _ => return None,
            };
            Place::Unbonding(Unbonding {
                until_epoch: u64::from_be_bytes(*epoch),
                account: one(account)?,
                node: one(node)?,
                to,
            })
        }
        CLOSING => {
            let (node, rest) = rest.split_at_checked(32)?;
            Place::Closing(one(node)?, epoch(rest)?)
        }
        SETTLED => Place::Settled(epoch(rest)?),
        FORMER_RULES => Place::FormerRules(epoch(rest)?),
        tag if Governance::owns(tag) => Place::Governance,
        tag if Slashing::owns(tag) => Place::Slashing,
        tag if Late::owns(tag) => Place::Late,
        SCOPE => Place::Scope(parse_scope(rest)?),
        RELEASE => {
            let (name, version) = parse_release(rest)?;
            Place::Release(name, version)
        }
        _ => return None,
    })
}

pub(super) fn encode(value: &impl Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail, and no `Encode` here returns a message.
    if let Err(error) = minicbor::encode(value, &mut bytes) {
        unreachable!("a part of the state cannot be encoded: {error}");
    }
    bytes
}

/// A value that is encoded in the one way that [`encode`] does.
pub(super) fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(
    at: usize,
    bytes: &[u8],
) -> Result<T, EntryError> {
    let wrong = |why: String| EntryError { at, why };
    let value: T = minicbor::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    match encode(&value) == bytes {
        true => Ok(value),
        false => Err(wrong("it is not in its one form".to_owned())),
    }
}
