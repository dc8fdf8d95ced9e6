//! A coordinator: takes tasks, draws miners for them, checks results, keeps the log.
//!
//! | module | subject |
//! |---|---|
//! | [`core`] | what happens to tasks, leases and receipts: a state machine without clock, I/O or randomness of its own |
//! | [`engine`] | the thread that owns state and log, and the [`engine::Handle`] by which all else talks to it |
//! | [`store`] | what is kept across restarts, as operations; SQLite and memory behind them |
//! | [`membership`] | who takes part in the network, and how a change of that is noticed |
//! | [`planted`] | failures and bugs that a simulation puts in |
//! | [`order`] | what goes in: submissions and checked receipts |
//! | [`view`] | what comes out: tasks, receipts, miners and draws, as they are shown |
//! | [`refusal`] | why something was not done |
//! | [`http`] | the interface to clients, miners and auditors |
//! | [`blobs`] | blobs, in the database and as files |
//! | [`check`] | the checks of receipts that need neither state nor log |
//! | [`tokens`] | clients, and what they may use up |
//! | [`validator`] | runs the validators of apps in the sandbox |
//! | `cosign` | the network's witnesses, who cosign the log's checkpoints |
//! | [`options`], [`running`] | how a coordinator is started, and how it ends |

pub mod blobs;
pub mod check;
pub mod core;
mod cosign;
pub mod engine;
pub mod http;
pub mod membership;
pub mod options;
pub mod order;
pub mod planted;
pub mod refusal;
pub mod running;
pub mod store;
pub mod tokens;
pub mod validator;
pub mod view;

pub use refusal::Refusal;
