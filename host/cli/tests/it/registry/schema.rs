//! A registry's interface against its own description, by schemathesis, as the coordinator's is in
//! `crate::schema`. `cargo xtask hostile --examples N` makes more of it.

use serde_json::Value;
use tokio::runtime::Runtime;

use super::wallet::client;
use crate::network_support::Dev;
use crate::schema::{answers, operations, run, tool, write_codes};

#[test]
fn every_answer_of_a_registry_is_as_the_description_says() {
    let Some(tool) = tool() else {
        return;
    };
    let dev = Dev::start(&["--miners", "1"]);
    let url = dev.ports["registry"].as_str().unwrap();
    let runtime = Runtime::new().unwrap();
    let there = client(url);
    let get = |path: &str| -> Value {
        let answer = runtime.block_on(there.get(path).send());
        answer.unwrap().json().unwrap()
    };
    // Something of each kind to be asked for.
    let sent = dev.adit(&["--json", "faucet", "1000", "--key", "local"]);
    let sent = sent.exits(0).json();
    let key = ["--key", "local"];
    let guest = crate::support::guest("word-count.wasm");
    let publish = [
        "publish",
        guest.to_str().unwrap(),
        "--name",
        // One with `/` in it would be taken for two parts of the path.
        "words@1.0.0",
    ];
    dev.adit(&[&publish[..], &key].concat()).exits(0);
    let proposal = ["gov", "propose", "--title", "Less", "--set", "fee_min=0.02"];
    dev.adit(&[&proposal[..], &["--key", "//Alice"]].concat())
        .exits(0);
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let nodes = get("/v1/nodes");
    let nodes = nodes["items"].as_array().unwrap();
    let miner = nodes.iter().find(|node| node["role"] == "miner");
    let miner = miner.unwrap()["address"].clone();
    let address = text(&miner);
    let evidence = text(&sent["id"]);
    let accuse = ["--json", "report", "accuse", &address, "not-serving"];
    let rest = ["--evidence", &evidence, "--key", "//Alice"];
    let accused = dev.adit(&[&accuse[..], &rest].concat()).exits(0).json();
    let account = dev
        .adit(&["--json", "account", "show", "local"])
        .exits(0)
        .json();
    let proposals = get("/v1/proposals");
    let id = &proposals[0]["id"];
    let mut config = "hooks = \"checks\"\n".to_owned();
    let dictionaries = [
        (
            "address",
            "path.address",
            "",
            vec![text(&account["address"]), text(&miner)],
        ),
        (
            "node",
            "path.address",
            "/v1/nodes/{address}",
            vec![text(&miner)],
        ),
        (
            "rewards",
            "path.address",
            "/v1/nodes/{address}/rewards",
            vec![text(&miner)],
        ),
        (
            "transaction",
            "path.id",
            "/v1/transactions/{id}",
            vec![text(&sent["id"])],
        ),
        ("proposal", "path.id", "/v1/proposals/{id}", vec![text(id)]),
        (
            "report",
            "path.id",
            "/v1/reports/{id}",
            vec![text(&accused["id"])],
        ),
        ("name", "path.name", "", vec!["words".to_owned()]),
        (
            "version",
            "path.version",
            "",
            vec!["1.0.0".to_owned(), "latest".to_owned()],
        ),
        ("scope", "path.scope", "", vec!["words".to_owned()]),
    ];
    for (name, _, _, values) in &dictionaries {
        config += &format!("[dictionaries.{name}]\nvalues = {values:?}\n");
    }
    for (name, place, path, _) in &dictionaries {
        let table = match *path {
            "" => "",
            path => {
                config += &format!("[[operations]]\ninclude-path = \"{path}\"\n");
                "operations."
            }
        };
        config += &format!(
            "[{table}parameters.\"{place}\"]\ndictionary = \"{name}\"\nprobability = 0.5\n"
        );
    }
    dev.home.file("schemathesis.toml", config);
    write_codes(dev.home.dir.path());

    let description = get("/v1/openapi.json");
    let at = format!("{url}/v1/openapi.json");
    // A stream of events does not end by itself; the registry's own tests follow it.
    let without = ["--exclude-path", "/v1/events"];
    let (said, seen) = run(&dev.home, url, &tool, &at, Some("none"), &without);
    let said = said.exits(0).text();
    assert!(said.contains("No issues found"), "{said}");
    // Guards against asking nothing and finding nothing wrong with it.
    for (name, _) in operations(&description) {
        let wanted = match name.as_str() {
            "GET /v1/events" => continue,
            // What nobody has signed is refused.
            "POST /v1/transactions" => "4",
            // There is no settlement component here.
            "GET /v1/blobs/{hash}" => "404",
            _ => "2",
        };
        assert!(
            answers(&seen, &name, wanted) > 0,
            "{name}: {seen:#}\n{said}"
        );
    }
    dev.adit(&["registry", "replay"]).exits(0);
}
