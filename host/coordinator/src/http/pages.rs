//! Lists in pages: `{items, next_page_token}`. A token is opaque to clients.

use adit_net::Problem;
use adit_protocol::Code;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::engine::handle::PAGE_MAX;
use crate::view::Page;

/// Items of a page if nothing is said of it.
const PAGE_SIZE: u32 = 100;

/// Which page is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most items of the page, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    pub page_token: Option<String>,
}

/// A page.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pages<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to send as `page_token` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

impl PageQuery {
    /// Where the page begins, and its size.
    ///
    /// # Errors
    /// `invalid-request`.
    pub fn read(&self) -> Result<(Option<u64>, u32), Problem> {
        let size = self.page_size.unwrap_or(PAGE_SIZE);
        if size == 0 || size > PAGE_MAX {
            return Err(Problem::new(
                Code::InvalidRequest,
                format!("the parameter `page_size` is {size}, which is not from 1 to {PAGE_MAX}"),
            )
            .hint("leave it out, or correct it"));
        }
        let after = match &self.page_token {
            None => None,
            Some(token) => Some(read_token(token).ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    "the parameter `page_token` is none that was given out",
                )
                .hint("begin again without it")
            })?),
        };
        Ok((after, size))
    }
}

impl<T> From<Page<T>> for Pages<T> {
    fn from(page: Page<T>) -> Pages<T> {
        Pages {
            items: page.items,
            next_page_token: page
                .next
                .map(|next| URL_SAFE_NO_PAD.encode(next.to_be_bytes())),
        }
    }
}

fn read_token(token: &str) -> Option<u64> {
    if token.len() > 16 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_others_are_refused() {
        let page: Pages<u8> = Page {
            items: vec![1],
            next: Some(u64::MAX - 3),
        }
        .into();
        let query = PageQuery {
            page_size: Some(5),
            page_token: page.next_page_token,
        };
        assert_eq!(query.read().unwrap(), (Some(u64::MAX - 3), 5));
        for token in ["", "x", "AAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA", "\u{e9}"] {
            let query = PageQuery {
                page_size: None,
                page_token: Some(token.to_owned()),
            };
            assert!(query.read().is_err(), "{token}");
        }
        for size in [0, 1001] {
            let query = PageQuery {
                page_size: Some(size),
                page_token: None,
            };
            assert!(query.read().is_err());
        }
    }
}
