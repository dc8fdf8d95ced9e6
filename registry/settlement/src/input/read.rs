//! Reads an input: the snapshot at once, the receipts one by one.

use std::io::{BufReader, Read};

use super::check::{Checked, ReceiptChecks, bounded};
use super::rows::{Header, MAGIC, Preamble, ReceiptRow, VERSION};
use super::{InputError, Receipt, Section, Snapshot};
use crate::fields::{NoRow, Row, Rows};

/// Bytes that are read ahead.
const BUFFER: usize = 1 << 16;
/// Rows that room is made for before any of them was seen.
const ROWS_AHEAD: u32 = 1 << 12;

/// An input that is being read. Memory grows with what was read, never with what is announced.
#[derive(Debug)]
pub struct InputReader<R> {
    rows: Rows<BufReader<R>>,
    checked: Checked,
    checks: ReceiptChecks,
    receipts: u64,
}

impl<R: Read> InputReader<R> {
    /// Reads and checks all that is before the receipts.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn new(from: R) -> Result<InputReader<R>, InputError> {
        let mut rows = Rows::new(BufReader::with_capacity(BUFFER, from));
        let preamble: Preamble = next(&mut rows, Section::Header, 0)?;
        if preamble.magic != MAGIC {
            return Err(InputError::Magic);
        }
        if preamble.version != VERSION {
            return Err(InputError::Version {
                found: preamble.version,
            });
        }
        let header: Header = next(&mut rows, Section::Header, 0)?;
        bounded(Section::Receipts, header.receipts)?;
        let snapshot = Snapshot {
            parameters: header.parameters,
            coordinators: section(&mut rows, Section::Coordinators, header.coordinators)?,
            miners: section(&mut rows, Section::Miners, header.miners)?,
            votes: section(&mut rows, Section::Votes, header.votes)?,
        };
        let checks = ReceiptChecks::new(&snapshot);
        Ok(InputReader {
            rows,
            checked: Checked::new(snapshot)?,
            checks,
            receipts: header.receipts,
        })
    }

    /// What came before the receipts.
    pub fn snapshot(&self) -> &Snapshot {
        &self.checked.snapshot
    }

    pub(crate) fn checked(&self) -> &Checked {
        &self.checked
    }

    /// The next receipt; `None` after the last one, when the input has ended as it must.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn next_receipt(&mut self) -> Result<Option<Receipt>, InputError> {
        let row = self.checks.seen;
        if row >= self.receipts {
            return match self.rows.ended().map_err(InputError::Read)? {
                true => Ok(None),
                false => Err(InputError::Trailing),
            };
        }
        let found: ReceiptRow = next(&mut self.rows, Section::Receipts, row)?;
        if found.unknown != 0 {
            return Err(InputError::Flags {
                row,
                found: found.unknown,
            });
        }
        self.checks.next(&found.receipt)?;
        Ok(Some(found.receipt))
    }
}

fn next<T: Row>(rows: &mut Rows<impl Read>, section: Section, row: u64) -> Result<T, InputError> {
    rows.next().map_err(|none| match none {
        NoRow::Ended => InputError::Truncated { section, row },
        NoRow::Failed(error) => InputError::Read(error),
    })
}

fn section<T: Row>(
    rows: &mut Rows<impl Read>,
    section: Section,
    count: u32,
) -> Result<Vec<T>, InputError> {
    bounded(section, count.into())?;
    let ahead = usize::try_from(count.min(ROWS_AHEAD)).unwrap_or(0);
    let mut found = Vec::with_capacity(ahead);
    for row in 0..count {
        found.push(next(rows, section, row.into())?);
    }
    Ok(found)
}
