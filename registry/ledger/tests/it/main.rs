//! Tests of the whole ledger.

mod index;
mod machine;
mod rules;
mod support;
mod vectors;
