//! Tables and log in one database: batches are applied to them, and read from them.

use adit_net::db::Db;
use adit_net::log::Log;
use rusqlite::TransactionBehavior;

use super::batch::{Batch, Write};
use super::sql::SqlStore;
use super::{Horizon, Store as _, StoreError, load};

/// Tables and log.
pub struct Tables {
    /// The database.
    pub db: Db,
    /// The log, which is in it.
    pub log: Log,
}

impl Tables {
    /// Applies batches in one transaction, which is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`], after which nothing of them is applied.
    pub fn apply(&mut self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let Some(last) = batches.last().map(|batch| batch.number) else {
            return Ok(());
        };
        // They are taken apart as they are written: twice there would be much memory.
        let writes = batches.into_iter().flat_map(|batch| batch.writes);
        let transaction = self
            .db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut store = SqlStore::new(&transaction, &mut self.log);
        let done = apply(&mut store, writes).and_then(|()| {
            load::set_applied(&transaction, last)?;
            Ok(transaction.commit()?)
        });
        match done {
            Ok(()) => self.log.committed(),
            Err(_) => self.log.rolled_back(),
        }
        done
    }

    /// Reads as if `writes`, which are in no batch yet, were applied; they are not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn with<T>(
        &mut self,
        writes: &[Write],
        read: impl FnOnce(&mut SqlStore<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut store = SqlStore::new(&transaction, &mut self.log);
        let writes = writes.iter().cloned();
        let value = apply(&mut store, writes).and_then(|()| read(&mut store));
        let rolled_back = transaction.rollback();
        self.log.rolled_back();
        rolled_back?;
        value
    }

    /// Removes some of what is old; whether there is more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prune(&mut self, before: &Horizon) -> Result<bool, StoreError> {
        let transaction = self
            .db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let more = SqlStore::new(&transaction, &mut self.log).prune(before)?;
        transaction.commit()?;
        Ok(more)
    }
}

fn apply(
    store: &mut SqlStore<'_>,
    writes: impl IntoIterator<Item = Write>,
) -> Result<(), StoreError> {
    for write in writes {
        write.apply(store)?;
    }
    store.write()
}
