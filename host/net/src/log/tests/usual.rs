//! What happens when nothing fails.

use adit_protocol::log::tile::{self, Tile};

use super::*;

#[test]
fn a_new_log_has_a_checkpoint_of_no_entries() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    assert_eq!((log.size(), log.waiting()), (0, 0));
    assert_eq!(log.integrate(&mut db, 5).unwrap(), None);
    assert_eq!(place.note().unverified().size, 0);
    drop((db, log));
    verify(&place, 0, &mut Roots::new());
}

#[test]
fn files_are_those_of_the_format() {
    let place = Place::new();
    let mut roots = Roots::new();
    let mut size = 0;
    for add in [1, 1, 253, 1, 1, 255, 256, 300, 65_000, 200, 1] {
        let (mut db, mut log) = place.open().unwrap();
        append(&mut db, &mut log, add);
        size += add;
        let mut step = log.integrate(&mut db, 1).unwrap().unwrap();
        while step.more {
            assert!(step.size < size);
            assert_eq!(step.root, roots.at(step.size));
            step = log.integrate(&mut db, 1).unwrap().unwrap();
        }
        assert_eq!((step.size, step.root), (size, roots.at(size)));
        assert_eq!(log.integrate(&mut db, 1).unwrap(), None);
        drop((db, log));
        verify(&place, size, &mut roots);
        for tile in tile::tiles(size) {
            let path = place.log_folder().join(tile.to_string());
            assert!(path.is_file(), "{tile}");
        }
    }
    // Of tiles that are full, no partial ones are left.
    let mut files = Vec::new();
    list(&place.log_folder().join("tile"), &mut files);
    for file in files {
        let path = file.strip_prefix(place.log_folder()).unwrap();
        let tile: Tile = path.to_str().unwrap().parse().unwrap();
        let full = tile.full().unwrap();
        assert!(
            tile.is_full() || !place.log_folder().join(full.to_string()).exists(),
            "{tile}"
        );
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => list(&path, files),
            false => files.push(path),
        }
    }
}

#[test]
fn what_is_rolled_back_was_never_appended() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 10);
    let transaction = db.connection().transaction().unwrap();
    assert_eq!(log.append(&transaction, b"other").unwrap(), 10);
    assert_eq!((log.size(), log.waiting()), (11, 10));
    transaction.rollback().unwrap();
    log.rolled_back();
    assert_eq!(log.size(), 10);
    append(&mut db, &mut log, 5);
    integrate_all(&mut db, &mut log);
    drop((db, log));
    verify(&place, 15, &mut Roots::new());
}

/// The commit's outcome was an error, and it took effect all the same.
#[test]
fn what_was_kept_in_spite_of_an_error_counts() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    let transaction = db.connection().transaction().unwrap();
    for leaf in 0..3 {
        log.append(&transaction, &entry(leaf)).unwrap();
    }
    transaction.commit().unwrap();
    log.rolled_back();
    assert_eq!(log.size(), 0);
    assert_eq!(log.integrate(&mut db, 1).unwrap(), None);
    let transaction = db.connection().transaction().unwrap();
    assert_eq!(log.append(&transaction, &entry(3)).unwrap(), 3);
    transaction.commit().unwrap();
    log.committed();
    integrate_all(&mut db, &mut log);
    drop((db, log));
    verify(&place, 4, &mut Roots::new());
}

#[test]
fn entries_that_are_too_long_change_nothing() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    let transaction = db.connection().transaction().unwrap();
    assert!(matches!(
        log.append(&transaction, &[0; 65_536]),
        Err(LogError::EntryLength { found: 65_536 })
    ));
    assert_eq!(log.append(&transaction, &[0; 65_535]).unwrap(), 0);
    transaction.commit().unwrap();
    log.committed();
    integrate_all(&mut db, &mut log);
    assert_eq!(log.entry(&mut db, 0).unwrap(), [0; 65_535]);
}

/// A step is bounded by bytes too.
#[test]
fn long_entries_take_several_steps() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    let transaction = db.connection().transaction().unwrap();
    for leaf in 0..700u16 {
        let bytes = vec![leaf as u8; 60_000];
        log.append(&transaction, &bytes).unwrap();
    }
    transaction.commit().unwrap();
    log.committed();
    let mut sizes = Vec::new();
    while let Some(step) = log.integrate(&mut db, 1).unwrap() {
        sizes.push(step.size);
        assert_eq!(step.more, step.size < 700);
    }
    assert_eq!(sizes.last(), Some(&700));
    assert!(sizes.len() > 2, "{sizes:?}");
    assert_eq!(log.entry(&mut db, 3).unwrap(), [3; 60_000]);
    drop((db, log));
    place.open().unwrap();
}

#[test]
fn the_time_never_goes_back() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    let mut times = Vec::new();
    for now in [1000, 900, 1100] {
        append(&mut db, &mut log, 1);
        times.push(log.integrate(&mut db, now).unwrap().unwrap().time_ms);
    }
    drop((db, log));
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 1);
    times.push(log.integrate(&mut db, 5).unwrap().unwrap().time_ms);
    assert_eq!(times, [1000, 1000, 1100, 1100]);
}

#[test]
fn one_process_has_a_log() {
    let place = Place::new();
    let (db, log) = place.open().unwrap();
    assert!(matches!(place.try_db(), Err(DbError::InUse { .. })));
    // Another database with the same folder.
    let mut other = Db::open(&place.path().join("other.db"), &[Log::MIGRATION]).unwrap();
    assert!(matches!(
        Log::open(&mut other, place.options()),
        Err(LogError::InUse { .. })
    ));
    drop((db, log));
    place.open().unwrap();
}

/// Another process that gets past both locks is found when a checkpoint is stored.
#[test]
fn a_checkpoint_that_moved_is_not_replaced() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 3);
    integrate_all(&mut db, &mut log);
    append(&mut db, &mut log, 3);
    let other = rusqlite::Connection::open(place.path().join("node.db")).unwrap();
    let moved = "UPDATE log_checkpoint SET size = 5";
    assert_eq!(other.execute(moved, []), Ok(1));
    assert!(matches!(
        log.integrate(&mut db, 1),
        Err(LogError::Moved {
            expected: 3,
            found: 5
        })
    ));
    assert_eq!(place.note().unverified().size, 3);
    // Nothing goes on from there.
    let transaction = db.connection().transaction().unwrap();
    assert!(matches!(
        log.append(&transaction, b"x"),
        Err(LogError::Stopped { .. })
    ));
}

#[test]
fn another_writer_of_entries_is_found() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 3);
    let other = rusqlite::Connection::open(place.path().join("node.db")).unwrap();
    assert_eq!(other.execute("UPDATE log_head SET next = 4", []), Ok(1));
    let transaction = db.connection().transaction().unwrap();
    assert!(matches!(
        log.append(&transaction, b"x"),
        Err(LogError::OutOfStep {
            expected: 3,
            found: 4
        })
    ));
}
