//! From a ledger and the logs of its coordinators to what an epoch's rewards are.
//!
//! | module | subject |
//! |---|---|
//! | [`snapshot`] | the ledger's part of a settlement's input |

pub mod snapshot;
