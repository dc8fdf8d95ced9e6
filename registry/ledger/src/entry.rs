//! What is in the registry's log: all that the state follows from, in order.
//!
//! | type byte | body |
//! |---|---|
//! | 1 | a block begins: height u64 LE ‖ time u64 LE, milliseconds since 1970 |
//! | 2 | a transaction of the block: signature (64) ‖ text |
//! | 3 | an epoch is over: CBOR {0 epoch u, 1 {0 size u, 1 root h}}, the state's root before the next block |

use adit_protocol::keys::PublicKey;
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::{Code, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use crate::event::Event;
use crate::refusal::Refusal;
use crate::root::StateTree;
use crate::state::{BlockTime, State};
use crate::transaction::{SignatureError, SignedTransaction, TextError, Verified};
use crate::tree::TreeRoot;

const BLOCK: u8 = 1;
const TRANSACTION: u8 = 2;
const EPOCH: u8 = 3;

/// The key that a registry's checkpoints are checked with. The log's origin is
/// `adit/<first 16 digits of the genesis hash>/registry/blake3`.
pub fn note_key(genesis: &Hash, log: &PublicKey) -> NoteKey {
    let digits: String = genesis.to_hex().chars().take(16).collect();
    let name = format!("adit/{digits}/registry/blake3").parse();
    let name = name.unwrap_or_else(|_| unreachable!("digits and slashes make a name"));
    NoteKey::new(name, KeyKind::Checkpoint, *log)
}

/// The state's root at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct EpochRoot {
    /// The epoch that is over.
    #[n(0)]
    pub epoch: u64,
    /// The state then.
    #[n(1)]
    pub state: TreeRoot,
}

/// An entry of the registry's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A block begins.
    Block {
        /// Its number, from 1.
        height: u64,
        /// Its time, in milliseconds since 1970.
        time_ms: u64,
    },
    /// A transaction of the block.
    Transaction(Box<SignedTransaction>),
    /// An epoch is over.
    Epoch(EpochRoot),
}

/// Why bytes are no entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LogEntryError {
    /// Not of any type, or not of its length.
    #[error(
        "the entry is none of a registry's log; hint: it is of another log, or of a later version"
    )]
    Form,
    /// The transaction in it cannot be read.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl LogEntry {
    /// The bytes in the log.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            LogEntry::Block { height, time_ms } => {
                let mut bytes = vec![BLOCK];
                bytes.extend(height.to_le_bytes());
                bytes.extend(time_ms.to_le_bytes());
                bytes
            }
            LogEntry::Transaction(signed) => {
                let mut bytes = vec![TRANSACTION];
                bytes.extend(signed.to_bytes());
                bytes
            }
            LogEntry::Epoch(root) => {
                let mut bytes = vec![EPOCH];
                // Writing to a vector cannot fail.
                let _ = minicbor::encode(root, &mut bytes);
                bytes
            }
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`LogEntryError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<LogEntry, LogEntryError> {
        let (tag, body) = bytes.split_first().ok_or(LogEntryError::Form)?;
        let entry = match *tag {
            BLOCK => {
                let ([height, time], []) = body.as_chunks::<8>() else {
                    return Err(LogEntryError::Form);
                };
                LogEntry::Block {
                    height: u64::from_le_bytes(*height),
                    time_ms: u64::from_le_bytes(*time),
                }
            }
            TRANSACTION => LogEntry::Transaction(Box::new(SignedTransaction::from_bytes(body)?)),
            EPOCH => LogEntry::Epoch(minicbor::decode(body).map_err(|_| LogEntryError::Form)?),
            _ => return Err(LogEntryError::Form),
        };
        match entry.to_bytes() == bytes {
            true => Ok(entry),
            false => Err(LogEntryError::Form),
        }
    }
}

/// Why a log is not one that a registry may have written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry cannot be read.
    #[error(transparent)]
    Entry(#[from] LogEntryError),
    /// A block out of order.
    #[error(
        "a block has the number {found}, and {expected} comes next; hint: the registry broke its own rules; keep the log as evidence"
    )]
    Height {
        /// The next number.
        expected: u64,
        /// The block's.
        found: u64,
    },
    /// A block that goes back in time.
    #[error(transparent)]
    Time(#[from] BlockTime),
    /// A transaction before the first block.
    #[error(
        "a transaction stands outside of any block; hint: the registry broke its own rules; keep the log as evidence"
    )]
    NoBlock,
    /// A transaction that nobody signed.
    #[error("a transaction in the log was not signed: {0}")]
    Signature(#[from] SignatureError),
    /// A transaction that the ledger refuses.
    #[error("a transaction in the log is against the ledger's rules: {0}")]
    Refused(#[from] Refusal),
    /// A block of a later epoch without the root of the one before, or a root at another place.
    #[error(
        "the root of epoch {epoch} stands where it does not belong, or is missing; hint: the registry broke its own rules; keep the log as evidence"
    )]
    RootPlace {
        /// The epoch.
        epoch: u64,
    },
    /// Another state.
    #[error(
        "the log says of the state after epoch {epoch} that it is {said:?}, and it comes to {found:?}; hint: the registry, or this program, does not follow the rules"
    )]
    Root {
        /// The epoch.
        epoch: u64,
        /// What the log says.
        said: TreeRoot,
        /// What it comes to.
        found: TreeRoot,
    },
}

impl ReplayError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            ReplayError::Entry(_) => Code::BadEncoding,
            ReplayError::Signature(_) => Code::BadSignature,
            _ => Code::Diverged,
        }
    }
}

/// Follows a log: from the state before it to that after each of its entries.
#[derive(Clone, Debug)]
pub struct Replay {
    state: State,
    /// The state at the end of the last epoch whose root was compared.
    tree: Option<StateTree>,
    /// Whether that root was the entry before.
    rooted: bool,
    /// Whether a block has begun.
    in_block: bool,
}

impl Replay {
    /// Begins with a state, before any block or right after one.
    pub fn new(state: State) -> Replay {
        Replay {
            in_block: state.head().height > 0,
            state,
            tree: None,
            rooted: false,
        }
    }

    /// Goes on with a state whose root is the entry before.
    pub fn after_root(state: State) -> Replay {
        Replay {
            tree: Some(StateTree::of(&state)),
            rooted: true,
            ..Replay::new(state)
        }
    }

    /// Whether the entry before was the root of an epoch.
    pub fn is_rooted(&self) -> bool {
        self.rooted
    }

    /// The state at the end of the last epoch that is over, as far as it was followed.
    pub fn tree(&self) -> Option<&StateTree> {
        self.tree.as_ref()
    }

    /// The state after the entries so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, to go on with, and that at the end of the last epoch.
    pub fn into_parts(self) -> (State, Option<StateTree>) {
        (self.state, self.tree)
    }

    /// Does what an entry says, and what happened by it.
    ///
    /// # Errors
    /// [`ReplayError`]; the state is that before the entry then, or of no use.
    pub fn entry(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ReplayError> {
        match LogEntry::from_bytes(bytes)? {
            LogEntry::Block { height, time_ms } => self.block(height, time_ms),
            LogEntry::Transaction(signed) => self.transaction(&signed.verify()?),
            LogEntry::Epoch(said) => {
                let epoch = self.state.head().epoch;
                if said.epoch != epoch || self.rooted {
                    return Err(ReplayError::RootPlace { epoch: said.epoch });
                }
                let tree = StateTree::of(&self.state);
                let found = tree.root();
                if said.state != found {
                    return Err(ReplayError::Root {
                        epoch,
                        said: said.state,
                        found,
                    });
                }
                self.tree = Some(tree);
                self.rooted = true;
                Ok(Vec::new())
            }
        }
    }

    fn block(&mut self, height: u64, time_ms: u64) -> Result<Vec<Event>, ReplayError> {
        let head = self.state.head();
        let expected = head.height.saturating_add(1);
        if height != expected {
            return Err(ReplayError::Height {
                expected,
                found: height,
            });
        }
        // A root, and nothing else, comes between two epochs.
        let turns = self.state.epoch_at(time_ms) > head.epoch;
        if turns != self.rooted {
            return Err(ReplayError::RootPlace { epoch: head.epoch });
        }
        let events = self.state.begin_block(time_ms)?;
        self.rooted = false;
        self.in_block = true;
        Ok(events)
    }

    /// Does a transaction whose signatures are known to hold.
    ///
    /// # Errors
    /// [`ReplayError::Refused`], [`ReplayError::NoBlock`].
    pub fn transaction(&mut self, transaction: &Verified) -> Result<Vec<Event>, ReplayError> {
        if !self.in_block || self.rooted {
            return Err(ReplayError::NoBlock);
        }
        Ok(self.state.apply(transaction)?)
    }
}
