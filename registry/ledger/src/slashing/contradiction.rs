//! Evidence made of what was found: two receipts, or two checkpoints. It is made only if it proves
//! something, so that nobody hands in what the ledger refuses.

use adit_protocol::Hash;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::checkpoint::{self, SignedCheckpoint};
use adit_protocol::log::key::KeyName;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::Receipt;
use thiserror::Error;

use super::{Evidence, SIGNED_BODY};
use crate::key::Key;

/// Why two receipts or two checkpoints prove nothing. `which` is `first` or `second`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoContradiction {
    /// A receipt of a run on one machine.
    #[error(
        "the {which} receipt is of a local run, which no network knows of; hint: give receipts of tasks of this network"
    )]
    Local {
        /// Which of the two.
        which: &'static str,
    },
    /// A receipt of another network.
    #[error(
        "the {which} receipt is of another network; hint: name the registry of its network with --registry"
    )]
    OtherNetwork {
        /// Which of the two.
        which: &'static str,
    },
    /// One receipt, perhaps with other signatures.
    #[error(
        "both are the same receipt, which a miner may sign as often as it likes; hint: two receipts that differ are needed"
    )]
    SameReceipt,
    /// Two miners.
    #[error(
        "the receipts are of two miners; hint: each miner of a replicated task has a receipt of its own"
    )]
    OtherMiner,
    /// Two assignments.
    #[error(
        "the receipts are for two assignments, {first} and {second}; hint: a miner may get a task again, as another assignment"
    )]
    OtherAssignment {
        /// That of the first.
        first: Hash,
        /// That of the second.
        second: Hash,
    },
    /// The miner did not sign it.
    #[error(
        "the miner's signature of the {which} receipt does not fit; hint: it was altered, or somebody else made it"
    )]
    ReceiptSignature {
        /// Which of the two.
        which: &'static str,
    },
    /// A checkpoint of another log.
    #[error(
        "the {which} checkpoint is of the log {found}, and not of {expected}; hint: both must be of one log"
    )]
    OtherLog {
        /// Which of the two.
        which: &'static str,
        /// The log of the coordinator.
        expected: KeyName,
        /// The checkpoint's.
        found: KeyName,
    },
    /// Two sizes.
    #[error(
        "the checkpoints are of {first} and {second} entries, and the ledger takes two roots of one size; hint: keep both, and ask those who watch the log for a checkpoint of one of these sizes"
    )]
    Sizes {
        /// Entries of the first.
        first: u64,
        /// Entries of the second.
        second: u64,
    },
    /// They agree.
    #[error("both checkpoints have the same root, so they agree; hint: a fork has two roots")]
    SameRoot,
    /// The text has lines of which the ledger knows nothing.
    #[error(
        "the {which} checkpoint has lines after its root, which coordinators do not write; hint: was it altered?"
    )]
    MoreLines {
        /// Which of the two.
        which: &'static str,
    },
    /// The log did not sign it.
    #[error(
        "the {which} checkpoint is not signed by the log; hint: it was altered, or the coordinator had another log key then"
    )]
    CheckpointSignature {
        /// Which of the two.
        which: &'static str,
    },
}

/// The two by name.
const BOTH: [&str; 2] = ["first", "second"];

impl Evidence {
    /// Of two receipts that a miner signed for one assignment.
    ///
    /// # Errors
    /// [`NoContradiction`].
    pub fn of_receipts(
        genesis: &Hash,
        first: &Receipt,
        second: &Receipt,
    ) -> Result<Evidence, NoContradiction> {
        for (which, receipt) in BOTH.into_iter().zip([first, second]) {
            if receipt.is_local() {
                return Err(NoContradiction::Local { which });
            }
            if receipt.body.network != network_id(genesis) {
                return Err(NoContradiction::OtherNetwork { which });
            }
        }
        let (one, other) = (&first.body, &second.body);
        if one == other {
            return Err(NoContradiction::SameReceipt);
        }
        if one.miner != other.miner {
            return Err(NoContradiction::OtherMiner);
        }
        if one.assignment != other.assignment {
            return Err(NoContradiction::OtherAssignment {
                first: one.assignment,
                second: other.assignment,
            });
        }
        for (which, receipt) in BOTH.into_iter().zip([first, second]) {
            if receipt.verify_miner().is_err() {
                return Err(NoContradiction::ReceiptSignature { which });
            }
        }
        Ok(Evidence::Equivocation {
            first: signed_body(first),
            second: signed_body(second),
        })
    }

    /// Of two checkpoints of a log, by the node key that names it and the log key that went with that.
    ///
    /// # Errors
    /// [`NoContradiction`].
    pub fn of_checkpoints(
        genesis: &Hash,
        node: &PublicKey,
        log: &PublicKey,
        first: &SignedCheckpoint,
        second: &SignedCheckpoint,
    ) -> Result<Evidence, NoContradiction> {
        let origin = Origin::new(genesis, node);
        for (which, signed) in BOTH.into_iter().zip([first, second]) {
            let found = &signed.unverified().origin;
            if *found != origin.name() {
                return Err(NoContradiction::OtherLog {
                    which,
                    expected: origin.name(),
                    found: found.clone(),
                });
            }
        }
        let (one, other) = (first.unverified(), second.unverified());
        if one.size != other.size {
            return Err(NoContradiction::Sizes {
                first: one.size,
                second: other.size,
            });
        }
        if one.root == other.root {
            return Err(NoContradiction::SameRoot);
        }
        let key = origin.key(log);
        let signature = |which: &'static str, signed: &SignedCheckpoint| {
            let text = signed.note().text();
            if text != signed.unverified().text() {
                return Err(NoContradiction::MoreLines { which });
            }
            // Strangers may have added lines that say they are of the log.
            let mut all = signed.note().signatures_of(&key);
            let fits = all.find_map(|bytes| {
                let signature: [u8; 64] = bytes.try_into().ok()?;
                let verified = log.verify(checkpoint::CONTEXT, text.as_bytes(), &signature);
                verified.is_ok().then_some(signature)
            });
            fits.ok_or(NoContradiction::CheckpointSignature { which })
        };
        Ok(Evidence::LogFork {
            key: Key::new(node),
            size: one.size,
            first: (one.root, signature("first", first)?),
            second: (other.root, signature("second", second)?),
        })
    }
}

fn signed_body(receipt: &Receipt) -> [u8; SIGNED_BODY] {
    let bytes = receipt.to_bytes();
    let first = bytes.first_chunk::<SIGNED_BODY>();
    *first.unwrap_or_else(|| unreachable!("a receipt goes on with the countersignature"))
}

#[cfg(test)]
mod tests {
    use adit_protocol::Status;
    use adit_protocol::keys::Keypair;
    use adit_protocol::log::checkpoint::Checkpoint;
    use adit_protocol::receipt::ReceiptBody;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn genesis() -> Hash {
        Hash::of(b"genesis")
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([0; 32])
    }

    fn body(miner: &Keypair, fuel: u64) -> ReceiptBody {
        ReceiptBody {
            network: network_id(&genesis()),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 0,
            seq: 0,
            start_ms: 0,
            duration_us: 0,
            fuel,
            nn_units: 0,
            peak_memory: 0,
            miner: miner.public().to_bytes(),
            coordinator: [7; 32],
            task: Hash::of(b"task"),
            assignment: Hash::of(b"assignment"),
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev: Hash::ZERO,
        }
    }

    #[test]
    fn receipts_that_prove_something() {
        let (miner, other) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let sign = |body: &ReceiptBody| body.sign(&miner, &mut rng());
        let first = sign(&body(&miner, 1));
        let of = |second: &Receipt| Evidence::of_receipts(&genesis(), &first, second);
        let made = of(&sign(&body(&miner, 2))).unwrap();
        let (key, _) = made.claim(&genesis()).unwrap();
        assert_eq!(made.verify(&genesis(), &key, None), Ok(()));

        let changed = |change: fn(&mut ReceiptBody)| {
            let mut body = body(&miner, 2);
            change(&mut body);
            of(&sign(&body)).unwrap_err()
        };
        assert_eq!(
            of(&sign(&body(&miner, 1))).unwrap_err(),
            NoContradiction::SameReceipt
        );
        let second = "second";
        assert_eq!(
            changed(|body| body.network = [0; 4]),
            NoContradiction::Local { which: second }
        );
        assert_eq!(
            changed(|body| body.network = [9; 4]),
            NoContradiction::OtherNetwork { which: second }
        );
        assert!(matches!(
            changed(|body| body.assignment = Hash::of(b"other")),
            NoContradiction::OtherAssignment { .. }
        ));
        let stranger = body(&other, 2).sign(&other, &mut rng());
        assert_eq!(of(&stranger).unwrap_err(), NoContradiction::OtherMiner);
        let forged = body(&miner, 2).sign(&other, &mut rng());
        assert_eq!(
            of(&forged).unwrap_err(),
            NoContradiction::ReceiptSignature { which: second }
        );
    }

    #[test]
    fn checkpoints_that_prove_something() {
        let (node, log) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let at = |genesis: &Hash, size: u64, root: &[u8], log: &Keypair| {
            let checkpoint = Checkpoint {
                origin: Origin::new(genesis, &node.public()).name(),
                size,
                root: Hash::of(root),
            };
            checkpoint.sign(log, &mut rng())
        };
        let first = at(&genesis(), 5, b"a", &log);
        let of = |second: &SignedCheckpoint| {
            let (node, log) = (node.public(), log.public());
            Evidence::of_checkpoints(&genesis(), &node, &log, &first, second)
        };
        let made = of(&at(&genesis(), 5, b"b", &log)).unwrap();
        let key = Key::new(&node.public());
        assert_eq!(made.claim(&genesis()), Some((key, Hash::ZERO)));
        let log_key = Some(Key::new(&log.public()));
        assert_eq!(made.verify(&genesis(), &key, log_key), Ok(()));

        let none = |second: &SignedCheckpoint| of(second).unwrap_err();
        let again = at(&genesis(), 5, b"a", &log);
        assert_eq!(none(&again), NoContradiction::SameRoot);
        let longer = at(&genesis(), 6, b"b", &log);
        assert!(matches!(none(&longer), NoContradiction::Sizes { .. }));
        let elsewhere = at(&Hash::of(b"other"), 5, b"b", &log);
        assert!(matches!(none(&elsewhere), NoContradiction::OtherLog { .. }));
        let forged = at(&genesis(), 5, b"b", &node);
        assert!(matches!(
            none(&forged),
            NoContradiction::CheckpointSignature { which: "second" }
        ));
        let note = at(&genesis(), 5, b"b", &log).to_string();
        let (text, signatures) = note.split_once("\n\n").unwrap();
        let more = format!("{text}\nmore\n\n{signatures}");
        let more = SignedCheckpoint::parse(more.as_bytes()).unwrap();
        assert!(matches!(none(&more), NoContradiction::MoreLines { .. }));
    }
}
