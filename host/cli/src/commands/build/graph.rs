//! Which packages are linked into a program, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The dependencies that cargo has resolved, for one platform.
#[derive(Deserialize)]
pub struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `dev` or `build`, or nothing for what is linked.
    kind: Option<String>,
}

impl Dependency {
    fn is_linked(&self) -> bool {
        self.dep_kinds.iter().any(|kind| kind.kind.is_none())
    }
}

/// The ids of the packages that the package `root` is linked with, itself included.
pub fn linked<'a>(resolve: &'a Resolve, root: &'a str) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Node> = resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let mut seen = BTreeSet::new();
    let mut next = vec![root];
    while let Some(id) = next.pop() {
        if seen.insert(id) {
            let deps = nodes.get(id).into_iter().flat_map(|node| &node.deps);
            next.extend(deps.filter(|dep| dep.is_linked()).map(|dep| &*dep.pkg));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_counts_at_any_depth() {
        let resolve: Resolve = serde_json::from_value(serde_json::json!({ "nodes": [
            { "id": "app", "deps": [
                { "pkg": "a", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
                { "pkg": "test-only", "dep_kinds": [{ "kind": "dev" }] },
                { "pkg": "build-only", "dep_kinds": [{ "kind": "build" }] },
            ]},
            { "id": "a", "deps": [{ "pkg": "b", "dep_kinds": [{ "kind": null }] }] },
            { "id": "b", "deps": [{ "pkg": "a", "dep_kinds": [{ "kind": null }] }] },
            { "id": "build-only", "deps": [{ "pkg": "c", "dep_kinds": [{ "kind": null }] }] },
            { "id": "neighbour", "deps": [{ "pkg": "c", "dep_kinds": [{ "kind": null }] }] },
        ]}))
        .unwrap();
        assert_eq!(linked(&resolve, "app"), BTreeSet::from(["a", "app", "b"]));
        assert_eq!(linked(&resolve, "unknown"), BTreeSet::from(["unknown"]));
    }
}
