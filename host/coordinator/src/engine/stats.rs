//! Counters and levels of the engine, written by its thread and read by any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! stats {
    ($($name:ident $doc:literal)*) => {
        /// Counters and levels. Each is exact by itself; together they are of about one moment.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// Counters and levels at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
        pub struct StatsView {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl StatsView {
            /// Every figure with its name and its meaning.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $doc, self.$name)),*]
            }
        }

        impl Stats {
            pub(crate) fn view(&self) -> StatsView {
                StatsView { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

stats! {
    submitted "Tasks that were taken."
    completed "Tasks that ended with a result."
    failed "Tasks that ended without one."
    cancelled "Tasks that were cancelled."
    drawn "Assignments that were made."
    expired "Assignments that ran out."
    receipts "Receipts that were appended."
    receipts_late "Receipts that came after the end of their lease."
    receipts_refused "Receipts that were refused."
    equivocations "Assignments for which two receipts were seen."
    rosters "Rosters that were written."
    waiting "Level: tasks of which a replica waits for a miner."
    live "Level: tasks that have not ended."
    open "Level: assignments that are open."
    contexts "Level: tasks whose specs are kept in memory."
    miners "Level: miners that are active."
    candidates "Level: miners in the roster in force."
    polls "Level: polls that wait for work."
    batches "Batches that were committed."
    commands "Commands that were in them."
    commit_us "Microseconds that commits took, together."
    applies "Times that batches were applied to the tables."
    apply_us "Microseconds that this took, together."
    busy_us "Microseconds that the engine worked, commits included, together."
    overloaded "Requests that were refused because the queue was full."
    log_size "Level: entries of the log that are durable."
    log_signed "Level: entries of the log that are under its newest checkpoint."
    log_failures "Times that the log's files could not be written, and waited."
    escrow_units "Level: escrow committed, in whole tokens, rounded down."
}

impl Stats {
    pub(crate) fn refused_full(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Sets a level.
pub(crate) fn set(level: &AtomicU64, to: usize) {
    level.store(u64::try_from(to).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Microseconds since then.
pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
