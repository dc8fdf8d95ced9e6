//! Checking the signatures of receipts, one at a time or thousands together.

use schnorrkel::context::{SigningContext, SigningTranscript};
use schnorrkel::{Signature, signing_context, verify_batch_rng};

use super::{CONTEXT, Receipt, ReceiptError};
use crate::hash::Hash;
use crate::keys::PublicKey;
use crate::rand_core::{CryptoRng, RngCore};

/// Signatures that go into one combined equation. More would be only a little faster.
const BATCH: usize = 4096;
/// So few signatures are checked one by one: a combined check gains nothing.
const SINGLE: usize = 4;
/// How often, on average, a signature may go through a combined check before those left are
/// checked one by one. Without it, whoever sends bad signatures only could make halving cost
/// several times as much as checking each.
const ROUNDS: usize = 4;

/// What was found about a receipt's signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The miner's signature was checked and fits. Always true.
    pub miner: bool,
    /// What was found about the coordinator's.
    pub coordinator: CoordinatorCheck,
}

/// What was found about the coordinator's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorCheck {
    /// It was checked and fits.
    Checked,
    /// There is none to check: the receipt is of a local run.
    NotPerformed,
}

impl Receipt {
    /// Checks both signatures; of a local run the miner's, and that everything which only a
    /// network can give is zero.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self) -> Result<Verified, ReceiptError> {
        self.check_network()?;
        self.verify_miner()?;
        if self.is_local() {
            return Ok(Verified {
                miner: true,
                coordinator: CoordinatorCheck::NotPerformed,
            });
        }
        self.coordinator_key()?
            .verify(CONTEXT, &self.countersigned(), &self.coordinator_signature)
            .map_err(|_| ReceiptError::CoordinatorSignature)?;
        Ok(Verified {
            miner: true,
            coordinator: CoordinatorCheck::Checked,
        })
    }

    /// Checks the miner's signature alone, as a coordinator does before it signs itself.
    ///
    /// # Errors
    /// [`ReceiptError::Key`] or [`ReceiptError::MinerSignature`].
    pub fn verify_miner(&self) -> Result<(), ReceiptError> {
        self.miner_key()?
            .verify(CONTEXT, &self.body.encode(), &self.miner_signature)
            .map_err(|_| ReceiptError::MinerSignature)
    }

    fn miner_key(&self) -> Result<PublicKey, ReceiptError> {
        PublicKey::from_bytes(&self.body.miner).map_err(|source| ReceiptError::Key {
            role: "miner",
            source,
        })
    }

    fn coordinator_key(&self) -> Result<PublicKey, ReceiptError> {
        PublicKey::from_bytes(&self.body.coordinator).map_err(|source| ReceiptError::Key {
            role: "coordinator",
            source,
        })
    }

    /// What can be said without any signature.
    fn check_network(&self) -> Result<(), ReceiptError> {
        let signed = self.coordinator_signature != [0; 64];
        if !self.is_local() {
            return if signed {
                Ok(())
            } else {
                Err(ReceiptError::NotCountersigned)
            };
        }
        let not_local = |field| Err(ReceiptError::NotLocal { field });
        if self.body.coordinator != [0; 32] {
            not_local("coordinator")
        } else if self.body.assignment != Hash::ZERO {
            not_local("assignment")
        } else if signed {
            not_local("countersignature")
        } else {
            Ok(())
        }
    }
}

/// Checks many receipts together, at about half the cost of [`Receipt::verify`] on each.
///
/// `rng` weighs the signatures against each other; it must be unpredictable to whoever made them
/// (never schnorrkel's `verify_batch_deterministic`, which a pair of altered signatures passes).
///
/// # Errors
/// The indices of all receipts that [`Receipt::verify`] would refuse, ascending.
pub fn verify_batch(
    receipts: &[Receipt],
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<(), Vec<usize>> {
    let mut culprits = Vec::new();
    let mut checks = Vec::with_capacity(receipts.len().saturating_mul(2));
    for (index, receipt) in receipts.iter().enumerate() {
        if receipt.check_network().is_err() {
            culprits.push(index);
            continue;
        }
        checks.push(Check {
            index,
            receipt,
            role: Role::Miner,
        });
        if !receipt.is_local() {
            checks.push(Check {
                index,
                receipt,
                role: Role::Coordinator,
            });
        }
    }
    find_culprits(checks, rng, culprits)
}

/// Checks the miners' signatures of many receipts together, as a coordinator does before it signs
/// itself. `rng` as for [`verify_batch`].
///
/// # Errors
/// The indices of all receipts that [`Receipt::verify_miner`] would refuse, ascending.
pub fn verify_miners(
    receipts: &[Receipt],
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<(), Vec<usize>> {
    let check = |(index, receipt)| Check {
        index,
        receipt,
        role: Role::Miner,
    };
    let checks = receipts.iter().enumerate().map(check).collect();
    find_culprits(checks, rng, Vec::new())
}

/// Checks the coordinators' signatures of many receipts together, as a miner does with its own
/// receipts when they come back. `rng` as for [`verify_batch`].
///
/// # Errors
/// The indices of all receipts whose countersignature does not fit, ascending; a local one has
/// none.
pub fn verify_coordinators(
    receipts: &[Receipt],
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<(), Vec<usize>> {
    let mut culprits = Vec::new();
    let mut checks = Vec::with_capacity(receipts.len());
    for (index, receipt) in receipts.iter().enumerate() {
        match receipt.is_local() {
            true => culprits.push(index),
            false => checks.push(Check {
                index,
                receipt,
                role: Role::Coordinator,
            }),
        }
    }
    find_culprits(checks, rng, culprits)
}

/// Adds to `culprits` the receipts for which a check fails.
fn find_culprits(
    mut checks: Vec<Check<'_>>,
    rng: &mut (impl CryptoRng + RngCore),
    mut culprits: Vec<usize>,
) -> Result<(), Vec<usize>> {
    // Schnorrkel merges equal keys only where they are neighbours, and each is parsed once.
    checks.sort_by_key(Check::key);
    let context = signing_context(CONTEXT);
    for batch in checks.chunks(BATCH) {
        let mut prepared = Prepared::default();
        for check in batch {
            if prepared.push(check).is_none() {
                culprits.push(check.index);
            }
        }
        let mut budget = batch.len().saturating_mul(ROUNDS);
        prepared
            .as_slice()
            .find_bad(&context, rng, &mut budget, &mut culprits);
    }
    culprits.sort_unstable();
    culprits.dedup();
    if culprits.is_empty() {
        Ok(())
    } else {
        Err(culprits)
    }
}

/// One signature to check.
struct Check<'a> {
    index: usize,
    receipt: &'a Receipt,
    role: Role,
}

#[derive(Clone, Copy)]
enum Role {
    Miner,
    Coordinator,
}

impl Check<'_> {
    fn key(&self) -> [u8; 32] {
        match self.role {
            Role::Miner => self.receipt.body.miner,
            Role::Coordinator => self.receipt.body.coordinator,
        }
    }

    fn signature(&self) -> &[u8; 64] {
        match self.role {
            Role::Miner => &self.receipt.miner_signature,
            Role::Coordinator => &self.receipt.coordinator_signature,
        }
    }

    fn transcript(&self, context: &SigningContext) -> impl SigningTranscript + use<> {
        match self.role {
            Role::Miner => context.bytes(&self.receipt.body.encode()),
            Role::Coordinator => context.bytes(&self.receipt.countersigned()),
        }
    }
}

/// Parallel lists, as schnorrkel wants them, of the checks whose key and signature parse.
#[derive(Default)]
struct Prepared<'a> {
    checks: Vec<&'a Check<'a>>,
    keys: Vec<schnorrkel::PublicKey>,
    signatures: Vec<Signature>,
    last: Option<PublicKey>,
}

impl<'a> Prepared<'a> {
    /// Adds a check; `None` if its key or signature is malformed.
    fn push(&mut self, check: &'a Check<'a>) -> Option<()> {
        let bytes = check.key();
        let key = match self.last {
            Some(last) if last.to_bytes() == bytes => last,
            _ => PublicKey::from_bytes(&bytes).ok()?,
        };
        self.last = Some(key);
        self.signatures
            .push(Signature::from_bytes(check.signature()).ok()?);
        self.keys.push(key.inner());
        self.checks.push(check);
        Some(())
    }

    fn as_slice(&self) -> Slice<'_> {
        Slice {
            checks: &self.checks,
            keys: &self.keys,
            signatures: &self.signatures,
        }
    }
}

/// A part of [`Prepared`]; the three lists have one length.
#[derive(Clone, Copy)]
struct Slice<'a> {
    checks: &'a [&'a Check<'a>],
    keys: &'a [schnorrkel::PublicKey],
    signatures: &'a [Signature],
}

impl Slice<'_> {
    /// Adds to `culprits` the receipts whose signatures do not fit, halving until they are found.
    fn find_bad(
        self,
        context: &SigningContext,
        rng: &mut (impl CryptoRng + RngCore),
        budget: &mut usize,
        culprits: &mut Vec<usize>,
    ) {
        let left = budget.checked_sub(self.checks.len());
        let Some(left) = left.filter(|_| self.checks.len() > SINGLE) else {
            for ((check, key), signature) in self.checks.iter().zip(self.keys).zip(self.signatures)
            {
                if key.verify(check.transcript(context), signature).is_err() {
                    culprits.push(check.index);
                }
            }
            return;
        };
        *budget = left;
        let transcripts = self.checks.iter().map(|check| check.transcript(context));
        if verify_batch_rng(transcripts, self.signatures, self.keys, true, &mut *rng).is_ok() {
            return;
        }
        let middle = self.checks.len() / 2;
        let (checks, keys, signatures) = (
            self.checks.split_at(middle),
            self.keys.split_at(middle),
            self.signatures.split_at(middle),
        );
        Slice {
            checks: checks.0,
            keys: keys.0,
            signatures: signatures.0,
        }
        .find_bad(context, rng, budget, culprits);
        Slice {
            checks: checks.1,
            keys: keys.1,
            signatures: signatures.1,
        }
        .find_bad(context, rng, budget, culprits);
    }
}
