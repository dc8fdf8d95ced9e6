//! Who takes part in the network, as the ledger has it now.

use adit_protocol::network::membership::{
    CoordinatorMember, Membership, MinerMember, WitnessMember,
};

use super::{Node, State};
use crate::registration::Role;

impl State {
    /// Whether a node would take part if an epoch began now: not leaving, not jailed, with the least
    /// stake.
    pub fn takes_part(&self, node: &Node) -> bool {
        node.jailed.is_none() && self.could_take_part(node)
    }

    /// As [`State::takes_part`], if it were not jailed.
    fn could_take_part(&self, node: &Node) -> bool {
        !node.leaving && node.stake >= self.parameters().stake_min(node.role)
    }

    /// The members: nodes that are not leaving, not jailed and have the least stake of their role. The
    /// version is the epoch and one, so that it counts up; ask at the beginning of an epoch, since
    /// members are fixed for its length.
    pub fn members(&self) -> Membership {
        // Of miners it is said that they are jailed; others are only left out.
        let there = |node: &&Node| match node.role {
            Role::Miner => self.could_take_part(node),
            _ => self.takes_part(node),
        };
        let mut membership = Membership {
            genesis: self.head.genesis,
            version: self.head.epoch.saturating_add(1),
            engines: self.parameters().engines.clone(),
            coordinators: Vec::new(),
            miners: Vec::new(),
            witnesses: Vec::new(),
        };
        for node in self.nodes.values().filter(there) {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let profile = &node.profile;
            // Miners have none.
            let log = node.keys.log.unwrap_or(crate::Key::NONE);
            match node.role {
                Role::Miner => membership.miners.push(MinerMember {
                    node: *node.keys.node.as_bytes(),
                    account: *node.operator.as_bytes(),
                    stake: node.stake.units(),
                    jailed: node.jailed.map(|jailed| jailed.misdeed.name().to_owned()),
                    introduction: text(&profile.introduction),
                }),
                Role::Coordinator => membership.coordinators.push(CoordinatorMember {
                    node: *node.keys.node.as_bytes(),
                    log: *log.as_bytes(),
                    account: *node.operator.as_bytes(),
                    stake: node.stake.units(),
                    url: text(&profile.url),
                    region: text(&profile.region),
                    introduction: text(&profile.introduction),
                }),
                Role::Checker => membership.witnesses.push(WitnessMember {
                    name: text(&node.name),
                    cosign: *log.as_bytes(),
                    url: text(&profile.url),
                }),
            }
        }
        membership.miners.sort_by_key(|member| member.node);
        membership.coordinators.sort_by_key(|member| member.node);
        membership.witnesses.sort_by(|a, b| a.name.cmp(&b.name));
        membership
    }
}
