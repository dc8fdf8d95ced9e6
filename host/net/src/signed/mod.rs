//! Signed requests of nodes: RFC 9421 HTTP message signatures with sr25519.
//!
//! ```text
//! content-digest: sha-256=:<base64>:
//! signature-input: sig=("@method" "@authority" "@path" "@query" "content-digest")
//!     ;created=1700000000;nonce="<22 characters>";keyid="0x<hex>";alg="sr25519";tag="adit-request"
//! signature: sig=:<base64>:
//! ```
//!
//! (`signature-input` is one line.) The signature is made over the base of RFC 9421, 2.5, under the
//! signing context [`CONTEXT`]. A request without a body, or whose body is named by a hash in its
//! path, may leave out the digest. This is a profile, not all of the RFC: exactly these components
//! in this order, exactly these parameters, each once, no optional white space, one signature.
//! What is not in it is refused.
//!
//! A request counts once: its `created` must be recent, and its nonce new ([`nonces`]). Its
//! authority must be one of the server's own, so that what was signed for one coordinator is of no
//! use with another.
//!
//! | file | subject |
//! |---|---|
//! | this file | signing |
//! | [`base`] | what is signed |
//! | [`parse`] | the headers, read strictly |
//! | [`nonces`] | which requests were seen |
//! | [`verify`] | checking, and the extractors for handlers |

pub mod base;
pub mod nonces;
pub mod parse;
pub mod verify;

use adit_protocol::keys::Keypair;
use adit_protocol::rand_core::{CryptoRng, RngCore};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

pub use base::Target;
pub use verify::{Gate, RequestVerifier, SignedBody, SignedError, SignedHead, Verified};

/// The signing context of requests.
pub const CONTEXT: &[u8] = b"adit-request-v1";

/// The value of the parameter `tag`.
pub const TAG: &str = "adit-request";

/// The value of the parameter `alg`. It is not in IANA's registry.
pub const ALG: &str = "sr25519";

/// The label of the signature in both headers.
pub const LABEL: &str = "sig";

/// `content-digest` (RFC 9530).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// `signature-input` (RFC 9421).
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// `signature` (RFC 9421).
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The SHA-256 digest of a body.
pub fn sha256(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// A nonce of 16 random bytes, as 22 characters.
pub fn nonce(rng: &mut (impl CryptoRng + RngCore)) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs a request and puts the headers of the signature into `headers`, in place of any that are
/// there. `digest` is the [`sha256`] of the body, or `None` if the body is not signed; `created_s`
/// is in seconds since 1970; `nonce` must be new for each request and is best one of [`nonce`].
pub fn sign(
    headers: &mut HeaderMap,
    target: &Target<'_>,
    digest: Option<[u8; 32]>,
    created_s: u64,
    nonce: &str,
    node: &Keypair,
    rng: &mut (impl CryptoRng + RngCore),
) {
    let digest = digest.map(content_digest);
    let parameters = base::parameters(digest.is_some(), created_s, nonce, &node.public());
    let base = base::signature_base(target, digest.as_deref(), &parameters);
    let signature = STANDARD.encode(node.sign(CONTEXT, base.as_bytes(), rng));
    headers.remove(CONTENT_DIGEST);
    let values = [
        (CONTENT_DIGEST, digest),
        (SIGNATURE_INPUT, Some(format!("{LABEL}={parameters}"))),
        (SIGNATURE, Some(format!("{LABEL}=:{signature}:"))),
    ];
    for (name, value) in values {
        // Base64, digits and quoted names: always a header value, unless the nonce is none, and
        // then the request goes out unsigned and is refused.
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
}

/// The value of `content-digest`.
fn content_digest(sha256: [u8; 32]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256))
}
