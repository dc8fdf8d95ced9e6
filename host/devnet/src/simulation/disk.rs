//! A disk that lies: what was written last is not there after a crash.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// The files of a node's state that can lose their last steps.
pub struct LyingDisk {
    lost: usize,
    /// Write-ahead logs of databases. Each only grows between two checkpoints of SQLite, so that its
    /// length at a time is all that has to be known of it.
    databases: Vec<(PathBuf, VecDeque<u64>)>,
    /// Write-ahead logs of our own, which overwrite what is no longer needed.
    wals: Vec<(PathBuf, VecDeque<Vec<u8>>)>,
}

impl LyingDisk {
    /// The disk under some databases and write-ahead logs, which loses up to so many steps; none if
    /// that is 0.
    pub fn new(databases: &[&Path], wals: &[&Path], lost: usize) -> LyingDisk {
        let of_database = |path: &&Path| {
            let mut wal = path.as_os_str().to_owned();
            wal.push("-wal");
            (wal.into(), VecDeque::new())
        };
        let of_wal = |path: &&Path| (path.to_path_buf(), VecDeque::new());
        LyingDisk {
            lost,
            databases: databases.iter().map(of_database).collect(),
            wals: wals.iter().map(of_wal).collect(),
        }
    }

    /// A step is about to be done.
    pub fn before_step(&mut self) {
        if self.lost == 0 {
            return;
        }
        for (path, lengths) in &mut self.databases {
            let length = std::fs::metadata(path).map_or(0, |about| about.len());
            // It was begun anew: what was before is in the database itself.
            if lengths.back().is_some_and(|last| *last > length) {
                lengths.clear();
            }
            lengths.push_back(length);
            keep(lengths, self.lost);
        }
        for (path, kept) in &mut self.wals {
            kept.push_back(std::fs::read(path).unwrap_or_default());
            keep(kept, self.lost);
        }
    }

    /// The process has ended.
    pub fn crashed(&mut self) {
        for (path, lengths) in &mut self.databases {
            let Some(length) = lengths.pop_front() else {
                continue;
            };
            lengths.clear();
            if let Ok(file) = OpenOptions::new().write(true).open(path) {
                let now = file.metadata().map_or(0, |about| about.len());
                let _ = file.set_len(length.min(now));
            }
        }
        for (path, kept) in &mut self.wals {
            if let Some(bytes) = kept.pop_front() {
                let _ = std::fs::write(path, bytes);
            }
            kept.clear();
        }
    }
}

/// Drops the oldest, down to `max` of them.
fn keep<T>(steps: &mut VecDeque<T>, max: usize) {
    while steps.len() > max {
        steps.pop_front();
    }
}
