//! Reading back what was kept.

use adit_protocol::hash::Hash;
use adit_protocol::network::draw::Record;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, uint};
use super::{MinerRow, Snapshot, StoreError};

/// Everything that a coordinator goes on from.
///
/// # Errors
/// [`StoreError`], above all [`StoreError::Damaged`].
pub fn snapshot(db: &Connection) -> Result<Snapshot, StoreError> {
    let escrow = match meta(db, "escrow")? {
        Some(bytes) => u128::from_be_bytes(rows::array(&bytes, "the escrow")?),
        None => 0,
    };
    let last_task: Option<i64> =
        db.query_row("SELECT max(number) FROM task", [], |row| row.get(0))?;
    Ok(Snapshot {
        escrow,
        last_task: last_task.map_or(0, uint).max(counter(db)?),
        roster: rows::roster(db, None)?,
        miners: miners(db)?,
        tasks: tasks(db)?,
        assignments: assignments(db)?,
        receipts: receipts(db)?,
    })
}

/// Makes the database that of one coordinator of one network, or refuses it as another's.
///
/// # Errors
/// [`StoreError::Foreign`].
pub fn claim(db: &Connection, genesis: &Hash, coordinator: &[u8; 32]) -> Result<(), StoreError> {
    let facts = [
        ("network", "genesis", genesis.as_bytes()),
        ("coordinator", "coordinator", coordinator),
    ];
    for (what, name, value) in facts {
        match meta(db, name)? {
            None => set_meta(db, name, value)?,
            Some(found) if found == value => {}
            Some(found) => {
                return Err(StoreError::Foreign {
                    what,
                    found: crate::view::hex(&found),
                    expected: crate::view::hex(value),
                });
            }
        }
    }
    Ok(())
}

/// The network and the coordinator that [`claim`] has noted.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Damaged`] if there are none.
pub fn claimed(db: &Connection) -> Result<(Hash, [u8; 32]), StoreError> {
    let fact = |name| match meta(db, name)? {
        Some(bytes) => rows::array(&bytes, "whose database it is"),
        None => Err(rows::damaged("it does not say whose it is")),
    };
    Ok((Hash::from_bytes(fact("genesis")?), fact("coordinator")?))
}

/// Notes which membership is in use, and refuses one that is older than one before.
///
/// # Errors
/// [`StoreError::OldMembership`].
pub fn use_membership(db: &Connection, version: u64) -> Result<(), StoreError> {
    if let Some(bytes) = meta(db, "membership")? {
        let known = u64::from_be_bytes(rows::array(&bytes, "the membership's version")?);
        if version < known {
            return Err(StoreError::OldMembership {
                found: version,
                known,
            });
        }
    }
    set_meta(db, "membership", &version.to_be_bytes())
}

/// Number of the last batch of the journal that the tables have; 0 before the first.
///
/// # Errors
/// [`StoreError`].
pub fn applied(db: &Connection) -> Result<u64, StoreError> {
    match meta(db, "applied")? {
        Some(bytes) => Ok(u64::from_be_bytes(rows::array(&bytes, "the last batch")?)),
        None => Ok(0),
    }
}

/// Notes which batch of the journal the tables have.
///
/// # Errors
/// [`StoreError`].
pub fn set_applied(db: &Connection, number: u64) -> Result<(), StoreError> {
    set_meta(db, "applied", &number.to_be_bytes())
}

pub(super) fn meta(db: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()?)
}

pub(super) fn set_meta(db: &Connection, name: &str, value: &[u8]) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    )?;
    Ok(())
}

/// The highest number that any task had, also one that was pruned.
fn counter(db: &Connection) -> Result<u64, StoreError> {
    let highest: Option<i64> =
        db.query_row("SELECT max(task) FROM assignment", [], |row| row.get(0))?;
    Ok(highest.map_or(0, uint))
}

fn miners(db: &Connection) -> Result<Vec<MinerRow>, StoreError> {
    let mut statement = db.prepare("SELECT node, good, bad, streak, seq, newest FROM miner")?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        let node: Vec<u8> = row.get(0)?;
        let newest: Vec<u8> = row.get(5)?;
        all.push(MinerRow {
            node: rows::array(&node, "a miner's key")?,
            record: Record {
                good: row.get(1)?,
                bad: row.get(2)?,
                streak: row.get(3)?,
            },
            newest: (
                uint(row.get(4)?),
                rows::hash(&newest, "a miner's newest receipt")?,
            ),
        });
    }
    Ok(all)
}

fn tasks(db: &Connection) -> Result<Vec<super::TaskRow>, StoreError> {
    let sql = format!(
        "SELECT {} FROM task WHERE state = 0 ORDER BY number",
        rows::TASK
    );
    let mut statement = db.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(rows::task(row)?);
    }
    Ok(all)
}

fn assignments(db: &Connection) -> Result<Vec<super::AssignmentRow>, StoreError> {
    let sql = format!(
        "SELECT {} FROM assignment
         WHERE task IN (SELECT number FROM task WHERE state = 0) ORDER BY leaf",
        rows::ASSIGNMENT
    );
    let mut statement = db.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(rows::assignment(row, 0)?);
    }
    Ok(all)
}

fn receipts(db: &Connection) -> Result<Vec<super::ReceiptRow>, StoreError> {
    let sql = format!(
        "SELECT {} FROM receipt WHERE leaf IN
             (SELECT receipt FROM assignment
              WHERE task IN (SELECT number FROM task WHERE state = 0))
         ORDER BY leaf",
        rows::RECEIPT
    );
    let mut statement = db.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.extend(rows::receipt(row, 0)?);
    }
    Ok(all)
}
