//! A bundle: a coordinator's log and what belongs to it in one file, for machines without a network.
//!
//! It is an archive ([`super::tar`]) of these files in this order, so that the same content is always
//! the same bytes:
//!
//! | name | content |
//! |---|---|
//! | `adit-bundle` | the text `adit-bundle v1` and a line break |
//! | `network` | the encoded network file |
//! | `checkpoint` | the checkpoint, a signed note |
//! | `tile/...` | the files of a log of the checkpoint's size, as C2SP tlog-tiles names them: entries, then hashes level by level |
//! | `membership/<64 digits>` | the membership of that hash with its authority's signature; ascending |
//! | `opening/<64 digits>` | the opening of the receipt with that id; ascending |
//! | `blob/<64 digits>` | the blob of that hash; ascending |
//!
//! Everything is checked when it is used. What is checked when a bundle is opened is its form: the
//! names, their order and lengths, and that no file of the log lacks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::note;
use adit_protocol::log::tile::{self, Level, Tile};
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::signed::Signed;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;

use super::tar::{self, Member, TarError};
use super::{BLOB_BYTES_MAX, DOCUMENT_BYTES_MAX, Evidence, EvidenceError};

/// Name of the first file.
pub const MARK: &str = "adit-bundle";
/// What the first file holds.
pub const VERSION: &[u8] = b"adit-bundle v1\n";
/// Folders of memberships, openings and blobs.
pub const MEMBERSHIPS: &str = "membership/";
/// See [`MEMBERSHIPS`].
pub const OPENINGS: &str = "opening/";
/// See [`MEMBERSHIPS`].
pub const BLOBS: &str = "blob/";
/// Most files; the list of them is held in memory.
const FILES_MAX: usize = 8_000_000;
/// Longest file of entries: 256 of 65,535 bytes and their lengths.
const ENTRIES_BYTES_MAX: u64 = 256 * (2 + 65_535);
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;
/// Longest file of hashes.
const HASHES_BYTES_MAX: u64 = 256 * 32;

/// An opened bundle.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    network: Member,
    checkpoint: Member,
    tiles: HashMap<Tile, Member>,
    memberships: HashMap<Hash, (u64, u64)>,
    openings: HashMap<Hash, (u64, u64)>,
    blobs: Vec<(Hash, u64, u64)>,
}

impl Bundle {
    /// Opens a bundle and checks its form.
    ///
    /// # Errors
    /// [`EvidenceError::Unreachable`] if it cannot be read, [`EvidenceError::Damaged`] if it is no
    /// bundle.
    pub fn open(path: &Path) -> Result<Bundle, EvidenceError> {
        let what = || format!("the bundle {}", path.display());
        let file = adit_runtime::store::open_file(path)
            .map_err(|error| EvidenceError::unreachable(what(), error))?;
        Bundle::index(path, file).map_err(|error| match error {
            TarError::Io(error) => EvidenceError::unreachable(what(), error),
            error => EvidenceError::damaged(what(), error),
        })
    }

    fn index(path: &Path, file: File) -> Result<Bundle, TarError> {
        let mut walk = Walk {
            reader: tar::Reader::new(&file)?,
            next: None,
            files: 0,
        };
        walk.step()?;
        let mark = walk.named(MARK, VERSION.len() as u64)?;
        if tar::read(&file, &mark)? != VERSION {
            return Err(refused(&mark, "it is a bundle of another version"));
        }
        let network = walk.named("network", NetworkFile::MAX_LEN as u64)?;
        let checkpoint = walk.named("checkpoint", note::MAX_LEN as u64)?;
        let parsed = SignedCheckpoint::parse(&tar::read(&file, &checkpoint)?);
        let Ok(parsed) = parsed else {
            return Err(refused(&checkpoint, "it is no checkpoint"));
        };
        let mut tiles = HashMap::new();
        for tile in tile::tiles(parsed.unverified().size) {
            let max = match tile.level() {
                Level::Entries => ENTRIES_BYTES_MAX,
                Level::Hashes(_) => HASHES_BYTES_MAX,
            };
            tiles.insert(tile, walk.named(&tile.to_string(), max)?);
        }
        let mut memberships = HashMap::new();
        let max = Signed::<Membership>::MAX_LEN as u64;
        walk.hashed(MEMBERSHIPS, max, |hash, at, len| {
            memberships.insert(hash, (at, len));
        })?;
        let mut openings = HashMap::new();
        walk.hashed(OPENINGS, ReceiptOpening::MAX_LEN as u64, |hash, at, len| {
            openings.insert(hash, (at, len));
        })?;
        let mut blobs = Vec::new();
        walk.hashed(BLOBS, BLOB_BYTES_MAX, |hash, at, len| {
            blobs.push((hash, at, len));
        })?;
        if let Some(other) = walk.next {
            return Err(refused(
                &other,
                "no file of a bundle has this name in this place",
            ));
        }
        Ok(Bundle {
            path: path.to_owned(),
            file,
            network,
            checkpoint,
            tiles,
            memberships,
            openings,
            blobs,
        })
    }

    /// The hashes of all blobs, ascending.
    pub fn blob_hashes(&self) -> impl Iterator<Item = Hash> {
        self.blobs.iter().map(|(hash, _, _)| *hash)
    }

    /// The ids of the receipts whose openings it has, in no order.
    pub fn opened(&self) -> impl Iterator<Item = &Hash> {
        self.openings.keys()
    }

    fn blob(&self, hash: &Hash) -> Option<(u64, u64)> {
        let at = self.blobs.binary_search_by(|(own, _, _)| own.cmp(hash));
        self.blobs.get(at.ok()?).map(|(_, at, len)| (*at, *len))
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>, EvidenceError> {
        let member = Member {
            name: String::new(),
            at,
            len,
        };
        self.member(&member)
    }

    fn member(&self, member: &Member) -> Result<Vec<u8>, EvidenceError> {
        tar::read(&self.file, member)
            .map_err(|error| EvidenceError::unreachable(self.source(), error))
    }
}

fn refused(member: &Member, why: &'static str) -> TarError {
    TarError::Header {
        at: member.at.saturating_sub(tar::RECORD as u64),
        why,
    }
}

/// Walks through the files in the order that they must have.
struct Walk<'a> {
    reader: tar::Reader<'a>,
    next: Option<Member>,
    files: usize,
}

impl Walk<'_> {
    fn step(&mut self) -> Result<(), TarError> {
        self.next = self.reader.next()?;
        self.files = self.files.saturating_add(1);
        match &self.next {
            Some(member) if self.files > FILES_MAX => Err(refused(member, "there are too many")),
            _ => Ok(()),
        }
    }

    /// The next file, which must have this name and at most `max` bytes.
    fn named(&mut self, name: &str, max: u64) -> Result<Member, TarError> {
        let Some(member) = self.next.take() else {
            return Err(TarError::Header {
                at: 0,
                why: "a file of the log is not there",
            });
        };
        if member.name != name {
            return Err(refused(&member, "another file must be in its place"));
        }
        if member.len > max {
            return Err(refused(&member, "it is longer than such a file can be"));
        }
        self.step()?;
        Ok(member)
    }

    /// All files that follow with a name of this folder and a hash, strictly ascending.
    fn hashed(
        &mut self,
        folder: &str,
        max: u64,
        mut each: impl FnMut(Hash, u64, u64),
    ) -> Result<(), TarError> {
        let mut last = None;
        while let Some(member) = &self.next
            && let Some(digits) = member.name.strip_prefix(folder)
        {
            let hash: Hash = format!("blake3:{digits}")
                .parse()
                .map_err(|_| refused(member, "its name is no hash"))?;
            if last.is_some_and(|last| last >= hash) {
                return Err(refused(member, "it is there twice, or out of order"));
            }
            if member.len > max {
                return Err(refused(member, "it is longer than such a file can be"));
            }
            each(hash, member.at, member.len);
            last = Some(hash);
            self.step()?;
        }
        Ok(())
    }
}

impl Evidence for Bundle {
    fn source(&self) -> String {
        self.path.display().to_string()
    }

    fn network(&self) -> Result<Vec<u8>, EvidenceError> {
        self.member(&self.network)
    }

    fn membership(&self, hash: &Hash) -> Result<Option<Vec<u8>>, EvidenceError> {
        let found = self.memberships.get(hash);
        found.map(|(at, len)| self.read(*at, *len)).transpose()
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EvidenceError> {
        self.member(&self.checkpoint)
    }

    fn tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, EvidenceError> {
        let read = |tile: &Tile| match self.tiles.get(tile) {
            Some(member) => self.member(member),
            None => Err(EvidenceError::Missing {
                what: tile.to_string(),
            }),
        };
        tiles.iter().map(read).collect()
    }

    fn blobs(&self, hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, EvidenceError> {
        let read = |hash: &Hash| match self.blob(hash) {
            Some((at, len)) if len <= DOCUMENT_BYTES_MAX as u64 => self.read(at, len).map(Some),
            _ => Ok(None),
        };
        hashes.iter().map(read).collect()
    }

    fn save(&self, hash: &Hash, into: &BlobStore) -> Result<bool, EvidenceError> {
        let Some((at, len)) = self.blob(hash) else {
            return Ok(false);
        };
        let part = Part {
            file: &self.file,
            at,
            left: len,
        };
        keep(hash, part, into)
    }

    fn opening(&self, receipt: &Hash) -> Result<Option<ReceiptOpening>, EvidenceError> {
        let Some((at, len)) = self.openings.get(receipt) else {
            return Ok(None);
        };
        ReceiptOpening::from_cbor(&self.read(*at, *len)?)
            .map(Some)
            .map_err(|error| EvidenceError::damaged(format!("the opening of {receipt}"), error))
    }
}

/// Puts what a reader gives into a store, if it is the blob of this hash.
fn keep(hash: &Hash, mut from: impl Read, into: &BlobStore) -> Result<bool, EvidenceError> {
    let failed = |error: &dyn std::fmt::Display| {
        EvidenceError::unreachable(format!("the blob {hash}"), error)
    };
    let mut writer = into
        .writer(hash, BLOB_BYTES_MAX)
        .map_err(|error| failed(&error))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).map_err(|error| failed(&error))?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        writer.write(bytes).map_err(|error| failed(&error))?;
    }
    match writer.finish() {
        Ok(_) => Ok(true),
        Err(StoreError::Mismatch { .. }) => Ok(false),
        Err(error) => Err(failed(&error)),
    }
}

/// Reads one file of the archive.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(read as u64);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}
