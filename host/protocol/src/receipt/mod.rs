//! The receipt: 520 bytes that say who ran what, with which outcome, signed by both sides.
//!
//! The layout is that of protocol.md, "Receipt: 520 bytes"; integers are little-endian.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 8 | magic `aditrcpt` |
//! | 8 | 4 | network id; zero for a local run |
//! | 12 | 2 | version, 1 |
//! | 14 | 1 | status |
//! | 15 | 1 | flags: bit 0 a GPU ran, bit 1 nn was used, the others zero |
//! | 16 | 7 x 8 | epoch, seq, start_ms, duration_us, fuel, nn_units, peak_memory |
//! | 72 | 10 x 32 | miner, coordinator, task, assignment, component, input, output, transcript, environment, prev |
//! | 392 | 64 | miner's signature over bytes 0 to 391 |
//! | 456 | 64 | coordinator's signature over `aditcnsg` and bytes 0 to 455 |

mod verify;

pub use verify::{CoordinatorCheck, Verified, verify_batch, verify_coordinators, verify_miners};

use serde::Serialize;
use thiserror::Error;

use crate::hash::Hash;
use crate::keys::{Keypair, PublicKeyError};
use crate::rand_core::{CryptoRng, RngCore};
use crate::status::{Status, UnknownStatus};

/// Bytes of a body, which is what a miner signs.
pub const BODY_LEN: usize = 392;
/// Bytes of a receipt.
pub const RECEIPT_LEN: usize = 520;
/// The signing context of receipts and countersignatures, the one that stock sr25519 tools use.
pub const CONTEXT: &[u8] = b"substrate";

const MAGIC: &[u8; 8] = b"aditrcpt";
const VERSION: u16 = 1;
const FLAG_GPU: u8 = 1;
const FLAG_NN: u8 = 2;
/// Bytes that a coordinator signs all but its prefix of: the body and the miner's signature.
const SIGNED_LEN: usize = 456;
const COUNTERSIGN_PREFIX: &[u8; 8] = b"aditcnsg";

/// What a receipt says. `input`, `output` and `transcript` are commitments ([`Hash::commit`] with
/// the task's salt); [`crate::opening::ReceiptOpening`] has the hashes behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceiptBody {
    /// First four bytes of the genesis hash; zero for a local run.
    #[serde(serialize_with = "crate::json::bytes")]
    pub network: [u8; 4],
    /// How the run ended.
    pub status: Status,
    /// Whether a GPU ran the inference.
    pub gpu: bool,
    /// Whether wasi-nn was used.
    pub nn: bool,
    /// Epoch of the draw.
    pub epoch: u64,
    /// Counter of this miner's receipts for this coordinator.
    pub seq: u64,
    /// When the run began, in milliseconds since 1970: a claim of the miner.
    pub start_ms: u64,
    /// How long it took, in microseconds: a claim of the miner.
    pub duration_us: u64,
    /// Fuel that the guest used.
    pub fuel: u64,
    /// Inference work by the manifests' cost functions.
    pub nn_units: u64,
    /// Largest size of all linear memories and tables together, in bytes.
    pub peak_memory: u64,
    /// Node key of the miner.
    #[serde(serialize_with = "crate::json::bytes")]
    pub miner: [u8; 32],
    /// Node key of the coordinator; zero for a local run.
    #[serde(serialize_with = "crate::json::bytes")]
    pub coordinator: [u8; 32],
    /// Task id: hash of the task spec.
    pub task: Hash,
    /// Hash of the assignment; zero for a local run.
    pub assignment: Hash,
    /// Hash of the component.
    pub component: Hash,
    /// Commitment to the input.
    pub input: Hash,
    /// Commitment to the output.
    pub output: Hash,
    /// Commitment to the transcript.
    pub transcript: Hash,
    /// Hash of the environment document.
    pub environment: Hash,
    /// Id of this miner's previous receipt for this coordinator; zero for the first.
    pub prev: Hash,
}

impl ReceiptBody {
    /// The 392 bytes.
    pub fn encode(&self) -> [u8; BODY_LEN] {
        let flags = (u8::from(self.gpu) * FLAG_GPU) | (u8::from(self.nn) * FLAG_NN);
        let mut writer = Writer {
            bytes: [0; BODY_LEN],
            at: 0,
        };
        writer.put(MAGIC);
        writer.put(&self.network);
        writer.put(&VERSION.to_le_bytes());
        writer.put(&[u8::from(self.status), flags]);
        for number in [
            self.epoch,
            self.seq,
            self.start_ms,
            self.duration_us,
            self.fuel,
            self.nn_units,
            self.peak_memory,
        ] {
            writer.put(&number.to_le_bytes());
        }
        writer.put(&self.miner);
        writer.put(&self.coordinator);
        for hash in [
            &self.task,
            &self.assignment,
            &self.component,
            &self.input,
            &self.output,
            &self.transcript,
            &self.environment,
            &self.prev,
        ] {
            writer.put(hash.as_bytes());
        }
        debug_assert_eq!(writer.at, BODY_LEN);
        writer.bytes
    }

    /// Reads exactly 392 bytes.
    ///
    /// # Errors
    /// [`ReceiptError`] on another length, magic or version, an unknown status or a reserved flag.
    pub fn decode(bytes: &[u8]) -> Result<ReceiptBody, ReceiptError> {
        let wrong_length = ReceiptError::Length {
            expected: BODY_LEN,
            found: bytes.len(),
        };
        if bytes.len() != BODY_LEN {
            return Err(wrong_length);
        }
        // The length was checked, so no read below comes back empty-handed.
        let mut reader = Reader(bytes);
        let end = || ReceiptError::Length {
            expected: BODY_LEN,
            found: bytes.len(),
        };
        if reader.take::<8>().ok_or_else(end)? != *MAGIC {
            return Err(ReceiptError::Magic);
        }
        let network = reader.take::<4>().ok_or_else(end)?;
        let version = u16::from_le_bytes(reader.take().ok_or_else(end)?);
        if version != VERSION {
            return Err(ReceiptError::Version(version));
        }
        let [status, flags] = reader.take::<2>().ok_or_else(end)?;
        let status = Status::try_from(status)?;
        if flags & !(FLAG_GPU | FLAG_NN) != 0 {
            return Err(ReceiptError::Flags(flags));
        }
        let mut number = || reader.take().map(u64::from_le_bytes).ok_or_else(end);
        let (epoch, seq, start_ms, duration_us) = (number()?, number()?, number()?, number()?);
        let (fuel, nn_units, peak_memory) = (number()?, number()?, number()?);
        let mut field = || reader.take::<32>().ok_or_else(end);
        Ok(ReceiptBody {
            network,
            status,
            gpu: flags & FLAG_GPU != 0,
            nn: flags & FLAG_NN != 0,
            epoch,
            seq,
            start_ms,
            duration_us,
            fuel,
            nn_units,
            peak_memory,
            miner: field()?,
            coordinator: field()?,
            task: Hash::from_bytes(field()?),
            assignment: Hash::from_bytes(field()?),
            component: Hash::from_bytes(field()?),
            input: Hash::from_bytes(field()?),
            output: Hash::from_bytes(field()?),
            transcript: Hash::from_bytes(field()?),
            environment: Hash::from_bytes(field()?),
            prev: Hash::from_bytes(field()?),
        })
    }

    /// The receipt's id: BLAKE3 of the 392 bytes. Signatures are no part of it, since one body
    /// has many valid ones.
    pub fn id(&self) -> Hash {
        Hash::of(&self.encode())
    }

    /// Signs the body as the miner. The keypair must be that of `self.miner`, or the receipt will
    /// not verify. The countersignature is left zero.
    pub fn sign(&self, miner: &Keypair, rng: &mut (impl CryptoRng + RngCore)) -> Receipt {
        Receipt {
            body: self.clone(),
            miner_signature: miner.sign(CONTEXT, &self.encode(), rng),
            coordinator_signature: [0; 64],
        }
    }
}

/// A signed receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// What it says.
    pub body: ReceiptBody,
    /// The miner's signature over the body.
    #[serde(serialize_with = "crate::json::bytes")]
    pub miner_signature: [u8; 64],
    /// The coordinator's: "received and durable", not "correct". Zero for a local run, and until
    /// the coordinator has answered.
    #[serde(serialize_with = "crate::json::bytes")]
    pub coordinator_signature: [u8; 64],
}

impl Receipt {
    /// The 520 bytes.
    pub fn to_bytes(&self) -> [u8; RECEIPT_LEN] {
        let mut bytes = [0; RECEIPT_LEN];
        let parts = self
            .body
            .encode()
            .into_iter()
            .chain(self.miner_signature)
            .chain(self.coordinator_signature);
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    /// Reads exactly 520 bytes. Signatures are not checked: see [`Receipt::verify`].
    ///
    /// # Errors
    /// As [`ReceiptBody::decode`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        let length = || ReceiptError::Length {
            expected: RECEIPT_LEN,
            found: bytes.len(),
        };
        if bytes.len() != RECEIPT_LEN {
            return Err(length());
        }
        let (body, rest) = bytes.split_at_checked(BODY_LEN).ok_or_else(length)?;
        let mut reader = Reader(rest);
        Ok(Receipt {
            body: ReceiptBody::decode(body)?,
            miner_signature: reader.take().ok_or_else(length)?,
            coordinator_signature: reader.take().ok_or_else(length)?,
        })
    }

    /// The receipt's id: see [`ReceiptBody::id`].
    pub fn id(&self) -> Hash {
        self.body.id()
    }

    /// Signs as the coordinator, over the body and the miner's signature. The keypair must be that
    /// of `self.body.coordinator`, or the receipt will not verify.
    pub fn countersign(&mut self, coordinator: &Keypair, rng: &mut (impl CryptoRng + RngCore)) {
        self.coordinator_signature = coordinator.sign(CONTEXT, &self.countersigned(), rng);
    }

    /// Whether it is of a local run, which no network and no log knows.
    pub fn is_local(&self) -> bool {
        self.body.network == [0; 4]
    }

    /// What a coordinator signs: `aditcnsg` and the first 456 bytes.
    fn countersigned(&self) -> [u8; COUNTERSIGN_PREFIX.len() + SIGNED_LEN] {
        let mut message = [0; COUNTERSIGN_PREFIX.len() + SIGNED_LEN];
        let parts = COUNTERSIGN_PREFIX
            .iter()
            .copied()
            .chain(self.body.encode())
            .chain(self.miner_signature);
        for (to, from) in message.iter_mut().zip(parts) {
            *to = from;
        }
        message
    }
}

/// Why bytes are not a valid receipt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Another length.
    #[error(
        "a receipt has {expected} bytes here, this has {found}; hint: it was cut off, or is another kind of file"
    )]
    Length {
        /// The length it must have.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// The first eight bytes are not `aditrcpt`.
    #[error("the bytes do not begin with `aditrcpt`; hint: this is another kind of file")]
    Magic,
    /// A version that this program does not know.
    #[error("the receipt has version {0}, this program reads version 1; hint: use a newer program")]
    Version(u16),
    /// A status that this program does not know.
    #[error(transparent)]
    Status(#[from] UnknownStatus),
    /// A flag that has no meaning yet.
    #[error(
        "the flags are {0:#04x}, where only bits 0 and 1 may be set; hint: the receipt was altered or is of a newer version"
    )]
    Flags(u8),
    /// The miner's or the coordinator's key is no public key.
    #[error("the {role}'s key is not usable: {source}")]
    Key {
        /// Whose key it is.
        role: &'static str,
        /// What is wrong with it.
        source: PublicKeyError,
    },
    /// The miner's signature does not fit the body.
    #[error(
        "the miner's signature does not fit; hint: the receipt was altered after signing, or another key signed it"
    )]
    MinerSignature,
    /// The coordinator's signature does not fit the body and the miner's signature.
    #[error(
        "the coordinator's signature does not fit; hint: the receipt was altered after countersigning, or another key signed it"
    )]
    CoordinatorSignature,
    /// The receipt is of a network but the coordinator has not signed it.
    #[error(
        "the coordinator's signature is missing; hint: the coordinator has not yet acknowledged this receipt"
    )]
    NotCountersigned,
    /// A local run has something only a network can give.
    #[error(
        "the receipt is of a local run (network id zero) but its {field} is not zero; hint: it was altered"
    )]
    NotLocal {
        /// The field.
        field: &'static str,
    },
}

/// Fills an array from the front.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    fn put(&mut self, part: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.at).zip(part) {
            *to = *from;
        }
        self.at += part.len();
    }
}

/// Takes arrays from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*part)
    }
}
