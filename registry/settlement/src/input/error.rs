//! Why an input is refused. All of it is in the hands of whoever makes the input from ledger and
//! logs; nothing here can be caused by what is in a log.

use std::io;

use thiserror::Error;

use super::Section;
use crate::amount::Overflow;

/// Why an input is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The stream failed.
    #[error("the input cannot be read: {0}; hint: try again from the beginning")]
    Read(#[source] io::Error),
    /// The stream to write the input to failed.
    #[error("the input cannot be written: {0}; hint: is the disk full?")]
    Write(#[source] io::Error),
    /// The stream ended early.
    #[error("the input ends in row {row} of its {section}; hint: was it cut off?")]
    Truncated {
        /// Where.
        section: Section,
        /// Rows of the section before.
        row: u64,
    },
    /// Bytes follow the last row.
    #[error("bytes follow the last row of the input; hint: its counts do not fit its rows")]
    Trailing,
    /// It does not begin with the magic.
    #[error("this is no settlement input; hint: it begins with `aditsetl`")]
    Magic,
    /// Another version.
    #[error("the input has version {found}, only 1 is known; hint: a newer program may read it")]
    Version {
        /// The version that it has.
        found: u16,
    },
    /// A rule's number is out of its range.
    #[error("the parameter {name} is {found}, but {rule}; hint: governance cannot have set that")]
    Parameter {
        /// The field of [`super::Parameters`].
        name: &'static str,
        /// Its value.
        found: u64,
        /// What must hold.
        rule: &'static str,
    },
    /// More rows than a settlement takes.
    #[error(
        "the input has {found} {section}, at most {max} are taken; hint: settle a shorter epoch"
    )]
    TooMany {
        /// Of what.
        section: Section,
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// Rows are not in strictly ascending order.
    #[error(
        "row {row} of the {section} is not above the one before it; hint: sort them, each once"
    )]
    Order {
        /// Where.
        section: Section,
        /// The row that is too low.
        row: u64,
    },
    /// A ratio is above one.
    #[error("row {row} of the {section} has {name} = {found} ppm; hint: a million is the whole")]
    Ratio {
        /// Where.
        section: Section,
        /// Which row.
        row: u64,
        /// Which field.
        name: &'static str,
        /// Its value.
        found: u32,
    },
    /// A row refers to a node that is not there.
    #[error(
        "row {row} of the {section} is about node {found}, of {count}; hint: indices count from 0"
    )]
    Index {
        /// Where.
        section: Section,
        /// Which row.
        row: u64,
        /// The index.
        found: u32,
        /// How many nodes there are.
        count: u64,
    },
    /// A flag is set that has no meaning.
    #[error(
        "row {row} of the receipts has the flags {found:#04x}; hint: bits 0 to 2 have a meaning"
    )]
    Flags {
        /// Which row.
        row: u64,
        /// The flags.
        found: u8,
    },
    /// A vote with no stake.
    #[error("row {row} of the votes has the amount 0; hint: leave it out")]
    EmptyVote {
        /// Which row.
        row: u64,
    },
    /// A node's stake is not what was voted for it.
    #[error(
        "node {node} has the stake {stake}, but its votes sum to {votes}; hint: an operator's bond is a vote too"
    )]
    Stake {
        /// Number of the node.
        node: u64,
        /// Its stake.
        stake: u128,
        /// The sum of its votes.
        votes: u128,
    },
    /// Other than the announced number of receipts was written.
    #[error("{announced} receipts were announced and {given} given; hint: count before writing")]
    Count {
        /// In the header.
        announced: u64,
        /// Given to the writer.
        given: u64,
    },
    /// A sum is too large.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}
