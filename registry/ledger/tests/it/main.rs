//! Tests of the whole ledger.

mod governance;
mod machine;
mod rules;
mod support;
mod vectors;
