//! The component index: publishing, marking, handing over.

use adit_ledger::index::{Model, Publication};
use adit_protocol::exec::World;

use super::*;

fn publication(name: &str, version: &str) -> Publication {
    Publication {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        component: Hash::of(format!("{name} {version}").as_bytes()),
        world: World::Task,
        models: Vec::new(),
        description: None,
        source: None,
    }
}

fn publish(name: &str, version: &str) -> Action {
    Action::Publish(publication(name, version))
}

fn yank(name: &str, version: &str, yanked: bool) -> Action {
    Action::Yank {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        yanked,
    }
}

fn hand_over(scope: &str, to: &str) -> Action {
    Action::TransferName {
        scope: scope.parse().unwrap(),
        to: key(to),
    }
}

/// A release of which everything is said.
fn whole() -> Publication {
    let model = |name: &str| Model {
        name: name.to_owned(),
        manifest: Hash::of(name.as_bytes()),
    };
    Publication {
        world: World::Command,
        models: vec![model("Bert"), model("all-MiniLM-L6-v2"), model("bert")],
        description: Some("Zählt Wörter.".to_owned()),
        source: Some("oci://ghcr.io/acme/word-count:1.0.0".to_owned()),
        ..publication("acme/word-count", "1.0.0")
    }
}

pub fn components() -> Story {
    let rich = [("//Alice", tokens(100)), ("//Bob", tokens(2))];
    let about = "components: names and their owners, versions, marks; keys of unequal length";
    let mut it = story("components", about, parameters(), &rich);
    it.block(0);
    let cheap = |t: &mut adit_ledger::Transaction| t.fee = Amount::from_units(999_999_999_999);
    it.refused_with("//Alice", publish("acme", "1.0.0"), "fee", cheap);
    it.refused("//Nobody", publish("acme", "1.0.0"), "insufficient");
    it.refused("//Alice", yank("acme", "1.0.0", true), "no-release");
    it.refused("//Alice", hand_over("acme", "//Bob"), "no-scope");
    it.done("//Alice", Action::Publish(whole()));
    // The scope is Alice's, and costs no more from then on.
    it.refused("//Bob", publish("acme/word-count", "1.0.1"), "not-owner");
    it.refused("//Bob", publish("acme/other", "1.0.0"), "not-owner");
    it.refused("//Bob", publish("acme", "1.0.0"), "not-owner");
    it.refused("//Bob", yank("acme/word-count", "1.0.0", true), "not-owner");
    it.refused("//Bob", hand_over("acme", "//Bob"), "not-owner");
    it.done("//Alice", publish("acme", "10.0.0"));
    it.done("//Alice", publish("acme", "9.0.0-rc.1"));
    it.done("//Alice", publish("acme", "9.0.0"));
    // Entries are in the order of the bytes of names, of which one can begin as another does.
    it.done("//Bob", publish("acme-2", "0.1.0"));
    it.done("//Alice", publish("acme0/a", "0.1.0"));
    it.refused("//Alice", Action::Publish(whole()), "version-taken");
    let other = publish("acme/word-count", "1.0.0");
    it.refused("//Alice", other, "version-taken");
    it.block(30_000);
    it.done("//Alice", yank("acme/word-count", "1.0.0", true));
    it.refused(
        "//Alice",
        yank("acme/word-count", "1.0.0", true),
        "rule same-yank",
    );
    it.refused("//Alice", yank("acme", "9.0.0", false), "rule same-yank");
    it.refused("//Alice", yank("acme", "9.0.1", true), "no-release");
    it.done("//Alice", yank("acme", "9.0.0", true));
    it.block(EPOCH_MS);
    it.done("//Alice", yank("acme", "9.0.0", false));
    it.refused("//Alice", hand_over("acme", "//Alice"), "rule own-name");
    it.refused("//Alice", hand_over("word-count", "//Bob"), "no-scope");
    it.done("//Alice", hand_over("acme", "//Dave"));
    it.refused("//Alice", publish("acme", "11.0.0"), "not-owner");
    it.done("//Dave", faucet(1));
    it.done("//Dave", publish("acme", "11.0.0"));
    it.done("//Dave", hand_over("acme", "//Alice"));
    it.done("//Alice", publish("acme/word-count", "1.0.1"));
    it
}
