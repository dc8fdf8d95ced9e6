//! Tests of the whole ledger.

mod machine;
mod rules;
mod support;
mod vectors;
