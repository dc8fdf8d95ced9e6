//! Tests of the whole ledger.

mod governance;
mod machine;
mod rules;
mod settling;
mod slashing;
mod support;
mod vectors;
