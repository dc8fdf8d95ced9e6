//! A coordinator: takes tasks, draws miners for them, checks results, keeps the log.
