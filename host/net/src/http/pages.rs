//! Lists in pages: `{"items": [...], "next_page_token": "..."}`.
//!
//! A token says where the next page begins. It is authenticated with a key of the server, so that a
//! handler can take what it finds in one for its own words; it is not encrypted. A token belongs to
//! one list with one set of filters, and is refused for any other.

use adit_protocol::Code;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::Problem;

/// The longest position that a token holds, in bytes.
pub const POSITION_BYTES_MAX: usize = 256;

/// The longest token, in characters.
const TOKEN_CHARS_MAX: usize = (32 + POSITION_BYTES_MAX) * 4 / 3 + 1;

/// The items of a page where the client does not say how many it wants.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// The most items of a page; a client that asks for more is given these.
pub const PAGE_SIZE_MAX: u32 = 500;

/// The parameters by which a client asks for a page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most items to answer with; 50 if it is not given, and 500 at most.
    page_size: Option<u32>,
    /// `next_page_token` of the page before; the first page if it is not given.
    page_token: Option<String>,
}

impl PageQuery {
    /// The number of items to answer with at most, 1 or more.
    ///
    /// # Errors
    /// `invalid-request` for a page without items.
    pub fn size(&self) -> Result<usize, Problem> {
        match self.page_size {
            None => Ok(PAGE_SIZE_DEFAULT as usize),
            Some(0) => Err(Problem::new(
                Code::InvalidRequest,
                "`page_size` is 0; hint: ask for at least one item",
            )),
            Some(size) => Ok(size.min(PAGE_SIZE_MAX) as usize),
        }
    }

    /// The position at which the page begins, `None` for the first page. `list` names the list and
    /// its filters.
    ///
    /// # Errors
    /// `invalid-request` if the token is not one of this list.
    pub fn position(&self, key: &PageKey, list: &str) -> Result<Option<Vec<u8>>, Problem> {
        match &self.page_token {
            None => Ok(None),
            Some(token) => key.open(list, token).map(Some).ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    "`page_token` is not one of this list; hint: take `next_page_token` of the page before, with the same filters; after a restart of the server begin anew",
                )
            }),
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for the next page with; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// The key that authenticates tokens. `Debug` does not show it.
#[derive(Clone)]
pub struct PageKey([u8; 32]);

impl PageKey {
    /// A key: random for a process, or kept with its state so that tokens survive a restart.
    pub fn new(key: [u8; 32]) -> PageKey {
        PageKey(key)
    }

    /// The token of a position in a list. A position above [`POSITION_BYTES_MAX`] is a fault of the
    /// caller, and has none.
    pub fn seal(&self, list: &str, position: &[u8]) -> Option<String> {
        if position.len() > POSITION_BYTES_MAX {
            return None;
        }
        let mut bytes = self.tag(list, position).as_bytes().to_vec();
        bytes.extend_from_slice(position);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn open(&self, list: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, position) = bytes.split_first_chunk::<32>()?;
        // Hashes of this crate are compared in constant time.
        (self.tag(list, position) == *tag).then(|| position.to_vec())
    }

    fn tag(&self, list: &str, position: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // The length in front, so that list and position cannot be divided in another way.
        hasher.update(&(list.len() as u64).to_le_bytes());
        hasher.update(list.as_bytes());
        hasher.update(position);
        hasher.finalize()
    }
}

impl std::fmt::Debug for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageKey(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_holds_for_its_own_list_and_key() {
        let key = PageKey::new([1; 32]);
        let token = key.seal("tasks", b"17").unwrap();
        assert_eq!(key.open("tasks", &token).as_deref(), Some(&b"17"[..]));
        assert_eq!(key.open("tasks1", &token), None);
        assert_eq!(key.open("task", &token), None);
        assert_eq!(PageKey::new([2; 32]).open("tasks", &token), None);
        // Another cut between list and position.
        let shifted = key.seal("task", b"s17").unwrap();
        assert_eq!(key.open("tasks", &shifted), None);
        assert_eq!(key.seal("tasks", &[0; POSITION_BYTES_MAX + 1]), None);
        let longest = key.seal("tasks", &[0; POSITION_BYTES_MAX]).unwrap();
        assert!(key.open("tasks", &longest).is_some());
    }

    #[test]
    fn sizes_are_bounded() {
        let size = |page_size| {
            PageQuery {
                page_size,
                page_token: None,
            }
            .size()
        };
        assert_eq!(size(None), Ok(50));
        assert_eq!(size(Some(u32::MAX)), Ok(500));
        assert!(size(Some(0)).is_err());
    }

    proptest! {
        #[test]
        fn foreign_tokens_are_refused(token in ".{0,600}", bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let key = PageKey::new([1; 32]);
            prop_assert_eq!(key.open("tasks", &token), None);
            prop_assert_eq!(key.open("tasks", &URL_SAFE_NO_PAD.encode(bytes)), None);
        }

        #[test]
        fn an_altered_token_is_refused(position in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let key = PageKey::new([1; 32]);
            let mut bytes = URL_SAFE_NO_PAD.decode(key.seal("tasks", &position).unwrap()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(key.open("tasks", &URL_SAFE_NO_PAD.encode(bytes)), None);
        }
    }
}
