//! What happens to tasks, leases and receipts.

mod context;

pub use context::{TaskContext, Validation};
