//! Reading a log that others write: over HTTP, from a folder, from files; and what is refused.

use std::collections::BTreeMap;

use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::tile::{self, Level, Tile};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::reader::FailureKind;
use super::super::walk::WalkOptions;
use super::super::{
    COSIGNED, FilesSource, FolderSource, LogReader, Mirror, MirrorError, ReadLogError, SourceError,
    TileSource, Trust, fsck, fsck_state, router,
};
use super::*;
use crate::http::client::{Client, ClientConfig};
use crate::http::server::{Limits, Listen, Server};

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A log of so many entries, with a checkpoint after every `step`.
fn place(size: u64, step: u64) -> Place {
    let place = Place::new();
    grow(&place, size, step);
    place
}

fn grow(place: &Place, size: u64, step: u64) {
    let (mut db, mut log) = place.open().unwrap();
    while log.size() < size {
        let add = step.min(size - log.size());
        append(&mut db, &mut log, add);
        integrate_all(&mut db, &mut log);
    }
    integrate_all(&mut db, &mut log);
}

pub fn trust(place: &Place) -> Trust {
    Trust::log_alone(place.options().note_key())
}

fn folder(place: &Place) -> LogReader<FolderSource> {
    LogReader::new(FolderSource(place.log_folder()), trust(place))
}

/// The files that a client may need.
fn files(place: &Place) -> FilesSource {
    let size = place.note().unverified().size;
    let mut files: BTreeMap<String, Vec<u8>> = tile::tiles(size)
        .map(|tile| {
            let name = tile.to_string();
            let bytes = std::fs::read(place.log_folder().join(&name)).unwrap();
            (name, bytes)
        })
        .collect();
    files.insert(CHECKPOINT.to_owned(), place.note().to_string().into_bytes());
    FilesSource(files)
}

/// Reads a range, and checks that it is what was appended.
async fn read<S: TileSource>(
    reader: &LogReader<S>,
    range: std::ops::Range<u64>,
    options: WalkOptions,
) -> Result<(), ReadLogError> {
    let checkpoint = reader.checkpoint().await?.checkpoint;
    let mut walk = reader.walk(&checkpoint, range.clone(), options).await?;
    let mut expected = range.start / 256 * 256;
    while let Some(bundle) = walk.next().await? {
        for (leaf, bytes) in bundle.entries() {
            assert_eq!((leaf, bytes), (expected, &entry(leaf)[..]));
            expected += 1;
        }
    }
    assert!(expected >= range.end);
    Ok(())
}

const ALL: WalkOptions = WalkOptions {
    check_tiles: true,
    local: None,
};

/// Whatever is proven or read is so, over each kind of source.
async fn all_of<S: TileSource>(reader: &LogReader<S>, size: u64, roots: &mut Roots) {
    let trusted = reader.checkpoint().await.unwrap();
    let new = trusted.checkpoint;
    assert_eq!((new.size, new.root), (size, roots.at(size)));
    for index in [0, 1, 255, 256, 257, size / 2, size - size.min(2), size - 1] {
        if index >= size {
            continue;
        }
        let (bytes, proof) = reader.entry(&new, index).await.unwrap();
        assert_eq!(bytes, entry(index));
        let leaf = leaf_hash(&bytes);
        assert_eq!(reader.inclusion(&new, index, &leaf).await.unwrap(), proof);
        assert!(matches!(
            reader.inclusion(&new, index, &leaf_hash(b"no")).await,
            Err(ReadLogError::Proof { .. })
        ));
    }
    assert!(matches!(
        reader.entry(&new, size).await,
        Err(ReadLogError::Range(_))
    ));
    for old in [0, 1, 255, 256, 300, size / 2, size - 1, size] {
        if old > size {
            continue;
        }
        let at = |root| Checkpoint {
            origin: new.origin.clone(),
            size: old,
            root,
        };
        reader.consistency(&at(roots.at(old)), &new).await.unwrap();
        let forked = reader.consistency(&at(Hash::of(b"other")), &new).await;
        assert!(matches!(forked, Err(ReadLogError::Proof { .. })), "{old}");
    }
    for range in [0..0, 0..size, 0..1, size - 1..size, size / 2..size / 2 + 1] {
        read(reader, range.clone(), WalkOptions::default())
            .await
            .unwrap();
        read(reader, range, ALL).await.unwrap();
    }
    assert!(read(reader, 0..size + 1, ALL).await.is_err());
}

#[test]
fn every_kind_of_source() {
    block_on(async {
        let mut roots = Roots::new();
        for size in [1, 255, 256, 257, 1000, 66_000] {
            let place = place(size, size.div_ceil(5));
            all_of(&folder(&place), size, &mut roots).await;
            all_of(
                &LogReader::new(files(&place), trust(&place)),
                size,
                &mut roots,
            )
            .await;
            let served = served(&place).await;
            all_of(
                &LogReader::new(served.client(), trust(&place)),
                size,
                &mut roots,
            )
            .await;
        }
    });
}

/// A server of a place's log.
struct Served {
    server: Server,
}

async fn served(place: &Place) -> Served {
    let routes = axum::Router::new().nest("/log", router(place.log_folder()));
    Served {
        server: serve(routes).await,
    }
}

pub async fn serve(routes: axum::Router) -> Server {
    let listen = Listen::plain("127.0.0.1:0".parse().unwrap());
    let token = CancellationToken::new();
    Server::start(listen, Limits::default(), routes, token)
        .await
        .unwrap()
}

pub fn client(server: &Server, path: &str) -> Client {
    let base: Url = format!("{}{path}", server.url()).parse().unwrap();
    Client::new(ClientConfig::new(base)).unwrap()
}

impl Served {
    fn client(&self) -> Client {
        client(&self.server, "/log")
    }
}

/// The log has grown since the checkpoint was read, and the partial tiles of then are gone.
#[test]
fn tiles_that_became_full() {
    block_on(async {
        let place = place(300, 300);
        let reader = folder(&place);
        let old = reader.checkpoint().await.unwrap().checkpoint;
        grow(&place, 1000, 700);
        assert!(!place.log_folder().join("tile/0/001.p").exists());
        let (bytes, _) = reader.entry(&old, 299).await.unwrap();
        assert_eq!(bytes, entry(299));
        let mut walk = reader.walk(&old, 0..300, ALL).await.unwrap();
        let mut count = 0;
        while let Some(bundle) = walk.next().await.unwrap() {
            count += bundle.entries().count();
        }
        assert_eq!(count, 300);
    });
}

/// One bit of any file: whoever reads it all finds it, with the right kind of failure.
#[test]
fn one_bit_of_any_file() {
    block_on(async {
        let place = place(66_000, 66_000);
        let good = files(&place);
        for (name, bytes) in &good.0 {
            // Of the full tiles of leaves and entries a few will do.
            let number: u64 = name
                .chars()
                .filter(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .unwrap_or(0);
            if name.ends_with(|c: char| c.is_ascii_digit())
                && number % 50 > 1
                && !name.contains(".p/")
            {
                continue;
            }
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut files = good.clone();
                files.0.get_mut(name).unwrap()[at] ^= 1;
                let reader = LogReader::new(files, trust(&place));
                let error = read(&reader, 0..66_000, ALL).await.unwrap_err();
                let expected = match name.as_str() {
                    CHECKPOINT => FailureKind::Signature,
                    _ => FailureKind::Proof,
                };
                assert_eq!(error.kind(), expected, "{name}: {error}");
                assert!(error.to_string().contains("hint: "), "{error}");
            }
            let mut files = good.clone();
            files.0.remove(name);
            let reader = LogReader::new(files, trust(&place));
            let error = read(&reader, 0..66_000, ALL).await.unwrap_err();
            assert_eq!(error.kind(), FailureKind::Unchecked, "{name}: {error}");
        }
    });
}

/// A server that sends too much, or something else.
#[test]
fn answers_are_bounded() {
    block_on(async {
        let place = place(300, 300);
        for bytes in [vec![], vec![0; 100], vec![7; 17_000_000]] {
            for tile in tile::tiles(300) {
                let mut files = files(&place);
                files.0.insert(tile.to_string(), bytes.clone());
                let reader = LogReader::new(files, trust(&place));
                let error = read(&reader, 0..300, ALL).await.unwrap_err();
                assert_eq!(error.kind(), FailureKind::Proof, "{tile}: {error}");
            }
        }
        let long = axum::routing::get(|| async { vec![b'x'; 17_000_000] });
        let routes = axum::Router::new().route("/{*path}", long);
        let server = serve(routes).await;
        let reader = LogReader::new(client(&server, ""), trust(&place));
        let error = reader.checkpoint().await.unwrap_err();
        let too_large = matches!(
            &error,
            ReadLogError::Source(SourceError::Client(
                crate::http::client::ClientError::TooLarge { .. }
            ))
        );
        assert!(too_large, "{error}");
    });
}

#[test]
fn mirrors_follow() {
    block_on(async {
        let mut roots = Roots::new();
        let place = Place::new();
        let copy = tempfile::tempdir().unwrap();
        let mut told = 0;
        for size in [0, 5, 5, 300, 1000, 70_000, 70_001] {
            grow(&place, size, size.div_ceil(2).max(1));
            let reader = folder(&place);
            let mut mirror = Mirror::open(copy.path(), &trust(&place)).unwrap();
            let updated = mirror
                .update(&reader, |bundle, known| {
                    for (leaf, bytes) in bundle.entries().skip(known) {
                        assert_eq!((leaf, bytes), (told, &entry(leaf)[..]));
                        told += 1;
                    }
                })
                .await
                .unwrap();
            assert_eq!(updated.checkpoint.size, size);
            assert_eq!(updated.checkpoint.root, roots.at(size));
            assert_eq!(told, size);
            drop(mirror);
            let sound = fsck(copy.path(), &trust(&place), &mut |_, _| {}).unwrap();
            assert_eq!((sound.checkpoint.size, sound.stale), (size, 0));
            for tile in tile::tiles(size) {
                let read = |folder: &Path| std::fs::read(folder.join(tile.to_string())).unwrap();
                assert_eq!(read(copy.path()), read(&place.log_folder()), "{tile}");
            }
        }
        // It can be read like the log itself.
        let reader = LogReader::new(FolderSource(copy.path().to_owned()), trust(&place));
        all_of(&reader, 70_001, &mut roots).await;
    });
}

/// A source that counts, and fails after so many tiles.
struct Failing {
    inner: FolderSource,
    entries: std::sync::atomic::AtomicUsize,
    fails_after: usize,
}

impl TileSource for Failing {
    async fn note(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        self.inner.note(name).await
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        if tile.level() == Level::Entries {
            let count = self
                .entries
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if count >= self.fails_after {
                return Err(SourceError::Missing {
                    place: "the test".to_owned(),
                    file: tile.to_string(),
                });
            }
        }
        self.inner.tile(tile).await
    }
}

#[test]
fn mirrors_go_on_where_they_were_broken_off() {
    block_on(async {
        let place = place(20_000, 20_000);
        let copy = tempfile::tempdir().unwrap();
        let failing = |fails_after| Failing {
            inner: FolderSource(place.log_folder()),
            entries: Default::default(),
            fails_after,
        };
        let reader = LogReader::new(failing(50), trust(&place));
        let mut mirror = Mirror::open(copy.path(), &trust(&place)).unwrap();
        let error = mirror.update(&reader, |_, _| {}).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::Unchecked);
        assert!(mirror.signed().is_none());
        drop(mirror);
        assert!(!copy.path().join(CHECKPOINT).exists());
        // One that is there by now is damaged, and fetched again.
        let path = copy.path().join("tile/entries/007");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(path, bytes).unwrap();
        let reader = LogReader::new(failing(1000), trust(&place));
        let mut mirror = Mirror::open(copy.path(), &trust(&place)).unwrap();
        mirror.update(&reader, |_, _| {}).await.unwrap();
        let fetched = reader.source.entries.into_inner();
        assert!(fetched < 79 - 50 + 8 + 1, "{fetched}");
        fsck(copy.path(), &trust(&place), &mut |_, _| {}).unwrap();
    });
}

/// Another history under the same key: it is told from a damaged one, and the mirror stays.
#[test]
fn mirrors_refuse_forks() {
    block_on(async {
        let place = place(500, 100);
        let before = place.copy();
        grow(&place, 700, 100);
        let copy = tempfile::tempdir().unwrap();
        let mut mirror = Mirror::open(copy.path(), &trust(&place)).unwrap();
        mirror.update(&folder(&place), |_, _| {}).await.unwrap();
        // An older state is no fork, and nothing is undone.
        let updated = mirror.update(&folder(&before), |_, _| {}).await.unwrap();
        assert_eq!((updated.old, updated.checkpoint.size), (700, 700));
        for other in [50, 200, 400] {
            let forked = before.copy();
            let (mut db, mut log) = forked.open().unwrap();
            let transaction = db.connection().transaction().unwrap();
            for _ in 0..other {
                log.append(&transaction, b"another history").unwrap();
            }
            transaction.commit().unwrap();
            log.committed();
            integrate_all(&mut db, &mut log);
            let error = mirror
                .update(&folder(&forked), |_, _| {})
                .await
                .unwrap_err();
            assert_eq!(error.kind(), FailureKind::Proof);
            match error {
                MirrorError::Forked { old, new, .. } => {
                    assert_eq!(old.unverified().size, 700);
                    assert_eq!(new.unverified().size, 500 + other);
                }
                other => panic!("{other}"),
            }
        }
        drop(mirror);
        let sound = fsck(copy.path(), &trust(&place), &mut |_, _| {}).unwrap();
        assert_eq!(sound.checkpoint.size, 700);
    });
}

#[test]
fn a_quorum_is_asked_for() {
    block_on(async {
        let place = place(300, 300);
        let witness = Keypair::from_seed([5; 32]);
        let name: adit_protocol::log::key::KeyName = "witness.example/w".parse().unwrap();
        let key = adit_protocol::log::key::NoteKey::new(
            name.clone(),
            KeyKind::Cosignature,
            witness.public(),
        );
        let trust = Trust {
            witnesses: vec![key],
            quorum: 1,
            ..trust(&place)
        };
        let reader = LogReader::new(FolderSource(place.log_folder()), trust);
        let error = reader.checkpoint().await.unwrap_err();
        assert!(matches!(error, ReadLogError::Quorum { found: 0, .. }));
        assert_eq!(error.kind(), FailureKind::Unchecked);
        let mut note = place.note();
        let kind = KeyKind::Cosignature;
        let line = note.cosign(kind, &name, &witness, 7, &mut rand_core::OsRng);
        note.add(line.unwrap()).unwrap();
        let path = place.log_folder().join(COSIGNED);
        std::fs::write(&path, note.to_string()).unwrap();
        let trusted = reader.checkpoint().await.unwrap();
        assert_eq!(trusted.cosigned.len(), 1);
        assert_eq!(trusted.cosigned[0].1.time_s, 7);
    });
}

#[test]
fn a_coordinators_state_is_checked_at_rest() {
    let place = place(900, 300);
    let (mut db, mut log) = place.open().unwrap();
    append(&mut db, &mut log, 100);
    let trust = trust(&place);
    let database = place.path().join("node.db");
    let check = || fsck_state(&database, &place.log_folder(), &trust, &mut |_, _| {});
    assert!(matches!(check(), Err(LogError::InUse { .. })));
    drop((db, log));
    let sound = check().unwrap();
    assert_eq!((sound.checkpoint.size, sound.waiting), (900, 100));
    let flip = "UPDATE log_pending SET entry = x'00' WHERE leaf = 950";
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.execute(flip, []).unwrap();
    drop(connection);
    assert!(matches!(
        check(),
        Err(LogError::PendingChanged { leaf: 950, .. })
    ));
}

/// What is spawned must be able to move between threads.
#[allow(dead_code)]
fn futures_are_send(reader: &LogReader<Client>, checkpoint: &Checkpoint, mirror: &mut Mirror) {
    fn is_send(_: impl Send) {}
    is_send(reader.checkpoint());
    is_send(reader.entry(checkpoint, 0));
    is_send(reader.consistency(checkpoint, checkpoint));
    is_send(reader.walk(checkpoint, 0..1, WalkOptions::default()));
    is_send(async {
        let mut walk = reader.walk(checkpoint, 0..1, ALL).await.unwrap();
        walk.next().await
    });
    is_send(mirror.update(reader, |_, _| {}));
}
