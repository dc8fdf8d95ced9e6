//! A whole network in one process, for development: registry, coordinator, witness and miners as they are
//! shipped, with keys that everyone has, and on request miners that cheat.
//!
//! | module | subject |
//! |---|---|
//! | [`devnet`] | starting it, what it tells, ending it |
//! | [`keys`] | the keys that everyone has |
//! | `registry` | its registry, and the registrations in it |
//! | [`network`] | what it is like; its network file where there is no registry |
//! | [`folder`] | its folder, which one process has at a time |
//! | [`miners`] | one miner of it |
//! | [`simulation`] | whole networks in virtual time, in which everything goes wrong |
//! | [`faults`] | miners that cheat, and connections that break |
//!
//! All of it goes through the same code and over the same HTTP as a real network: only the keys are
//! known to everyone, and epochs are short.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod devnet;
pub mod faults;
pub mod folder;
pub mod keys;
pub mod miners;
pub mod network;
mod registry;
pub mod simulation;

pub use devnet::{DevError, DevNet, Options};
