//! Epochs settled by a component: the one of the genesis document, or the one that a vote has named.

use std::path::Path;

use serde_json::Value;

use crate::earning::Earning;
use crate::ledger::{Registry, init};
use crate::support::{Home, Said, ended, files, guest};

/// The settlement component of this release, by its path.
fn component() -> String {
    guest("adit-settlement.wasm").to_str().unwrap().to_owned()
}

/// Every settlement of the network that this component, or no component, has come to.
fn by<'a>(audit: &'a Value, program: &'a Value) -> impl Iterator<Item = &'a Value> {
    let epochs = audit["epochs"].as_array().unwrap().iter();
    epochs.filter(move |epoch| epoch["program"] == *program)
}

fn paid(audit: &Value, program: &Value) -> u64 {
    let paid = by(audit, program).map(|epoch| epoch["receipts"]["paid"].as_u64().unwrap());
    paid.sum()
}

#[test]
fn a_vote_makes_a_component_settle_and_anyone_computes_it_again() {
    let mut network = Earning::start(&["--epoch", "2s", "--unbonding", "1"]);
    let url = network.registry.url.clone();
    let component = component();
    let hash =
        Value::from(adit_protocol::Hash::of(&std::fs::read(&component).unwrap()).to_string());
    let stranger = |home: &Home, options: &[&str]| -> Said {
        let args = [&["--json", "audit", "rewards", &url], options].concat();
        ended(home.command(&args))
    };
    let first = Home::new();
    let audited = |what: &str, network: &mut Earning, is: &dyn Fn(&Value) -> bool| -> Value {
        network.registry.node.until(what, || {
            let all = stranger(&first, &[]).exits(0).json();
            assert_eq!(all["ok"], true, "{all}");
            is(&all).then_some(all)
        })
    };
    network.client.work(1);
    audited("this release settles", &mut network, &|all| {
        paid(all, &Value::Null) == 1
    });

    let set = format!("rewards.settlement={}", hash.as_str().unwrap());
    let propose = ["gov", "propose", "--title", "Ours", "--key", "//Alice"];
    let made = (network.registry).json(&[&propose[..], &["--set", &set]].concat());
    let id = made["id"].as_str().unwrap();
    network
        .registry
        .json(&["gov", "vote", id, "yes", "--key", "//Alice"]);
    // It is the rule, and nobody has told the registry's operator. Nothing is settled then, not by
    // what this release has itself either.
    let Registry { node, .. } = &mut network.registry;
    let said = node.stderr();
    node.until("the component is missed", || {
        said().contains("adit registry add-component").then_some(())
    });
    assert!(said().contains(hash.as_str().unwrap()), "{}", said());
    network.client.work(2);
    let all = stranger(&first, &[]).exits(0).json();
    assert_eq!(by(&all, &hash).count(), 0, "{all}");

    // Something else is not taken in its place.
    let other = guest("guest-behave.wasm");
    network
        .registry
        .home
        .adit(&["registry", "add-component", other.to_str().unwrap()])
        .exits(1)
        .explains(&["was not added"]);
    let added = ["registry", "add-component", &component];
    let added = network.registry.home.adit(&added).exits(0).text();
    assert_eq!(added.trim(), hash.as_str().unwrap());
    let all = audited("the component settles", &mut network, &|all| {
        paid(all, &hash) == 1
    });
    assert_eq!(paid(&all, &Value::Null), 1, "{all}");

    // Where the registry lost it, whoever has it still comes to the same.
    let kept = network
        .registry
        .home
        .state()
        .join("registry/data/components");
    let kept = files(&kept);
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::remove_file(&kept[0]).unwrap();
    let second = Home::new();
    ended(second.command(&["audit", "rewards", &url]))
        .exits(6)
        .explains(&["--settlement FILE", hash.as_str().unwrap()]);
    let again = stranger(&second, &["--settlement", &component])
        .exits(0)
        .json();
    assert_eq!(again["ok"], true);
    assert!(by(&again, &hash).count() >= 1, "{again}");
    assert_eq!(network.registry.json(&["registry", "replay"])["ok"], true);
    assert_eq!(network.registry.node.end(), Some(0));
}

#[test]
fn a_network_begins_with_a_component() {
    let home = Home::new();
    // A core module is refused before anything is made.
    let module = home.file("module.wasm", b"\0asm\x01\0\0\0");
    let begin = ["registry", "init", "--name", "test", "--settlement"];
    home.adit(&[&begin[..], &[module.to_str().unwrap()]].concat())
        .exits(1)
        .explains(&["core WebAssembly module"]);
    let made = init(&home, &["--development", "--settlement", &component()]);
    let named = made["ledger"]["parameters"]["rewards"]["settlement"].clone();
    let registry = Registry::run_with(home, &["--listen", "127.0.0.1:0"]);
    let shown = registry.json(&["registry", "show"]);
    assert_eq!(
        shown["ledger"]["parameters"]["rewards"]["settlement"],
        named
    );
    let bytes = fetched(&registry.url, named.as_str().unwrap());
    assert!(bytes == std::fs::read(Path::new(&component())).unwrap());
    assert_eq!(registry.node.end(), Some(0));
}

/// A blob of a registry.
fn fetched(url: &str, hash: &str) -> Vec<u8> {
    use adit_net::http::client::{Client, ClientConfig};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let client = Client::new(ClientConfig::new(url.parse().unwrap())).unwrap();
        let call = client.get(&format!("/v1/blobs/{hash}"));
        let mut sink = adit_net::http::client::MemorySink::default();
        let hash = hash.parse().unwrap();
        call.download(&mut sink, &hash, 1 << 20).await.unwrap();
        let zero = adit_protocol::Hash::ZERO;
        let absent = client.get(&format!("/v1/blobs/{zero}")).send().await;
        let absent = absent.unwrap_err();
        assert_eq!(absent.code(), adit_protocol::Code::UnknownBlob);
        sink.0
    })
}
