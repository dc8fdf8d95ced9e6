//! The component index: who owns which names, and what is published under them.

use std::collections::BTreeMap;
use std::ops::Bound;

use adit_protocol::Amount;

use super::State;
use super::apply::Payer;
use crate::event::Event;
use crate::index::{ComponentName, Publication, RELEASES_MAX, Release, SCOPE_FEES, Scope, Version};
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::transaction::Action;

/// What stands between name and version in the key of an entry; it is in neither, and below all
/// that is, so that keys are in the order of names.
const BETWEEN: u8 = 0;

/// A name's releases, in the order of SemVer.
pub type Releases = BTreeMap<Version, Release>;

/// The index. Every name in it has a scope with an owner, and at least one release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    pub scopes: BTreeMap<Scope, Key>,
    pub names: BTreeMap<ComponentName, Releases>,
}

impl Index {
    /// The releases as entries of the state: what follows the tag in their keys, and their values;
    /// ascending by key, in which versions stand as texts.
    pub fn releases(&self) -> impl Iterator<Item = (Vec<u8>, &Release)> {
        self.names.iter().flat_map(|(name, releases)| {
            let mut entries: Vec<_> = releases
                .iter()
                .map(|(version, release)| (release_key(name, version), release))
                .collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries
        })
    }

    /// Takes a release of a state's entries. False if nobody owns the scope.
    pub fn restore(&mut self, name: ComponentName, version: Version, release: Release) -> bool {
        let owned = self.scopes.contains_key(&name.scope());
        self.names.entry(name).or_default().insert(version, release);
        owned
    }
}

fn release_key(name: &ComponentName, version: &Version) -> Vec<u8> {
    let version = version.to_string();
    [name.as_str().as_bytes(), &[BETWEEN], version.as_bytes()].concat()
}

/// The inverse of the key of a scope's entry, without its tag.
pub(super) fn parse_scope(key: &[u8]) -> Option<Scope> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// The inverse of the key of a release's entry, without its tag.
pub(super) fn parse_release(key: &[u8]) -> Option<(ComponentName, Version)> {
    let text = std::str::from_utf8(key).ok()?;
    let (name, version) = text.split_once(char::from(BETWEEN))?;
    Some((name.parse().ok()?, version.parse().ok()?))
}

impl State {
    /// Who owns a scope, and so all names in it.
    pub fn scope_owner(&self, scope: &Scope) -> Option<Key> {
        self.index.scopes.get(scope).copied()
    }

    /// A name's releases, yanked ones included.
    pub fn releases(&self, name: &ComponentName) -> Option<&Releases> {
        self.index.names.get(name)
    }

    /// Names from one on, ascending, each with its releases.
    pub fn names_from(
        &self,
        begin: Bound<ComponentName>,
    ) -> impl Iterator<Item = (&ComponentName, &Releases)> {
        self.index.names.range((begin, Bound::Unbounded))
    }

    /// The least fee of an action now, in 10^-12 token.
    pub fn least_fee(&self, action: &Action) -> Amount {
        match action {
            // Whoever comes to the faucet has nothing yet.
            Action::Faucet { .. } => Amount::ZERO,
            Action::Publish(publication) => self.publishing_fee(&publication.name.scope()),
            _ => self.head.parameters.fee_min,
        }
    }

    /// The least fee of a release in a scope, in 10^-12 token: [`SCOPE_FEES`] times the least fee
    /// where nobody owns the scope yet.
    pub fn publishing_fee(&self, scope: &Scope) -> Amount {
        let fee = self.head.parameters.fee_min;
        match self.scope_owner(scope) {
            Some(_) => fee,
            None => Amount::from_units(fee.units().saturating_mul(u128::from(SCOPE_FEES))),
        }
    }

    pub(super) fn publish(
        &mut self,
        payer: &mut Payer<'_>,
        publication: &Publication,
    ) -> Result<(), Refusal> {
        let Publication {
            name,
            version,
            component,
            world,
            models,
            description,
            source,
        } = publication;
        let scope = name.scope();
        let new_scope = match self.scope_owner(&scope) {
            None => true,
            Some(owner) if owner == payer.key => false,
            Some(_) => return Err(Refusal::NotOwner { scope }),
        };
        if let Some(releases) = self.releases(name) {
            if releases.contains_key(version) {
                return Err(Refusal::VersionTaken {
                    name: name.clone(),
                    version: version.clone(),
                });
            }
            if releases.len() >= RELEASES_MAX {
                return Rule::ManyReleases.broken();
            }
        }
        if new_scope {
            self.index.scopes.insert(scope.clone(), payer.key);
            payer.events.push(Event::ScopeOwned {
                scope,
                owner: payer.key,
            });
        }
        let release = Release {
            component: *component,
            world: *world,
            models: models.clone(),
            description: description.clone(),
            source: source.clone(),
            yanked: false,
            published_ms: self.head.time_ms,
            publisher: payer.key,
            transaction: payer.id,
        };
        let releases = self.index.names.entry(name.clone()).or_default();
        releases.insert(version.clone(), release);
        payer.events.push(Event::Published {
            name: name.clone(),
            version: version.clone(),
            component: *component,
        });
        Ok(())
    }

    pub(super) fn yank(
        &mut self,
        payer: &mut Payer<'_>,
        name: &ComponentName,
        version: &Version,
        yanked: bool,
    ) -> Result<(), Refusal> {
        let owner = self.scope_owner(&name.scope());
        let releases = self.index.names.get_mut(name);
        let release = releases
            .and_then(|releases| releases.get_mut(version))
            .ok_or_else(|| Refusal::NoRelease {
                name: name.clone(),
                version: version.clone(),
            })?;
        if owner != Some(payer.key) {
            let scope = name.scope();
            return Err(Refusal::NotOwner { scope });
        }
        if release.yanked == yanked {
            return Rule::SameYank.broken();
        }
        release.yanked = yanked;
        payer.events.push(Event::Yanked {
            name: name.clone(),
            version: version.clone(),
            yanked,
        });
        Ok(())
    }

    pub(super) fn transfer_name(
        &mut self,
        payer: &mut Payer<'_>,
        scope: &Scope,
        to: Key,
    ) -> Result<(), Refusal> {
        let owner = (self.index.scopes.get_mut(scope)).ok_or_else(|| Refusal::NoScope {
            scope: scope.clone(),
        })?;
        if *owner != payer.key {
            return Err(Refusal::NotOwner {
                scope: scope.clone(),
            });
        }
        if to == payer.key {
            return Rule::OwnName.broken();
        }
        *owner = to;
        payer.events.push(Event::ScopeOwned {
            scope: scope.clone(),
            owner: to,
        });
        Ok(())
    }
}

/// What a name stands for without a version: the highest that is not yanked, and a pre-release only
/// if there is nothing else. `None` if all are yanked.
pub fn latest(releases: &Releases) -> Option<(&Version, &Release)> {
    let good = || releases.iter().rev().filter(|(_, release)| !release.yanked);
    let full = good().find(|(version, _)| !version.is_pre_release());
    full.or_else(|| good().next())
}
