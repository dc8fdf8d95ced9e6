//! Components in a registry of OCI artifacts, Docker's own: run from there by their reference, and by the
//! name that is published for them, here and on a network whose coordinator has never seen them.

use std::path::PathBuf;
use std::process::Command;

use adit_ledger::index::Publication;
use adit_ledger::{Action, Key, Transaction};
use adit_net::http::client::{Client, ClientConfig};
use adit_protocol::Hash;
use adit_protocol::exec::World;
use adit_protocol::keys::Keypair;
use serde_json::{Value, json};

use crate::network_support::{Dev, Node};
use crate::support::{Home, ended, guest, target};

/// Where `cargo xtask setup` puts the registry. Under CI it does not leave it out.
fn program() -> Option<PathBuf> {
    let path = target().join("tools/oci-registry/docker-registry");
    let there = path.is_file();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "{}",
        path.display()
    );
    there.then_some(path)
}

/// Docker's registry, on this machine.
struct Registry {
    _node: Node,
    _home: Home,
    host: String,
    client: Client,
}

impl Registry {
    async fn start(program: PathBuf) -> Registry {
        let home = Home::new();
        let host = format!("127.0.0.1:{}", crate::cluster::free_port());
        let data = home.path("data");
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": data}},
            "http": {"addr": host},
        });
        // JSON is YAML.
        let config = home.file("config.yml", config.to_string());
        let mut command = Command::new(program);
        command.arg("serve").arg(config);
        let mut node = Node::start(command);
        let there = || std::net::TcpStream::connect(&host).ok().map(drop);
        node.until("the registry listens", there);
        let client = Client::new(ClientConfig::new(format!("http://{host}").parse().unwrap()));
        Registry {
            _node: node,
            _home: home,
            host,
            client: client.unwrap(),
        }
    }

    /// Uploads a blob, and returns its digest.
    async fn blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.client.post(&begin).send().await.unwrap();
        let location = begun.headers["location"].to_str().unwrap();
        let location: url::Url = location.parse().unwrap();
        let call = self
            .client
            .put(location.path())
            .exact_query(location.query());
        let call = call.query("digest", &digest);
        let call = call.bytes("application/octet-stream", bytes.to_vec());
        call.send().await.unwrap();
        digest
    }

    /// Uploads a component as an artifact, as `wkg` and `oras` do, and returns its reference.
    async fn push(&self, name: &str, wasm: &[u8]) -> String {
        const KIND: &str = "application/vnd.oci.image.manifest.v1+json";
        let config = self.blob(name, b"{}").await;
        let layer = self.blob(name, wasm).await;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": KIND,
            "config": {
                "mediaType": "application/vnd.wasm.config.v0+json",
                "digest": config,
                "size": 2,
            },
            "layers": [{"mediaType": "application/wasm", "digest": layer, "size": wasm.len()}],
        });
        let path = format!("/v2/{name}/manifests/1.0.0");
        let call = self.client.put(&path).bytes(KIND, manifest.to_string());
        call.send().await.unwrap();
        format!("oci://{}/{name}:1.0.0", self.host)
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = adit_net::signed::sha256(bytes);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Publishes a name for a component without uploading anything to anyone: `adit publish` would.
async fn publish(registry: &str, name: &str, component: Hash, source: &str) {
    let client = Client::new(ClientConfig::new(registry.parse().unwrap())).unwrap();
    let ask = async |path: &str| -> Value {
        let answer = client.get(path).send().await.unwrap();
        answer.json().unwrap()
    };
    let keypair = Keypair::from_uri("//Bob").unwrap();
    let account = Key::new(&keypair.public());
    let ledger = ask("/v1/ledger").await;
    let number = ask(&format!("/v1/accounts/{account}")).await["number"].clone();
    let network = client.get("/v1/network").send().await.unwrap();
    let network: adit_protocol::network::membership::NetworkFile = network.cbor().unwrap();
    let (name, version) = name.split_once('@').unwrap();
    let signed = Transaction {
        genesis: adit_protocol::Document::hash(&network.genesis),
        account,
        number: number.as_u64().unwrap(),
        // A hundred times the least, as a new name costs.
        fee: "1".parse().unwrap(),
        expires_ms: ledger["time_ms"].as_u64().unwrap() + 600_000,
        action: Action::Publish(Publication {
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            component,
            world: World::Command,
            models: Vec::new(),
            description: None,
            source: Some(source.to_owned()),
        }),
    }
    .sign(&keypair, &mut rand_core::OsRng);
    let digits: String = signed.to_bytes()[..64]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let body = json!({"text": signed.text(), "signature": format!("0x{digits}")});
    let call = client.post("/v1/transactions").json(&body);
    call.send().await.unwrap();
}

#[test]
fn a_component_comes_from_an_oci_registry_by_its_name() {
    let Some(program) = program() else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wasm = std::fs::read(guest("guest-behave.wasm")).unwrap();
    let registry = runtime.block_on(Registry::start(program));
    let reference = runtime.block_on(registry.push("acme/behave", &wasm));
    let home = Home::new();
    let run = |home: &Home, what: &[&str]| {
        let args = [&["run"], what, &["--", "args", "x"]].concat();
        ended(home.command(&args))
    };
    let direct = run(&home, &[&reference]).exits(0);
    assert!(direct.text().contains('x'), "{}", direct.text());
    let absent = reference.replace(":1.0.0", ":2.0.0");
    run(&home, &[&absent]).exits(1).explains(&["no artifact"]);

    let dev = Dev::start(&["--miners", "1"]);
    let ledger = dev.ports["registry"].as_str().unwrap();
    let hash = Hash::of(&wasm);
    let there = publish(ledger, "acme/behave@1.0.0", hash, &reference);
    runtime.block_on(there);
    // Under a name that means other bytes than the artifact has.
    let other = publish(ledger, "acme/other@1.0.0", Hash::of(b"x"), &reference);
    runtime.block_on(other);

    // On a machine that has nothing of it, from where its publisher says.
    let fresh = Home::new();
    let by_name = run(&fresh, &["acme/behave@1.0.0", "--registry", ledger]).exits(0);
    assert_eq!(by_name.text(), direct.text());
    run(&fresh, &["acme/other", "--registry", ledger])
        .exits(3)
        .explains(&["another component"]);
    // And for a coordinator that has never seen it.
    let submit = ["task", "submit", "acme/behave", "--no-replication"];
    let submitted = dev.adit(&[&submit[..], &["--", "args", "x"]].concat());
    let submitted = submitted.exits(0);
    assert_eq!(submitted.text(), direct.text());
    assert!(
        submitted.stderr.contains(&hash.to_string()),
        "{}",
        submitted.stderr
    );
}
