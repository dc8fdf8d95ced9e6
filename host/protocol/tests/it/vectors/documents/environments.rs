//! Environments: of a device, of a model that runs on it as a whole, and of one that does not.

use adit_protocol::cbor::SortedMap;
use adit_protocol::environment::EnvironmentDocument;

use super::samples::{h, names};
use super::{invalid, mistyped};
use crate::vectors::kind::Bad;

fn environment() -> EnvironmentDocument {
    EnvironmentDocument {
        engine: h("engine"),
        triple: "x86_64-unknown-linux-gnu".into(),
        cpu_baseline: "x86-64-v2".into(),
        backend: "rten".into(),
        backend_version: "0.27.0".into(),
        build: String::new(),
        execution_provider: "cpu".into(),
        device: "cpu".into(),
        driver: String::new(),
        precision: "fp32".into(),
        threads: 1,
        requested: None,
        options: None,
        fallback: None,
    }
}

/// A model on a GPU, three of whose nodes the GPU's provider left to the CPU.
fn helped_by_cpu() -> EnvironmentDocument {
    EnvironmentDocument {
        execution_provider: "webgpu+cpu".into(),
        requested: Some("webgpu".into()),
        fallback: Some([("cpu/Gather", 2), ("cpu/Shape", 1)].into_iter().collect()),
        ..environment()
    }
}

pub fn environments() -> Vec<(&'static str, EnvironmentDocument)> {
    let gpu = EnvironmentDocument {
        execution_provider: "cuda".into(),
        device: "GPU ™".into(),
        driver: "d".repeat(256),
        precision: "tf32".into(),
        threads: u32::MAX,
        ..environment()
    };
    let options = [("cudnn_conv_algo_search", "DEFAULT"), ("use_tf32", "0")];
    let options = options.map(|(key, value)| (key, value.to_owned()));
    let all: SortedMap<u64> = [("cpu/com.microsoft/Gelu", u64::MAX), ("dml/Conv", 1)]
        .into_iter()
        .collect();
    vec![
        ("plain", environment()),
        ("gpu", gpu),
        (
            "options",
            EnvironmentDocument {
                options: Some(options.into_iter().collect()),
                ..environment()
            },
        ),
        ("fallback", helped_by_cpu()),
        (
            "requested-did-not-run",
            EnvironmentDocument {
                execution_provider: "cpu+dml".into(),
                fallback: Some(all),
                ..helped_by_cpu()
            },
        ),
        (
            "longest-keys",
            EnvironmentDocument {
                execution_provider: format!("webgpu+{}", "c".repeat(126)),
                options: Some(names(64, 128).map(|key| (key, "v".repeat(256))).collect()),
                fallback: Some(
                    [(format!("{}/G", "c".repeat(126)), 1)]
                        .into_iter()
                        .collect(),
                ),
                ..helped_by_cpu()
            },
        ),
    ]
}

pub fn bad_environments() -> Vec<Bad> {
    let mut bad = bad_texts_of_environments();
    bad.extend(bad_options());
    bad.extend(bad_fallbacks());
    bad
}

fn bad_options() -> Vec<Bad> {
    let broken = |name, options: SortedMap<String>, why| {
        let document = EnvironmentDocument {
            options: Some(options),
            ..environment()
        };
        invalid(name, &document, "options", why)
    };
    let one = |key: &str, value: &str| [(key, value.to_owned())].into_iter().collect();
    vec![
        broken(
            "options-empty",
            SortedMap::new(),
            "no settings are said by leaving the field out",
        ),
        broken(
            "options-65",
            names(65, 2).map(|key| (key, String::new())).collect(),
            "65 settings are one too many",
        ),
        broken("option-without-name", one("", "0"), "a setting has no name"),
        broken(
            "option-name-129-bytes",
            one(&"o".repeat(129), "0"),
            "the name of a setting has 129 bytes",
        ),
        broken(
            "option-257-bytes",
            one("use_tf32", &"0".repeat(257)),
            "the value of a setting has 257 bytes",
        ),
    ]
}

fn bad_fallbacks() -> Vec<Bad> {
    let broken = |name, change: fn(&mut EnvironmentDocument), field, why| {
        let mut document = helped_by_cpu();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let nodes = |name, key: &str, count, why| {
        let document = EnvironmentDocument {
            fallback: Some([(key, count)].into_iter().collect()),
            ..helped_by_cpu()
        };
        invalid(name, &document, "fallback", why)
    };
    vec![
        broken(
            "requested-without-fallback",
            |d| d.fallback = None,
            "requested",
            "it is there only if some node ran elsewhere",
        ),
        broken(
            "fallback-without-requested",
            |d| d.requested = None,
            "fallback",
            "it does not say from which provider the nodes fell back",
        ),
        broken(
            "requested-empty",
            |d| d.requested = Some(String::new()),
            "requested",
            "the requested provider has no name",
        ),
        broken(
            "requested-two",
            |d| d.requested = Some("webgpu+cuda".into()),
            "requested",
            "one provider is asked for, not two",
        ),
        broken(
            "fallback-empty",
            |d| d.fallback = Some(SortedMap::new()),
            "fallback",
            "no fallback is said by leaving both fields out",
        ),
        broken(
            "fallback-257",
            |d| {
                let keys = names(257, 3).map(|name| (format!("cpu/{name}"), 1));
                d.fallback = Some(keys.collect());
            },
            "fallback",
            "257 entries are one too many",
        ),
        nodes(
            "fallback-without-operator",
            "cpu",
            1,
            "the operator is missing",
        ),
        nodes("fallback-of-no-node", "cpu/Gather", 0, "no node is counted"),
        nodes(
            "fallback-129-bytes",
            &format!("cpu/{}", "G".repeat(125)),
            1,
            "the key has 129 bytes",
        ),
        nodes(
            "fallback-to-the-requested",
            "webgpu/Gather",
            1,
            "a node of the requested provider did not fall back",
        ),
        broken(
            "providers-without-the-fallback",
            |d| d.execution_provider = "webgpu".into(),
            "execution_provider",
            "a provider that ran is not in the list",
        ),
        broken(
            "providers-requested-last",
            |d| d.execution_provider = "cpu+webgpu".into(),
            "execution_provider",
            "the requested provider stands first",
        ),
        mistyped(
            "nodes-are-text",
            &helped_by_cpu(),
            &[12, 0],
            &[0x61, b'1'],
            "the number of nodes is a text",
        ),
    ]
}

fn bad_texts_of_environments() -> Vec<Bad> {
    let e = environment();
    let long = EnvironmentDocument {
        driver: "d".repeat(257),
        ..environment()
    };
    let forged = EnvironmentDocument {
        device: "cpu\nverified".into(),
        ..environment()
    };
    let delete = EnvironmentDocument {
        build: "\u{85}".into(),
        ..environment()
    };
    vec![
        invalid(
            "driver-257-bytes",
            &long,
            "driver",
            "257 bytes are one too many",
        ),
        invalid(
            "line-break",
            &forged,
            "device",
            "a line break could forge a line of a report",
        ),
        invalid(
            "control-character-above-ascii",
            &delete,
            "build",
            "U+0085 is a control character too",
        ),
        mistyped(
            "threads-of-33-bits",
            &e,
            &[10],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the number of threads has 32 bits",
        ),
        mistyped(
            "threads-is-text",
            &e,
            &[10],
            &[0x61, b'1'],
            "the number of threads is a text",
        ),
    ]
}
