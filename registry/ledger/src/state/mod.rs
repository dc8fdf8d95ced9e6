//! The ledger's state, and how blocks and transactions change it.
//!
//! | file | subject |
//! |---|---|
//! | this one | what the state consists of; blocks |
//! | `apply` | a transaction: what all have in common, transfers, the faucet |
//! | `staking` | stake, votes, unbonding |
//! | `nodes` | registrations |
//! | `settling` | closing and settling epochs, claims |
//! | `quorum` | checkers whose signatures count, and how many it takes |
//! | `governance` | proposals, and what is done by them |
//! | `stakes` | what was staked at the beginning of an epoch, with which votes on proposals count |
//! | `slashing` | misdeeds that prove themselves, and what is known of all |
//! | `verdicts` | accusations, verdicts, appeals |
//! | `late` | receipts that a log lacks: claims, answers, what is owed |
//! | `penalty` | what a misdeed costs |
//! | `index` | components: names, versions, who owns them |
//! | `members` | who takes part, as of now |
//! | `encoding` | the state as a list of entries, and back |

mod apply;
mod encoding;
mod governance;
mod index;
mod late;
mod members;
mod nodes;
mod penalty;
mod quorum;
mod settling;
mod slashing;
mod stakes;
mod staking;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

pub use apply::AHEAD_MS_MAX;
pub use encoding::{Entry, EntryError};
pub(crate) use encoding::{account_key, account_value};
use governance::Governance;
pub use governance::{PROPOSALS_MAX, Proposal, Spend};
pub use index::{Releases, latest};
use late::Late;
pub use late::{Claimed, Missed};
pub use nodes::FormerKeys;
pub use penalty::Jailed;
pub use settling::{Closing, Settled};
pub use slashing::Report;
use slashing::Slashing;

use crate::event::Event;
use crate::genesis::{LedgerGenesis, Parameters};
use crate::key::Key;
use crate::registration::{NodeKeys, Profile, Role};
use crate::rules::RewardRules;

/// What an account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Account {
    /// Tokens that it can spend, in 10^-12 token.
    #[n(0)]
    pub free: Amount,
    /// Stake that is no vote, in 10^-12 token.
    #[n(1)]
    pub stake: Amount,
    /// How many transactions took effect: the number of the next one.
    #[n(2)]
    pub number: u64,
    /// How many nodes it votes for.
    #[n(3)]
    pub votes: u32,
    /// What the faucet gave it in the epoch [`Account::faucet_epoch`], in 10^-12 token.
    #[n(4)]
    pub faucet: Amount,
    /// The epoch in which it last took from the faucet.
    #[n(5)]
    pub faucet_epoch: u64,
    /// What it has claimed of what it earned, in all, in 10^-12 token.
    #[n(6)]
    pub claimed: Amount,
}

/// A node that takes part, or did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Node {
    /// What it does.
    #[n(0)]
    pub role: Role,
    /// The account that registered it.
    #[n(1)]
    pub operator: Key,
    /// Its keys in this epoch.
    #[n(2)]
    pub keys: NodeKeys,
    /// Its keys from the next epoch on, if they change.
    #[n(3)]
    pub next_keys: Option<NodeKeys>,
    /// Name of a checker in its cosignatures.
    #[n(4)]
    pub name: Option<String>,
    /// What its operator says of it. The commission is that of this epoch.
    #[n(5)]
    pub profile: Profile,
    /// The commission from the next epoch on, if it changes, in parts per million.
    #[n(6)]
    pub next_commission_ppm: Option<u32>,
    /// All votes for it, in 10^-12 token.
    #[n(7)]
    pub stake: Amount,
    /// What a coordinator's tasks can be paid of, in 10^-12 token.
    #[n(8)]
    pub escrow: Amount,
    /// Whether it has been deregistered: it takes part up to the end of that epoch.
    #[n(9)]
    pub leaving: bool,
    /// Keys that it had before, the newest last, as long as something depends on them.
    #[n(10)]
    pub former_keys: Vec<FormerKeys>,
    /// Why it does not take part, if it was punished.
    #[n(11)]
    pub jailed: Option<Jailed>,
}

/// What tokens become when they are done unbonding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Free tokens, from stake.
    #[n(0)]
    Free = 0,
    /// Stake that is no vote, from votes.
    #[n(1)]
    Stake = 1,
    /// Free tokens, from escrow.
    #[n(2)]
    Escrow = 2,
}

/// Tokens that unbond, which share an amount in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unbonding {
    /// The epoch at whose beginning they are released.
    pub until_epoch: u64,
    /// Whose they are.
    pub account: Key,
    /// The node that they were votes for, or the coordinator whose escrow they were in;
    /// [`Key::NONE`] for stake that was no vote.
    pub node: Key,
    /// What they become.
    pub to: Target,
}

/// What belongs to no account: where the chain is, and sums.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Head {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// Blocks so far.
    #[n(1)]
    pub height: u64,
    /// Time of the newest block, in milliseconds since 1970.
    #[n(2)]
    pub time_ms: u64,
    /// The epoch of that time.
    #[n(3)]
    pub epoch: u64,
    /// All tokens that ever were, in 10^-12 token.
    #[n(4)]
    pub issued: Amount,
    /// Those of them that were burned, in 10^-12 token.
    #[n(5)]
    pub burned: Amount,
    /// What the faucet gave in this epoch, in 10^-12 token.
    #[n(6)]
    pub faucet: Amount,
    /// The rules.
    #[n(7)]
    pub parameters: Parameters,
    /// What belongs to the network and is spent by votes, in 10^-12 token.
    #[n(8)]
    pub treasury: Amount,
    /// What was earned and not claimed yet, in 10^-12 token.
    #[n(9)]
    pub rewards: Amount,
    /// The epoch that comes to be settled next.
    #[n(10)]
    pub settled: u64,
    /// All stake at the beginning of this epoch, votes included, in 10^-12 token.
    #[n(11)]
    pub staked: Amount,
}

/// The state of a ledger after some block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    created_ms: u64,
    epoch_ms: u64,
    head: Head,
    accounts: BTreeMap<Key, Account>,
    nodes: BTreeMap<Key, Node>,
    /// Node keys that have an owner, each with its node.
    taken: BTreeMap<Key, Key>,
    /// Votes by node and voter.
    votes: BTreeMap<(Key, Key), Amount>,
    unbonding: BTreeMap<Unbonding, Amount>,
    /// By coordinator and epoch: those that are not settled, each coordinator's newest, and those that
    /// late receipts can be missed in.
    closings: BTreeMap<(Key, u64), Closing>,
    /// By epoch: the one that counts, later ones, and those that open epochs have to know.
    settlements: BTreeMap<u64, Settled>,
    /// Rules of rewards that were changed, by the last epoch in which they held.
    former_rules: BTreeMap<u64, RewardRules>,
    governance: Governance,
    slashing: Slashing,
    late: Late,
    index: index::Index,
    by_account: ByAccount,
}

/// What belongs to an account or node, by its key: it follows from the rest, and is no part of the root.
/// Without it, whoever asks for an account would have all of the state looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ByAccount {
    /// Voter and node.
    votes: BTreeSet<(Key, Key)>,
    unbonding: BTreeSet<(Key, Unbonding)>,
    /// Node and what of the votes for it unbonds.
    unbonding_from: BTreeSet<(Key, Unbonding)>,
    /// Operator and node.
    nodes: BTreeSet<(Key, Key)>,
}

/// Why a ledger cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the network's genesis document names the ledger {expected:?}, and this one is {found}; hint: get both from one source"
)]
pub struct OtherLedger {
    /// What the network's genesis names.
    pub expected: Option<Hash>,
    /// Hash of the ledger's genesis.
    pub found: Hash,
}

/// Why there is no such block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a block at {found} ms does not come after one at {last} ms; hint: blocks never go back in time"
)]
pub struct BlockTime {
    /// Time of the newest block.
    pub last: u64,
    /// Time of the block.
    pub found: u64,
}

impl State {
    /// The state before the first block.
    ///
    /// # Errors
    /// [`OtherLedger`].
    pub fn new(network: &Genesis, ledger: &LedgerGenesis) -> Result<State, OtherLedger> {
        let found = ledger.hash();
        if network.ledger != Some(found) {
            return Err(OtherLedger {
                expected: network.ledger,
                found,
            });
        }
        let account = |free: Amount| Account {
            free,
            ..Account::default()
        };
        Ok(State {
            created_ms: network.created_ms,
            epoch_ms: network.epoch_ms,
            head: Head {
                genesis: network.hash(),
                height: 0,
                time_ms: network.created_ms,
                epoch: 0,
                issued: ledger.supply(),
                burned: Amount::ZERO,
                faucet: Amount::ZERO,
                parameters: ledger.parameters.clone(),
                treasury: Amount::ZERO,
                rewards: Amount::ZERO,
                settled: 0,
                staked: Amount::ZERO,
            },
            accounts: (ledger.allocations.iter())
                .map(|one| (one.account, account(one.amount)))
                .collect(),
            nodes: BTreeMap::new(),
            taken: BTreeMap::new(),
            votes: BTreeMap::new(),
            unbonding: BTreeMap::new(),
            closings: BTreeMap::new(),
            settlements: BTreeMap::new(),
            former_rules: BTreeMap::new(),
            governance: Governance::default(),
            slashing: Slashing::default(),
            late: Late::default(),
            index: index::Index::default(),
            by_account: ByAccount::default(),
        })
    }

    /// Begins a block at a time, in milliseconds since 1970. With an epoch, penalties take effect, what
    /// is done unbonding is released, what was to change with the epoch does, and proposals are counted
    /// and done, in this order.
    ///
    /// # Errors
    /// [`BlockTime`].
    pub fn begin_block(&mut self, time_ms: u64) -> Result<Vec<Event>, BlockTime> {
        if time_ms < self.head.time_ms {
            return Err(BlockTime {
                last: self.head.time_ms,
                found: time_ms,
            });
        }
        self.head.height = self.head.height.saturating_add(1);
        self.head.time_ms = time_ms;
        let epoch = self.epoch_at(time_ms);
        let mut events = Vec::new();
        if epoch > self.head.epoch {
            let last = self.head.epoch;
            self.remember_before_release(epoch);
            self.head.epoch = epoch;
            self.head.faucet = Amount::ZERO;
            events.push(Event::Epoch { epoch });
            // Before anything is released: it was behind the node up to now.
            self.turn_reports(last, &mut events);
            self.turn_late(last, &mut events);
            self.release(&mut events);
            self.turn_nodes();
            self.turn_proposals(&mut events);
            self.turn_stakes();
        }
        Ok(events)
    }

    /// Takes back the newest block, in which no transaction was done, and which was of the epoch of
    /// the one before: `before` is the head before it. Nothing else differs.
    pub fn take_back_block(&mut self, before: Head) {
        self.head = before;
    }

    /// The epoch of a time, in milliseconds since 1970.
    pub fn epoch_at(&self, time_ms: u64) -> u64 {
        let since = time_ms.saturating_sub(self.created_ms);
        since.checked_div(self.epoch_ms).unwrap_or(0)
    }

    /// When an epoch begins, in milliseconds since 1970.
    pub fn epoch_begins_ms(&self, epoch: u64) -> u64 {
        let since = self.epoch_ms.saturating_mul(epoch);
        self.created_ms.saturating_add(since)
    }

    /// Where the chain is, and sums.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The rules.
    pub fn parameters(&self) -> &Parameters {
        &self.head.parameters
    }

    /// What an account has; one that was never used has nothing.
    pub fn account(&self, account: &Key) -> Account {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    /// The node that was registered with a key.
    pub fn node(&self, node: &Key) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// The node to which a node key belongs, in whichever epoch it did or will.
    pub fn owner(&self, key: &Key) -> Option<Key> {
        self.taken.get(key).copied()
    }

    /// All nodes, ascending by the keys that they were registered with.
    pub fn nodes(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.nodes.iter()
    }

    /// Nodes from one on, in the same order.
    pub fn nodes_from(&self, begin: Bound<Key>) -> impl Iterator<Item = (&Key, &Node)> {
        self.nodes.range((begin, Bound::Unbounded))
    }

    /// Votes for a node, ascending by voter.
    pub fn votes_for(&self, node: Key) -> impl Iterator<Item = (Key, Amount)> {
        let all = (node, Key::NONE)..=(node, Key::LAST);
        let votes = self.votes.range(all);
        votes.map(|((_, voter), amount)| (*voter, *amount))
    }

    /// An account's votes, ascending by node.
    pub fn votes_of(&self, voter: Key) -> impl Iterator<Item = (Key, Amount)> {
        let all = (voter, Key::NONE)..=(voter, Key::LAST);
        self.by_account.votes.range(all).map(|(voter, node)| {
            let amount = self.votes.get(&(*node, *voter));
            (*node, amount.copied().unwrap_or_default())
        })
    }

    /// What of an account's tokens unbonds, in the order in which it is released.
    pub fn unbonding_of(&self, account: Key) -> impl Iterator<Item = (Unbonding, Amount)> {
        let first = Unbonding {
            until_epoch: 0,
            account,
            node: Key::NONE,
            to: Target::Free,
        };
        let all = self.by_account.unbonding.range((account, first)..);
        all.take_while(move |(whose, _)| *whose == account)
            .map(|(_, unbonding)| {
                let amount = self.unbonding.get(unbonding);
                (*unbonding, amount.copied().unwrap_or_default())
            })
    }

    /// The nodes that an account operates.
    pub fn operated(&self, operator: Key) -> impl Iterator<Item = Key> {
        let all = (operator, Key::NONE)..=(operator, Key::LAST);
        self.by_account.nodes.range(all).map(|(_, node)| *node)
    }

    /// All tokens by where they are. Looks at all of the state.
    pub fn supply(&self) -> Supply {
        let accounts = || self.accounts.values();
        let unbonding = |escrow: bool| {
            let of = self.unbonding.iter();
            of.filter(|(unbonding, _)| (unbonding.to == Target::Escrow) == escrow)
                .map(|(_, amount)| *amount)
                .sum()
        };
        Supply {
            free: accounts().map(|account| account.free).sum(),
            stake: accounts().map(|account| account.stake).sum(),
            votes: self.votes.values().copied().sum(),
            unbonding: unbonding(false),
            escrow: self.nodes.values().map(|node| node.escrow).sum::<Amount>(),
            escrow_unbonding: unbonding(true),
            treasury: self.head.treasury,
            rewards: self.head.rewards,
            deposits: (self.governance.deposits())
                .chain(self.slashing.deposits())
                .chain(self.late.deposits())
                .sum(),
        }
    }
}

/// All tokens by where they are, in 10^-12 token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Supply {
    /// Free in accounts.
    pub free: Amount,
    /// Stake that is no vote.
    pub stake: Amount,
    /// Votes.
    pub votes: Amount,
    /// Stake and votes that unbond.
    pub unbonding: Amount,
    /// In escrows.
    pub escrow: Amount,
    /// Of escrows, unbonding.
    pub escrow_unbonding: Amount,
    /// In the treasury.
    pub treasury: Amount,
    /// Earned and not claimed.
    pub rewards: Amount,
    /// Put down for proposals, reports, appeals and claims of late receipts.
    pub deposits: Amount,
}

impl Supply {
    /// All of it: what was issued less what was burned.
    pub fn total(&self) -> Amount {
        let parts = [
            self.free,
            self.stake,
            self.votes,
            self.unbonding,
            self.escrow,
            self.escrow_unbonding,
            self.treasury,
            self.rewards,
            self.deposits,
        ];
        parts.into_iter().sum()
    }
}

/// Adds an amount to another in the state. What exists is bounded by the supply, so the sum cannot be
/// out of range; if it ever were, the state is not to be trusted any more, and must not go on.
fn add(to: &mut Amount, amount: Amount) {
    *to = match to.plus(amount) {
        Some(sum) if sum <= Amount::SUPPLY_MAX => sum,
        _ => unreachable!("more tokens than were ever issued"),
    };
}
