//! The state as a list of entries, key and value, ascending by key: what its root is computed of,
//! and what a snapshot holds.
//!
//! | key | value, CBOR |
//! |---|---|
//! | 0 | [`Head`]: 0 genesis h, 1 height u, 2 time_ms u, 3 epoch u, 4 issued a, 5 burned a, 6 faucet a, 7 [parameters](crate::Parameters), 8 treasury a, 9 rewards a |
//! | 1 ‖ account | [`Account`]: 0 free a, 1 stake a, 2 number u, 3 votes u, 4 faucet a, 5 faucet_epoch u |
//! | 2 ‖ node | [`Node`]: 0 role u, 1 operator b32, 2 keys, 3 next_keys?, 4 name t?, 5 profile, 6 next_commission_ppm u?, 7 stake a, 8 escrow a, 9 leaving bool |
//! | 3 ‖ node key | the node that it belongs to, b32 |
//! | 4 ‖ node ‖ voter | amount a |
//! | 5 ‖ epoch u64 BE ‖ account ‖ node ‖ [`Target`] u8 | amount a |
//! | 30 ‖ scope | its owner, b32 |
//! | 31 ‖ name ‖ 0 ‖ version | [`Release`]: 0 component h, 1 world u, 2 models \[{0 name t, 1 manifest h}\] ascending, 3 description t?, 4 source t?, 5 yanked bool, 6 published_ms u, 7 publisher b32, 8 transaction h |
//!
//! A key is bytes one after the other, 32 for an account or node. A value that is a map has the
//! numbers before its fields as keys, and not those that are absent; h are 32 bytes; amounts are
//! integers, from 2^64 on bignums (tag 2). Keys of nodes: {0 node b32, 1 log b32?}. Profile: {0 commission_ppm u,
//! 1 url t?, 2 region t?, 3 introduction t?, 4 service? {0 class t, 1 uptime_ppm u, 2 latency_ms u}}.
//! Scopes, names and versions are texts. Worlds: 0 `adit:task/task`, 1 `wasi:cli/command`.
//! Roles: 0 miner, 1 coordinator, 2 checker. Targets: 0 free, 1 stake, 2 escrow. Where tokens that
//! unbond were no votes and in no escrow, the node in the key is 32 zeros.

use adit_protocol::Document as _;
use adit_protocol::network::genesis::Genesis;
use minicbor::{Decode, Encode};
use thiserror::Error;

use super::index::{parse_release, parse_scope};
use super::{Account, Head, Node, State, Target, Unbonding};
use crate::index::{ComponentName, Release, Scope, Version};
use crate::key::Key;

const HEAD: u8 = 0;
const ACCOUNT: u8 = 1;
const NODE: u8 = 2;
const TAKEN: u8 = 3;
const VOTES: u8 = 4;
const UNBONDING: u8 = 5;
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
            put(joined(NODE, &[key]), encode(node));
        }
        for (key, node) in &self.taken {
            put(joined(TAKEN, &[key]), encode(node));
        }
        for ((node, voter), amount) in &self.votes {
            put(joined(VOTES, &[node, voter]), encode(amount));
        }
        for (unbonding, amount) in &self.unbonding {
            let mut key = vec![UNBONDING];
            key.extend(unbonding.until_epoch.to_be_bytes());
            key.extend(unbonding.account.as_bytes());
            key.extend(unbonding.node.as_bytes());
            key.push(unbonding.to as u8);
            put(key, encode(amount));
        }
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
    joined(ACCOUNT, &[account])
}

/// An account's entry, decoded.
pub(crate) fn account_value(bytes: &[u8]) -> Option<Account> {
    decode(0, bytes).ok()
}

fn joined(tag: u8, keys: &[&Key]) -> Vec<u8> {
    let mut bytes = vec![tag];
    keys.iter().for_each(|key| bytes.extend(key.as_bytes()));
    bytes
}

/// Where an entry belongs.
enum Place {
    Account(Key),
    Node(Key),
    Taken(Key),
    Votes(Key, Key),
    Unbonding(Unbonding),
    Scope(Scope),
    Release(ComponentName, Version),
}

fn parse(key: &[u8]) -> Option<Place> {
    let (tag, rest) = key.split_first()?;
    let one = |rest: &[u8]| rest.try_into().ok().map(Key::from_bytes);
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
        SCOPE => Place::Scope(parse_scope(rest)?),
        RELEASE => {
            let (name, version) = parse_release(rest)?;
            Place::Release(name, version)
        }
        _ => return None,
    })
}

fn encode(value: &impl Encode<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail, and no `Encode` here returns a message.
    if let Err(error) = minicbor::encode(value, &mut bytes) {
        unreachable!("a part of the state cannot be encoded: {error}");
    }
    bytes
}

/// A value that is encoded in the one way that [`encode`] does.
fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(
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
