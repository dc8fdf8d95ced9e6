//! The coordinator's HTTP interface.

pub mod submission;
pub mod wire;
