//! The files in the input: those of a tar archive, or the input itself.

use std::fmt;
use std::io::Cursor;

use tar::{Archive, EntryType, Header};

/// How many files one run takes.
pub const FILES_MAX: usize = 10_000;
/// How many bytes of a name are kept.
pub const NAME_BYTES_MAX: usize = 1024;

const HEADER_BYTES: usize = 512;

/// A file of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name in the archive; bytes that are not UTF-8 are U+FFFD. `-` without an archive.
    pub name: String,
    /// Its bytes, within the input.
    pub content: &'a [u8],
}

/// The files of the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// In the archive's order.
    pub files: Vec<File<'a>>,
    /// How many entries are neither files nor directories: links, devices, sparse files.
    pub skipped: usize,
}

/// Why an archive cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum ListError {
    /// It is damaged or inconsistent: in which entry, counted from 0, and how.
    Broken(usize, String),
    /// The file of this name goes on after the archive's end.
    Truncated(String),
    /// It holds more than [`FILES_MAX`] files.
    TooMany,
}

/// Finds the files of `input`, without copying their bytes.
///
/// # Errors
///
/// See [`ListError`].
pub fn list(input: &[u8]) -> Result<Listing<'_>, ListError> {
    if !is_tar(input) {
        let name = "-".to_string();
        let files = vec![File {
            name,
            content: input,
        }];
        return Ok(Listing { files, skipped: 0 });
    }
    let mut listing = Listing {
        files: Vec::new(),
        skipped: 0,
    };
    let mut archive = Archive::new(Cursor::new(input));
    let entries = archive
        .entries_with_seek()
        .map_err(|error| ListError::Broken(0, error.to_string()))?;
    for (index, entry) in entries.enumerate() {
        let entry = entry.map_err(|error| ListError::Broken(index, error.to_string()))?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory | EntryType::XGlobalHeader => continue,
            _ => {
                listing.skipped += 1;
                continue;
            }
        }
        let path = entry.path_bytes();
        let name = path.get(..NAME_BYTES_MAX).unwrap_or(&path);
        let name = String::from_utf8_lossy(name).into_owned();
        if listing.files.len() == FILES_MAX {
            return Err(ListError::TooMany);
        }
        // The archive's word for where the bytes lie is checked against the input, not trusted.
        let content = slice(input, entry.raw_file_position(), entry.size());
        let Some(content) = content else {
            return Err(ListError::Truncated(name));
        };
        listing.files.push(File { name, content });
    }
    Ok(listing)
}

fn slice(input: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    input.get(start..end)
}

/// Whether `input` begins with a tar header, told by its checksum: old archives have no magic.
fn is_tar(input: &[u8]) -> bool {
    let Some(bytes) = input.get(..HEADER_BYTES) else {
        return false;
    };
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(offset, &byte)| {
            // The checksum's own field counts as spaces.
            u32::from(if (148..156).contains(&offset) {
                b' '
            } else {
                byte
            })
        })
        .sum();
    let header = Header::from_byte_slice(bytes);
    // The crate reads a field of zeros as 0, which no header sums to: the spaces count 256.
    header.cksum().is_ok_and(|stated| stated == sum)
}

impl fmt::Display for ListError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(index, reason) => write!(
                formatter,
                "the tar archive cannot be read at entry {index}: {reason}; hint: make it with \
                 `tar c FILES`"
            ),
            Self::Truncated(name) => write!(
                formatter,
                "the tar archive ends within the file {name:?}; hint: send the whole archive"
            ),
            Self::TooMany => write!(
                formatter,
                "the tar archive holds more than {FILES_MAX} files; hint: split it"
            ),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An archive with these files.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn anything_but_an_archive_is_one_file() {
        for input in [&b""[..], b"hello", &[0; 2048], &[b'0'; 600]] {
            let listing = list(input).unwrap();
            assert_eq!(listing.files.len(), 1);
            assert_eq!(listing.files[0].content, input);
        }
    }

    #[test]
    fn files_come_in_order_and_other_entries_are_counted() {
        let long_name = "d/".repeat(80) + "long.txt";
        let mut builder = tar::Builder::new(archive(&[("a.txt", b"A"), (&long_name, b"")]));
        // `Builder` goes on after the first archive's two blocks of zeros; cut them off.
        let length = builder.get_ref().len() - 1024;
        builder.get_mut().truncate(length);
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "link", "a.txt").unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        builder
            .append_data(&mut header, "dir", std::io::empty())
            .unwrap();
        let bytes = builder.into_inner().unwrap();

        let listing = list(&bytes).unwrap();
        let names: Vec<&str> = listing.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["a.txt", &long_name]);
        assert_eq!(listing.files[0].content, b"A");
        assert_eq!(listing.skipped, 1);
    }

    #[test]
    fn an_archive_that_ends_early_is_refused() {
        let bytes = archive(&[("a", &[7; 2000]), ("b", &[8; 2000])]);
        let cut = list(&bytes[..512 + 2048 + 512 + 100]);
        assert_eq!(cut, Err(ListError::Truncated("b".into())));
    }

    #[test]
    fn sizes_that_lie_do_not_panic() {
        for size in [u64::MAX, u64::MAX - 511, 1 << 40] {
            let mut header = Header::new_gnu();
            header.set_path("big").unwrap();
            header.set_size(size);
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend_from_slice(&[0; 1024]);
            assert!(list(&bytes).is_err(), "{size}");
        }
    }

    #[test]
    fn every_single_damaged_byte_of_a_header_is_survived() {
        let original = archive(&[("a", b"one"), ("b", b"two")]);
        for offset in 0..original.len() {
            let mut bytes = original.clone();
            bytes[offset] ^= 0xff;
            // Which answer is right depends on the byte; that there is one is the point.
            if let Ok(listing) = list(&bytes) {
                assert!(!listing.files.is_empty());
            }
        }
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let files = vec![("same", &b""[..]); FILES_MAX + 1];
        assert_eq!(list(&archive(&files)), Err(ListError::TooMany));
    }
}
