//! A miner: fetches tasks from coordinators, runs them, and hands in receipts.
//!
//! ```text
//!            one session for each coordinator                 one set of slots
//!   poll ──> check ──> fetch blobs ──> queue ──┐
//!                                              ├─ draw by stake ──> run in a worker
//!   hand in <── signed <── journal (fsync) <───┴──────────────────────── receipt
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`miner`] | starting a miner, and the handle on it |
//! | `session` | the work for one coordinator: polling, taking in, running, handing in |
//! | [`journal`] | receipts on disk before they are signed, so that nothing is signed twice |
//! | [`check`] | what a coordinator sends is checked before it is believed |
//! | [`transport`] | the coordinator as a trait, and over HTTP |
//! | [`scheduler`], [`held`] | which run goes next, and what is held |
//! | [`executor`], [`outcome`] | what runs tasks, and what a run is made into |
//! | [`cache`] | blobs on disk up to a bound |
//! | [`progress`] | what guests report while they run |
//! | [`network`] | the verified membership, and what of it concerns this miner |
//! | [`config`], [`options`] | the configuration file, and what comes of it |
//! | [`control`], [`status`], [`metrics`] | what the operator is told, and can ask for |
//!
//! Coordinators are not trusted: what they send is bounded, signed by the key that the membership
//! has for them, and fits together, or it is refused and counted. What they could do with a miner
//! that believed them is make it sign two receipts for one number; what they can do anyway is give
//! it no work, which always has a stated reason ([`status::Idle`]).
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod backoff;
pub mod by_hand;
pub mod cache;
pub mod check;
pub mod config;
pub mod control;
pub mod executor;
pub mod held;
pub mod journal;
pub mod metrics;
pub mod miner;
pub mod network;
pub mod options;
pub mod outcome;
pub mod progress;
pub mod scheduler;
mod session;
pub mod status;
pub mod text;
pub mod transport;

pub use miner::{Connect, Handle, Miner, Parts, StartError};
pub use options::Options;
