//! Puts tiles on disk: each file is whole there before it has its name, and all names are there
//! before a checkpoint is signed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use adit_protocol::log::tile::Tile;

use super::disk::{Disk, read_bounded};
use super::edge::bytes_max;
use super::error::LogError;

/// The folder for files that have no name yet, within the log's.
pub(super) const TEMPORARY: &str = "tmp";

/// Writes the tiles of one step. The folders are put on disk at the end, once each.
pub(super) struct Writer<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    /// Folders in which something may be new.
    touched: BTreeSet<PathBuf>,
    /// Replace a tile that is there with other bytes.
    overwrites: bool,
}

impl<'a> Writer<'a> {
    pub fn new(disk: &'a dyn Disk, folder: &'a Path) -> Writer<'a> {
        Writer {
            disk,
            folder,
            touched: BTreeSet::new(),
            overwrites: false,
        }
    }

    /// The same for a mirror: what it writes was checked against a checkpoint, so whatever else is
    /// there is damaged.
    pub fn overwriting(self) -> Writer<'a> {
        Writer {
            overwrites: true,
            ..self
        }
    }

    /// Writes a tile. One that is there with the same bytes was written by a step that did not get
    /// to its end; one with other bytes is refused, since what lies at a path never changes.
    pub fn tile(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.folder.join(tile.to_string());
        self.folders(&path)?;
        match read_bounded(&path, bytes_max(tile.level())) {
            Ok(there) if there == bytes => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ if self.overwrites => {}
            Ok(_) => return Err(LogError::Exists { tile }),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(LogError::Exists { tile });
            }
            Err(error) => return Err(LogError::io("read", &path)(error)),
        }
        replace(self.disk, self.folder, &path, bytes)
    }

    /// Makes the folders above a file. Each is put on disk at the end even if it was there: the step
    /// that made it may have ended before it did.
    fn folders(&mut self, path: &Path) -> Result<(), LogError> {
        let above: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|above| *above != self.folder)
            .collect();
        for folder in above.into_iter().rev() {
            if self.touched.insert(folder.to_owned()) {
                (self.disk.make_folder(folder)).map_err(LogError::io("made", folder))?;
            }
        }
        self.touched.insert(self.folder.to_owned());
        Ok(())
    }

    /// Puts all names on disk.
    pub fn finish(self) -> Result<(), LogError> {
        for folder in self.touched.iter().rev() {
            (self.disk.sync_folder(folder)).map_err(LogError::io("put on disk", folder))?;
        }
        Ok(())
    }
}

/// Writes a file of the log under another name, and then gives it its own.
pub(super) fn replace(
    disk: &dyn Disk,
    folder: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<(), LogError> {
    let temporary = folder.join(TEMPORARY).join("new");
    (disk.write(&temporary, bytes)).map_err(LogError::io("written", &temporary))?;
    (disk.rename(&temporary, path)).map_err(LogError::io("written", path))
}
