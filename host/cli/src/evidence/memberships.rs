//! The memberships that the lists of candidates of a log are from.

use std::collections::HashMap;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::Membership;
use adit_protocol::signed::Signed;

use super::network::Anchor;
use super::{Evidence, EvidenceError};

/// Memberships that are held beside those that the network file and the user gave. One can have
/// megabytes. A log names them in their order, and at most 16 are needed together.
const HELD: usize = 32;

/// Memberships by their hashes, fetched as they are needed.
pub struct Memberships<'a> {
    evidence: &'a dyn Evidence,
    anchor: &'a Anchor,
    given: HashMap<Hash, Arc<Membership>>,
    /// `None` for those that cannot be had.
    fetched: HashMap<Hash, Option<Arc<Membership>>>,
}

impl<'a> Memberships<'a> {
    /// Those that a log's anchor has.
    pub fn new(evidence: &'a dyn Evidence, anchor: &'a Anchor) -> Memberships<'a> {
        let given = anchor.memberships.iter();
        Memberships {
            evidence,
            anchor,
            given: given.map(|m| (m.hash(), Arc::clone(m))).collect(),
            fetched: HashMap::new(),
        }
    }

    /// Has a membership at hand, if it can be had.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be asked for.
    pub fn fetch(&mut self, hash: &Hash) -> Result<(), EvidenceError> {
        if self.given.contains_key(hash) || self.fetched.contains_key(hash) {
            return Ok(());
        }
        let bytes = self.evidence.membership(hash)?;
        if self.fetched.len() >= HELD {
            self.fetched.clear();
        }
        let found = bytes.and_then(|bytes| signed(&self.anchor.genesis, hash, &bytes));
        self.fetched.insert(*hash, found.map(Arc::new));
        Ok(())
    }

    /// A membership that was had at hand.
    pub fn find(&self, hash: &Hash) -> Option<Arc<Membership>> {
        let fetched = || self.fetched.get(hash)?.as_ref();
        self.given.get(hash).or_else(fetched).map(Arc::clone)
    }
}

/// The membership of this hash, if the network's authority signed it. What it did not sign is as good
/// as nothing: nobody has signed the answer that it came in, so that it proves nothing either.
fn signed(genesis: &Genesis, hash: &Hash, bytes: &[u8]) -> Option<Membership> {
    let signed = Signed::<Membership>::from_cbor(bytes).ok()?;
    let membership = signed.verify(|_| genesis.authority).ok()?;
    (signed.body_hash() == *hash && membership.genesis == genesis.hash()).then_some(membership)
}
