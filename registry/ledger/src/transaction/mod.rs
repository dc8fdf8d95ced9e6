//! Transactions: texts that a person can read in a wallet, and a signature (protocol.md, "Networks,
//! keys, signatures").
//!
//! ```text
//! Adit transaction, version 1
//! genesis: blake3:...         the network's genesis document
//! account: 5Grw...            who signs and pays
//! number: 0                   counts the account's transactions
//! fee: 0.01                   in tokens, burned
//! expires: 2026-11-27T06:00:00Z
//! action: stake
//! amount: 20000
//! ```
//!
//! Lines end with a line feed, the last one with nothing. Which lines follow `action` is in
//! [`action`]; `?` marks those that are left out when absent, `*` those that stand there as often as
//! there are values. Amounts are decimal tokens without
//! needless digits, shares percentages, keys SS58 addresses under prefix 42, moments RFC 3339 in UTC.
//! A transaction has one text: it is read, written again and compared.
//!
//! Signed is `<Bytes>` ‖ text ‖ `</Bytes>` under `substrate`, as wallets do when a page asks them to
//! sign a text. The id is BLAKE3 of the text. Encoded, a signed transaction is
//! signature (64 bytes) ‖ text.

mod accusing;
pub mod action;
mod governing;
mod late;
mod lines;
mod publishing;
pub mod settling;
mod text_error;
mod values;

use adit_protocol::keys::{BadSignature, Keypair};
use adit_protocol::rand_core::{CryptoRng, RngCore};
use adit_protocol::{Amount, Hash};

pub use action::Action;
pub use lines::Percent;
pub use settling::{Attestation, Closure, Cosigned};
pub use text_error::TextError;

use crate::key::Key;
use lines::{Lines, MOMENT_MS_MAX, Reader, moment, parse_moment};

/// Longest text of a transaction, in bytes.
pub const TEXT_MAX: usize = 48 * 1024;
/// The first line.
const TITLE: &str = "Adit transaction, version 1";
/// What wallets sign under.
const CONTEXT: &[u8] = b"substrate";
/// What wallets put around a text, so that it cannot be taken for a chain's transaction.
const WRAP: (&[u8], &[u8]) = (b"<Bytes>", b"</Bytes>");
/// Length of a signature in bytes.
const SIGNATURE: usize = 64;

/// What an account wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Hash of the network's genesis document.
    pub genesis: Hash,
    /// Who signs and pays.
    pub account: Key,
    /// How many transactions of the account came before.
    pub number: u64,
    /// What is burned for it.
    pub fee: Amount,
    /// Until when it may take effect, in milliseconds since 1970.
    pub expires_ms: u64,
    /// What is done.
    pub action: Action,
}

impl Transaction {
    /// Its text.
    pub fn to_text(&self) -> String {
        let mut lines = Lines::default();
        lines.line(TITLE);
        lines.field("genesis", self.genesis);
        lines.field("account", self.account);
        lines.field("number", self.number);
        lines.field("fee", self.fee);
        lines.field("expires", moment(self.expires_ms));
        self.action.write(&mut lines);
        lines.finish()
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn from_text(text: &str) -> Result<Transaction, TextError> {
        if text.len() > TEXT_MAX {
            return Err(TextError::TooLong {
                found: text.len(),
                max: TEXT_MAX,
            });
        }
        let mut reader = Reader::new(text);
        reader.line(TITLE)?;
        let genesis = reader.field("genesis")?;
        let transaction = Transaction {
            genesis,
            account: reader.field("account")?,
            number: reader.field("number")?,
            fee: reader.field("fee")?,
            expires_ms: parse_moment("expires", reader.text("expires")?)?.min(MOMENT_MS_MAX),
            action: Action::read(&mut reader, genesis)?,
        };
        reader.end()?;
        let again = transaction.to_text();
        if again != text {
            let pairs = again.bytes().zip(text.bytes());
            let same = pairs.take_while(|(a, b)| a == b).count();
            return Err(TextError::NotCanonical { at: same });
        }
        Ok(transaction)
    }

    /// Signs it with the account's key. With another key it will not verify.
    pub fn sign(
        &self,
        account: &Keypair,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> SignedTransaction {
        let text = self.to_text();
        let signature = account.sign(CONTEXT, &wrapped(&text), rng);
        SignedTransaction {
            id: Hash::of(text.as_bytes()),
            transaction: self.clone(),
            text,
            signature,
        }
    }
}

fn wrapped(text: &str) -> Vec<u8> {
    [WRAP.0, text.as_bytes(), WRAP.1].concat()
}

/// A transaction with a signature, which is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    transaction: Transaction,
    text: String,
    signature: [u8; SIGNATURE],
    id: Hash,
}

impl SignedTransaction {
    /// Longest encoding, in bytes.
    pub const BYTES_MAX: usize = SIGNATURE + TEXT_MAX;

    /// A transaction's text with its signature.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn new(text: &str, signature: [u8; 64]) -> Result<SignedTransaction, TextError> {
        Ok(SignedTransaction {
            transaction: Transaction::from_text(text)?,
            text: text.to_owned(),
            signature,
            id: Hash::of(text.as_bytes()),
        })
    }

    /// Reads signature ‖ text.
    ///
    /// # Errors
    /// [`TextError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<SignedTransaction, TextError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(TextError::TooLong {
                found: bytes.len().saturating_sub(SIGNATURE),
                max: TEXT_MAX,
            });
        }
        let (signature, text) = bytes
            .split_first_chunk::<SIGNATURE>()
            .ok_or(TextError::Line {
                expected: TITLE,
                found: String::new(),
            })?;
        let text = std::str::from_utf8(text).map_err(|error| TextError::NotCanonical {
            at: error.valid_up_to(),
        })?;
        SignedTransaction::new(text, *signature)
    }

    /// Signature ‖ text.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.signature, self.text.as_bytes()].concat()
    }

    /// The transaction, its signature **not** checked.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The text that was signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature.
    pub fn signature(&self) -> &[u8; SIGNATURE] {
        &self.signature
    }

    /// BLAKE3 of the text: the signature is no part of it, since there are many for one text.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The transaction, if the account signed it, and the node key that it brings along gave its
    /// word.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(self) -> Result<Verified, SignatureError> {
        let transaction = &self.transaction;
        let account = transaction.account.public();
        account
            .map_err(|_| BadSignature)
            .and_then(|key| key.verify(CONTEXT, &wrapped(&self.text), &self.signature))
            .map_err(|_| SignatureError::Account)?;
        let possession = transaction
            .action
            .possession(transaction.genesis, transaction.account);
        if let Some((word, proof)) = possession {
            word.verify(&proof).map_err(|_| SignatureError::Node)?;
        }
        Ok(Verified(self))
    }
}

/// A transaction whose signatures hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(SignedTransaction);

impl Verified {
    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.0.transaction
    }

    /// The transaction with its signature.
    pub fn signed(&self) -> &SignedTransaction {
        &self.0
    }
}

/// Which signature does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The account's.
    #[error(
        "the account's signature does not fit; hint: sign `<Bytes>` text `</Bytes>` under `substrate` with the account's key, as wallets do"
    )]
    Account,
    /// The node key's.
    #[error(
        "the proof is not the node key's signature for this operator; hint: make it where the node key is, with `adit register`"
    )]
    Node,
}

#[cfg(test)]
mod tests;
