//! A pass over encoded bytes, before anything is allocated, that refuses whatever deterministic
//! CBOR (RFC 8949, 4.2.1) or the bounds of a document do not allow.

use super::Reason;

/// The deepest nesting of arrays and maps in any document; the deepest in use is 5.
const MAX_DEPTH: usize = 8;

/// What a document allows.
pub(super) struct Bounds {
    /// Entries of an array or a map.
    pub items: usize,
    /// Bytes of a text.
    pub text: usize,
    /// Bytes of a byte string.
    pub bytes: usize,
}

/// Checks that `bytes` are exactly one data item in deterministic encoding within `bounds`.
pub(super) fn scan(bytes: &[u8], bounds: &Bounds) -> Result<(), Reason> {
    let mut scanner = Scanner {
        bytes,
        at: 0,
        bounds,
    };
    scanner.item(MAX_DEPTH)?;
    if scanner.at == bytes.len() {
        Ok(())
    } else {
        Err(Reason::Trailing { offset: scanner.at })
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    bounds: &'a Bounds,
}

impl<'a> Scanner<'a> {
    fn refuse<T>(&self, offset: usize, what: &'static str) -> Result<T, Reason> {
        Err(Reason::NotDeterministic { offset, what })
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Reason> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(Reason::CutOff {
                offset: self.bytes.len(),
            }),
        }
    }

    /// Reads an initial byte and its argument; the argument must have its shortest form.
    fn head(&mut self) -> Result<(u8, u64), Reason> {
        let offset = self.at;
        let initial = self.take(1)?.first().copied().unwrap_or(0);
        let (major, info) = (initial >> 5, initial & 31);
        let (width, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return self.refuse(offset, "a length that is not given in advance"),
            _ => return self.refuse(offset, "a reserved initial byte"),
        };
        // A float has the widths of an integer but no shortest form to check here.
        if major == 7 {
            return self.refuse(offset, "a float or an unassigned simple value");
        }
        let argument = self
            .take(width)?
            .iter()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        if argument < least {
            return self.refuse(
                offset,
                "an integer or length that is not in its shortest form",
            );
        }
        Ok((major, argument))
    }

    fn bounded(
        &self,
        offset: usize,
        what: &'static str,
        found: u64,
        max: usize,
    ) -> Result<(), Reason> {
        if found > max as u64 {
            Err(Reason::OverBound {
                offset,
                what,
                found,
                max: max as u64,
            })
        } else {
            Ok(())
        }
    }

    fn item(&mut self, depth: usize) -> Result<(), Reason> {
        let offset = self.at;
        let (major, argument) = self.head()?;
        match major {
            0 => Ok(()),
            2 => {
                self.bounded(offset, "byte string", argument, self.bounds.bytes)?;
                self.take(argument).map(drop)
            }
            3 => {
                self.bounded(offset, "text", argument, self.bounds.text)?;
                match std::str::from_utf8(self.take(argument)?) {
                    Ok(_) => Ok(()),
                    Err(_) => self.refuse(offset, "a text that is not UTF-8"),
                }
            }
            4 => {
                self.bounded(offset, "array", argument, self.bounds.items)?;
                let depth = self.deeper(offset, depth)?;
                (0..argument).try_for_each(|_| self.item(depth))
            }
            5 => {
                self.bounded(offset, "map", argument, self.bounds.items)?;
                let depth = self.deeper(offset, depth)?;
                self.map(argument, depth)
            }
            6 if argument == 2 => self.bignum(),
            7 if argument == 20 || argument == 21 => Ok(()),
            _ => self.refuse(offset, "a kind of value that no document uses"),
        }
    }

    fn deeper(&self, offset: usize, depth: usize) -> Result<usize, Reason> {
        depth.checked_sub(1).ok_or(Reason::OverBound {
            offset,
            what: "nesting",
            found: MAX_DEPTH as u64 + 1,
            max: MAX_DEPTH as u64,
        })
    }

    /// The entries of a map: keys are integers or texts, strictly ascending as encoded bytes.
    fn map(&mut self, count: u64, depth: usize) -> Result<(), Reason> {
        let mut previous: &[u8] = &[];
        for _ in 0..count {
            let start = self.at;
            // No key needs nesting, so none is allowed any.
            self.item(0)?;
            let key = self.bytes.get(start..self.at).unwrap_or_default();
            if key
                .first()
                .is_some_and(|initial| !matches!(initial >> 5, 0 | 3))
            {
                return self.refuse(start, "a key that is neither an integer nor a text");
            }
            if key <= previous {
                return self.refuse(start, "a key that is repeated or out of order");
            }
            previous = key;
            self.item(depth)?;
        }
        Ok(())
    }

    /// A tag-2 bignum: 9 to 16 bytes without a leading zero, since less fits a plain integer.
    fn bignum(&mut self) -> Result<(), Reason> {
        let offset = self.at;
        let (major, length) = self.head()?;
        if major != 2 || !(9..=16).contains(&length) {
            return self.refuse(offset, "a large integer that is not 9 to 16 bytes");
        }
        if self.take(length)?.first() == Some(&0) {
            return self.refuse(offset, "a large integer with a leading zero");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Result<(), Reason> {
        let bounds = Bounds {
            items: 4,
            text: 4,
            bytes: 64,
        };
        scan(bytes, &bounds)
    }

    #[test]
    fn deterministic_items_pass() {
        for bytes in [
            &[0x00][..],
            &[0x17],
            &[0x18, 24],
            &[0x19, 1, 0],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            &[0x43, 1, 2, 3],
            &[0x62, b'a', b'b'],
            &[0x82, 0x01, 0xf5],
            &[0xa2, 0x00, 0x01, 0x01, 0x02],
            &[0xa2, 0x61, b'b', 0x01, 0x62, b'a', b'a', 0x02],
            &[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(check(bytes), Ok(()), "{bytes:x?}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_place() {
        let not = |offset, what| Err(Reason::NotDeterministic { offset, what });
        let shortest = "an integer or length that is not in its shortest form";
        let order = "a key that is repeated or out of order";
        for (bytes, expected) in [
            (&[][..], Err(Reason::CutOff { offset: 0 })),
            (&[0x19, 1], Err(Reason::CutOff { offset: 2 })),
            (&[0x43, 1], Err(Reason::CutOff { offset: 2 })),
            (&[0x82, 0x00], Err(Reason::CutOff { offset: 2 })),
            (&[0x00, 0x00], Err(Reason::Trailing { offset: 1 })),
            (&[0x18, 23], not(0, shortest)),
            (&[0x1a, 0, 0, 255, 255], not(0, shortest)),
            (&[0x58, 1, 9], not(0, shortest)),
            (&[0x1c], not(0, "a reserved initial byte")),
            (
                &[0x9f, 0xff],
                not(0, "a length that is not given in advance"),
            ),
            (
                &[0xf9, 0, 0],
                not(0, "a float or an unassigned simple value"),
            ),
            (&[0xf8, 32], not(0, "a float or an unassigned simple value")),
            (&[0x20], not(0, "a kind of value that no document uses")),
            (&[0xf6], not(0, "a kind of value that no document uses")),
            (
                &[0xc1, 0x00],
                not(0, "a kind of value that no document uses"),
            ),
            (&[0x62, 0xff, 0xff], not(0, "a text that is not UTF-8")),
            (&[0xa2, 0x01, 0x00, 0x00, 0x00], not(3, order)),
            (&[0xa2, 0x01, 0x00, 0x01, 0x00], not(3, order)),
            (
                &[0xa2, 0x62, b'a', b'a', 0x01, 0x61, b'b', 0x02],
                not(5, order),
            ),
            (
                &[0xa1, 0x41, 0x00, 0x00],
                not(1, "a key that is neither an integer nor a text"),
            ),
            (
                &[0xc2, 0x48, 1, 0, 0, 0, 0, 0, 0, 0],
                not(1, "a large integer that is not 9 to 16 bytes"),
            ),
            (
                &[0xc2, 0x49, 0, 1, 0, 0, 0, 0, 0, 0, 0],
                not(1, "a large integer with a leading zero"),
            ),
            (
                &[0x85],
                Err(Reason::OverBound {
                    offset: 0,
                    what: "array",
                    found: 5,
                    max: 4,
                }),
            ),
            (
                &[0x65],
                Err(Reason::OverBound {
                    offset: 0,
                    what: "text",
                    found: 5,
                    max: 4,
                }),
            ),
            (
                &[0x58, 65],
                Err(Reason::OverBound {
                    offset: 0,
                    what: "byte string",
                    found: 65,
                    max: 64,
                }),
            ),
            (
                &[0x81; 9],
                Err(Reason::OverBound {
                    offset: 8,
                    what: "nesting",
                    found: 9,
                    max: 8,
                }),
            ),
            (
                &[0xa1, 0x80],
                Err(Reason::OverBound {
                    offset: 1,
                    what: "nesting",
                    found: 9,
                    max: 8,
                }),
            ),
        ] {
            assert_eq!(check(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_that_would_overflow_is_cut_off_or_over_its_bound() {
        let mut bytes = vec![0x5b];
        bytes.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(matches!(check(&bytes), Err(Reason::OverBound { .. })));
    }
}
