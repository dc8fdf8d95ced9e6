//! Documents with one signature of a node or an authority, each kind under a context of its own
//! (protocol.md, "Networks, keys, signatures": `adit-<type>-v1`).

use std::fmt;
use std::marker::PhantomData;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::cbor::{DecodeError, Document};
use crate::hash::Hash;
use crate::keys::{Keypair, PublicKey, PublicKeyError};
use crate::rand_core::{CryptoRng, RngCore};

/// A document that is signed.
pub trait Signable: Document {
    /// The signing context, as `adit-assignment-v1`.
    const CONTEXT: &'static [u8];
    /// What the document with its signature is called in messages.
    const SIGNED_NAME: &'static str;

    /// Signs it. The keypair must be that of whom the document names, or it will not verify.
    fn sign(&self, key: &Keypair, rng: &mut (impl CryptoRng + RngCore)) -> Signed<Self> {
        let body = self.to_cbor();
        let signature = key.sign(Self::CONTEXT, &body, rng);
        Signed {
            body,
            signature,
            kind: PhantomData,
        }
    }
}

/// An encoded document and a signature over its bytes: map {0 body b, 1 signature b64}. Nothing of
/// the body is read before [`Signed::verify`] or [`Signed::unverified`].
pub struct Signed<T> {
    body: Vec<u8>,
    signature: [u8; 64],
    kind: PhantomData<fn() -> T>,
}

impl<T: Signable> Signed<T> {
    /// A document that nobody has signed: its signature is zero, and [`Signed::verify`] fails.
    pub fn unsigned(document: &T) -> Signed<T> {
        Signed {
            body: document.to_cbor(),
            signature: [0; 64],
            kind: PhantomData,
        }
    }

    /// The signature alone, for forms that carry the document in another way.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Hash of the document without the signature, since one document has many valid signatures.
    pub fn body_hash(&self) -> Hash {
        Hash::of(&self.body)
    }

    /// The document, its signature **not** checked.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is no such document.
    pub fn unverified(&self) -> Result<T, DecodeError> {
        T::from_cbor(&self.body)
    }

    /// The document, if it is well formed and the key that `signer` finds in it signed it.
    ///
    /// # Errors
    /// [`SignedError`].
    pub fn verify(&self, signer: impl FnOnce(&T) -> [u8; 32]) -> Result<T, SignedError> {
        let body = self.unverified()?;
        PublicKey::from_bytes(&signer(&body))
            .map_err(|source| SignedError::Key {
                document: T::NAME,
                source,
            })?
            .verify(T::CONTEXT, &self.body, &self.signature)
            .map_err(|_| SignedError::Signature { document: T::NAME })?;
        Ok(body)
    }
}

/// So few signatures are checked one by one: a combined check gains nothing.
const SINGLE: usize = 4;

/// Whether one key signed each of the documents, which are checked together at about half the cost
/// of each alone. `rng` weighs them against each other; it must be unpredictable to whoever made
/// them.
pub fn verify_all<T: Signable>(
    documents: &[&Signed<T>],
    key: &PublicKey,
    rng: &mut (impl CryptoRng + RngCore),
) -> Vec<bool> {
    if documents.len() > SINGLE && together(documents, key, rng) {
        return vec![true; documents.len()];
    }
    let fits = |signed: &&Signed<T>| key.verify(T::CONTEXT, &signed.body, &signed.signature);
    documents
        .iter()
        .map(|signed| fits(signed).is_ok())
        .collect()
}

fn together<T: Signable>(
    documents: &[&Signed<T>],
    key: &PublicKey,
    rng: &mut (impl CryptoRng + RngCore),
) -> bool {
    let parsed = documents
        .iter()
        .map(|signed| schnorrkel::Signature::from_bytes(&signed.signature))
        .collect::<Result<Vec<_>, _>>();
    let Ok(signatures) = parsed else {
        return false;
    };
    let context = schnorrkel::signing_context(T::CONTEXT);
    let transcripts = documents.iter().map(|signed| context.bytes(&signed.body));
    let keys = vec![key.inner(); documents.len()];
    schnorrkel::verify_batch_rng(transcripts, &signatures, &keys, true, &mut *rng).is_ok()
}

/// Why a signed document is nobody's word.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignedError {
    /// What was signed is no such document.
    #[error(transparent)]
    Body(#[from] DecodeError),
    /// The signer's key is no public key.
    #[error("the key that should have signed the {document} is not usable: {source}")]
    Key {
        /// The kind of document.
        document: &'static str,
        /// What is wrong with the key.
        source: PublicKeyError,
    },
    /// The signature does not fit.
    #[error(
        "the signature of the {document} does not fit; hint: it was altered after signing, or another key signed it"
    )]
    Signature {
        /// The kind of document.
        document: &'static str,
    },
}

impl<T: Signable> Document for Signed<T> {
    const NAME: &'static str = T::SIGNED_NAME;
    // The body, two heads of at most 9 bytes, two keys, the map's head and the signature.
    const MAX_LEN: usize = T::MAX_LEN + 128;
    const MAX_BYTES: usize = if T::MAX_LEN > 64 { T::MAX_LEN } else { 64 };
}

impl<T, C> Encode<C> for Signed<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.map(2)?.u8(0)?.bytes(&self.body)?;
        e.u8(1)?.bytes(&self.signature)?;
        Ok(())
    }
}

impl<'b, T, C> Decode<'b, C> for Signed<T> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let error = minicbor::decode::Error::message;
        if d.map()? != Some(2) {
            return Err(error("it has not the two fields body and signature"));
        }
        if d.u8()? != 0 {
            return Err(error("its first field is not the body"));
        }
        let body = d.bytes()?.to_vec();
        if d.u8()? != 1 {
            return Err(error("its second field is not the signature"));
        }
        let signature = d
            .bytes()?
            .try_into()
            .map_err(|_| error("a signature has 64 bytes"))?;
        Ok(Signed {
            body,
            signature,
            kind: PhantomData,
        })
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Signed {
            body: self.body.clone(),
            signature: self.signature,
            kind: PhantomData,
        }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("body", &crate::hex::digits(&self.body))
            .field("signature", &crate::hex::digits(&self.signature))
            .finish()
    }
}

/// The document's fields, or null where it is malformed, beside the signature.
impl<T: Signable + Serialize> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut map = s.serialize_struct("Signed", 2)?;
        map.serialize_field("body", &self.unverified().ok())?;
        let signature = crate::hex::prefixed(&self.signature);
        map.serialize_field("signature", &signature)?;
        map.end()
    }
}
