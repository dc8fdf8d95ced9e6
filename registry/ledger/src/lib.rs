//! The stake ledger: who has which tokens, who votes for whom, which nodes take part.
//!
//! A pure, deterministic state machine over signed transactions: no clock, no float, no randomness,
//! no I/O. Time comes with the blocks, so that it can run replicated.
//!
//! | module | subject |
//! |---|---|
//! | [`key`] | keys in the order of their bytes, and as addresses |
//! | [`transaction`] | the text form, its signature, what transactions do |
//! | [`index`] | components: names, versions, what is published |
//! | [`oci`] | where artifacts are in OCI registries |
//! | [`registration`] | nodes: roles, keys, what their operators say of them |
//! | [`genesis`] | what a ledger begins with, and its parameters |
//! | [`rules`] | parameters of rewards, of penalties, of votes on parameters |
//! | [`setting`] | parameters by their names, as proposals change them |
//! | [`slashing`] | misdeeds, what proves them, what checkers sign of them |
//! | [`late`] | receipts that a log lacks, and what shows that it does not |
//! | [`state`] | the state, and what blocks and transactions do to it |
//! | [`refusal`] | why a transaction does nothing |
//! | [`root`] | the state as a tree, with proofs of single accounts |
//! | [`rewards`] | what accounts earned: what a quorum signs of it, and proofs for claims |
//! | [`tree`] | Merkle trees of lists |
//! | [`entry`] | what is in the registry's log |
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod entry;
pub mod event;
pub mod genesis;
pub mod index;
pub mod key;
pub mod late;
pub mod oci;
pub mod refusal;
pub mod registration;
pub mod rewards;
pub mod root;
pub mod rules;
pub mod setting;
pub mod slashing;
pub mod state;
pub mod transaction;
pub mod tree;

pub use event::Event;
pub use genesis::{LedgerGenesis, Parameters};
pub use key::Key;
pub use refusal::Refusal;
pub use setting::Setting;
pub use state::State;
pub use transaction::{Action, SignedTransaction, Transaction};
