//! Misdeeds, what proves them, and what checkers sign of the others.

use adit_protocol::keys::{BadSignature, PublicKey};
use adit_protocol::log::checkpoint::{self, Checkpoint};
use adit_protocol::log::origin::Origin;
use adit_protocol::receipt::{self, BODY_LEN, ReceiptBody};
use adit_protocol::signed::Signable;
use adit_protocol::{Document, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::key::Key;
use crate::registration::Role;

pub mod contradiction;

/// Bytes of a receipt that its miner made: the body, and the signature over it.
pub const SIGNED_BODY: usize = BODY_LEN + 64;

/// What a node can be punished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Misdeed {
    /// A miner signed two receipts for one assignment.
    #[n(0)]
    Equivocation = 0,
    /// A coordinator signed two roots for one size of its log.
    #[n(1)]
    LogFork = 1,
    /// A miner's result is not that of the task.
    #[n(2)]
    WrongExecution = 2,
    /// A coordinator's log lacks a receipt that it has countersigned.
    #[n(3)]
    MissingReceipt = 3,
    /// A miner or coordinator does not hand out what it must keep.
    #[n(4)]
    NotServing = 4,
    /// What no replay proves: checkers have to judge.
    #[n(5)]
    Judgement = 5,
}

impl Misdeed {
    /// Every misdeed.
    pub const ALL: [Misdeed; 6] = [
        Misdeed::Equivocation,
        Misdeed::LogFork,
        Misdeed::WrongExecution,
        Misdeed::MissingReceipt,
        Misdeed::NotServing,
        Misdeed::Judgement,
    ];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Misdeed::Equivocation => "equivocation",
            Misdeed::LogFork => "log-fork",
            Misdeed::WrongExecution => "wrong-execution",
            Misdeed::MissingReceipt => "missing-receipt",
            Misdeed::NotServing => "not-serving",
            Misdeed::Judgement => "judgement",
        }
    }

    /// Whether evidence in the ledger proves it; for others there must be a verdict.
    pub const fn is_proven(self) -> bool {
        matches!(self, Misdeed::Equivocation | Misdeed::LogFork)
    }

    /// Whether a node of this role can do it.
    pub fn fits(self, role: Role) -> bool {
        match self {
            Misdeed::Equivocation | Misdeed::WrongExecution => role == Role::Miner,
            Misdeed::LogFork | Misdeed::MissingReceipt => role == Role::Coordinator,
            Misdeed::NotServing => role != Role::Checker,
            Misdeed::Judgement => true,
        }
    }

    /// What stands for one misdeed of a node, so that it is punished once: BLAKE3 of the kind (u8) ‖
    /// what it rests on.
    pub fn once(self, evidence: &Hash) -> Hash {
        Hash::of(&[&[self as u8], evidence.as_bytes().as_slice()].concat())
    }
}

/// What proves a misdeed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "an action has it in a box, and nothing has many"
)]
pub enum Evidence {
    /// Two receipts for one assignment, each as the body and its miner's signature.
    Equivocation {
        /// The one.
        first: [u8; SIGNED_BODY],
        /// The other.
        second: [u8; SIGNED_BODY],
    },
    /// Two checkpoints of one size. The text that was signed follows from the genesis, the key, the
    /// size and the root.
    LogFork {
        /// The coordinator's node key that names the log.
        key: Key,
        /// Entries of the log.
        size: u64,
        /// The root and signature of the one.
        first: (Hash, [u8; 64]),
        /// Those of the other.
        second: (Hash, [u8; 64]),
    },
}

impl Evidence {
    /// Of what it is evidence.
    pub fn misdeed(&self) -> Misdeed {
        match self {
            Evidence::Equivocation { .. } => Misdeed::Equivocation,
            Evidence::LogFork { .. } => Misdeed::LogFork,
        }
    }

    /// The node key that the misdeed was done with, and what makes it one and not another: of
    /// receipts the assignment; a log forks once, since from then on every size has two roots.
    /// `None` where nothing is proven, whoever signed.
    pub fn claim(&self, genesis: &Hash) -> Option<(Key, Hash)> {
        match self {
            Evidence::Equivocation { first, second } => {
                let (first, second) = (body(first)?, body(second)?);
                let network = genesis.as_bytes().first_chunk::<4>()?;
                let fits = first != second
                    && first.network == *network
                    && second.network == *network
                    && first.miner == second.miner
                    && first.assignment == second.assignment;
                fits.then_some((Key::from_bytes(first.miner), first.assignment))
            }
            Evidence::LogFork {
                key, first, second, ..
            } => (first.0 != second.0).then_some((*key, Hash::ZERO)),
        }
    }

    /// Whether the node key of the claim, or the log key that went with it, has signed both.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, genesis: &Hash, key: &Key, log: Option<Key>) -> Result<(), BadSignature> {
        let usable = |key: &Key| -> Result<PublicKey, BadSignature> {
            key.public().map_err(|_| BadSignature)
        };
        let node = usable(key)?;
        match self {
            Evidence::Equivocation { first, second } => {
                [first, second].into_iter().try_for_each(|receipt| {
                    match receipt.split_first_chunk::<BODY_LEN>() {
                        Some((body, signature)) => {
                            let signature = signature.try_into().map_err(|_| BadSignature)?;
                            node.verify(receipt::CONTEXT, body, signature)
                        }
                        None => Err(BadSignature),
                    }
                })
            }
            Evidence::LogFork {
                size,
                first,
                second,
                ..
            } => {
                let log = usable(&log.ok_or(BadSignature)?)?;
                let origin = Origin::new(genesis, &node).name();
                [first, second]
                    .into_iter()
                    .try_for_each(|(root, signature)| {
                        let checkpoint = Checkpoint {
                            origin: origin.clone(),
                            size: *size,
                            root: *root,
                        };
                        let text = checkpoint.text();
                        log.verify(checkpoint::CONTEXT, text.as_bytes(), signature)
                    })
            }
        }
    }
}

fn body(receipt: &[u8; SIGNED_BODY]) -> Option<ReceiptBody> {
    let (body, _) = receipt.split_first_chunk::<BODY_LEN>()?;
    ReceiptBody::decode(body).ok()
}

/// What checkers sign with their node keys under `adit-verdict-v1`, each for itself: a CBOR map
/// {0 genesis h, 1 report h, 2 appeal f, 3 guilty f, 4 fraction_ppm u}.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Finding {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// The report: the transaction that accused.
    #[n(1)]
    pub report: Hash,
    /// Whether it is the second one, after an appeal. What was signed before does not count then.
    #[n(2)]
    pub appeal: bool,
    /// Whether the node did it.
    #[n(3)]
    pub guilty: bool,
    /// What it loses of its stake, in parts per million; nothing if it did not.
    #[n(4)]
    pub fraction_ppm: u32,
}

impl Document for Finding {
    const NAME: &'static str = "finding of a checker";
    const MAX_LEN: usize = 128;
}

impl Signable for Finding {
    const CONTEXT: &'static [u8] = b"adit-verdict-v1";
    const SIGNED_NAME: &'static str = "signed finding of a checker";
}
