//! The headers of a signature, read strictly: bounded, and in one form only.

use adit_protocol::keys::{PublicKey, PublicKeyError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use thiserror::Error;

use super::{ALG, CONTENT_DIGEST, LABEL, SIGNATURE, SIGNATURE_INPUT, TAG, base};

/// The longest `signature-input`, in bytes. Ours have about 250.
const INPUT_BYTES_MAX: usize = 512;

/// The shortest and the longest nonce, in characters.
pub const NONCE_CHARS: std::ops::RangeInclusive<usize> = 16..=64;

/// What the headers of a signed request say. Nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The parameters as they were sent: the last line of the base.
    pub parameters: String,
    /// When it was signed, in seconds since 1970 by the signer's clock.
    pub created_s: u64,
    /// What makes the request unique.
    pub nonce: String,
    /// Who claims to have signed.
    pub node: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
    /// The SHA-256 of the body and the header that says so, if it is covered.
    pub digest: Option<([u8; 32], String)>,
}

/// What is wrong with the headers of a signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// A header is not there.
    #[error("the header `{0}` is missing; hint: requests of nodes are signed")]
    Missing(HeaderName),
    /// A header is there more than once.
    #[error("the header `{0}` is there more than once; hint: send one")]
    Repeated(HeaderName),
    /// A header is too long or not in the profile's form.
    #[error("the header `{header}` is not in the form of this profile of RFC 9421: {what}")]
    Form {
        /// The header.
        header: HeaderName,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key that is named cannot be one.
    #[error("the parameter `keyid` is no key: {0}")]
    Key(PublicKeyError),
}

/// Reads the headers.
///
/// # Errors
/// [`HeaderError`].
pub fn headers(headers: &HeaderMap) -> Result<Headers, HeaderError> {
    let input = single(headers, &SIGNATURE_INPUT)?;
    let input_form = |what| HeaderError::Form {
        header: SIGNATURE_INPUT,
        what,
    };
    let parameters = input
        .strip_prefix(LABEL)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or(input_form("it does not begin with `sig=`"))?;
    // The longer list first: the other one is not a prefix of it, but order should not matter.
    let (with_body, rest) = if let Some(rest) = parameters.strip_prefix(base::WITH_BODY) {
        (true, rest)
    } else if let Some(rest) = parameters.strip_prefix(base::WITHOUT_BODY) {
        (false, rest)
    } else {
        return Err(input_form(
            "other components are covered, or in another order",
        ));
    };
    let fields = Fields::parse(rest).map_err(input_form)?;
    let node = PublicKey::from_bytes(&fields.key).map_err(HeaderError::Key)?;
    let digest = match with_body {
        true => {
            let value = single(headers, &CONTENT_DIGEST)?;
            let bytes = byte_sequence(value, "sha-256").ok_or(HeaderError::Form {
                header: CONTENT_DIGEST,
                what: "it is not `sha-256=:`, 32 bytes in base64, `:`",
            })?;
            Some((bytes, value.to_owned()))
        }
        false => None,
    };
    let signature = single(headers, &SIGNATURE)?;
    let signature = byte_sequence(signature, LABEL).ok_or(HeaderError::Form {
        header: SIGNATURE,
        what: "it is not `sig=:`, 64 bytes in base64, `:`",
    })?;
    Ok(Headers {
        parameters: parameters.to_owned(),
        created_s: fields.created_s,
        nonce: fields.nonce,
        node,
        signature,
        digest,
    })
}

/// The one value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, HeaderError> {
    let mut values = headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| HeaderError::Missing(name.clone()))?;
    if values.next().is_some() {
        return Err(HeaderError::Repeated(name.clone()));
    }
    let form = |what| HeaderError::Form {
        header: name.clone(),
        what,
    };
    if value.len() > INPUT_BYTES_MAX {
        return Err(form("it is too long"));
    }
    value
        .to_str()
        .map_err(|_| form("it has characters beyond ASCII"))
}

/// A dictionary of one byte sequence (RFC 8941): `label=:base64:`.
fn byte_sequence<const N: usize>(value: &str, label: &str) -> Option<[u8; N]> {
    let base64 = value
        .strip_prefix(label)?
        .strip_prefix("=:")?
        .strip_suffix(':')?;
    // The engine takes padding in its one right form, and no bits that would be lost.
    STANDARD.decode(base64).ok()?.try_into().ok()
}

/// The parameters behind the components.
struct Fields {
    created_s: u64,
    nonce: String,
    key: [u8; 32],
}

impl Fields {
    fn parse(text: &str) -> Result<Fields, &'static str> {
        let (mut created_s, mut nonce, mut key) = (None, None, None);
        let (mut alg, mut tag) = (None, None);
        let text = text.strip_prefix(';').ok_or("there are no parameters")?;
        for part in text.split(';') {
            let (name, value) = part.split_once('=').ok_or("a parameter has no value")?;
            let repeated = match name {
                "created" => created_s.replace(integer(value)?).is_some(),
                "nonce" => nonce.replace(quoted(value)?).is_some(),
                "keyid" => key.replace(hex_key(quoted(value)?)?).is_some(),
                "alg" => alg.replace(quoted(value)?).is_some(),
                "tag" => tag.replace(quoted(value)?).is_some(),
                _ => return Err("there is a parameter that is not part of it"),
            };
            if repeated {
                return Err("a parameter is there twice");
            }
        }
        if alg != Some(ALG) {
            return Err("`alg` is not \"sr25519\"");
        }
        if tag != Some(TAG) {
            return Err("`tag` is not \"adit-request\"");
        }
        let nonce = nonce.ok_or("`nonce` is missing")?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !NONCE_CHARS.contains(&nonce.len()) || !nonce.chars().all(word) {
            return Err("`nonce` is not 16 to 64 of A-Z, a-z, 0-9, - and _");
        }
        Ok(Fields {
            created_s: created_s.ok_or("`created` is missing")?,
            nonce: nonce.to_owned(),
            key: key.ok_or("`keyid` is missing")?,
        })
    }
}

/// An integer in its one form: digits without a leading zero.
fn integer(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "`created` is not seconds since 1970";
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() > 15 || text.len() > 1 && text.starts_with('0') {
        return Err(WRONG);
    }
    text.parse().map_err(|_| WRONG)
}

/// A string between quotation marks. Values of this profile need no escapes, and `;` is in none.
fn quoted(text: &str) -> Result<&str, &'static str> {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| !text.contains(['"', '\\']))
        .ok_or("a parameter is not between quotation marks")
}

fn hex_key(text: &str) -> Result<[u8; 32], &'static str> {
    const WRONG: &str = "`keyid` is not `0x` and 64 digits 0-9, a-f";
    let digits = text.strip_prefix("0x").ok_or(WRONG)?.as_bytes();
    let mut key = [0u8; 32];
    if digits.len() != 64 {
        return Err(WRONG);
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(WRONG),
            };
            *byte = (*byte << 4) | value;
        }
    }
    Ok(key)
}
