//! The conformance suite of Adit: hostile guests and fixed vectors, with exactly what must come of
//! them, for any program that follows the documented command line.
//!
//! | module | subject |
//! |---|---|
//! | [`case`], [`amounts`] | the data files: what a guest is given, and what must come of it |
//! | [`input`], [`made`] | components, inputs and models: from files, or made by this program |
//! | [`places`] | where guests, models and data files are |
//! | [`process`] | one process of the implementation, with bounds |
//! | [`outcome`] | what an implementation says of a run, and how it differs |
//! | [`check`] | one case: two runs and their replays |
//! | [`vectors`] | documents that must be verified or refused |
//! | [`exercised`] | whether every guest and every behaviour has a case |
//! | [`trials`], [`bless`] | all of it as tests; new figures for the data files |
//!
//! It uses nothing of the implementation but its command line, its JSON and its exit codes, which
//! `conformance/README.md` lists.

pub mod amounts;
pub mod bless;
pub mod case;
pub mod check;
pub mod error;
pub mod exercised;
pub mod input;
pub mod made;
pub mod outcome;
pub mod places;
pub mod process;
pub mod trials;
pub mod vectors;

pub use error::Error;
