//! Rows of fixed length: integers little-endian, one field after the other, nothing between them.

use std::io::{self, Read};

/// A row of a fixed layout.
pub(crate) trait Row: Sized {
    /// Its length in bytes.
    const LEN: usize;

    /// Appends its fields, `LEN` bytes.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads it from a slice of `LEN` bytes.
    fn decode(fields: &mut Fields<'_>) -> Self;
}

/// Takes fields from the front of a row.
pub(crate) struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Fields<'a> {
        Fields { left: row }
    }

    /// The next `N` bytes. The row's length is a constant that the tests compare with its fields;
    /// what is beyond the end reads as zeros, so that no mistake in it can be a panic.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.left.split_first_chunk::<N>() {
            Some((field, left)) => {
                self.left = left;
                *field
            }
            None => {
                self.left = &[];
                [0; N]
            }
        }
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(crate) fn u128(&mut self) -> u128 {
        u128::from_le_bytes(self.bytes())
    }
}

/// Reads rows one after the other through one buffer.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    from: R,
    row: Vec<u8>,
}

/// Why there is no row.
pub(crate) enum NoRow {
    /// The stream ended within it or before it.
    Ended,
    /// The stream failed.
    Failed(io::Error),
}

impl<R: Read> Rows<R> {
    pub(crate) fn new(from: R) -> Rows<R> {
        Rows {
            from,
            row: Vec::new(),
        }
    }

    pub(crate) fn next<T: Row>(&mut self) -> Result<T, NoRow> {
        self.row.resize(T::LEN, 0);
        match self.from.read_exact(&mut self.row) {
            Ok(()) => Ok(T::decode(&mut Fields::new(&self.row))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(NoRow::Ended),
            Err(error) => Err(NoRow::Failed(error)),
        }
    }

    /// Whether the stream ends here.
    pub(crate) fn ended(&mut self) -> io::Result<bool> {
        loop {
            match self.from.read(&mut [0]) {
                Ok(read) => return Ok(read == 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// That encoding and decoding take exactly `LEN` bytes and are each other's inverse.
#[cfg(test)]
pub(crate) fn assert_fixed<T: Row + PartialEq + std::fmt::Debug>(row: &T) {
    let mut bytes = Vec::new();
    row.encode(&mut bytes);
    assert_eq!(bytes.len(), T::LEN);
    let mut fields = Fields::new(&bytes);
    assert_eq!(T::decode(&mut fields), *row);
    assert!(fields.left.is_empty(), "not all of the row is read");
}
