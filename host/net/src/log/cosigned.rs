//! Checkpoints that witnesses have cosigned, and the files of both kinds of checkpoints.

use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::note::NoteSignature;
use rusqlite::TransactionBehavior;

use super::error::LogError;
use super::store::Log;
use super::write::replace;
use super::{CHECKPOINT, COSIGNED, tables};
use crate::db::Db;

impl Log {
    /// Takes cosignatures of `checkpoint`, a former [`Log::signed`], and publishes them: in the
    /// newest checkpoint if it is still that one, and as the newest cosigned one. Returns how many
    /// of the configured witnesses have cosigned it by now.
    ///
    /// # Errors
    /// [`LogError::Cosignature`] if a signature is not a configured witness's, and then none is
    /// taken; or another [`LogError`].
    pub fn add_cosignatures(
        &mut self,
        db: &mut Db,
        checkpoint: &SignedCheckpoint,
        signatures: &[NoteSignature],
    ) -> Result<usize, LogError> {
        self.alive()?;
        let added = self.try_add(db, checkpoint, signatures);
        self.stop_on(added)
    }

    fn try_add(
        &mut self,
        db: &mut Db,
        checkpoint: &SignedCheckpoint,
        signatures: &[NoteSignature],
    ) -> Result<usize, LogError> {
        let refuse = |why: String| LogError::Cosignature {
            detail: why.split("; hint:").next().unwrap_or_default().to_owned(),
        };
        let said = checkpoint
            .verify(&self.note_key)
            .map_err(|error| refuse(error.to_string()))?;
        let known = self.cosigned.as_ref();
        if known.is_some_and(|known| known.unverified().size > said.size) {
            return Ok(0);
        }
        if said.size > self.edge.size() {
            return Err(refuse("the checkpoint is larger than the log".to_owned()));
        }
        // What is known is kept, so that witnesses may answer one after the other.
        let mut cosigned = match known.filter(|known| known.unverified() == said) {
            Some(known) => known.clone(),
            None if *said == *self.signed.unverified() => self.signed.clone(),
            None => checkpoint.clone(),
        };
        for signature in signatures {
            let key = self
                .options
                .witnesses
                .iter()
                .find(|key| *key.name() == signature.name && key.id() == signature.id)
                .ok_or_else(|| refuse(format!("{} is no witness of this log", signature.name)))?;
            cosigned
                .add(signature.clone())
                .map_err(|error| refuse(error.to_string()))?;
            cosigned
                .verify_cosignature(key)
                .map_err(|error| refuse(error.to_string()))?;
        }
        let count = self
            .options
            .witnesses
            .iter()
            .filter(|key| cosigned.verify_cosignature(key).is_ok())
            .count();
        if count > 0 && self.cosigned.as_ref() != Some(&cosigned) {
            let transaction = db
                .connection()
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let size = cosigned.unverified().size;
            tables::set_cosigned(&transaction, size, &cosigned.to_string())?;
            self.disk.commit(transaction)?;
            self.cosigned = Some(cosigned);
            self.published = false;
        }
        self.publish()?;
        Ok(count)
    }

    /// Writes the files of both checkpoints, after the database has them.
    pub(super) fn publish(&mut self) -> Result<(), LogError> {
        if self.published {
            return Ok(());
        }
        let folder = &self.options.folder;
        let disk = &*self.disk;
        let newest = newest(&self.signed, self.cosigned.as_ref()).to_string();
        replace(disk, folder, &folder.join(CHECKPOINT), newest.as_bytes())?;
        if let Some(cosigned) = &self.cosigned {
            let text = cosigned.to_string();
            replace(disk, folder, &folder.join(COSIGNED), text.as_bytes())?;
        }
        (disk.sync_folder(folder)).map_err(LogError::io("put on disk", folder))?;
        self.published = true;
        Ok(())
    }
}

/// The newest checkpoint, with cosignatures if it has any.
pub(super) fn newest<'a>(
    signed: &'a SignedCheckpoint,
    cosigned: Option<&'a SignedCheckpoint>,
) -> &'a SignedCheckpoint {
    match cosigned {
        Some(cosigned) if cosigned.unverified() == signed.unverified() => cosigned,
        _ => signed,
    }
}
