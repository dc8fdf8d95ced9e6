//! What a quorum of checkers signs: closings, settlements, verdicts.

use adit_protocol::Amount;
use adit_protocol::keys::PublicKey;

use super::governance::at_least;
use super::{Node, State, add};
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::Role;
use crate::transaction::Attestation;

impl State {
    /// The checkers whose signatures count: those that take part.
    pub(super) fn checkers(&self) -> impl Iterator<Item = (&Key, &Node)> {
        let counts = |node: &Node| node.role == Role::Checker && self.takes_part(node);
        self.nodes.iter().filter(move |(_, node)| counts(node))
    }

    /// Whether so much of the checkers' stake is a quorum of it; `but` is one that is not asked.
    pub(super) fn quorum(&self, stake: Amount, but: Option<Key>) -> Result<(), Refusal> {
        let asked = self.checkers().filter(|(key, _)| Some(**key) != but);
        let all: Amount = asked.map(|(_, node)| node.stake).sum();
        let needed_ppm = self.head.parameters.rewards.quorum_ppm;
        match !stake.is_zero() && at_least(stake, needed_ppm, all) {
            true => Ok(()),
            false => Err(Refusal::Quorum {
                found: stake,
                all,
                needed_ppm,
            }),
        }
    }

    /// Whether a quorum of checkers signed a document, under its context and by their node keys; `but`
    /// is one that may not.
    pub(super) fn attested(
        &self,
        context: &'static [u8],
        document: &[u8],
        attestations: &[Attestation],
        but: Option<Key>,
    ) -> Result<(), Refusal> {
        let mut stake = Amount::ZERO;
        for one in attestations {
            let found = self.checkers().find(|(key, _)| **key == one.checker);
            let Some((_, node)) = found.filter(|(key, _)| Some(**key) != but) else {
                return Rule::NoChecker.broken();
            };
            let fits = |key: PublicKey| key.verify(context, document, &one.signature).is_ok();
            if !node.keys.node.public().is_ok_and(fits) {
                return Rule::CheckerSignature.broken();
            }
            add(&mut stake, node.stake);
        }
        self.quorum(stake, but)
    }
}
