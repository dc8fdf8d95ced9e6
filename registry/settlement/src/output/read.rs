//! Reads an output, as strictly as if it came from an enemy: a ledger applies what another machine,
//! or a component that it did not write, has computed.

use std::io::{self, BufReader, Read};

use thiserror::Error;

use super::rows::{
    ACCOUNT, COORDINATOR, Header, MAGIC, MINER, Preamble, TRAILER, Tag, Trailer, VERSION,
};
use super::{AccountRow, CoordinatorRow, MinerRow, Output, Unbalanced};
use crate::fields::{NoRow, Row, Rows};
use crate::input::{COORDINATORS_MAX, MINERS_MAX, VOTES_MAX};

/// Most accounts: each vote and each operator may be another.
const ACCOUNTS_MAX: u32 = VOTES_MAX + MINERS_MAX + COORDINATORS_MAX;

/// Why bytes are no output.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The stream failed.
    #[error("the output cannot be read: {0}; hint: try again from the beginning")]
    Read(#[source] io::Error),
    /// The stream ended before the trailer did.
    #[error("the output ends before its trailer; hint: was it cut off?")]
    Truncated,
    /// Bytes follow the trailer.
    #[error("bytes follow the output's trailer; hint: one output is one file")]
    Trailing,
    /// It does not begin with the magic.
    #[error("this is no settlement output; hint: it begins with `aditrwrd`")]
    Magic,
    /// Another version.
    #[error("the output has version {found}, only 1 is known; hint: a newer program may read it")]
    Version {
        /// The version that it has.
        found: u16,
    },
    /// A row begins with a byte that says nothing, or its section is over.
    #[error(
        "a row has the tag {found} after one with {after}; hint: tags go from 1 to 4, ascending"
    )]
    Tag {
        /// The tag.
        found: u8,
        /// The one before it, 0 if there is none.
        after: u8,
    },
    /// Rows are not in strictly ascending order.
    #[error(
        "row {row} with the tag {tag} is not above the one before it; hint: sort them, each once"
    )]
    Order {
        /// The section's tag.
        tag: u8,
        /// Which row.
        row: u64,
    },
    /// More rows than an input can lead to.
    #[error("there are more than {max} rows with the tag {tag}; hint: no settlement has as many")]
    TooMany {
        /// The section's tag.
        tag: u8,
        /// How many there may be.
        max: u32,
    },
    /// An account that earned nothing.
    #[error("row {row} of the accounts has the amount 0; hint: leave it out")]
    Empty {
        /// Which row.
        row: u64,
    },
    /// The trailer counts other rows.
    #[error(
        "the trailer counts {counted} rows with the tag {tag}, there are {found}; hint: rows are missing or added"
    )]
    Count {
        /// The section's tag.
        tag: u8,
        /// By the trailer.
        counted: u32,
        /// In the output.
        found: u64,
    },
    /// The sums do not agree.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
}

impl From<NoRow> for OutputError {
    fn from(none: NoRow) -> OutputError {
        match none {
            NoRow::Ended => OutputError::Truncated,
            NoRow::Failed(error) => OutputError::Read(error),
        }
    }
}

impl Output {
    /// Reads one that fills the stream, and checks its order, its counts and all its sums
    /// ([`Output::check`]).
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn read(from: impl Read) -> Result<Output, OutputError> {
        let mut rows = Rows::new(BufReader::new(from));
        let preamble: Preamble = rows.next()?;
        if preamble.magic != MAGIC {
            return Err(OutputError::Magic);
        }
        if preamble.version != VERSION {
            return Err(OutputError::Version {
                found: preamble.version,
            });
        }
        let header: Header = rows.next()?;
        let mut accounts = Section::<AccountRow>::new(ACCOUNT, ACCOUNTS_MAX, |row| &row.account);
        let mut miners = Section::<MinerRow>::new(MINER, MINERS_MAX, |row| &row.node);
        let mut coordinators =
            Section::<CoordinatorRow>::new(COORDINATOR, COORDINATORS_MAX, |row| &row.node);
        let mut after = 0;
        let trailer = loop {
            let Tag(found) = rows.next()?;
            if found < after {
                return Err(OutputError::Tag { found, after });
            }
            match found {
                ACCOUNT => accounts.push(rows.next()?)?,
                MINER => miners.push(rows.next()?)?,
                COORDINATOR => coordinators.push(rows.next()?)?,
                TRAILER => break rows.next::<Trailer>()?,
                _ => return Err(OutputError::Tag { found, after }),
            }
            after = found;
        };
        if !rows.ended().map_err(OutputError::Read)? {
            return Err(OutputError::Trailing);
        }
        let output = Output {
            epoch: header.epoch,
            genesis: header.genesis,
            accounts: accounts.finish(trailer.accounts)?,
            miners: miners.finish(trailer.miners)?,
            coordinators: coordinators.finish(trailer.coordinators)?,
            totals: trailer.totals,
        };
        if let Some(row) = output.accounts.iter().position(|row| row.amount == 0) {
            return Err(OutputError::Empty { row: row as u64 });
        }
        output.check()?;
        Ok(output)
    }
}

/// The rows of one tag so far.
struct Section<T> {
    rows: Vec<T>,
    tag: u8,
    max: u32,
    key: fn(&T) -> &[u8; 32],
}

impl<T: Row> Section<T> {
    fn new(tag: u8, max: u32, key: fn(&T) -> &[u8; 32]) -> Section<T> {
        Section {
            rows: Vec::new(),
            tag,
            max,
            key,
        }
    }

    fn push(&mut self, row: T) -> Result<(), OutputError> {
        let (tag, max, count) = (self.tag, self.max, self.rows.len() as u64);
        if count >= u64::from(max) {
            return Err(OutputError::TooMany { tag, max });
        }
        let last = self.rows.last().map(self.key);
        if last.is_some_and(|last| last >= (self.key)(&row)) {
            return Err(OutputError::Order { tag, row: count });
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(self, counted: u32) -> Result<Vec<T>, OutputError> {
        let found = self.rows.len() as u64;
        match found == u64::from(counted) {
            true => Ok(self.rows),
            false => Err(OutputError::Count {
                tag: self.tag,
                counted,
                found,
            }),
        }
    }
}
