//! A write-ahead log: records that are on disk when [`Wal::append`] returns, kept until what they say
//! is in a database.
//!
//! A commit of SQLite writes each page that it touches, and a row with three indexes touches ten;
//! a record here is written once, with one call, in place of others that are no longer needed. So
//! what has to be durable at once goes here, and into tables later, many at a time.
//!
//! ```text
//! page 0   magic (8) · owner (32) · key (32) · BLAKE3 of those (32) · zeros up to 4,096
//! then     records, each at a multiple of 8:
//!          length u32 · number u64 · check (20) · tag (32) · bytes          little-endian
//!          check = BLAKE3 keyed_hash(key, length ‖ number), its first 20 bytes
//!          tag   = BLAKE3 keyed_hash(key, length ‖ number ‖ check ‖ bytes)
//! ```
//!
//! Numbers count up without gaps. Where a record lies does not matter: a reader finds all of them
//! that are whole, takes those that the tables lack, and refuses a file in which one of them is
//! missing. What was being written when the machine stopped is not whole, and was acknowledged to
//! nobody. The key is random and never leaves the file, so that bytes within a record cannot be made
//! to look like one, or like the begin of one, which would cost a reader the hash of all that follows.
//!
//! What this cannot see: a flipped bit in the newest record looks like one that was never finished.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use rand_core::{OsRng, RngCore as _};
use thiserror::Error;

use crate::simulated;

const MAGIC: &[u8; 8] = b"aditwal1";
/// The first record's place.
const START: u64 = 4096;
/// Bytes in front of a record's own, and those of them before the tag.
const HEAD: usize = FIELDS + 32;
const FIELDS: usize = 4 + 8 + 20;
/// Records lie at multiples of this.
const ALIGN: u64 = 8;
/// The file is used from its begin again after so many bytes, if it can be.
const SIZE: u64 = 8 << 20;
/// The file grows by so many bytes at once, so that most appends leave its size as it is.
const GROWTH: u64 = 256 << 10;
/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The buffer for a record is kept up to this size.
const BUFFER_MAX: usize = 1 << 20;

/// Why a write-ahead log cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalError {
    /// The system failed.
    #[error("{} cannot be {what}: {source}; hint: is the disk full, or broken? what was not acknowledged is not in it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was to be done to it.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It is no such file, or that of another node or network.
    #[error("{} is {what}; hint: give the node the state folder that belongs to its key and network", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Something in it is not what was written, or is missing.
    #[error("{} is damaged: {detail}; hint: nothing was changed; see `adit explain state-corrupt`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A record is longer than 4 GiB.
    #[error("a record of {0} bytes is too long for {path}; hint: please report this", path = .1.display())]
    TooLong(usize, PathBuf),
}

impl WalError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            WalError::Io { source, .. } => Code::of_io(source),
            WalError::Foreign { .. } | WalError::Damaged { .. } => Code::StateCorrupt,
            WalError::TooLong(..) => Code::Internal,
        }
    }
}

/// A record that the tables lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A record in the file that is needed.
#[derive(Clone, Copy, Debug)]
struct Live {
    number: u64,
    from: u64,
    to: u64,
}

/// A write-ahead log that this process alone has open: whoever owns it holds a lock of the folder.
#[derive(Debug)]
pub struct Wal {
    path: PathBuf,
    file: File,
    key: [u8; 32],
    len: u64,
    next: u64,
    live: VecDeque<Live>,
    buffer: Vec<u8>,
}

impl Wal {
    /// Opens or makes the file. `owner` is what it belongs to; `applied` is the number of the last
    /// record that the tables have. With it come the records that they lack, in order.
    ///
    /// # Errors
    /// [`WalError`]; [`WalError::Damaged`] also where a record between `applied` and the newest is
    /// missing, as after the tables alone were put back from a backup.
    pub fn open(path: &Path, owner: &Hash, applied: u64) -> Result<(Wal, Vec<Record>), WalError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(failed(path, "opened"))?;
        let bytes = read(path, &file)?;
        let key = match key_of(path, &bytes, owner)? {
            Some(key) => key,
            None => begin(path, &file, owner)?,
        };
        let found = find(path, &bytes, &key, applied)?;
        let newest = found.last().map_or(applied, |(live, _)| live.number);
        let wal = Wal {
            path: path.to_owned(),
            len: file.metadata().map_err(failed(path, "read"))?.len(),
            file,
            key,
            next: newest.saturating_add(1),
            live: found.iter().map(|(live, _)| *live).collect(),
            buffer: Vec::new(),
        };
        Ok((wal, records(found)))
    }

    /// Number of the record that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Writes a record, which is on disk when this returns: what `encode` puts behind the bytes that
    /// are in its buffer. Records up to `applied` may be overwritten. Returns how many bytes it has.
    ///
    /// # Errors
    /// That of `encode`, after which nothing was written; [`WalError::Io`] and
    /// [`WalError::TooLong`]: the record may be on disk all the same, so that either the same one is
    /// appended again, or nothing any more.
    pub fn append<E: From<WalError>>(
        &mut self,
        applied: u64,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, E> {
        while self.live.front().is_some_and(|live| live.number <= applied) {
            self.live.pop_front();
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(HEAD, 0);
        let done = encode(&mut buffer).and_then(|()| Ok(self.put(&mut buffer)?));
        if buffer.capacity() <= BUFFER_MAX {
            self.buffer = buffer;
        }
        done
    }

    fn put(&mut self, buffer: &mut [u8]) -> Result<usize, WalError> {
        let bytes = buffer.len().saturating_sub(HEAD);
        let too_long = || WalError::TooLong(bytes, self.path.clone());
        let length = u32::try_from(bytes).map_err(|_| too_long())?;
        let (head, body) = buffer.split_at_mut_checked(HEAD).ok_or_else(too_long)?;
        let fields = fields_of(&self.key, length, self.next);
        let tag = tag_of(&self.key, &fields, body);
        let (fields_at, tag_at) = head.split_at_mut(FIELDS);
        fields_at.copy_from_slice(&fields);
        tag_at.copy_from_slice(&tag);
        let size = buffer.len() as u64;
        let from = self.place(size);
        let to = from.saturating_add(size);
        let io = |what| failed(&self.path, what);
        if to > self.len {
            let len = to.next_multiple_of(GROWTH);
            let zeros = vec![0; usize::try_from(len.saturating_sub(self.len)).unwrap_or(0)];
            let grown = self.file.write_all_at(&zeros, self.len);
            grown.map_err(io("written"))?;
            self.len = len;
        }
        let written = self.file.write_all_at(buffer, from);
        written.map_err(io("written"))?;
        sync(&self.file).map_err(io("written"))?;
        self.live.push_back(Live {
            number: self.next,
            from,
            to,
        });
        self.next = self.next.saturating_add(1);
        Ok(bytes)
    }

    /// Where a record of that size goes: behind the newest, or from the begin again, but never where
    /// one lies that is needed.
    fn place(&self, size: u64) -> u64 {
        let Some(newest) = self.live.back() else {
            return START;
        };
        let free = |from: u64| {
            let to = from.saturating_add(size);
            let apart = |live: &Live| to <= live.from || live.to <= from;
            self.live.iter().all(apart)
        };
        let behind = newest.to.next_multiple_of(ALIGN);
        let fits = behind.saturating_add(size) <= SIZE;
        if fits && free(behind) {
            return behind;
        }
        if free(START) {
            return START;
        }
        let ends = self.live.iter().map(|live| live.to);
        ends.max().unwrap_or(START).next_multiple_of(ALIGN)
    }
}

/// The records of a file that the tables lack, if it is in order. Nothing is changed; no process may
/// have it open. A file that is not there has none.
///
/// # Errors
/// As [`Wal::open`].
pub fn waiting(path: &Path, owner: &Hash, applied: u64) -> Result<Vec<Record>, WalError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(path, "opened")(error)),
    };
    let bytes = read(path, &file)?;
    let Some(key) = key_of(path, &bytes, owner)? else {
        return Ok(Vec::new());
    };
    let found = find(path, &bytes, &key, applied)?;
    Ok(records(found))
}

fn records(found: Vec<(Live, &[u8])>) -> Vec<Record> {
    let record = |(live, bytes): (Live, &[u8])| Record {
        number: live.number,
        bytes: bytes.to_vec(),
    };
    found.into_iter().map(record).collect()
}

/// The error for a file that cannot be `what`.
fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> WalError {
    let path = path.to_owned();
    move |source| WalError::Io { path, what, source }
}

fn sync(file: &File) -> io::Result<()> {
    match simulated::here() {
        false => file.sync_data(),
        true => Ok(()),
    }
}

fn read(path: &Path, file: &File) -> Result<Vec<u8>, WalError> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX.saturating_add(1);
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(failed(path, "read"))?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(WalError::Foreign {
            path: path.to_owned(),
            what: "too long to be a write-ahead log",
        }),
        false => Ok(bytes),
    }
}

/// The key in the head of a file; `None` if the file was never used.
fn key_of(path: &Path, bytes: &[u8], owner: &Hash) -> Result<Option<[u8; 32]>, WalError> {
    let page = bytes.get(..START as usize).unwrap_or(bytes);
    // It is on disk before the first record is.
    let unused = bytes.iter().skip(page.len()).all(|byte| *byte == 0);
    let foreign = |what| WalError::Foreign {
        path: path.to_owned(),
        what,
    };
    let fields = page.split_at_checked(8).and_then(|(magic, rest)| {
        let (about, rest) = rest.split_at_checked(64)?;
        let (tag, _) = rest.split_at_checked(32)?;
        Some((magic, about.split_at(32), tag, page.get(..72)?))
    });
    match fields {
        Some((magic, (of, key), tag, head)) if Hash::of(head).as_bytes() == tag => {
            if magic != MAGIC {
                return Err(foreign("of another version of this program"));
            }
            if of != owner.as_bytes() {
                return Err(foreign("of another node or network"));
            }
            Ok(key.try_into().ok())
        }
        _ if unused => Ok(None),
        _ => Err(WalError::Damaged {
            path: path.to_owned(),
            detail: "its head is not what was written".to_owned(),
        }),
    }
}

/// Writes the head of a new file, and puts its name on disk. Returns its key.
fn begin(path: &Path, file: &File, owner: &Hash) -> Result<[u8; 32], WalError> {
    let io = |what| failed(path, what);
    let mut key = [0; 32];
    OsRng.fill_bytes(&mut key);
    let mut head = Vec::with_capacity(START as usize);
    head.extend(MAGIC);
    head.extend(owner.as_bytes());
    head.extend(key);
    let tag = Hash::of(&head);
    head.extend(tag.as_bytes());
    head.resize(START as usize, 0);
    (file.write_all_at(&head, 0)).map_err(io("written"))?;
    if !simulated::here() {
        file.sync_all().map_err(io("written"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io("written"))?;
    }
    Ok(key)
}

/// What stands in front of a record, but for the tag.
fn fields_of(key: &[u8; 32], length: u32, number: u64) -> [u8; FIELDS] {
    let mut fields = [0; FIELDS];
    let (what, check) = fields.split_at_mut(12);
    what[..4].copy_from_slice(&length.to_le_bytes());
    what[4..].copy_from_slice(&number.to_le_bytes());
    let hash = blake3::keyed_hash(key, what);
    check.copy_from_slice(&hash.as_bytes()[..20]);
    fields
}

fn tag_of(key: &[u8; 32], fields: &[u8; FIELDS], bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(fields);
    hasher.update(bytes);
    hasher.finalize().into()
}

/// The records after `applied`, in order.
fn find<'a>(
    path: &Path,
    bytes: &'a [u8],
    key: &[u8; 32],
    applied: u64,
) -> Result<Vec<(Live, &'a [u8])>, WalError> {
    let mut found = BTreeMap::new();
    let mut at = START as usize;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEAD) {
        let Some((number, record)) = whole(rest, key) else {
            at = at.saturating_add(ALIGN as usize);
            continue;
        };
        let to = at.saturating_add(HEAD).saturating_add(record.len()) as u64;
        let live = Live {
            number,
            from: at as u64,
            to,
        };
        if number > applied {
            found.insert(number, (live, record));
        }
        at = usize::try_from(to.next_multiple_of(ALIGN)).unwrap_or(usize::MAX);
    }
    let newest = found.keys().next_back().copied();
    for (expected, number) in (applied.saturating_add(1)..).zip(found.keys()) {
        if *number != expected {
            return Err(WalError::Damaged {
                path: path.to_owned(),
                detail: format!(
                    "it goes up to record {}, and the tables up to {applied}; record {expected} is missing, as after only one of the two was put back from a backup",
                    newest.unwrap_or(applied)
                ),
            });
        }
    }
    Ok(found.into_values().collect())
}

/// The record that begins here, if one does and is whole: its number and bytes.
fn whole<'a>(rest: &'a [u8], key: &[u8; 32]) -> Option<(u64, &'a [u8])> {
    let (fields, rest) = rest.split_first_chunk::<FIELDS>()?;
    let (tag, rest) = rest.split_first_chunk::<32>()?;
    let (length, number) = (fields.first_chunk()?, fields.get(4..)?.first_chunk()?);
    let (length, number) = (u32::from_le_bytes(*length), u64::from_le_bytes(*number));
    let bytes = rest.get(..usize::try_from(length).ok()?)?;
    // Of what was never written there is much.
    let begins = number > 0 && fields_of(key, length, number) == *fields;
    (begins && tag_of(key, fields, bytes) == *tag).then_some((number, bytes))
}

#[cfg(test)]
mod tests;
