//! The witnesses of a registry's own log, by the program's own commands.

use crate::cluster::free_port;
use crate::ledger::{Registry, init};
use crate::network_support::Node;
use crate::support::{Home, ended};

#[test]
fn a_registrys_log_is_cosigned_and_who_asks_for_that_is_told() {
    let home = Home::new();
    init(
        &home,
        &[
            "--development",
            "--epoch",
            "1h",
            "--allocate",
            "//Alice=1000",
        ],
    );
    let listen = format!("127.0.0.1:{}", free_port());
    let witness = Home::new();
    let name = ["--name", "witness.example/1"];
    let key = witness.adit(&[&["log", "witness", "key"], &name[..]].concat());
    let key = key.exits(0).text().trim().to_owned();
    let at = format!("127.0.0.1:{}", free_port());
    let asked = format!("{key}=http://{at}");

    // One that cannot be asked keeps nobody from starting.
    let registry = Registry::run_with(home, &["--listen", &listen, "--witness", &asked]);
    let shown = registry.json(&["registry", "show"]);
    let log = shown["log"]["vkey"].as_str().unwrap().to_owned();
    assert_eq!(shown["log"]["cosigned"], serde_json::json!([]));
    let wanted = ["--witness", &key, "--quorum", "1"];
    for command in [["registry", "show"], ["registry", "replay"]] {
        registry
            .adit(&[&command[..], &wanted].concat())
            .exits(6)
            .explains(&["0 of the 1"]);
    }
    registry
        .adit(&["registry", "replay", "--quorum", "1"])
        .exits(1)
        .explains(&["--quorum asks for 1, and 0 are known"]);

    let run = ["log", "witness", "run", "--vkey", &log, "--listen", &at];
    let mut watching = Node::start(witness.command(&[&run[..], &name].concat()));
    assert_eq!(watching.line(), format!("http://{at}"));
    registry.json(&["account", "send", "//Bob", "5", "--key", "//Alice"]);
    let Registry {
        home,
        mut node,
        url,
        ..
    } = registry;
    let ask = |command: &str| {
        let args = ["--json", "registry", command, "--registry", &url];
        ended(home.command(&[&args[..], &wanted].concat()))
    };
    let replayed = node.until("its log is cosigned", || {
        let said = ask("replay");
        (said.code == Some(0)).then(|| said.json())
    });
    assert_eq!(
        replayed["cosigned"],
        serde_json::json!(["witness.example/1"])
    );
    assert_eq!(
        ask("show").exits(0).json()["log"]["cosigned"],
        replayed["cosigned"]
    );
    assert_eq!(node.end(), Some(0));
    assert_eq!(watching.end(), Some(0));

    // What is no witness's key, or no address.
    for (bad, why) in [
        (format!("{log}=http://{at}"), "adit log witness key"),
        (key.clone(), "and its address"),
        (format!("{key}=http://"), "and its address"),
    ] {
        let said = home.adit(&["registry", "run", "--witness", &bad]).exits(1);
        assert!(said.stderr.contains(why), "{}", said.stderr);
    }
}

#[test]
fn the_state_of_a_development_network_is_checked_at_rest_too() {
    let dev = crate::network_support::Dev::start(&["--miners", "1"]);
    dev.adit(&["faucet", "5", "--key", "local"]).exits(0);
    // Under the folder that `adit dev` was given, and under the one in it that it says.
    let given = dev.home.path("net");
    let own = dev.ports["state"].as_str().unwrap().to_owned();
    let fsck = |state: &str, home: &Home, options: &[&str]| {
        let mut command = std::process::Command::new(crate::support::program());
        command.current_dir(home.dir.path());
        command.args(["registry", "fsck", "--state", state]);
        command.args(options);
        ended(command)
    };
    fsck(&own, &dev.home, &[])
        .exits(6)
        .explains(&["in use by another process"]);
    let home = dev.kill();
    let json = |state: &str| fsck(state, &home, &["--json"]).exits(0).json();
    let first = json(given.to_str().unwrap());
    assert!(first["transactions"].as_u64().unwrap() >= 5, "{first}");
    assert_eq!(json(&own), first);
    fsck(home.path("nothing").to_str().unwrap(), &home, &[])
        .exits(1)
        .explains(&["there is no registry", "--state"]);
}
