//! Writes an input, under the checks that its reader makes.

use std::io::Write;

use super::check::{Checked, ReceiptChecks, bounded};
use super::rows::{Header, MAGIC, Preamble, ReceiptRow, VERSION};
use super::{InputError, Receipt, Section, Snapshot};
use crate::fields::Row;

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 16;

/// An input that is being written: the snapshot first, then each receipt.
#[derive(Debug)]
pub struct InputWriter<W> {
    to: W,
    bytes: Vec<u8>,
    checks: ReceiptChecks,
    announced: u64,
}

impl<W: Write> InputWriter<W> {
    /// Writes all that is before the receipts, and announces how many will follow.
    ///
    /// # Errors
    /// [`InputError`] if a reader would refuse it; nothing has been written then.
    pub fn new(to: W, snapshot: Snapshot, receipts: u64) -> Result<InputWriter<W>, InputError> {
        bounded(Section::Receipts, receipts)?;
        let checks = ReceiptChecks::new(&snapshot);
        let snapshot = Checked::new(snapshot)?.snapshot;
        let mut writer = InputWriter {
            to,
            bytes: Vec::with_capacity(BUFFER),
            checks,
            announced: receipts,
        };
        writer.row(&Preamble {
            magic: MAGIC,
            version: VERSION,
        })?;
        writer.row(&Header {
            // The checks bound these counts well below 2^32.
            coordinators: snapshot.coordinators.len() as u32,
            miners: snapshot.miners.len() as u32,
            votes: snapshot.votes.len() as u32,
            receipts,
            parameters: snapshot.parameters,
        })?;
        for row in &snapshot.coordinators {
            writer.row(row)?;
        }
        for row in &snapshot.miners {
            writer.row(row)?;
        }
        for row in &snapshot.votes {
            writer.row(row)?;
        }
        Ok(writer)
    }

    /// Writes the next receipt.
    ///
    /// # Errors
    /// [`InputError`] if a reader would refuse it, or more were announced.
    pub fn receipt(&mut self, receipt: &Receipt) -> Result<(), InputError> {
        if self.checks.seen >= self.announced {
            return Err(InputError::Count {
                announced: self.announced,
                given: self.announced.saturating_add(1),
            });
        }
        self.checks.next(receipt)?;
        self.row(&ReceiptRow {
            receipt: receipt.clone(),
            unknown: 0,
        })
    }

    /// Writes what is left of the buffer, and returns the stream.
    ///
    /// # Errors
    /// [`InputError`] if receipts are missing or the stream fails.
    pub fn finish(mut self) -> Result<W, InputError> {
        if self.checks.seen != self.announced {
            return Err(InputError::Count {
                announced: self.announced,
                given: self.checks.seen,
            });
        }
        self.to.write_all(&self.bytes).map_err(InputError::Write)?;
        self.to.flush().map_err(InputError::Write)?;
        Ok(self.to)
    }

    fn row(&mut self, row: &impl Row) -> Result<(), InputError> {
        row.encode(&mut self.bytes);
        if self.bytes.len() >= BUFFER {
            self.to.write_all(&self.bytes).map_err(InputError::Write)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
