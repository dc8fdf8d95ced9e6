//! Nodes: registering, changing and leaving.

use adit_protocol::Amount;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::apply::Payer;
use super::{Node, State};
use crate::event::Event;
use crate::genesis::NODES_MAX;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::{NodeKeys, Profile, Registration, Role};

/// Keys that a node had before they changed: a log of the last epoch that is to be closed goes by them,
/// and the node answers for what they signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct FormerKeys {
    /// The keys.
    #[n(0)]
    pub keys: NodeKeys,
    /// The last epoch in which they were its keys.
    #[n(1)]
    pub last_epoch: u64,
    /// The epoch at whose beginning they are forgotten: when all that stood behind the node then has
    /// had the time to leave. That is never before the epoch after the last is over.
    #[n(2)]
    pub until_epoch: u64,
}

impl Node {
    /// Its keys in an epoch, of which it can still remember them.
    pub fn keys_in(&self, epoch: u64) -> &NodeKeys {
        let mut former = self.former_keys.iter();
        let found = former.find(|former| epoch <= former.last_epoch);
        found.map_or(&self.keys, |former| &former.keys)
    }
}

impl State {
    pub(super) fn register(
        &mut self,
        payer: &mut Payer<'_>,
        registration: &Registration,
        bond: Amount,
    ) -> Result<(), Refusal> {
        let Registration {
            role,
            keys,
            name,
            profile,
            proof: _,
        } = registration;
        self.fit_keys(*role, keys, &payer.key)?;
        fit_profile(*role, profile)?;
        if name.is_some() != (*role == Role::Checker) {
            return Rule::Name.broken();
        }
        let mut same_role = 0usize;
        for node in self.nodes.values().filter(|node| node.role == *role) {
            if name.is_some() && node.name == *name {
                return Rule::NameTaken.broken();
            }
            same_role += usize::from(!node.leaving);
        }
        if same_role >= NODES_MAX {
            return Rule::Full.broken();
        }
        let min = self.head.parameters.stake_min(*role);
        if bond < min {
            return Err(Refusal::Bond {
                role: *role,
                min,
                found: bond,
            });
        }
        let node = Node {
            role: *role,
            operator: payer.key,
            keys: *keys,
            next_keys: None,
            name: name.clone(),
            profile: profile.clone(),
            next_commission_ppm: None,
            stake: Amount::ZERO,
            escrow: Amount::ZERO,
            leaving: false,
            former_keys: Vec::new(),
            jailed: None,
        };
        // It must be there for the votes, and only they can be refused now.
        self.nodes.insert(keys.node, node);
        if let Err(refusal) = self.give_votes(payer, keys.node, bond) {
            self.nodes.remove(&keys.node);
            return Err(refusal);
        }
        self.taken.insert(keys.node, keys.node);
        self.by_account.nodes.insert((payer.key, keys.node));
        payer.events.push(Event::Registered {
            node: keys.node,
            role: *role,
            operator: payer.key,
        });
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        profile: &Profile,
    ) -> Result<(), Refusal> {
        let found = self.operated_by(&node, &payer.key)?;
        fit_profile(found.role, profile)?;
        if found.leaving {
            return Rule::Leaving.broken();
        }
        if let Some(found) = self.nodes.get_mut(&node) {
            let commission_ppm = found.profile.commission_ppm;
            found.next_commission_ppm =
                (profile.commission_ppm != commission_ppm).then_some(profile.commission_ppm);
            found.profile = Profile {
                // Voters learn of another commission before it is taken.
                commission_ppm,
                ..profile.clone()
            };
        }
        payer.events.push(Event::Updated { node });
        Ok(())
    }

    pub(super) fn rotate_key(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        keys: NodeKeys,
    ) -> Result<(), Refusal> {
        let found = self.operated_by(&node, &payer.key)?;
        if found.leaving {
            return Rule::Leaving.broken();
        }
        if found.next_keys.is_some() {
            return Rule::Rotating.broken();
        }
        self.fit_keys(found.role, &keys, &payer.key)?;
        self.taken.insert(keys.node, node);
        if let Some(found) = self.nodes.get_mut(&node) {
            found.next_keys = Some(keys);
        }
        payer.events.push(Event::KeysRotated {
            node,
            key: keys.node,
            from_epoch: self.head.epoch.saturating_add(1),
        });
        Ok(())
    }

    pub(super) fn deregister(&mut self, payer: &mut Payer<'_>, node: Key) -> Result<(), Refusal> {
        if self.operated_by(&node, &payer.key)?.leaving {
            return Rule::Leaving.broken();
        }
        if let Some(found) = self.nodes.get_mut(&node) {
            found.leaving = true;
        }
        payer.events.push(Event::Deregistered { node });
        Ok(())
    }

    /// What was to change with the epoch does.
    pub(super) fn turn_nodes(&mut self) {
        // When what stood behind a node while it had a key has had the time to leave.
        let epochs = self.head.parameters.unbonding_epochs.saturating_add(1);
        let epoch = self.head.epoch;
        for node in self.nodes.values_mut() {
            node.former_keys.retain(|former| former.until_epoch > epoch);
            if let Some(keys) = node.next_keys.take() {
                node.former_keys.push(FormerKeys {
                    keys: std::mem::replace(&mut node.keys, keys),
                    last_epoch: epoch.saturating_sub(1),
                    until_epoch: epoch.saturating_add(epochs),
                });
            }
            if let Some(commission_ppm) = node.next_commission_ppm.take() {
                node.profile.commission_ppm = commission_ppm;
            }
        }
    }

    pub(super) fn find(&self, node: &Key) -> Result<&Node, Refusal> {
        let found = self.nodes.get(node);
        found.ok_or(Refusal::NoNode { node: *node })
    }

    pub(super) fn operated_by(&self, node: &Key, operator: &Key) -> Result<&Node, Refusal> {
        let found = self.find(node)?;
        match found.operator == *operator {
            true => Ok(found),
            false => Err(Refusal::NotOperator { node: *node }),
        }
    }

    /// Whether a node of this role and operator can have these keys. Log keys may be those of others:
    /// one cannot sign with them, and their owner could not be asked.
    fn fit_keys(&self, role: Role, keys: &NodeKeys, operator: &Key) -> Result<(), Refusal> {
        if keys.log.is_some() != (role != Role::Miner) {
            return Rule::RoleKeys.broken();
        }
        let NodeKeys { node, log } = keys;
        if node == operator || log.is_some_and(|log| log == *node || log == *operator) {
            return Rule::SameKeys.broken();
        }
        // An account that has signed: nobody should sign receipts with the key of their tokens. One
        // that was only given some is no reason, or anyone could spoil the key of another.
        if self.taken.contains_key(node) || self.account(node).number > 0 {
            return Err(Refusal::KeyTaken { key: *node });
        }
        Ok(())
    }
}

fn fit_profile(role: Role, profile: &Profile) -> Result<(), Refusal> {
    if role != Role::Miner && profile.url.is_none() {
        return Rule::NoUrl.broken();
    }
    if role != Role::Miner && profile.service.is_some() {
        return Rule::NoService.broken();
    }
    Ok(())
}
