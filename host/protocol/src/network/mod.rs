//! A network of coordinators and miners: who takes part, who is drawn for a task, and what is
//! signed and logged on the way to a receipt (protocol.md, "Networks, keys, signatures" and "Log of
//! a coordinator").
//!
//! | part | subject |
//! |---|---|
//! | [`genesis`] | what a network is; the hash of it is its name |
//! | [`membership`] | who takes part with which stake, signed by the network's authority; the network file |
//! | [`roster`] | the candidates of a coordinator's draws, and their weights |
//! | [`draw`] | which of them gets a task |
//! | [`assignment`] | the lease that a miner gets, its acceptance, and until when a miner is active |
//! | [`entry`] | the six kinds of entries in a coordinator's log |
//! | [`standing`] | what the log says at one leaf; shared by coordinators and auditors |
//! | [`exchange`] | what miners and coordinators send each other |

pub mod assignment;
pub mod draw;
pub mod entry;
pub mod exchange;
pub mod genesis;
pub mod membership;
pub mod roster;
pub mod standing;
