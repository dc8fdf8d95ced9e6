//! Entry bundles: the entries of a log in files of 256, each with its length before it (C2SP
//! `tlog-tiles`, "Log entries").

use thiserror::Error;

use super::tile::WIDTH;

/// The longest entry, in bytes: its length is a u16.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// Why entries make no bundle, or bytes are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// An entry is longer than [`MAX_ENTRY`].
    #[error(
        "entry {at} of the bundle has {found} bytes, more than the 65535 that a log takes; hint: put the data into a blob and its hash into the log"
    )]
    EntryLength {
        /// Which entry of the bundle.
        at: usize,
        /// Its bytes.
        found: usize,
    },
    /// There are none, or more than 256.
    #[error("a bundle has 1 to 256 entries, not {found}; hint: an empty one is not served at all")]
    Entries {
        /// How many there are, or 257 if there are more.
        found: usize,
    },
    /// The bytes end within an entry.
    #[error("the bundle ends within entry {at}; hint: the file was cut off")]
    Truncated {
        /// Which entry of the bundle.
        at: usize,
    },
    /// The number of entries is not the one that the file's path says.
    #[error(
        "the bundle has {found} entries, and its path says {expected}; hint: the file was exchanged or cut off"
    )]
    Count {
        /// How many it must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

/// The bytes of a bundle of 1 to 256 entries.
///
/// # Errors
/// [`BundleError::EntryLength`] or [`BundleError::Entries`].
pub fn encode<E: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = E>,
) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let mut count = 0;
    for (at, entry) in entries.into_iter().enumerate() {
        let entry = entry.as_ref();
        let found = entry.len();
        let length = u16::try_from(found).map_err(|_| BundleError::EntryLength { at, found })?;
        count = counted(at + 1)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    counted(count).map(|_| bytes)
}

/// The entries of a bundle, whatever their number.
///
/// # Errors
/// [`BundleError::Entries`] or [`BundleError::Truncated`].
pub fn decode(bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = entries.len();
        counted(at + 1)?;
        let entry = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(u16::from_be_bytes(*length).into()));
        let (entry, after) = entry.ok_or(BundleError::Truncated { at })?;
        entries.push(entry);
        rest = after;
    }
    counted(entries.len()).map(|_| entries)
}

/// The entries of the bundle of a path that says how many they are: see
/// [`Tile::width`](super::tile::Tile::width).
///
/// # Errors
/// [`BundleError`], but not [`BundleError::EntryLength`].
pub fn decode_width(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let entries = decode(bytes)?;
    let (expected, found) = (width.into(), entries.len());
    match expected == found {
        true => Ok(entries),
        false => Err(BundleError::Count { expected, found }),
    }
}

fn counted(found: usize) -> Result<usize, BundleError> {
    match (1..=usize::from(WIDTH)).contains(&found) {
        true => Ok(found),
        false => Err(BundleError::Entries { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_round_trip() {
        let long = vec![7; MAX_ENTRY];
        let entries: [&[u8]; 3] = [b"", b"abc", &long];
        let bytes = encode(entries).unwrap();
        assert_eq!(bytes[..8], *b"\0\0\0\x03abc\xff");
        assert_eq!(decode(&bytes), Ok(entries.to_vec()));
        assert_eq!(decode_width(&bytes, 3), Ok(entries.to_vec()));
        let full = encode([b"x"; 256]).unwrap();
        assert_eq!(decode_width(&full, 256).map(|list| list.len()), Ok(256));
    }

    #[test]
    fn what_is_no_bundle() {
        let found = MAX_ENTRY + 1;
        assert_eq!(
            encode([vec![], vec![0; found]]),
            Err(BundleError::EntryLength { at: 1, found })
        );
        let found = 0;
        assert_eq!(encode([""; 0]), Err(BundleError::Entries { found }));
        assert_eq!(decode(b""), Err(BundleError::Entries { found }));
        let found = 257;
        assert_eq!(encode([""; 300]), Err(BundleError::Entries { found }));
        assert_eq!(decode(&[0; 600]), Err(BundleError::Entries { found }));
        let bytes = encode(["abc", "de"]).unwrap();
        for (length, at) in [(1, 0), (2, 0), (4, 0), (6, 1), (8, 1)] {
            assert_eq!(
                decode(&bytes[..length]),
                Err(BundleError::Truncated { at }),
                "{length}"
            );
        }
        let (expected, found) = (3, 2);
        assert_eq!(
            decode_width(&bytes, 3),
            Err(BundleError::Count { expected, found })
        );
    }
}
