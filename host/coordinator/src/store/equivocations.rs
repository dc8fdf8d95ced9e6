//! Miners that signed two receipts for one assignment, as a coordinator has kept them: evidence that a
//! network's registry takes. The second one is refused, so that no log has it.

use std::path::Path;

use adit_protocol::hash::Hash;
use adit_protocol::receipt::Receipt;
use rusqlite::params;

use super::read::Reader;
use super::rows::{self, uint};
use super::{DATABASE, StoreError};

/// Two receipts for one assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The assignment.
    pub assignment: Hash,
    /// The receipt in the log.
    pub first: Receipt,
    /// The one that was refused. It has no countersignature.
    pub second: Receipt,
    /// When it was handed in, in milliseconds since 1970.
    pub noticed_ms: u64,
}

/// Those that the database in a coordinator's data folder has, the newest first, `most` of them. The
/// coordinator may run meanwhile.
///
/// # Errors
/// [`StoreError`].
pub fn equivocations(data: &Path, most: u32) -> Result<Vec<Equivocation>, StoreError> {
    let db = Reader::connect(&data.join(DATABASE))?;
    let mut statement = db.prepare(
        "SELECT assignment, first, second, noticed_ms FROM equivocation
         ORDER BY noticed_ms DESC, assignment LIMIT ?1",
    )?;
    let mut found = statement.query(params![most])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let receipt = |at: usize| -> Result<Receipt, StoreError> {
            let bytes: Vec<u8> = row.get(at)?;
            let receipt = Receipt::from_bytes(&bytes);
            receipt.map_err(|error| rows::damaged(format!("a receipt kept as evidence: {error}")))
        };
        all.push(Equivocation {
            assignment: Hash::from_bytes(row.get(0)?),
            first: receipt(1)?,
            second: receipt(2)?,
            noticed_ms: uint(row.get(3)?),
        });
    }
    Ok(all)
}
