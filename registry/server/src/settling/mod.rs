//! From a ledger and the logs of its coordinators to what an epoch's rewards are: the same code for
//! who settles and for who checks.
//!
//! | module | subject |
//! |---|---|
//! | [`snapshot`] | the ledger's part of a settlement's input |
//! | [`extract`] | a log's part: the receipts that were judged |
//! | [`logs`] | reading logs as far as the ledger says |
//! | [`epoch`] | an epoch's settlement, and the document that checkers sign |
//! | [`open`] | what is in the logs and not settled yet |
//! | [`program`] | the component that the rules name, in the sandbox |
//! | [`audit`] | every settlement that a ledger took in, computed again |
//! | [`answers`] | what logs say of receipts that they are said to lack |
//! | [`keep`] | what was earned, in files |
//! | [`sources`] | where logs are, by the registry's log; readers of them |
//! | `mirrors` | the checker's copies of the logs |
//! | `misdeeds` | what logs prove of their miners and coordinators, found and reported |
//! | [`seen`] | which assignments have a receipt, to notice a second one |
//! | [`settler`] | the checker that a registry runs: mirrors logs, closes epochs, settles them |

pub mod answers;
pub mod audit;
pub mod epoch;
pub mod extract;
pub mod keep;
pub mod logs;
pub(crate) mod mirrors;
mod misdeeds;
pub mod open;
pub mod program;
pub mod seen;
pub mod settler;
pub mod snapshot;
pub mod sources;
