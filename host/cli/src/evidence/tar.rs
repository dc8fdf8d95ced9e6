//! Archives in the `ustar` form of POSIX.1, in the one form that this program writes: regular files
//! only, no times, owners or modes. What differs from it by a byte is refused, and with it links,
//! devices, extended headers and lengths in other notations.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use thiserror::Error;

/// Length of a record.
pub const RECORD: usize = 512;
/// Longest name that is written.
const NAME_MAX: usize = 100;
/// Longest file: eleven octal digits.
pub const FILE_BYTES_MAX: u64 = (1 << 33) - 1;

/// Why a file is no archive of this form.
#[derive(Debug, Error)]
pub enum TarError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It ends too early.
    #[error("it ends within {what} at byte {at}; hint: it was cut off, get it again")]
    Truncated {
        /// Within what.
        what: &'static str,
        /// Where that begins.
        at: u64,
    },
    /// A header is not one that this program writes.
    #[error(
        "the header at byte {at} is not one that `adit bundle export` writes: {why}; hint: a bundle must not be packed again by another program"
    )]
    Header {
        /// Where it is.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// Something follows the end.
    #[error("it goes on after its end at byte {at}; hint: it was altered, get it again")]
    Trailing {
        /// Where the end is.
        at: u64,
    },
}

/// The header of a regular file; `None` if name or length do not fit.
pub fn header(name: &str, len: u64) -> Option<[u8; RECORD]> {
    if name.is_empty() || name.len() > NAME_MAX || len > FILE_BYTES_MAX || name.contains('\0') {
        return None;
    }
    let mut header = [0; RECORD];
    let mut put = |at: usize, text: &str| {
        for (to, from) in header.iter_mut().skip(at).zip(text.bytes()) {
            *to = from;
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{len:011o}\0"));
    put(136, "00000000000\0");
    // The checksum is taken with spaces in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (to, from) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *to = from;
    }
    Some(header)
}

/// Writes an archive from its first file to its end.
pub struct Writer<W> {
    to: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// An archive without a file yet.
    pub fn new(to: W) -> Writer<W> {
        Writer { to, written: 0 }
    }

    /// Adds a file that is in memory.
    ///
    /// # Errors
    /// The system's, or one of the kind `InvalidInput` for a name that does not fit.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.stream(name, bytes.len() as u64, bytes)
    }

    /// Adds a file of `len` bytes from a reader.
    ///
    /// # Errors
    /// As [`Writer::file`]; of the kind `UnexpectedEof` if the reader has fewer or more bytes.
    pub fn stream(&mut self, name: &str, len: u64, mut from: impl io::Read) -> io::Result<()> {
        let header = header(name, len).ok_or(io::ErrorKind::InvalidInput)?;
        self.to.write_all(&header)?;
        let copied = io::copy(&mut from, &mut self.to)?;
        if copied != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padded = len.next_multiple_of(RECORD as u64);
        let padding = usize::try_from(padded.saturating_sub(len)).unwrap_or(0);
        self.to.write_all(&vec![0; padding])?;
        self.written = self
            .written
            .saturating_add(padded)
            .saturating_add(RECORD as u64);
        Ok(())
    }

    /// Ends the archive. Returns what it was written to, and its length.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.to.write_all(&[0; 2 * RECORD])?;
        self.to.flush()?;
        Ok((self.to, self.written.saturating_add(2 * RECORD as u64)))
    }
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where its bytes begin.
    pub at: u64,
    /// How many they are.
    pub len: u64,
}

/// Walks through the files of an archive, reading headers only.
pub struct Reader<'a> {
    file: &'a File,
    len: u64,
    at: u64,
}

impl<'a> Reader<'a> {
    /// At the first file.
    ///
    /// # Errors
    /// [`TarError::Io`].
    pub fn new(file: &'a File) -> Result<Reader<'a>, TarError> {
        Ok(Reader {
            len: file.metadata()?.len(),
            file,
            at: 0,
        })
    }

    /// The next file; `None` at the end, which is the end of the archive too.
    ///
    /// # Errors
    /// [`TarError`].
    pub fn next(&mut self) -> Result<Option<Member>, TarError> {
        let at = self.at;
        let header = self.record("a header")?;
        if header == [0; RECORD] {
            if self.record("its end")? != [0; RECORD] {
                return Err(TarError::Header {
                    at,
                    why: "it is empty",
                });
            }
            return match self.at == self.len {
                true => Ok(None),
                false => Err(TarError::Trailing { at: self.at }),
            };
        }
        let (name, len) = parse(&header).map_err(|why| TarError::Header { at, why })?;
        let begin = self.at;
        self.at = begin.saturating_add(len.next_multiple_of(RECORD as u64));
        if self.at > self.len {
            return Err(TarError::Truncated {
                what: "a file",
                at: begin,
            });
        }
        self.padding(begin, len)?;
        Ok(Some(Member {
            name,
            at: begin,
            len,
        }))
    }

    fn record(&mut self, what: &'static str) -> Result<[u8; RECORD], TarError> {
        let mut record = [0; RECORD];
        let end = self.at.saturating_add(RECORD as u64);
        if end > self.len {
            return Err(TarError::Truncated { what, at: self.at });
        }
        self.file.read_exact_at(&mut record, self.at)?;
        self.at = end;
        Ok(record)
    }

    /// What fills a file's last record must be zero, or there would be two archives of one content.
    fn padding(&self, begin: u64, len: u64) -> Result<(), TarError> {
        let end = begin.saturating_add(len);
        let padding = usize::try_from(self.at.saturating_sub(end)).unwrap_or(0);
        let mut record = [0; RECORD];
        let bytes = record.get_mut(..padding).unwrap_or_default();
        self.file.read_exact_at(bytes, end)?;
        match bytes.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(TarError::Header {
                at: end,
                why: "the file before it is followed by other bytes than zeros",
            }),
        }
    }
}

/// Name and length of a header, which must be the one that [`header`] makes of them.
fn parse(record: &[u8; RECORD]) -> Result<(String, u64), &'static str> {
    let name = record.get(..NAME_MAX).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    let digits = record.get(124..135).unwrap_or_default();
    let len = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 8).ok())
        .ok_or("its length is not eleven octal digits")?;
    match header(name, len) {
        Some(again) if again == *record => Ok((name.to_owned(), len)),
        _ => Err("it is a link or a folder, bears a date or an owner, or is damaged"),
    }
}

/// The bytes of a member.
///
/// # Errors
/// The system's.
pub fn read(file: &File, member: &Member) -> io::Result<Vec<u8>> {
    let len = usize::try_from(member.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, member.at)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, bytes) in files {
            writer.file(name, bytes).unwrap();
        }
        let (bytes, len) = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, len);
        bytes
    }

    fn walk(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, TarError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut reader = Reader::new(&file)?;
        let mut all = Vec::new();
        while let Some(member) = reader.next()? {
            let bytes = read(&file, &member)?;
            all.push((member.name, bytes));
        }
        Ok(all)
    }

    #[test]
    fn archives_round_trip_and_tar_reads_them() {
        let files: [(&str, &[u8]); 4] = [
            ("a", b""),
            ("tile/0/000.p/5", b"12345"),
            ("b", &[7; 512]),
            ("c", &[8; 513]),
        ];
        let bytes = archive(&files);
        assert_eq!(bytes.len(), 512 * (1 + 2 + 2 + 3 + 2));
        let found = walk(&bytes).unwrap();
        let expected = files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
        assert_eq!(found, expected);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, &bytes).unwrap();
        let listed = std::process::Command::new("tar")
            .arg("-tf")
            .arg(&path)
            .output()
            .unwrap();
        assert!(listed.status.success());
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed, "a\ntile/0/000.p/5\nb\nc\n");
    }

    #[test]
    fn every_cut_and_every_altered_byte_of_a_header_is_found() {
        let bytes = archive(&[("name", b"content")]);
        for len in 0..bytes.len() {
            assert!(walk(&bytes[..len]).is_err(), "{len}");
        }
        for at in (0..512).chain(519..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(walk(&bad).is_err(), "{at}");
        }
        let longer = [&bytes[..], &[0; 512]].concat();
        assert!(matches!(walk(&longer), Err(TarError::Trailing { .. })));
    }

    #[test]
    fn links_and_lengths_beyond_the_file_are_refused() {
        let mut link = archive(&[("name", b"")]);
        link[156] = b'2';
        link[157..168].copy_from_slice(b"/etc/passwd");
        link[148..156].copy_from_slice(b"        ");
        let sum: u32 = link[..512].iter().map(|byte| u32::from(*byte)).sum();
        link[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(matches!(walk(&link), Err(TarError::Header { .. })));
        let huge = header("name", FILE_BYTES_MAX).unwrap();
        let cut = [&huge[..], &[0; 1024]].concat();
        assert!(matches!(walk(&cut), Err(TarError::Truncated { .. })));
        assert!(header("name", FILE_BYTES_MAX + 1).is_none());
        assert!(header(&"x".repeat(101), 0).is_none());
        assert!(header("", 0).is_none());
    }
}
