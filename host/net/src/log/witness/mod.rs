//! Witnesses: they cosign a log's checkpoints as long as each continues the one before, so that a
//! log cannot show two histories to two of its readers (C2SP `tlog-witness`).
//!
//! | part | subject |
//! |---|---|
//! | [`Witness`], [`router`], [`submissions`] | a witness |
//! | [`WitnessClient`] | what a log asks of its witnesses |
//! | [`before_start`], [`serve`] | a log that runs, and has all its checkpoints cosigned |

mod client;
mod cosigning;
mod server;

pub use client::{Standing, WitnessClient, WitnessError, ask_all, cosign_all};
pub use cosigning::{Cosigned, Publisher, before_start, serve};
pub use server::{MIGRATION, Witness, WitnessOptions, router, submissions};

/// The type of the body that names the size which a witness knows.
const SIZE_TYPE: &str = "text/x.tlog.size";
