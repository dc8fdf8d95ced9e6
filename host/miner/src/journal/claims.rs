//! What the miner can show of receipts that coordinators have countersigned: its claim to pay, where a
//! coordinator's log lacks them.

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::receipt::{BODY_LEN, Receipt, ReceiptBody};
use adit_protocol::signed::Signed;
use rusqlite::{OptionalExtension as _, params};

use super::{Journal, JournalError, damaged, schema, unsigned};

/// Most receipts that are read at once.
pub const PAGE_MAX: u32 = 1_000;

/// A receipt that a coordinator has countersigned.
#[derive(Clone, Debug)]
pub struct Countersigned {
    /// Its place in the journal: newer ones have higher ones.
    pub row: i64,
    /// The receipt, with both signatures.
    pub receipt: Receipt,
    /// The leaf of the log at which the coordinator said that it is.
    pub leaf: u64,
    /// The assignment as the coordinator signed it; absent for receipts of before it was kept.
    pub lease: Option<Signed<Assignment>>,
}

impl Journal {
    /// Countersigned receipts before a place, the newest first, at most [`PAGE_MAX`]; `None` begins
    /// with the newest of all.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn countersigned(
        &mut self,
        before: Option<i64>,
    ) -> Result<Vec<Countersigned>, JournalError> {
        self.apply()?;
        let mut statement = self.db.connection().prepare_cached(schema::COUNTERSIGNED)?;
        let mut rows = statement.query(params![before.unwrap_or(i64::MAX), PAGE_MAX])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let body: [u8; BODY_LEN] = row.get(1)?;
            let damaged = |what| damaged(&[0; 32], 0, what);
            let body = ReceiptBody::decode(&body).map_err(|_| damaged("has a malformed body"))?;
            let lease: Option<Vec<u8>> = row.get(5)?;
            let lease = lease.map(|bytes| Signed::from_cbor(&bytes)).transpose();
            all.push(Countersigned {
                row: row.get(0)?,
                receipt: Receipt {
                    body,
                    miner_signature: row.get(2)?,
                    coordinator_signature: row.get(3)?,
                },
                leaf: unsigned(row.get(4)?),
                lease: lease.map_err(|_| damaged("has a malformed assignment"))?,
            });
        }
        Ok(all)
    }

    /// The countersigned receipt of an assignment, if there is one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn countersigned_of(
        &mut self,
        assignment: &Hash,
    ) -> Result<Option<Countersigned>, JournalError> {
        self.apply()?;
        let connection = self.db.connection();
        let row: Option<i64> = connection
            .query_row(schema::ROW_OF, params![assignment.as_bytes()], |row| {
                row.get(0)
            })
            .optional()?;
        let Some(row) = row else {
            return Ok(None);
        };
        let page = self.countersigned(Some(row.saturating_add(1)))?;
        Ok(page.into_iter().next().filter(|found| found.row == row))
    }
}
