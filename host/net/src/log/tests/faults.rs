//! Every step of an integration fails in every way: before it took effect, after, or with the
//! process, whose names of files that were not put on disk may be lost with the power. Whatever
//! happened, going on leads to the same log, and no checkpoint that anyone saw contradicts it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use rusqlite::Transaction;

use super::super::disk::{Disk, RealDisk};
use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// An error, and nothing happened.
    Before,
    /// An error, and it happened.
    After,
    /// The process ends before it.
    EndBefore,
    /// The process ends after it.
    EndAfter,
}

const MODES: [Mode; 4] = [Mode::Before, Mode::After, Mode::EndBefore, Mode::EndAfter];

/// What a loss of power takes back.
enum Undo {
    /// A file got this name, in place of what was there.
    Name(PathBuf, Option<Vec<u8>>),
    Folder(PathBuf),
    Removed(PathBuf, Vec<(PathBuf, Vec<u8>)>),
}

#[derive(Default)]
struct State {
    steps: usize,
    fault: Option<(usize, Mode)>,
    ended: bool,
    /// Kinds of steps at which a fault came.
    hit: Option<&'static str>,
    undo: Vec<Undo>,
    /// Every checkpoint that could have been read.
    published: Vec<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Faulty(Arc<Mutex<State>>);

fn error() -> io::Error {
    io::Error::other("a fault was made")
}

impl Faulty {
    /// Whether the step takes effect, and whether it then succeeds.
    fn next(&self, kind: &'static str) -> (bool, bool) {
        let mut state = self.0.lock().unwrap();
        if state.ended {
            return (false, false);
        }
        state.steps += 1;
        match state.fault {
            Some((at, mode)) if at == state.steps => {
                state.hit = Some(kind);
                state.ended = matches!(mode, Mode::EndBefore | Mode::EndAfter);
                (matches!(mode, Mode::After | Mode::EndAfter), false)
            }
            _ => (true, true),
        }
    }

    fn run(
        &self,
        kind: &'static str,
        effect: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        let (happens, succeeds) = self.next(kind);
        if happens {
            effect(&mut self.0.lock().unwrap())?;
        }
        succeeds.then_some(()).ok_or_else(error)
    }

    /// Takes back what was not put on disk.
    fn lose_power(&self) {
        let mut state = self.0.lock().unwrap();
        while let Some(undo) = state.undo.pop() {
            match undo {
                Undo::Name(path, None) => drop(std::fs::remove_file(path)),
                Undo::Name(path, Some(bytes)) => drop(std::fs::write(path, bytes)),
                Undo::Folder(path) => drop(std::fs::remove_dir_all(path)),
                Undo::Removed(folder, files) => {
                    std::fs::create_dir_all(&folder).unwrap();
                    for (path, bytes) in files {
                        std::fs::write(path, bytes).unwrap();
                    }
                }
            }
        }
    }
}

impl Disk for Faulty {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.run("make folder", |state| {
            if !path.exists() {
                state.undo.push(Undo::Folder(path.to_owned()));
            }
            RealDisk.make_folder(path)
        })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (happens, succeeds) = self.next("write");
        // One that fails may have written a part.
        let ended = self.0.lock().unwrap().ended;
        match happens {
            true => std::fs::write(path, bytes)?,
            false if !ended => std::fs::write(path, &bytes[..bytes.len() / 2])?,
            false => {}
        }
        succeeds.then_some(()).ok_or_else(error)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run("rename", |state| {
            let there = std::fs::read(to).ok();
            state.undo.push(Undo::Name(to.to_owned(), there));
            if to.ends_with(CHECKPOINT) {
                state.published.push(std::fs::read(from)?);
            }
            RealDisk.rename(from, to)
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.run("sync folder", |state| {
            state.undo.retain(|undo| {
                let (Undo::Name(of, _) | Undo::Folder(of) | Undo::Removed(of, _)) = undo;
                of.parent() != Some(path)
            });
            // The power is lost by `lose_power` only, so there is no need to wait for the disk.
            std::fs::read_dir(path).map(drop)
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.run("remove folder", |state| {
            if let Ok(files) = std::fs::read_dir(path) {
                let files = files.map(|file| {
                    let path = file.unwrap().path();
                    let bytes = std::fs::read(&path).unwrap();
                    (path, bytes)
                });
                state
                    .undo
                    .push(Undo::Removed(path.to_owned(), files.collect()));
            }
            RealDisk.remove_folder(path)
        })
    }

    fn commit(&self, transaction: Transaction<'_>) -> rusqlite::Result<()> {
        let (happens, succeeds) = self.next("commit");
        if happens {
            transaction.commit()?;
        }
        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        succeeds
            .then_some(())
            .ok_or(rusqlite::Error::SqliteFailure(failed, None))
    }
}

/// A place with a log of so many entries, so many of which are in its checkpoint.
fn prepared(integrated: u64, waiting: u64) -> Place {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    // Many checkpoints, so that there are many partial tiles.
    let few = integrated.saturating_sub(6).max(integrated / 2);
    append(&mut db, &mut log, few);
    integrate_all(&mut db, &mut log);
    while log.size() < integrated {
        append(&mut db, &mut log, 1);
        integrate_all(&mut db, &mut log);
    }
    append(&mut db, &mut log, waiting);
    place
}

struct Outcome {
    hit: Option<&'static str>,
}

/// Integrates with a fault at the step `at`, then goes on.
fn scenario(
    base: &Place,
    size: u64,
    roots: &mut Roots,
    (at, mode): (usize, Mode),
    (lossy, more): (bool, u64),
) -> Outcome {
    let place = base.copy();
    let disk = Faulty::default();
    let mut db = place.db();
    let mut log = Log::open_on(Box::new(disk.clone()), &mut db, place.options()).unwrap();
    assert_eq!(log.size(), size);
    disk.0.lock().unwrap().fault = Some((at, mode));
    let mut failed = None;
    for _ in 0..10 {
        match log.integrate(&mut db, 1) {
            Ok(None) => break,
            Ok(Some(_)) => {}
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if let Some(error) = &failed {
        assert!(error.retryable(), "{error}");
    }
    let ended = disk.0.lock().unwrap().ended;
    disk.0.lock().unwrap().fault = None;
    let mut size = size;
    if ended {
        drop((log, db));
        if lossy {
            disk.lose_power();
        }
        disk.0.lock().unwrap().ended = false;
        db = place.db();
        log = Log::open_on(Box::new(disk.clone()), &mut db, place.options()).unwrap();
    }
    // In the same process or in the next one.
    append(&mut db, &mut log, more);
    size += more;
    integrate_all(&mut db, &mut log);
    drop((db, log));
    verify(&place, size, roots);
    let state = disk.0.lock().unwrap();
    for note in &state.published {
        let signed = SignedCheckpoint::parse(note).unwrap();
        let checkpoint = signed.verify(&place.options().note_key()).unwrap();
        assert!(checkpoint.size <= size);
        assert_eq!(checkpoint.root, roots.at(checkpoint.size));
    }
    Outcome { hit: state.hit }
}

fn all_faults(integrated: u64, waiting: u64) {
    let base = prepared(integrated, waiting);
    let size = integrated + waiting;
    let mut roots = Roots::new();
    let mut kinds = BTreeSet::new();
    for mode in MODES {
        let ends = matches!(mode, Mode::EndBefore | Mode::EndAfter);
        for lossy in [false, true] {
            if lossy && !ends {
                continue;
            }
            // What comes after it ends in the same tile or in the next one.
            for more in [0, 300] {
                if more == 0 && ends {
                    continue;
                }
                let mut at = 1;
                while let Some(hit) =
                    scenario(&base, size, &mut roots, (at, mode), (lossy, more)).hit
                {
                    kinds.insert(hit);
                    at += 1;
                }
                assert!(at > 8, "only {at} steps");
            }
        }
    }
    for kind in ["make folder", "write", "rename", "sync folder", "commit"] {
        assert!(kinds.contains(kind), "{kind}");
    }
    let completes = integrated / 256 < size / 256 && !integrated.is_multiple_of(256);
    assert_eq!(kinds.contains("remove folder"), completes);
}

#[test]
fn faults_in_a_new_log() {
    all_faults(0, 5);
}

#[test]
fn faults_within_a_tile() {
    all_faults(100, 5);
}

#[test]
fn faults_across_the_end_of_a_tile() {
    all_faults(250, 10);
}

#[test]
fn faults_up_to_the_end_of_a_tile() {
    all_faults(250, 6);
}

#[test]
fn faults_across_the_end_of_tiles_of_two_levels() {
    let base = prepared(65_530, 10);
    let mut roots = Roots::new();
    for (mode, lossy) in [(Mode::After, false), (Mode::EndAfter, true)] {
        let mut at = 1;
        while scenario(&base, 65_540, &mut roots, (at, mode), (lossy, 3))
            .hit
            .is_some()
        {
            at += 1;
        }
        assert!(at > 12, "only {at} steps");
    }
}

/// Two faults one after the other, the second one while the first is made up for.
#[test]
fn faults_after_faults() {
    let base = prepared(250, 10);
    let mut roots = Roots::new();
    for first in (1..40).step_by(3) {
        for second in (1..40).step_by(2) {
            let place = base.copy();
            let disk = Faulty::default();
            let mut db = place.db();
            let mut log = Log::open_on(Box::new(disk.clone()), &mut db, place.options()).unwrap();
            for at in [first, second] {
                let mut state = disk.0.lock().unwrap();
                state.steps = 0;
                state.fault = Some((at, Mode::After));
                drop(state);
                let _ = log.integrate(&mut db, 1);
            }
            disk.0.lock().unwrap().fault = None;
            integrate_all(&mut db, &mut log);
            drop((db, log));
            if second % 7 == 0 {
                verify(&place, 260, &mut roots);
            }
        }
    }
}
