//! Integration tests of the protocol crate, in one binary so that it links once.

mod documents;
mod fixtures;
mod keys;
mod log;
mod receipts;
mod vectors;
