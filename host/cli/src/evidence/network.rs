//! Whose log it is: the network file, the checkpoint, and who has signed them.

use std::sync::Arc;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, NetworkFile};

use super::{Evidence, EvidenceError};
use crate::error::Exit;

/// The result of one check (design.md: "each named in the report as passed, failed or not
/// performed").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold: why, and what the process ends with because of it.
    Failed(String, Exit),
    /// It was not checked, and why. `asked` if it should have been.
    NotPerformed {
        /// Why.
        why: String,
        /// Whether what was asked for is not done without it.
        asked: bool,
    },
}

impl Outcome {
    /// As every error of [`Evidence`]: what is damaged fails, what cannot be had is not checked.
    pub fn of(error: &EvidenceError) -> Outcome {
        match error {
            EvidenceError::Damaged { .. } => Outcome::Failed(error.to_string(), Exit::Signature),
            _ => Outcome::unchecked(error),
        }
    }

    /// Not performed, though it was asked for.
    pub fn unchecked(why: impl ToString) -> Outcome {
        Outcome::NotPerformed {
            why: why.to_string(),
            asked: true,
        }
    }

    /// Not performed, and not asked for.
    pub fn not_asked(why: impl ToString) -> Outcome {
        Outcome::NotPerformed {
            why: why.to_string(),
            asked: false,
        }
    }

    /// A bad signature or encoding.
    pub fn bad(why: impl ToString) -> Outcome {
        Outcome::Failed(why.to_string(), Exit::Signature)
    }

    /// A proof that does not hold.
    pub fn unproven(why: impl ToString) -> Outcome {
        Outcome::Failed(why.to_string(), Exit::Proof)
    }
}

/// A check of whose log it is.
pub type Named = (&'static str, Outcome);

/// A log whose checkpoint is signed by a coordinator of a network whose authority signed its members.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// The network.
    pub genesis: Genesis,
    /// Its hash.
    pub genesis_hash: Hash,
    /// Its members now, and those of other versions that were given; the newest first.
    pub memberships: Vec<Arc<Membership>>,
    /// The coordinator whose log it is.
    pub coordinator: CoordinatorMember,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The checkpoint as a note.
    pub note: String,
}

/// Reads network file and checkpoint and checks them. `given` are network files that the user has
/// from elsewhere, `kept` is a checkpoint from before.
///
/// Returns the checks, in order, and the log if they leave one to read.
pub fn anchor(
    evidence: &dyn Evidence,
    given: &[NetworkFile],
    kept: Option<&[u8]>,
) -> (Vec<Named>, Option<(Anchor, Option<Checkpoint>)>) {
    let mut checks = Vec::new();
    let found = find(evidence, given, kept, &mut checks);
    (checks, found)
}

fn find(
    evidence: &dyn Evidence,
    given: &[NetworkFile],
    kept: Option<&[u8]>,
    checks: &mut Vec<Named>,
) -> Option<(Anchor, Option<Checkpoint>)> {
    let (file, membership) = network(evidence, checks)?;
    let genesis_hash = file.genesis.hash();
    let mut memberships = vec![Arc::new(membership)];
    identity(given, &genesis_hash, &mut memberships, checks)?;

    let note = match evidence.checkpoint() {
        Ok(bytes) => bytes,
        Err(error) => {
            checks.push(("checkpoint-signature", Outcome::of(&error)));
            return None;
        }
    };
    let signed = match SignedCheckpoint::parse(&note) {
        Ok(signed) => signed,
        Err(error) => {
            checks.push(("checkpoint-signature", Outcome::bad(error)));
            return None;
        }
    };
    let (coordinator, key) = signer(&signed, &genesis_hash, &memberships, checks)?;
    let checkpoint = match signed.verify(&key) {
        Ok(checkpoint) => checkpoint.clone(),
        Err(error) => {
            checks.push(("checkpoint-signature", Outcome::bad(error)));
            return None;
        }
    };
    checks.push(("checkpoint-signature", Outcome::Passed));
    cosigned(&signed, &memberships, checks);
    let kept = match kept {
        None => {
            let why = "no earlier checkpoint was given; hint: keep the checkpoint of this audit and give it to the next one with --from";
            checks.push(("continuation", Outcome::not_asked(why)));
            None
        }
        Some(bytes) => Some(earlier(bytes, &key, &checkpoint, checks)?),
    };
    let anchor = Anchor {
        genesis: file.genesis,
        genesis_hash,
        memberships,
        coordinator,
        checkpoint,
        note: signed.to_string(),
    };
    Some((anchor, kept))
}

fn network(evidence: &dyn Evidence, checks: &mut Vec<Named>) -> Option<(NetworkFile, Membership)> {
    let name = "network-signature";
    let bytes = match evidence.network() {
        Ok(bytes) => bytes,
        Err(error) => {
            checks.push((name, Outcome::of(&error)));
            return None;
        }
    };
    let read = NetworkFile::from_cbor(&bytes)
        .map_err(|error| error.to_string())
        .and_then(|file| {
            let membership = file.verify().map_err(|error| error.to_string())?;
            Ok((file, membership))
        });
    match read {
        Ok(read) => {
            checks.push((name, Outcome::Passed));
            Some(read)
        }
        Err(error) => {
            checks.push((name, Outcome::bad(error)));
            None
        }
    }
}

/// Whether the network is the one that the user means, and which of its memberships are known.
fn identity(
    given: &[NetworkFile],
    genesis: &Hash,
    memberships: &mut Vec<Arc<Membership>>,
    checks: &mut Vec<Named>,
) -> Option<()> {
    let name = "network-identity";
    if given.is_empty() {
        let why = format!(
            "which network this is was taken from what is audited: genesis {genesis}; hint: give the network file that you have from elsewhere with --network"
        );
        checks.push((name, Outcome::not_asked(why)));
        return Some(());
    }
    for file in given {
        match file.verify() {
            Ok(membership) if membership.genesis == *genesis => {
                memberships.push(Arc::new(membership));
            }
            Ok(membership) => {
                let why = format!(
                    "the log is of the network {genesis}, and the network file given is of {}",
                    membership.genesis
                );
                checks.push((name, Outcome::unproven(why)));
                return None;
            }
            Err(error) => {
                checks.push((
                    name,
                    Outcome::bad(format!("the network file given: {error}")),
                ));
                return None;
            }
        }
    }
    memberships.sort_by_key(|m| std::cmp::Reverse(m.version));
    checks.push((name, Outcome::Passed));
    Some(())
}

/// The coordinator that the checkpoint names, and the key of its log.
fn signer(
    signed: &SignedCheckpoint,
    genesis: &Hash,
    memberships: &[Arc<Membership>],
    checks: &mut Vec<Named>,
) -> Option<(CoordinatorMember, NoteKey)> {
    let name = "checkpoint-origin";
    let origin = &signed.unverified().origin;
    let found = || {
        let origin: Origin = origin
            .as_str()
            .parse()
            .map_err(|error| format!("{error}"))?;
        if Origin::new(genesis, &origin.coordinator) != origin {
            return Err("it is of another network than the network file".to_owned());
        }
        let node = origin.coordinator.to_bytes();
        let member = memberships.iter().find_map(|m| m.coordinator(&node));
        let member = member.ok_or("its coordinator is no member of the network")?;
        let log = PublicKey::from_bytes(&member.log)
            .map_err(|error| format!("the coordinator's log key cannot be used: {error}"))?;
        Ok((member.clone(), origin.key(&log)))
    };
    match found() {
        Ok(found) => {
            checks.push((name, Outcome::Passed));
            Some(found)
        }
        Err(why) => {
            checks.push((name, Outcome::bad(format!("{origin}: {why}"))));
            None
        }
    }
}

/// Witnesses and mirrors of the network that say to have seen the same.
fn cosigned(signed: &SignedCheckpoint, memberships: &[Arc<Membership>], checks: &mut Vec<Named>) {
    let name = "cosignatures";
    let witnesses = memberships.first().map_or(&[][..], |m| &m.witnesses);
    if witnesses.is_empty() {
        let why = "the network has no witnesses: nobody else vouches that the coordinator shows the same log to everyone";
        checks.push((name, Outcome::not_asked(why)));
        return;
    }
    let has_signed = |kind| {
        witnesses
            .iter()
            .filter(|witness| {
                let key = PublicKey::from_bytes(&witness.cosign).ok();
                let key = key.zip(witness.name.parse().ok());
                key.is_some_and(|(key, name)| {
                    let key = NoteKey::new(name, kind, key);
                    signed.verify_cosignature(&key).is_ok()
                })
            })
            .count()
    };
    let (seen, held) = (
        has_signed(KeyKind::Cosignature),
        has_signed(KeyKind::Mirror),
    );
    checks.push((
        name,
        match seen.max(held) {
            0 => Outcome::not_asked(format!(
                "none of the {} witnesses has cosigned this checkpoint",
                witnesses.len()
            )),
            _ => Outcome::Passed,
        },
    ));
}

/// The checkpoint from before, if the log signed it and is not smaller now. Whether the log goes on
/// from it is seen when its entries are read.
fn earlier(
    bytes: &[u8],
    key: &NoteKey,
    now: &Checkpoint,
    checks: &mut Vec<Named>,
) -> Option<Checkpoint> {
    let read = SignedCheckpoint::parse(bytes)
        .map_err(|error| error.to_string())
        .and_then(|signed| {
            let checkpoint = signed.verify(key).map_err(|error| error.to_string())?;
            Ok(checkpoint.clone())
        });
    match read {
        Ok(kept) if kept.size > now.size => {
            let why = format!(
                "the log has {} entries, and had {} when the checkpoint given was signed: entries were taken back. Both checkpoints are signed, and prove it",
                now.size, kept.size
            );
            checks.push(("continuation", Outcome::unproven(why)));
            None
        }
        Ok(kept) => Some(kept),
        Err(error) => {
            let why = format!("the checkpoint given with --from: {error}");
            checks.push(("continuation", Outcome::bad(why)));
            None
        }
    }
}
