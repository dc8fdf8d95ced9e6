//! The component index: who may publish what, and what a name stands for.

use std::ops::Bound;

use adit_ledger::index::{Model, Publication, RELEASES_MAX, SCOPE_FEES, Version};
use adit_ledger::refusal::Rule;
use adit_ledger::state::{Entry, latest};
use adit_ledger::transaction::TextError;
use adit_ledger::{Action, Event, Refusal, State, Transaction};
use adit_protocol::exec::World;
use adit_protocol::{Amount, Code, Hash};

use crate::support::*;

fn ok(state: &mut State, from: usize, action: Action) -> Vec<Event> {
    let transaction = signed(state, from, action);
    state.apply(&transaction).unwrap()
}

fn refused(state: &mut State, from: usize, action: Action) -> Refusal {
    let before = state.clone();
    let transaction = signed(state, from, action);
    let refusal = state.apply(&transaction).unwrap_err();
    assert_eq!(*state, before, "{refusal}");
    assert!(refusal.to_string().contains("hint: "), "{refusal}");
    refusal
}

fn publish(name: &str, version: &str) -> Action {
    Action::Publish(publication(name, version))
}

fn hand_over(scope: &str, to: usize) -> Action {
    Action::TransferName {
        scope: scope.parse().unwrap(),
        to: account(to),
    }
}

fn latest_of(state: &State, name: &str) -> Option<String> {
    let releases = state.releases(&name.parse().unwrap())?;
    latest(releases).map(|(version, _)| version.to_string())
}

#[test]
fn a_name_belongs_to_whoever_publishes_under_it_first() {
    let mut state = state();
    let publication = Publication {
        world: World::Command,
        models: vec![Model {
            name: "bert".to_owned(),
            manifest: Hash::of(b"manifest"),
        }],
        description: Some("Counts.".to_owned()),
        source: Some("https://coordinator.example:4430".to_owned()),
        ..publication("acme/count", "1.0.0")
    };
    let transaction = signed(&state, 0, Action::Publish(publication.clone()));
    let events = state.apply(&transaction).unwrap();
    let fee = state.parameters().fee_min;
    let many = Amount::from_units(fee.units() * u128::from(SCOPE_FEES));
    assert_eq!(transaction.transaction().fee, many);
    let scope = "acme".parse().unwrap();
    assert!(events.contains(&Event::ScopeOwned {
        scope,
        owner: account(0)
    }));
    let releases = state.releases(&publication.name).unwrap();
    let release = &releases[&publication.version];
    assert_eq!(release.component, publication.component);
    assert_eq!(release.models, publication.models);
    assert_eq!(release.source, publication.source);
    assert_eq!(release.publisher, account(0));
    assert_eq!(release.transaction, transaction.signed().id());
    assert!(!release.yanked);

    // All of the scope is theirs, and costs no more than anything else from then on.
    for name in ["acme/count", "acme/other", "acme"] {
        let refusal = refused(&mut state, 1, publish(name, "1.0.1"));
        assert!(matches!(refusal, Refusal::NotOwner { .. }), "{refusal}");
        assert_eq!(refusal.code(), Code::Forbidden);
        let action = publish(name, "1.0.1");
        assert_eq!(state.least_fee(&action), fee);
        ok(&mut state, 0, action);
    }
    // Names that only begin alike are others.
    ok(&mut state, 1, publish("acme-2", "1.0.0"));
    assert_eq!(state.names_from(Bound::Unbounded).count(), 4);
    assert_eq!(
        state.supply().total(),
        state.head().issued.minus(state.head().burned).unwrap()
    );
}

#[test]
fn a_new_scope_costs_more() {
    let mut state = state();
    let good = signed(&state, 0, publish("acme", "1.0.0"));
    let cheap = Transaction {
        fee: good.transaction().fee.minus(Amount::from_units(1)).unwrap(),
        ..good.transaction().clone()
    };
    let refusal = state.apply(&verified(0, &cheap)).unwrap_err();
    let min = good.transaction().fee;
    assert!(matches!(refusal, Refusal::Fee { min: least, .. } if least == min));
    let poor = refused(&mut state, 5, publish("acme", "1.0.0"));
    assert!(matches!(poor, Refusal::Insufficient { .. }));
    let burned = state.head().burned;
    state.apply(&good).unwrap();
    assert_eq!(state.head().burned.minus(burned), Some(min));
}

#[test]
fn a_version_is_never_replaced() {
    let mut state = state();
    ok(&mut state, 0, publish("acme", "1.0.0"));
    let other = Publication {
        component: Hash::of(b"another"),
        ..publication("acme", "1.0.0")
    };
    for publication in [publication("acme", "1.0.0"), other] {
        let refusal = refused(&mut state, 0, Action::Publish(publication));
        assert!(matches!(refusal, Refusal::VersionTaken { .. }), "{refusal}");
    }
    // Neither when it is yanked.
    ok(&mut state, 0, yank("acme", "1.0.0", true));
    let refusal = refused(&mut state, 0, publish("acme", "1.0.0"));
    assert!(matches!(refusal, Refusal::VersionTaken { .. }), "{refusal}");
}

#[test]
fn yanked_versions_are_there_and_are_skipped() {
    let mut state = state();
    for version in ["1.2.0", "1.10.0", "2.0.0-rc.1"] {
        ok(&mut state, 0, publish("acme", version));
    }
    assert_eq!(latest_of(&state, "acme").unwrap(), "1.10.0");
    let not_theirs = refused(&mut state, 1, yank("acme", "1.10.0", true));
    assert!(matches!(not_theirs, Refusal::NotOwner { .. }));
    for (name, version) in [
        ("acme", "1.10.1"),
        ("acme/x", "1.10.0"),
        ("nobody", "1.0.0"),
    ] {
        let refusal = refused(&mut state, 0, yank(name, version, true));
        assert!(matches!(refusal, Refusal::NoRelease { .. }), "{refusal}");
        assert_eq!(refusal.code(), Code::NotFound);
    }
    let same = refused(&mut state, 0, yank("acme", "1.10.0", false));
    assert_eq!(same, Refusal::Rule(Rule::SameYank));
    for (version, left) in [
        ("1.10.0", Some("1.2.0")),
        ("1.2.0", Some("2.0.0-rc.1")),
        ("2.0.0-rc.1", None),
    ] {
        ok(&mut state, 0, yank("acme", version, true));
        assert_eq!(latest_of(&state, "acme").as_deref(), left);
    }
    assert_eq!(state.releases(&"acme".parse().unwrap()).unwrap().len(), 3);
    ok(&mut state, 0, yank("acme", "1.2.0", false));
    assert_eq!(latest_of(&state, "acme").unwrap(), "1.2.0");
}

#[test]
fn names_are_handed_over_with_all_below_them() {
    let mut state = state();
    ok(&mut state, 0, publish("acme/x", "1.0.0"));
    let nothing = refused(&mut state, 0, hand_over("x", 1));
    assert!(matches!(nothing, Refusal::NoScope { .. }));
    let not_theirs = refused(&mut state, 1, hand_over("acme", 1));
    assert!(matches!(not_theirs, Refusal::NotOwner { .. }));
    let same = refused(&mut state, 0, hand_over("acme", 0));
    assert_eq!(same, Refusal::Rule(Rule::OwnName));
    ok(&mut state, 0, hand_over("acme", 1));
    for action in [
        publish("acme/x", "1.0.1"),
        publish("acme/y", "1.0.0"),
        yank("acme/x", "1.0.0", true),
    ] {
        let refusal = refused(&mut state, 0, action.clone());
        assert!(matches!(refusal, Refusal::NotOwner { .. }), "{refusal}");
        ok(&mut state, 1, action);
    }
    // Who published what stays as it was.
    let releases = state.releases(&"acme/x".parse().unwrap()).unwrap();
    let publisher = |version: &str| releases[&version.parse::<Version>().unwrap()].publisher;
    assert_eq!(publisher("1.0.0"), account(0));
    assert_eq!(publisher("1.0.1"), account(1));
}

#[test]
fn a_name_has_so_many_versions_and_no_more() {
    let mut state = state();
    for number in 0..RELEASES_MAX {
        ok(&mut state, 0, publish("acme", &format!("0.0.{number}")));
    }
    let refusal = refused(&mut state, 0, publish("acme", "1.0.0"));
    assert_eq!(refusal, Refusal::Rule(Rule::ManyReleases));
    ok(&mut state, 0, publish("acme/other", "1.0.0"));
    // Entries are in the order of their bytes, whatever that of the versions is.
    let mut entries = Vec::new();
    state.entries(|entry| entries.push(entry));
    assert!(entries.is_sorted_by(|a, b| a.key < b.key));
    let again = State::from_entries(&genesis().0, entries).unwrap();
    assert_eq!(again, state);
}

#[test]
fn entries_that_fit_together_no_way_are_refused() {
    let mut state = state();
    ok(&mut state, 0, publish("acme/x", "1.0.0"));
    let mut entries = Vec::new();
    state.entries(|entry| entries.push(entry));
    let restored = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        State::from_entries(&genesis().0, entries)
    };
    let last = entries.len() - 1;
    assert_eq!(entries[last].key, b"\x1facme/x\x001.0.0");
    assert_eq!(entries[last - 1].key, b"\x1eacme");
    assert!(restored(&|_| ()).is_ok());
    assert!(restored(&|entries| drop(entries.remove(last - 1))).is_err());
    for key in [
        &b"\x1facme/x"[..],
        b"\x1facme/x\x00",
        b"\x1facme/x\x001.0",
        b"\x1facme/x\x001.0.0\x00",
        b"\x1facme/X\x001.0.0",
        b"\x1facme/\xff\x001.0.0",
    ] {
        assert!(restored(&|entries| entries[last].key = key.to_vec()).is_err());
    }
    assert!(restored(&|entries| entries[last].value.push(0)).is_err());
}

#[test]
fn models_are_bounded_and_in_order() {
    let with = |names: &[String]| {
        let models = names.iter().map(|name| Model {
            name: name.clone(),
            manifest: Hash::of(name.as_bytes()),
        });
        let publication = Publication {
            models: models.collect(),
            ..publication("acme", "1.0.0")
        };
        let state = state();
        let transaction = signed(&state, 0, publish("acme", "1.0.0"));
        let transaction = Transaction {
            action: Action::Publish(publication),
            ..transaction.transaction().clone()
        };
        Transaction::from_text(&transaction.to_text())
    };
    let names = |count: usize| (0..count).map(|n| format!("m{n:02}")).collect::<Vec<_>>();
    let wrong = |names: &[String]| match with(names) {
        Err(TextError::Value { name, .. }) => assert_eq!(name, "model"),
        other => panic!("{other:?}"),
    };
    assert!(with(&names(32)).is_ok());
    wrong(&names(33));
    wrong(&["b".to_owned(), "a".to_owned()]);
    wrong(&["a".to_owned(), "a".to_owned()]);
    wrong(&["a b".to_owned()]);
    wrong(&[String::new()]);
    wrong(&["a".repeat(65)]);
}
