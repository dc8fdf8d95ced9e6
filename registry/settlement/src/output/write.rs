//! Writes an output.

use std::io::Write;

use super::rows::{
    ACCOUNT, COORDINATOR, Header, MAGIC, MINER, Preamble, TRAILER, Tag, Trailer, VERSION,
};
use super::{Output, WriteError};
use crate::fields::Row;

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 16;

impl Output {
    /// Writes it, and flushes the stream.
    ///
    /// # Errors
    /// [`WriteError`] if the stream fails.
    pub fn write(&self, to: impl Write) -> Result<(), WriteError> {
        let mut out = Buffered {
            to,
            bytes: Vec::with_capacity(BUFFER),
        };
        out.row(&Preamble {
            magic: MAGIC,
            version: VERSION,
        })?;
        out.row(&Header {
            epoch: self.epoch,
            genesis: self.genesis,
        })?;
        out.rows(ACCOUNT, &self.accounts)?;
        out.rows(MINER, &self.miners)?;
        out.rows(COORDINATOR, &self.coordinators)?;
        out.rows(
            TRAILER,
            &[Trailer {
                // An input bounds the numbers of all of these well below 2^32.
                accounts: self.accounts.len() as u32,
                miners: self.miners.len() as u32,
                coordinators: self.coordinators.len() as u32,
                totals: self.totals.clone(),
            }],
        )?;
        out.to.write_all(&out.bytes)?;
        Ok(out.to.flush()?)
    }
}

struct Buffered<W> {
    to: W,
    bytes: Vec<u8>,
}

impl<W: Write> Buffered<W> {
    fn rows(&mut self, tag: u8, rows: &[impl Row]) -> Result<(), WriteError> {
        for row in rows {
            self.row(&Tag(tag))?;
            self.row(row)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &impl Row) -> Result<(), WriteError> {
        row.encode(&mut self.bytes);
        if self.bytes.len() >= BUFFER {
            self.to.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}
