//! How the repository's files look. Tracked files only, and new ones that git does not ignore.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Longer Rust files have more than one subject, unless they say why not.
const LINES_MAX: usize = 800;
/// What a longer file has to say within its first lines.
const REASON: &str = "//! Long because";

/// Everything that may lie in the root; names that begin with a dot are tools' own.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "conformance",
    "deny.toml",
    "examples",
    "guest-sdk",
    "host",
    "registry",
    "rust-toolchain.toml",
    "wit",
];

/// Paths of the machine that a file was written on. In pieces, so as not to find themselves.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// Hosts that packages come from: which mirror is used is the machine's business.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("://", "crates.io"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian.org"),
    concat!("arti", "factory"),
];

/// What is wrong with one file.
fn complaints(path: &str, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let code = [
        "host/",
        "guest-sdk/",
        "examples/",
        "registry/",
        "conformance/",
    ]
    .iter()
    .any(|folder| path.starts_with(folder));
    if code && path.ends_with(".rs") {
        let lines = text.lines().count();
        let reason = text.lines().take(5).any(|line| line.starts_with(REASON));
        if lines > LINES_MAX && !reason {
            found.push(format!(
                "{path} has {lines} lines, more than {LINES_MAX}: split it, or begin it with \
                 `{REASON}` and the reason"
            ));
        }
    }
    for (number, line) in text.lines().enumerate() {
        for needle in MACHINE_PATHS {
            if line.match_indices(needle).any(|(at, _)| absolute(line, at)) {
                found.push(format!("{path}:{} has a path in {needle}", number + 1));
            }
        }
        for host in REGISTRY_HOSTS {
            if line.contains(host) {
                found.push(format!("{path}:{} names {host}", number + 1));
            }
        }
    }
    found
}

/// Whether the slash at `at` begins a path, rather than going on with one or with a URL.
fn absolute(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || "._-~}>)*".contains(c))
}

/// Names in the root that are not allowed there.
fn strays<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    paths
        .filter_map(|path| path.split('/').next())
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name))
        .collect()
}

fn files() -> Vec<String> {
    let mut git = Command::new("git");
    // `-z` keeps names with odd characters as they are.
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let list = super::stdout(&mut git);
    list.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn the_root_holds_only_what_the_architecture_names() {
    let files = files();
    assert!(files.iter().any(|path| path == "Cargo.toml"));
    let strays = strays(files.iter().map(String::as_str));
    assert!(strays.is_empty(), "not in ARCHITECTURE.md: {strays:?}");
}

#[test]
fn files_are_short_and_name_no_machine() {
    let root = super::root();
    let mut found = Vec::new();
    for path in files() {
        // A file that is listed but gone is a deletion not yet committed; a link is not ours to read.
        let whole = root.join(&path);
        if fs::symlink_metadata(&whole).is_ok_and(|about| about.is_file()) {
            let bytes = fs::read(&whole).unwrap_or_else(|error| panic!("{path}: {error}"));
            found.extend(complaints(&path, &bytes));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn long_files_are_found_unless_they_give_a_reason() {
    let long = "// line\n".repeat(LINES_MAX + 1);
    assert_eq!(complaints("host/a/src/lib.rs", long.as_bytes()).len(), 1);
    assert!(complaints("host/a/table.txt", long.as_bytes()).is_empty());
    let reason = format!("{REASON} it is one table.\n{long}");
    assert!(complaints("host/a/src/lib.rs", reason.as_bytes()).is_empty());
    let short = "// line\n".repeat(LINES_MAX);
    assert!(complaints("host/a/src/lib.rs", short.as_bytes()).is_empty());
}

#[test]
fn machine_paths_and_registry_hosts_are_found() {
    for needle in MACHINE_PATHS.iter().chain(REGISTRY_HOSTS) {
        let line = format!("see `{needle}x`\n");
        assert_eq!(
            complaints("README.md", line.as_bytes()).len(),
            1,
            "{needle}"
        );
    }
    // A folder of that name further down is fine.
    let below = format!("site.example{}x and ~{0}x\n", MACHINE_PATHS[1]);
    assert!(complaints("README.md", below.as_bytes()).is_empty());
}

#[test]
fn strays_in_the_root_are_found() {
    let paths = ["host/a", ".ci/run", "README.md", "notes.txt", "scripts/a/b"];
    let expected = BTreeSet::from(["notes.txt", "scripts"]);
    assert_eq!(strays(paths.into_iter()), expected);
}
