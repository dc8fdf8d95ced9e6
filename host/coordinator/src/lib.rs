//! A coordinator: takes tasks, draws miners for them, checks results, keeps the log.

pub mod core;
pub mod engine;
pub mod http;
pub mod order;
pub mod refusal;
pub mod store;
pub mod tokens;
pub mod view;

pub use refusal::Refusal;
