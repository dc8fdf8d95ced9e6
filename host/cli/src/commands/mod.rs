//! The commands, one module each. Each returns how the process is to end.

pub mod account;
pub mod audit;
pub mod bench;
pub mod build;
pub mod bundle;
pub mod coordinator;
pub mod dev;
pub mod doctor;
pub mod explain;
pub mod faucet;
pub mod gov;
pub mod inspect;
pub mod key;
pub mod log;
pub mod man;
pub mod miner;
pub mod network;
pub mod new;
pub mod node;
pub mod publish;
pub mod receipt;
pub mod register;
pub mod registry;
pub mod run;
pub mod stake;
pub mod task;
