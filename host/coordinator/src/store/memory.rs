//! The operations in memory.
