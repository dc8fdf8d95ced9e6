//! From a ledger and the logs of its coordinators to what an epoch's rewards are: the same code for
//! who settles and for who checks.
//!
//! | module | subject |
//! |---|---|
//! | [`snapshot`] | the ledger's part of a settlement's input |
//! | [`extract`] | a log's part: the receipts that were judged |
//! | [`logs`] | reading logs as far as the ledger says |
//! | [`epoch`] | an epoch's settlement, and the document that checkers sign |
//! | [`audit`] | every settlement that a ledger took in, computed again |
//! | [`answers`] | what logs say of receipts that they are said to lack |
//! | [`keep`] | what was earned, in files |
//! | [`settler`] | the checker that a registry runs: mirrors logs, closes epochs, settles them |

pub mod answers;
pub mod audit;
pub mod epoch;
pub mod extract;
pub mod keep;
pub mod logs;
pub mod settler;
pub mod snapshot;
