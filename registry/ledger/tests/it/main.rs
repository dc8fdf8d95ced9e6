//! Tests of the whole ledger.

mod governance;
mod index;
mod late;
mod leases;
mod machine;
mod rules;
mod settling;
mod slashing;
mod support;
mod vectors;
