//! A disk that lies: what a database wrote last is not there after a crash.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// The write-ahead log of a database, of which the last steps get lost. It only grows between two
/// checkpoints of SQLite, so that its length at a time is all that has to be known of it.
pub struct LyingDisk {
    wal: PathBuf,
    lost: usize,
    lengths: VecDeque<u64>,
}

impl LyingDisk {
    /// The disk under a database, which loses up to so many steps; none if that is 0.
    pub fn new(database: &Path, lost: usize) -> LyingDisk {
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        LyingDisk {
            wal: wal.into(),
            lost,
            lengths: VecDeque::new(),
        }
    }

    /// A step is about to be done.
    pub fn before_step(&mut self) {
        if self.lost == 0 {
            return;
        }
        let length = std::fs::metadata(&self.wal).map_or(0, |about| about.len());
        // It was begun anew: what was before is in the database itself.
        if self.lengths.back().is_some_and(|last| *last > length) {
            self.lengths.clear();
        }
        self.lengths.push_back(length);
        if self.lengths.len() > self.lost {
            self.lengths.pop_front();
        }
    }

    /// The process has ended.
    pub fn crashed(&mut self) {
        let Some(length) = self.lengths.pop_front() else {
            return;
        };
        self.lengths.clear();
        if let Ok(file) = OpenOptions::new().write(true).open(&self.wal) {
            let now = file.metadata().map_or(0, |about| about.len());
            let _ = file.set_len(length.min(now));
        }
    }
}
