//! What is not as it was written: nothing is signed, and the error says where it is.

use std::fs;

use rusqlite::params;

use super::*;

/// A log of 1000 entries, the last 100 of which wait.
fn place() -> Place {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 700);
    integrate_all(&mut db, &mut log);
    append(&mut db, &mut log, 200);
    integrate_all(&mut db, &mut log);
    append(&mut db, &mut log, 100);
    place
}

fn refusal(place: &Place) -> LogError {
    let before = place.note();
    let error = match place.open() {
        Ok(_) => panic!("the log was opened"),
        Err(error) => error,
    };
    assert!(!error.retryable(), "{error}");
    assert!(error.to_string().contains("hint: "), "{error}");
    assert_eq!(place.note(), before);
    error
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => all.push(path),
        }
    }
    all.sort();
    all
}

/// The files that the newest checkpoint needs.
fn current(place: &Place) -> Vec<PathBuf> {
    let size = place.note().unverified().size;
    adit_protocol::log::tile::tiles(size)
        .map(|tile| place.log_folder().join(tile.to_string()))
        .collect()
}

#[test]
fn one_bit_of_any_tile() {
    let base = place();
    for path in current(&base) {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(base.log_folder()).unwrap();
        for at in [0, bytes.len() / 3, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            let error = refusal(&base);
            let named = match &error {
                LogError::TileChanged { .. } | LogError::EntryChanged { .. } => {
                    error.to_string().contains(name.to_str().unwrap())
                }
                // A bit of the topmost tile shows in the root alone, unless it contradicts the
                // tiles below it.
                _ => false,
            };
            assert!(named, "{}: {error}", name.display());
        }
        fs::write(&path, &bytes).unwrap();
        let mut longer = bytes.clone();
        longer.push(0);
        for bytes in [&bytes[..bytes.len() - 1], &longer, &[]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(refusal(&base), LogError::TileChanged { .. }));
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(refusal(&base), LogError::TileMissing { .. }));
        fs::write(&path, &bytes).unwrap();
    }
    place_is_sound(&base);
}

fn place_is_sound(place: &Place) {
    let (mut db, mut log) = place.open().unwrap();
    integrate_all(&mut db, &mut log);
    drop((db, log));
    verify(place, 1000, &mut Roots::new());
}

/// An entry and its hash are changed alike, as by someone who rewrites history.
#[test]
fn files_that_agree_among_themselves() {
    let base = place();
    let folder = base.log_folder();
    let entries = folder.join("tile/entries/001");
    let mut bytes = fs::read(&entries).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let list = adit_protocol::log::bundle::decode(&bytes).unwrap();
    let hashes: Vec<_> = list.iter().map(|entry| leaf_hash(entry)).collect();
    let tile = adit_protocol::log::tile::to_bytes(&hashes);
    fs::write(folder.join("tile/0/001"), tile).unwrap();
    fs::write(&entries, &bytes).unwrap();
    // The tile above disagrees.
    let error = refusal(&base);
    assert!(
        matches!(&error, LogError::TileChanged { tile, .. } if tile.to_string() == "tile/1/000.p/3"),
        "{error}"
    );
    let above = folder.join("tile/1/000.p/3");
    let mut bytes = fs::read(&above).unwrap();
    let hash = adit_protocol::log::tile::full_hash(&hashes).unwrap();
    bytes[32..64].copy_from_slice(hash.as_bytes());
    fs::write(above, bytes).unwrap();
    assert!(matches!(refusal(&base), LogError::Root { size: 900, .. }));
}

#[test]
fn entries_that_wait() {
    let base = place();
    let change = |sql: &str, error: &dyn Fn(&LogError) -> bool| {
        let place = base.copy();
        let mut db = place.db();
        assert!(db.connection().execute(sql, []).unwrap() > 0, "{sql}");
        drop(db);
        let found = refusal(&place);
        assert!(error(&found), "{sql}: {found}");
    };
    // Entries 768 to 899 are covered by the checkpoint, those after it are not.
    for leaf in [768, 899, 900, 999] {
        let flip = format!("UPDATE log_pending SET entry = x'00' WHERE leaf = {leaf}");
        change(
            &flip,
            &|error| matches!(error, LogError::PendingChanged { leaf: at, .. } if *at == leaf),
        );
        let gone = format!("DELETE FROM log_pending WHERE leaf = {leaf}");
        change(
            &gone,
            &|error| matches!(error, LogError::PendingMissing { leaf: at } if *at == leaf),
        );
    }
    let moved = "UPDATE log_pending SET leaf = 5000 WHERE leaf = 950";
    change(moved, &|error| {
        matches!(error, LogError::PendingMissing { leaf: 950 })
    });
    let before = "UPDATE log_pending SET leaf = 5 WHERE leaf = 950";
    change(before, &|error| matches!(error, LogError::State { .. }));
    let hash = "UPDATE log_pending SET hash = x'00' WHERE leaf = 950";
    change(hash, &|error| matches!(error, LogError::State { .. }));
    let fewer = "UPDATE log_head SET next = 999";
    change(fewer, &|error| matches!(error, LogError::State { .. }));
    let more = "UPDATE log_head SET next = 1001";
    change(more, &|error| {
        matches!(error, LogError::PendingMissing { leaf: 1000 })
    });
    for next in [899, -1] {
        let sql = format!("UPDATE log_head SET next = {next}");
        change(&sql, &|error| matches!(error, LogError::State { .. }));
    }
    for sql in ["DELETE FROM log_head", "DELETE FROM log_checkpoint"] {
        change(sql, &|error| matches!(error, LogError::State { .. }));
    }
    // A whole entry that was exchanged with its hash, below the checkpoint.
    let place = base.copy();
    let mut db = place.db();
    let sql = "UPDATE log_pending SET entry = x'01', hash = ?1 WHERE leaf = 800";
    let hash = leaf_hash(&[1]);
    db.connection()
        .execute(sql, params![hash.as_bytes()])
        .unwrap();
    drop(db);
    assert!(matches!(
        refusal(&place),
        LogError::PendingChanged { leaf: 800, .. }
    ));
}

/// The same while the log is open: entries are checked again when they are integrated.
#[test]
fn entries_that_change_while_the_log_is_open() {
    for leaf in [800u64, 950] {
        let place = place();
        let (mut db, mut log) = place.open().unwrap();
        let sql = "UPDATE log_pending SET entry = x'00' WHERE leaf = ?1";
        db.connection().execute(sql, params![leaf as i64]).unwrap();
        let before = place.note();
        let error = log.integrate(&mut db, 1).unwrap_err();
        assert!(
            matches!(error, LogError::PendingChanged { leaf: at, .. } if at == leaf),
            "{error}"
        );
        assert!(matches!(
            log.integrate(&mut db, 1),
            Err(LogError::Stopped { .. })
        ));
        assert_eq!(place.note(), before);
    }
    // One that is gone.
    let place = place();
    let (mut db, mut log) = place.open().unwrap();
    let sql = "DELETE FROM log_pending WHERE leaf > 990";
    db.connection().execute(sql, []).unwrap();
    assert!(matches!(
        log.integrate(&mut db, 1),
        Err(LogError::PendingMissing { leaf: 991 })
    ));
}

#[test]
fn entries_are_checked_when_they_are_read() {
    let place = place();
    let (mut db, log) = place.open().unwrap();
    assert_eq!(log.entry(&mut db, 300).unwrap(), entry(300));
    let path = place.log_folder().join("tile/entries/001");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(
        log.entry(&mut db, 511),
        Err(LogError::EntryChanged { leaf: 511, .. })
    ));
    assert_eq!(log.entry(&mut db, 300).unwrap(), entry(300));
}

#[test]
fn checkpoints_that_do_not_hold() {
    let base = place();
    let set = |sql: &str, value: &dyn rusqlite::ToSql| {
        let place = base.copy();
        let mut db = place.db();
        assert_eq!(db.connection().execute(sql, [value]), Ok(1));
        drop(db);
        place
    };
    let note = base.note().to_string();
    for changed in [
        note.replace("900", "899"),
        note.replace("log.example/test", "log.example/best"),
        note[..note.len() - 3].to_owned(),
        String::new(),
    ] {
        let place = set("UPDATE log_checkpoint SET note = ?1", &changed);
        assert!(matches!(refusal(&place), LogError::State { .. }));
        // And the published one.
        let place = base.copy();
        let path = place.log_folder().join(CHECKPOINT);
        fs::write(&path, &changed).unwrap();
        let error = match place.open() {
            Err(error) => error,
            Ok(_) => panic!("the log was opened"),
        };
        assert!(matches!(error, LogError::Published { .. }), "{error}");
        assert_eq!(fs::read_to_string(path).unwrap(), changed);
    }
    let place = set("UPDATE log_checkpoint SET size = ?1", &899);
    assert!(matches!(refusal(&place), LogError::State { .. }));
    let zeros = [0u8; 32];
    let place = set("UPDATE log_checkpoint SET root = ?1", &zeros);
    assert!(matches!(refusal(&place), LogError::State { .. }));
    // Another key, or another name.
    for change in [
        |options: &mut LogOptions| options.key = Keypair::from_seed([2; 32]),
        |options: &mut LogOptions| options.origin = "log.example/other".parse().unwrap(),
    ] {
        let mut options = base.options();
        change(&mut options);
        let error = Log::open(&mut base.db(), options).err().unwrap();
        assert!(matches!(error, LogError::State { .. }), "{error}");
    }
    place_is_sound(&base);
}

#[test]
fn a_restored_database() {
    let place = place();
    let backup = place.copy();
    let (mut db, mut log) = place.open().unwrap();
    integrate_all(&mut db, &mut log);
    append(&mut db, &mut log, 3);
    integrate_all(&mut db, &mut log);
    drop((db, log));
    // The database of the backup, with the folder as it is.
    let restored = Place::new();
    copy(place.path(), restored.path());
    for file in ["node.db", "node.db-wal", "node.db-shm"] {
        let _ = fs::remove_file(restored.path().join(file));
    }
    fs::copy(
        backup.path().join("node.db"),
        restored.path().join("node.db"),
    )
    .unwrap();
    assert!(matches!(
        refusal(&restored),
        LogError::Ahead {
            found: 1003,
            stored: 900,
            ..
        }
    ));
    // No database at all.
    fs::remove_file(restored.path().join("node.db")).unwrap();
    assert!(matches!(refusal(&restored), LogError::Lost { .. }));
    fs::remove_file(restored.log_folder().join(CHECKPOINT)).unwrap();
    assert!(matches!(
        restored.open().err().unwrap(),
        LogError::Lost { .. }
    ));
    // The folder of the backup, with the database as it is: tiles are missing.
    let restored = Place::new();
    copy(backup.path(), restored.path());
    fs::copy(
        place.path().join("node.db"),
        restored.path().join("node.db"),
    )
    .unwrap();
    assert!(matches!(refusal(&restored), LogError::TileMissing { .. }));
}

/// A restored backup whose published checkpoint was lost too, which then takes other entries: the
/// tiles that were written before are not replaced.
#[test]
fn another_history_does_not_replace_files() {
    let place = Place::new();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 10);
    integrate_all(&mut db, &mut log);
    drop((db, log));
    let backup = place.copy();
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 5);
    integrate_all(&mut db, &mut log);
    drop((db, log));
    fs::copy(backup.path().join("node.db"), place.path().join("node.db")).unwrap();
    fs::remove_file(place.log_folder().join(CHECKPOINT)).unwrap();
    let (mut db, mut log) = place.open().unwrap();
    let transaction = db.connection().transaction().unwrap();
    for _ in 0..5 {
        log.append(&transaction, b"another history").unwrap();
    }
    transaction.commit().unwrap();
    log.committed();
    let error = log.integrate(&mut db, 1).unwrap_err();
    assert!(
        matches!(&error, LogError::Exists { tile } if tile.to_string() == "tile/entries/000.p/15"),
        "{error}"
    );
}

/// A checkpoint of another history under the log's own key.
#[test]
fn a_fork_is_found() {
    let place = place();
    let forked = adit_protocol::log::checkpoint::Checkpoint {
        origin: place.options().origin,
        size: 500,
        root: Hash::of(b"another history"),
    };
    let mut rng = rand_core::OsRng;
    let signed = forked.sign(&place.options().key, &mut rng);
    fs::write(place.log_folder().join(CHECKPOINT), signed.to_string()).unwrap();
    assert!(matches!(
        refusal(&place),
        LogError::Forked { size: 500, .. }
    ));
}

#[test]
fn the_edge_alone_is_checked_where_that_is_asked_for() {
    let place = place();
    let options = LogOptions {
        check: Check::Edge,
        ..place.options()
    };
    let path = place.log_folder().join("tile/entries/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    Log::open(&mut place.db(), options.clone()).unwrap();
    let edge = place.log_folder().join("tile/1/000.p/3");
    let mut bytes = fs::read(&edge).unwrap();
    bytes[5] ^= 1;
    fs::write(&edge, bytes).unwrap();
    assert!(matches!(
        Log::open(&mut place.db(), options),
        Err(LogError::Root { .. })
    ));
    assert!(!files(&place.log_folder()).is_empty());
}
