//! Components under names: published, found, run by name, marked and handed over.

use serde_json::Value;

use crate::network_support::Dev;
use crate::support::guest;

#[test]
fn a_component_is_published_and_run_by_its_name() {
    let dev = Dev::start(&["--miners", "1"]);
    let json = |args: &[&str]| dev.adit(&[&["--json"], args].concat()).exits(0).json();
    let behave = guest("guest-behave.wasm");
    let behave = behave.to_str().unwrap();
    json(&["faucet", "10", "--key", "local"]);
    let publish = |name: &str, more: &[&str]| {
        let args = ["publish", behave, "--name", name, "--key", "local"];
        dev.adit(&[&args, more].concat())
    };
    // Seen before it is sent; and then nothing is there.
    let dry = publish("acme/behave@1.0.0", &["--dry-run"]);
    let text = dry.exits(0).text();
    assert!(
        text.contains("\nfee: 1\n"),
        "a new name costs 100 fees: {text}"
    );
    assert!(
        text.contains("\nname: acme/behave\nversion: 1.0.0\n"),
        "{text}"
    );
    assert_eq!(
        json(&["component", "list"])["items"],
        Value::Array(Vec::new())
    );

    let done = publish(
        "acme/behave@1.0.0",
        &["--description", "Behaves.", "--json"],
    );
    let done = done.exits(0).json();
    let events = done["events"].as_array().unwrap();
    let published = events.iter().find(|event| event["event"] == "published");
    let component = published.unwrap()["component"].as_str().unwrap().to_owned();
    publish("acme/behave@1.0.0", &[])
        .exits(1)
        .explains(&["rule-broken", "never replaced"]);
    publish("acme/behave@1.0", &[]).exits(1);
    publish("behave", &[]).exits(1);
    publish("acme/behave@1.1.0-rc.1", &[]).exits(0);
    dev.adit(&[
        "publish",
        behave,
        "--name",
        "acme/behave@2.0.0",
        "--key",
        "//Alice",
    ])
    .exits(1)
    .explains(&["forbidden", "belong to another account"]);

    let list = dev.adit(&["component", "list", "BEHAVES"]).exits(0).text();
    assert!(
        list.contains("acme/behave") && list.contains("1.0.0"),
        "{list}"
    );
    let all = json(&["component", "show", "acme/behave"]);
    assert_eq!(all["latest"]["version"], "1.0.0");
    assert_eq!(all["versions"], 2);
    let one = json(&["component", "show", "acme/behave@1.0.0"]);
    assert_eq!(one["component"], component.as_str());
    assert_eq!(one["description"], "Behaves.");

    let submit = |name: &str| {
        dev.adit(&[
            "task",
            "submit",
            name,
            "--no-replication",
            "--",
            "args",
            "x",
        ])
    };
    for name in ["acme/behave", "acme/behave@1.1.0-rc.1"] {
        let said = submit(name).exits(0);
        assert!(said.stderr.contains(&component), "{}", said.stderr);
    }
    submit("acme/absent")
        .exits(1)
        .explains(&["not-found", "nothing is published"]);
    submit("./acme/behave").exits(1);

    json(&["component", "yank", "acme/behave@1.0.0", "--key", "local"]);
    let said = submit("acme/behave@1.0.0").exits(0);
    assert!(said.stderr.contains("yanked"), "{}", said.stderr);
    let said = submit("acme/behave").exits(0);
    assert!(said.stderr.contains("1.1.0-rc.1"), "{}", said.stderr);
    json(&[
        "component",
        "yank",
        "acme/behave@1.0.0",
        "--undo",
        "--key",
        "local",
    ]);
    json(&["component", "transfer", "acme", "//Alice", "--key", "local"]);
    publish("acme/behave@3.0.0", &[])
        .exits(1)
        .explains(&["forbidden"]);
}
