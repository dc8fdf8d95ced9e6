//! Tests of the state machine, by subject.

mod draws;
mod fairness;
mod growth;
mod leases;
mod life;
mod quorum;
mod random;
mod receipts;
mod rosters;
