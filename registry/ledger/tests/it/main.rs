//! Tests of the whole ledger.

mod machine;
mod rules;
mod settling;
mod support;
mod vectors;
