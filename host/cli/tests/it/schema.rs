//! A coordinator's interface against its own description, by schemathesis: all operations with data
//! that the description allows and data that it does not, with a token, with none and with a wrong
//! one. `cargo xtask hostile --examples N` makes more of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use adit_net::http::client::{Call, Client, ClientConfig};
use adit_net::http::status;
use adit_protocol::{Code, Hash};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::network_support::Dev;
use crate::support::{Home, Said, ended_within, guest, target};

/// Cases for each operation and phase, if nothing else is asked for.
const EXAMPLES: &str = "5";
/// How long a run may take that was asked for by hand.
const MOST: Duration = Duration::from_secs(4 * 3600);
/// The packages of the tool, which `cargo xtask setup` installs.
const TOOL: &str = "schemathesis";

/// The folder of the tool. `None` where it is not installed, which under `CI` is a failure.
pub fn tool() -> Option<PathBuf> {
    let folder = target().join("tools").join(TOOL);
    if folder.join("installed.txt").exists() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing: run `cargo xtask setup`",
        folder.display()
    );
    eprintln!(
        "skipped: {} is missing; hint: run `cargo xtask setup`",
        folder.display()
    );
    None
}

/// A network with tasks in each of their states, whose ids the tool is told.
struct Subject {
    dev: Dev,
    client: Client,
    runtime: Runtime,
}

impl Subject {
    fn new() -> Subject {
        let dev = Dev::start(&["--miners", "2"]);
        let mut config = ClientConfig::new(dev.url().parse().unwrap());
        config.token = Some(dev.ports["token"].as_str().unwrap().to_owned());
        Subject {
            client: Client::new(config).unwrap(),
            runtime: Runtime::new().unwrap(),
            dev,
        }
    }

    fn json(&self, call: Call) -> Value {
        self.runtime.block_on(call.send()).unwrap().json().unwrap()
    }

    /// Submits the guest `behave` and waits for its end.
    fn task(&self, args: &[&str], disclosure: &str) -> Value {
        let component = std::fs::read(guest("guest-behave.wasm")).unwrap();
        let component = self.put(component);
        let task = json!({
            "component": component, "world": "command", "args": args, "disclosure": disclosure,
            "verification": { "replicas": 1 },
        });
        let call = self.client.post("/v1/tasks").json(&task);
        self.json(call.query("wait", 60).timeout_ms(90_000))
    }

    fn put(&self, bytes: Vec<u8>) -> String {
        let hash = Hash::of(&bytes).to_string();
        let call = self.client.put(&format!("/v1/blobs/{hash}"));
        self.json(call.bytes("application/octet-stream", bytes));
        hash
    }

    /// Writes the tool's configuration: values that there are, for half of the cases.
    fn configure(&self, path: &Path) {
        let ended = [
            self.task(&["args", "x"], "public"),
            self.task(&["panic"], "parties"),
            self.task(&["exit", "3"], "checkers"),
        ];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of = |name: &str, part: fn(&Value) -> &Value| {
            let all: Vec<String> = ended.iter().map(|task| text(part(task))).collect();
            (name.to_owned(), all)
        };
        let miners = self.json(self.client.get("/v1/miners"));
        let info = self.json(self.client.get("/v1/info"));
        let explained = format!("/v1/tasks/{}/explain", text(&ended[0]["task"]));
        let roster = text(&self.json(self.client.get(&explained))["draws"][0]["roster"]);
        let membership = self
            .runtime
            .block_on(
                self.client
                    .get("/v1/network")
                    .header(
                        axum::http::header::ACCEPT,
                        axum::http::HeaderValue::from_static("application/json"),
                    )
                    .send(),
            )
            .unwrap()
            .json::<Value>()
            .unwrap();
        let membership = text(&membership["membership_hash"]);
        let component = Hash::of(&std::fs::read(guest("guest-behave.wasm")).unwrap()).to_string();
        let mut hashes = of("hash", |task| &task["exec"]);
        hashes.1.push(component.clone());
        let node = miners["items"][0]["miner"].as_str().unwrap().to_owned();
        // The one that has written to stderr.
        let loud = text(&ended[1]["result"]["receipt"]);
        let dictionaries = [
            (of("task", |task| &task["task"]), "path.task", ""),
            (
                of("receipt", |task| &task["result"]["receipt"]),
                "path.receipt",
                "",
            ),
            (hashes, "path.hash", ""),
            (("node".to_owned(), vec![node]), "path.node", ""),
            (
                ("component".to_owned(), vec![component]),
                "body.component",
                "",
            ),
            (
                ("loud".to_owned(), vec![loud]),
                "path.receipt",
                "/v1/receipts/{receipt}/log",
            ),
            (
                ("roster".to_owned(), vec![roster]),
                "path.hash",
                "/v1/documents/{hash}",
            ),
            (
                ("membership".to_owned(), vec![membership]),
                "path.hash",
                "/v1/memberships/{hash}",
            ),
        ];
        let mut config = "hooks = \"checks\"\n".to_owned();
        for ((name, values), _, _) in &dictionaries {
            config += &format!("[dictionaries.{name}]\nvalues = {values:?}\n");
        }
        for ((name, _), place, path) in &dictionaries {
            let table = match *path {
                "" => String::new(),
                path => {
                    config += &format!("[[operations]]\ninclude-path = \"{path}\"\n");
                    "operations.".to_owned()
                }
            };
            config += &format!(
                "[{table}parameters.\"{place}\"]\ndictionary = \"{name}\"\nprobability = 0.5\n"
            );
        }
        std::fs::write(path, config).unwrap();
        let folder = path.parent().unwrap();
        std::fs::write(folder.join("info.json"), info.to_string()).unwrap();
        write_codes(folder);
    }

    /// Runs the tool over a description, which is a URL or a file. What it says, and how often which
    /// operation was answered with which status.
    fn run(
        &self,
        tool: &Path,
        description: &str,
        token: Option<&str>,
        more: &[&str],
    ) -> (Said, Value) {
        let home = &self.dev.home;
        let config = home.path("schemathesis.toml");
        if !config.exists() {
            self.configure(&config);
        }
        run(home, self.dev.url(), tool, description, token, more)
    }
}

/// Writes the codes of problems and the statuses that go with them, for the tool.
pub fn write_codes(folder: &Path) {
    let codes: serde_json::Map<_, _> = Code::ALL
        .iter()
        .map(|code| (code.to_string(), status::of(*code).as_u16().into()))
        .collect();
    std::fs::write(folder.join("codes.json"), Value::Object(codes).to_string()).unwrap();
}

/// Runs the tool over a description and what is at `url`, with the configuration and the codes that
/// are in a home.
pub fn run(
    home: &Home,
    url: &str,
    tool: &Path,
    description: &str,
    token: Option<&str>,
    more: &[&str],
) -> (Said, Value) {
    let config = home.path("schemathesis.toml");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/schema");
    let packages = std::env::join_paths([tool, &here]).unwrap();
    let seen = home.path("seen.json");
    let _ = std::fs::remove_file(&seen);
    let setting =
        |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let mut command = Command::new("python3");
    command
        .current_dir(home.dir.path())
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ADIT_CODES", home.path("codes.json"))
        .env("ADIT_INFO", home.path("info.json"))
        .env("ADIT_SEEN", &seen)
        .stdin(std::process::Stdio::null())
        .args(["-m", "schemathesis.cli", "--no-color", "--config-file"])
        .arg(&config)
        .args(["run", description, "--url", url])
        // One thread: two that compile Python at the same time are an error of Python 3.11.
        .args(["--workers", "1", "--request-timeout", "90", "--no-shrink"])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--continue-on-failure",
        ])
        .args(["--warnings", "off", "--generation-database", "none"])
        .args([
            "--max-examples",
            &setting("ADIT_HOSTILE_EXAMPLES", EXAMPLES),
        ])
        .args(["--seed", &setting("ADIT_HOSTILE_SEED", "1")])
        .args(more);
    match token {
        Some(token) => {
            command
                .arg("--header")
                .arg(format!("Authorization: Bearer {token}"));
        }
        None => {
            command.env("ADIT_REFUSED", "1");
        }
    }
    let said = ended_within(command, MOST);
    let seen = std::fs::read(&seen)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", said.text(), said.stderr));
    (said, serde_json::from_slice(&seen).unwrap())
}

/// How often an operation was answered with a status, or class of statuses as `2`.
pub fn answers(seen: &Value, operation: &str, status: &str) -> u64 {
    let Some(found) = seen[operation].as_object() else {
        return 0;
    };
    let of = found.iter().filter(|(found, _)| found.starts_with(status));
    of.filter_map(|(_, count)| count.as_u64()).sum()
}

/// The operations of a description, as the tool names them, with what they ask for.
pub fn operations(description: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            all.push((name, operation["security"].clone()));
        }
    }
    assert!(all.len() > 15, "{}", all.len());
    all
}

/// What only a node can be answered, for what it signs; here they are refused, and the tests of the
/// coordinator try them with signatures.
fn is_for_nodes(name: &str) -> bool {
    name.contains("/v1/miner/")
}

#[test]
fn every_answer_is_as_the_description_says() {
    let Some(tool) = tool() else {
        return;
    };
    let subject = Subject::new();
    let token = subject.dev.ports["token"].as_str().unwrap();
    let url = format!("{}/v1/openapi.json", subject.dev.url());
    let description = subject.json(subject.client.get("/v1/openapi.json"));

    let (said, seen) = subject.run(&tool, &url, Some(token), &[]);
    let said = said.exits(0).text();
    assert!(said.contains("No issues found"), "{said}");
    // Guards against asking nothing and finding nothing wrong with it.
    for (name, _) in operations(&description) {
        let wanted = match name.as_str() {
            // The tasks that the tool knows of have ended.
            "POST /v1/tasks/{task}/cancel" => "409",
            name if is_for_nodes(name) => "401",
            _ => "2",
        };
        assert!(
            answers(&seen, &name, wanted) > 0,
            "{name}: {seen:#}\n{said}"
        );
    }
    let refused = answers(&seen, "POST /v1/tasks", "400");
    assert!(refused > 50, "{refused}");

    // Whoever has no token gets what is public, and else a refusal.
    let (said, seen) = subject.run(&tool, &url, None, &[]);
    said.exits(0);
    for (name, security) in operations(&description) {
        let asked = security
            .as_array()
            .is_some_and(|all| !all.contains(&json!({})));
        if asked {
            assert_eq!(answers(&seen, &name, "2"), 0, "{name}: {seen:#}");
            assert!(answers(&seen, &name, "401") > 0, "{name}: {seen:#}");
        }
    }

    // It is still well, and so is its log.
    let done = subject.task(&["args", "afterwards"], "public");
    assert_eq!(done["state"], "completed", "{done:#}");
    subject
        .dev
        .adit(&["log", "check", subject.dev.url()])
        .exits(0);
}

/// A description that is wrong in one place each is found to be so.
#[test]
fn an_answer_that_is_not_as_described_is_found() {
    let Some(tool) = tool() else {
        return;
    };
    let subject = Subject::new();
    let token = subject.dev.ports["token"].as_str().unwrap();
    let description = subject.json(subject.client.get("/v1/openapi.json"));
    let broken = |change: fn(&mut Value)| {
        let mut description = description.clone();
        change(&mut description);
        let path = subject
            .dev
            .home
            .file("broken.json", description.to_string());
        let only = ["--include-path-regex", "/v1/(info|tasks/.task.$|documents)"];
        let (said, _) = subject.run(&tool, path.to_str().unwrap(), Some(token), &only);
        said.exits(1).text()
    };
    let said = broken(|description| {
        description["components"]["schemas"]["Info"]["properties"]["epoch"] =
            json!({ "type": "string" });
        description["components"]["schemas"]["TaskView"]["required"] = json!(["bogus"]);
        let document = &mut description["paths"]["/v1/documents/{hash}"]["get"]["responses"];
        document.as_object_mut().unwrap().remove("404");
    });
    for words in ["epoch", "bogus", "404 is not described"] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}
