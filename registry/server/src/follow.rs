//! The state of a ledger from its log alone: what a follower and an auditor do, and a registry itself
//! when it starts.

use adit_ledger::entry::{LogEntry, Replay, ReplayError, note_key};
use adit_ledger::root::StateTree;
use adit_ledger::state::OtherLedger;
use adit_ledger::{Event, LedgerGenesis, State};
use adit_net::log::{LogReader, ReadLogError, TileSource, Trust, WalkOptions};
use adit_protocol::Code;
use adit_protocol::keys::PublicKeyError;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::Membership;
use thiserror::Error;

use crate::settling::audit::epoch_over;

/// Why a log does not lead to a state.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The two genesis documents do not belong together.
    #[error(transparent)]
    Genesis(#[from] OtherLedger),
    /// The ledger's genesis names no key.
    #[error("the key of the registry's log cannot be used: {0}")]
    Key(#[from] PublicKeyError),
    /// The log cannot be read, or does not belong to its checkpoint.
    #[error(transparent)]
    Log(#[from] ReadLogError),
    /// An epoch is not over yet.
    #[error("epoch {epoch} is not over in the log; hint: ask again when it is")]
    NotYet {
        /// The epoch.
        epoch: u64,
    },
    /// An entry is against the rules.
    #[error("entry {leaf}: {error}")]
    Replay {
        /// Its index.
        leaf: u64,
        /// What is wrong.
        error: Box<ReplayError>,
    },
}

impl FollowError {
    /// The code to show.
    pub fn code(&self) -> Code {
        use adit_net::log::FailureKind;
        match self {
            FollowError::Genesis(_) => Code::InvalidArgument,
            FollowError::Key(_) => Code::BadKey,
            FollowError::Log(error) => match error.kind() {
                FailureKind::Unchecked => Code::Unreachable,
                FailureKind::Signature => Code::BadSignature,
                FailureKind::Proof => Code::BadProof,
            },
            FollowError::NotYet { .. } => Code::NotFound,
            FollowError::Replay { error, .. } => error.code(),
        }
    }
}

/// Follows a log from the beginning, or from a snapshot.
pub struct Follower {
    replay: Replay,
    members: Membership,
    leaf: u64,
    epochs: u64,
    transactions: u64,
}

impl Follower {
    /// Begins before the first entry.
    ///
    /// # Errors
    /// [`OtherLedger`].
    pub fn new(genesis: &Genesis, ledger: &LedgerGenesis) -> Result<Follower, OtherLedger> {
        let state = State::new(genesis, ledger)?;
        Ok(Follower {
            members: state.members(),
            replay: Replay::new(state),
            leaf: 0,
            epochs: 0,
            transactions: 0,
        })
    }

    /// Begins with the state before the entry `leaf`, whose root is the one in the entry before it.
    pub fn at(state: State, leaf: u64) -> Follower {
        Follower {
            members: state.members(),
            replay: Replay::after_root(state),
            leaf,
            epochs: 0,
            transactions: 0,
        }
    }

    /// Does what the next entry says.
    ///
    /// # Errors
    /// [`FollowError::Replay`].
    pub fn entry(&mut self, bytes: &[u8]) -> Result<(), FollowError> {
        let leaf = self.leaf;
        let height = self.replay.state().head().height;
        let replayed = self.replay.entry(bytes);
        let events = replayed.map_err(|error| FollowError::Replay {
            leaf,
            error: Box::new(error),
        })?;
        let state = self.replay.state();
        self.leaf = leaf.saturating_add(1);
        if events
            .iter()
            .any(|event| matches!(event, Event::Epoch { .. }))
        {
            self.members = state.members();
        }
        if self.replay.is_rooted() {
            self.epochs = self.epochs.saturating_add(1);
        } else if state.head().height == height {
            self.transactions = self.transactions.saturating_add(1);
        }
        Ok(())
    }

    /// Does what the entries of a log say from the next one on, up to a checkpoint.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn walk<S: TileSource>(
        &mut self,
        reader: &LogReader<S>,
        checkpoint: &Checkpoint,
    ) -> Result<(), FollowError> {
        let range = self.leaf.min(checkpoint.size)..checkpoint.size;
        let mut walk = reader
            .walk(checkpoint, range, WalkOptions::default())
            .await?;
        while let Some(bundle) = walk.next().await? {
            for (leaf, entry) in bundle.entries() {
                if leaf == self.leaf {
                    self.entry(entry)?;
                }
            }
        }
        Ok(())
    }

    /// Follows a log up to the end of an epoch, and returns the state then: that of an epoch before,
    /// if the registry was away until the epoch after.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::NotYet`] if the epoch is not over in it.
    pub async fn walk_to_end_of<S: TileSource>(
        &mut self,
        reader: &LogReader<S>,
        checkpoint: &Checkpoint,
        epoch: u64,
    ) -> Result<State, FollowError> {
        let range = self.leaf..checkpoint.size;
        let walk = reader.walk(checkpoint, range, WalkOptions::default());
        let mut walk = walk.await?;
        while let Some(bundle) = walk.next().await? {
            for (leaf, entry) in bundle.entries() {
                if leaf != self.leaf {
                    continue;
                }
                if let Ok(LogEntry::Block { time_ms, .. }) = LogEntry::from_bytes(entry)
                    && self.replay.is_rooted()
                    && epoch_over(self.state(), time_ms) == Some(epoch)
                {
                    return Ok(self.state().clone());
                }
                self.entry(entry)?;
            }
        }
        Err(FollowError::NotYet { epoch })
    }

    /// The state after the entries so far.
    pub fn state(&self) -> &State {
        self.replay.state()
    }

    /// Who takes part in the epoch of that state.
    pub fn members(&self) -> &Membership {
        &self.members
    }

    /// The state at the end of the last epoch that is over, as far as it was followed.
    pub fn tree(&self) -> Option<&StateTree> {
        self.replay.tree()
    }

    /// Index of the next entry.
    pub fn leaf(&self) -> u64 {
        self.leaf
    }

    /// Ends of epochs whose root was compared.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Transactions that were done again.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    pub(crate) fn into_parts(self) -> (State, Membership, Option<StateTree>) {
        let (state, tree) = self.replay.into_parts();
        (state, self.members, tree)
    }
}

/// Whose word on a registry's log counts: the key that the genesis documents name. Who wants more asks
/// for cosignatures of witnesses, in [`Trust::witnesses`] and [`Trust::quorum`].
///
/// # Errors
/// [`FollowError::Key`].
pub fn trust(genesis: &Genesis, ledger: &LedgerGenesis) -> Result<Trust, FollowError> {
    use adit_protocol::Document as _;
    let key = ledger.log.public()?;
    Ok(Trust::log_alone(note_key(&genesis.hash(), &key)))
}
