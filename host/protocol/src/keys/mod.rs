//! sr25519 keys: Schnorr signatures on Ristretto255, as Substrate chains and wallets use them.
//!
//! | part | subject |
//! |---|---|
//! | this file | keypairs, public keys, signatures |
//! | [`uri`] | secret URIs, `phrase//hard/soft///password` |
//! | [`mnemonic`] | recovery phrases (BIP39) |
//! | [`ss58`] | addresses |
//! | [`vrf`] | the verifiable random function
//! | [`keystore`] | encrypted key files, as polkadot-js writes them |

pub mod keystore;
pub mod mnemonic;
pub mod ss58;
pub mod uri;
pub mod vrf;

use std::fmt;

use schnorrkel::context::attach_rng;
use schnorrkel::{ExpansionMode, MiniSecretKey, Signature, signing_context};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::rand_core::{CryptoRng, RngCore};

/// A secret key with its public key. The secret is wiped from memory when it is dropped, and
/// `Debug` does not show it.
#[derive(Clone)]
pub struct Keypair(schnorrkel::Keypair);

impl Keypair {
    /// The keypair of a 32-byte seed, expanded as Substrate does (the Ed25519 way).
    pub fn from_seed(seed: [u8; 32]) -> Keypair {
        let seed = Zeroizing::new(seed);
        Keypair::from_mini_secret(&MiniSecretKey::from_bytes(&*seed).unwrap_or_else(|_| {
            unreachable!("a mini secret key is any 32 bytes");
        }))
    }

    /// A new keypair from the caller's randomness.
    pub fn generate(rng: &mut (impl CryptoRng + RngCore)) -> Keypair {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Keypair::from_seed(*seed)
    }

    /// The keypair of a secret URI: see [`uri`].
    ///
    /// # Errors
    /// [`uri::UriError`] if the text is not one.
    pub fn from_uri(uri: &str) -> Result<Keypair, uri::UriError> {
        uri::keypair(uri)
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public)
    }

    /// Signs `message` under a signing context, which keeps signatures for one purpose from being
    /// taken for another. `rng` guards against side channels; two signatures of one message differ.
    pub fn sign(
        &self,
        context: &[u8],
        message: &[u8],
        rng: &mut (impl CryptoRng + RngCore),
    ) -> [u8; 64] {
        self.0
            .sign(attach_rng(signing_context(context).bytes(message), rng))
            .to_bytes()
    }

    pub(crate) fn from_mini_secret(secret: &MiniSecretKey) -> Keypair {
        Keypair(secret.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// The 64-byte secret in Ed25519 form: scalar times 8, then the nonce seed.
    pub(crate) fn secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.secret.to_ed25519_bytes())
    }

    /// The inverse of [`Keypair::secret_bytes`]; `None` if the scalar is out of range or zero.
    pub(crate) fn from_secret_bytes(bytes: &[u8; 64]) -> Option<Keypair> {
        let keypair = Keypair(
            schnorrkel::SecretKey::from_ed25519_bytes(bytes)
                .ok()?
                .to_keypair(),
        );
        PublicKey::from_bytes(&keypair.public().to_bytes()).ok()?;
        Some(keypair)
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?}, secret not shown)", self.public())
    }
}

/// A public key that is safe to verify with: a valid Ristretto point other than the identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(schnorrkel::PublicKey);

/// Why 32 bytes are no usable public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// All bytes are zero: the identity, under which anyone can sign. Ristretto has no other
    /// point of small order.
    #[error(
        "a key of zeros is refused, since anyone can sign under it; hint: a field was left empty"
    )]
    Zero,
    /// The bytes encode no point.
    #[error("the 32 bytes are not a public key; hint: it was altered, or is a key of another kind")]
    NotAPoint,
}

/// A signature that does not fit key, context and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the signature does not fit; hint: the message was altered, or another key or context signed it"
)]
pub struct BadSignature;

impl PublicKey {
    /// Parses 32 bytes.
    ///
    /// # Errors
    /// [`PublicKeyError`], for a key of zeros in particular: schnorrkel itself accepts it, and a
    /// signature made without any secret verifies under it.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<PublicKey, PublicKeyError> {
        if *bytes == [0; 32] {
            return Err(PublicKeyError::Zero);
        }
        schnorrkel::PublicKey::from_bytes(bytes)
            .map(PublicKey)
            .map_err(|_| PublicKeyError::NotAPoint)
    }

    /// The 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks a signature over `message` under a signing context.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn verify(
        &self,
        context: &[u8],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), BadSignature> {
        let signature = Signature::from_bytes(signature).map_err(|_| BadSignature)?;
        self.0
            .verify(signing_context(context).bytes(message), &signature)
            .map_err(|_| BadSignature)
    }

    pub(crate) fn inner(&self) -> schnorrkel::PublicKey {
        self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", crate::hex::digits(&self.to_bytes()))
    }
}
