//! The dependency edges of the architecture.
//!
//! Only direct dependencies are looked at, of every kind (normal, build and development): what a
//! crate names itself is what its authors can use by mistake.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

const PROTOCOL: &str = "host/protocol";
const RUNTIME: &str = "host/runtime";
const RUNNER: &str = "conformance/runner";
const NET: &str = "host/net";
const LEDGER: &str = "registry/ledger";
const SETTLEMENT: &str = "registry/settlement";
const COORDINATOR: &str = "host/coordinator";
const MINER: &str = "host/miner";
const CHECKER: &str = "host/checker";
const SERVER: &str = "registry/server";
const DEVNET: &str = "host/devnet";

/// What a role and the registry's server build on.
const BASE: &[&str] = &[PROTOCOL, RUNTIME, NET, LEDGER, SETTLEMENT];

/// Where a crate lives, and which crates of the workspace it may name. A crate that is not here
/// has no place in the architecture yet.
const ALLOWED: &[(&str, &[&[&str]])] = &[
    (PROTOCOL, &[]),
    // The runner's part in the tests: what the guests are expected to do.
    (RUNTIME, &[&[PROTOCOL, RUNNER]]),
    (NET, &[&[PROTOCOL]]),
    (LEDGER, &[&[PROTOCOL]]),
    (SETTLEMENT, &[&[PROTOCOL]]),
    (COORDINATOR, &[BASE]),
    (MINER, &[BASE]),
    (CHECKER, &[BASE]),
    (SERVER, &[BASE]),
    (DEVNET, &[BASE, &[COORDINATOR, MINER, CHECKER, SERVER]]),
    (
        "host/cli",
        &[BASE, &[COORDINATOR, MINER, CHECKER, SERVER, DEVNET]],
    ),
    // A separate binary with a native library inside: it speaks the worker protocol only.
    ("host/worker-llama", &[&[PROTOCOL, RUNTIME]]),
    ("host/xtask", &[]),
    // Whatever reads bytes from outside and needs no wasmtime.
    (
        "host/fuzz/targets",
        &[&[
            PROTOCOL,
            LEDGER,
            SETTLEMENT,
            "guest-sdk",
            "examples/file-type",
            "examples/voice-activity",
        ]],
    ),
    ("guest-sdk", &[&["guest-sdk/macros"]]),
    ("guest-sdk/macros", &[]),
    // Examples see what their readers see.
    ("examples/*", &[&["guest-sdk"]]),
    ("conformance/guests/*", &[&["guest-sdk"]]),
    // It drives any binary by its command line.
    (RUNNER, &[&[PROTOCOL]]),
];

/// Outside crates that only one place may name.
const RESERVED: &[(&str, &str)] = &[
    ("clap", "host/cli"),
    ("clap_complete", "host/cli"),
    ("anyhow", "host/cli"),
];

/// Outside crates that some place must not name: these formats are verified in browsers and inside
/// of ledgers, where there is no I/O and no clock.
const PURE: &[&str] = &[PROTOCOL, LEDGER, SETTLEMENT];
const IMPURE: &[&str] = &[
    "hyper", "libc", "mio", "nix", "reqwest", "rten", "rusqlite", "rustix", "tokio", "wasmtime",
];

/// A crate of the workspace and what it names.
#[derive(Debug, Clone)]
struct Member {
    /// Its folder, from the workspace's root.
    folder: String,
    /// Folders of workspace crates.
    inside: BTreeSet<String>,
    /// Names of crates from a registry.
    outside: BTreeSet<String>,
}

/// Every sentence is a violation.
fn violations(members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for Member {
        folder,
        inside,
        outside,
    } in members
    {
        let Some((_, allowed)) = ALLOWED.iter().find(|(place, _)| matches(place, folder)) else {
            found.push(format!("{folder} has no place in the table of edges"));
            continue;
        };
        for other in inside {
            if !allowed.iter().any(|group| group.contains(&other.as_str())) {
                found.push(format!("{folder} must not use {other}"));
            }
        }
        for name in outside {
            let reserved = RESERVED.iter().find(|(reserved, _)| reserved == name);
            if let Some((_, place)) = reserved.filter(|(_, place)| place != folder) {
                found.push(format!("{folder} must not use {name}: only {place} may"));
            }
            if PURE.contains(&folder.as_str()) && IMPURE.contains(&name.as_str()) {
                found.push(format!("{folder} must not use {name}: it is to stay pure"));
            }
        }
    }
    found
}

/// `examples/*` stands for every folder directly below `examples`.
fn matches(place: &str, folder: &str) -> bool {
    match place.strip_suffix('*') {
        None => place == folder,
        Some(above) => folder
            .strip_prefix(above)
            .is_some_and(|name| !name.is_empty() && !name.contains('/')),
    }
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: String,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    source: Option<String>,
    path: Option<String>,
}

/// The workspace as cargo sees it.
fn members() -> Vec<Member> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer =
        super::stdout(Command::new(cargo).args(["metadata", "--no-deps", "--format-version", "1"]));
    let metadata: Metadata = serde_json::from_str(&answer).expect("cargo metadata is JSON");
    let folder = |path: &Path| -> String {
        path.strip_prefix(&metadata.workspace_root)
            .unwrap_or_else(|_| panic!("{} is outside of the workspace", path.display()))
            .display()
            .to_string()
    };
    let member = |package: &Package| -> Member {
        let manifest = Path::new(&package.manifest_path);
        let name = folder(manifest.parent().expect("a manifest is in a folder"));
        let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
        for dependency in &package.dependencies {
            match (&dependency.path, &dependency.source) {
                (Some(path), _) => inside.insert(folder(Path::new(path))),
                (None, Some(source)) if source.starts_with("registry+") => {
                    outside.insert(dependency.name.clone())
                }
                other => panic!("{name} takes {} from {other:?}", dependency.name),
            };
        }
        Member {
            folder: name,
            inside,
            outside,
        }
    };
    metadata.packages.iter().map(member).collect()
}

#[test]
fn the_workspace_keeps_to_the_edges() {
    let members = members();
    // Guards against reading nothing and finding nothing wrong with it.
    for known in [PROTOCOL, RUNTIME, "host/cli", "guest-sdk"] {
        let found = members.iter().any(|member| member.folder == known);
        assert!(found, "cargo metadata does not list {known}");
    }
    let runtime = members.iter().find(|member| member.folder == RUNTIME);
    assert!(runtime.is_some_and(|member| member.inside.contains(PROTOCOL)));
    let found = violations(&members);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn made_up(folder: &str, inside: &[&str], outside: &[&str]) -> Vec<String> {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    violations(&[Member {
        folder: folder.to_owned(),
        inside: own(inside),
        outside: own(outside),
    }])
}

#[test]
fn each_forbidden_edge_is_found() {
    for (from, to) in [
        (PROTOCOL, RUNTIME),
        (RUNTIME, LEDGER),
        (RUNTIME, SETTLEMENT),
        (SETTLEMENT, RUNTIME),
        (NET, RUNTIME),
        (MINER, COORDINATOR),
        (CHECKER, MINER),
        (SERVER, CHECKER),
        ("guest-sdk", PROTOCOL),
        ("examples/word-count", PROTOCOL),
        ("host/xtask", PROTOCOL),
        ("host/worker-llama", NET),
    ] {
        let found = made_up(from, &[to], &[]);
        assert_eq!(found, [format!("{from} must not use {to}")]);
    }
}

#[test]
fn each_forbidden_outside_crate_is_found() {
    assert_eq!(made_up(RUNTIME, &[], &["clap"]).len(), 1);
    assert_eq!(made_up(PROTOCOL, &[], &["tokio", "anyhow"]).len(), 2);
    assert_eq!(made_up("host/newcomer", &[], &[]).len(), 1);
    assert_eq!(made_up("examples/a/b", &[], &[]).len(), 1);
}

#[test]
fn what_the_architecture_allows_is_not_found() {
    assert!(
        made_up(
            "host/cli",
            &[PROTOCOL, RUNTIME, DEVNET],
            &["clap", "anyhow"]
        )
        .is_empty()
    );
    assert!(made_up("examples/word-count", &["guest-sdk"], &["serde"]).is_empty());
    assert!(made_up(RUNTIME, &[PROTOCOL], &["wasmtime"]).is_empty());
}
