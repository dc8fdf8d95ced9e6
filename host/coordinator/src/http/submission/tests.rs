//! Requests that are taken, and what is said of those that are not.

use super::*;

fn frame() -> Frame<'static> {
    Frame {
        genesis: Hash::of(b"genesis"),
        coordinator: [1; 32],
        engine: Hash::of(b"engine"),
        region: "eu",
        deadline_ms_max: 3_600_000,
        replicas_max: 16,
        miners: 3,
        now_ms: 1_700_000_000_000,
        salt: [9; 32],
    }
}

fn order(json: serde_json::Value) -> Result<Planned, Problem> {
    TaskRequest::parse(json.to_string().as_bytes())?.plan(&frame())
}

fn component() -> serde_json::Value {
    serde_json::json!(Hash::of(b"component").to_string())
}

fn with(field: &str, value: serde_json::Value) -> serde_json::Value {
    let mut json = serde_json::json!({ "component": component() });
    json[field] = value;
    json
}

#[test]
fn what_is_left_out_has_its_default() {
    let order = order(serde_json::json!({ "component": component() })).unwrap();
    assert_eq!(order.exec.input, Hash::of(b""));
    assert_eq!(order.input.as_deref(), Some(&b""[..]));
    assert_eq!(order.exec.limits, Limits::default());
    assert_eq!(order.exec.clock_start_ns, 1_700_000_000_000_000_000);
    let v = order.task.verification;
    assert_eq!((v.replicas, v.quorum, v.adaptive), (2, 2, true));
    let lonely = Frame {
        miners: 1,
        ..frame()
    };
    let one = VerificationWanted::default().read(&lonely).unwrap();
    assert_eq!((one.replicas, one.quorum), (1, 1));
    assert_eq!(order.task.disclosure, Disclosure::Parties);
    assert_eq!(order.task.exec, order.exec.hash());
    assert!(!order.local);
}

#[test]
fn every_field_arrives() {
    let hash = Hash::of(b"model").to_string();
    let order = order(serde_json::json!({
        "component": component(),
        "world": "command",
        "input": { "base64": "AAEC" },
        "args": ["-n", "3"],
        "clock_start_ns": "18446744073709551615",
        "models": { "m": hash },
        "seed": format!("0x{}", "05".repeat(32)),
        "limits": { "fuel": 7, "memory_bytes": "8" },
        "deadline_ms": 1500,
        "requirements": { "device": "gpu", "device_memory_bytes": 9, "environments": [hash, hash] },
        "verification": { "replicas": 5 },
        "disclosure": "public",
        "price": "340282366920938463463374607431768211455",
        "attempt_fee": "3",
        "client_tag": format!("0x{}", "06".repeat(32)),
        "region": "eu",
        "validator": hash,
    }))
    .unwrap();
    assert_eq!(order.exec.world, World::Command);
    assert_eq!(order.input.unwrap(), [0, 1, 2]);
    assert_eq!(order.exec.clock_start_ns, u64::MAX);
    assert_eq!(order.exec.models.len(), 1);
    assert_eq!((order.exec.seed, order.task.client_tag), ([5; 32], [6; 32]));
    assert_eq!(
        (order.exec.limits.fuel, order.exec.limits.memory_bytes),
        (7, 8)
    );
    assert_eq!(order.task.requirements.device, DeviceClass::Gpu);
    assert_eq!(order.task.requirements.environments.len(), 1);
    assert_eq!(
        (
            order.task.verification.replicas,
            order.task.verification.quorum
        ),
        (5, 3)
    );
    assert_eq!((order.task.price, order.task.attempt_fee), (u128::MAX, 3));
    assert_eq!(order.task.disclosure, Disclosure::Public);
    assert!(order.local && order.validator.is_some());
}

#[test]
fn a_mistyped_field_is_named_with_what_may_have_been_meant() {
    for (json, named, meant) in [
        (with("inptu", serde_json::json!("x")), "inptu", "`input`"),
        (
            with("requirements", serde_json::json!({ "devise": "gpu" })),
            "devise",
            "`device`",
        ),
        (
            with("requirements", serde_json::json!({ "device_memory": 1 })),
            "device_memory",
            "`device_memory_bytes`",
        ),
        (
            with("limits", serde_json::json!({ "feul": 1 })),
            "feul",
            "`fuel`",
        ),
        (
            with("verification", serde_json::json!({ "qorum": 1 })),
            "qorum",
            "`quorum`",
        ),
        (
            with("input", serde_json::json!({ "txt": "x" })),
            "txt",
            "`text`",
        ),
        (
            with("gpu", serde_json::json!(true)),
            "gpu",
            "component, world",
        ),
    ] {
        let problem = order(json).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest);
        assert!(problem.detail.contains(named), "{problem}");
        assert!(
            problem.hint.as_deref().unwrap().contains(meant),
            "{problem}"
        );
    }
}

#[test]
fn a_value_that_cannot_be_is_refused_by_the_name_of_its_field() {
    for (json, named) in [
        (serde_json::json!({}), "component"),
        (
            with("component", serde_json::json!("blake3:00")),
            "component",
        ),
        (
            with("requirements", serde_json::json!({ "device": "gpuu" })),
            "requirements.device",
        ),
        (
            with("requirements", serde_json::json!({ "environments": ["x"] })),
            "requirements.environments",
        ),
        (
            with(
                "requirements",
                serde_json::json!({ "device": "cpu", "device_memory_bytes": 1 }),
            ),
            "requirements.device_memory_bytes",
        ),
        (
            with("verification", serde_json::json!({ "replicas": 0 })),
            "verification.replicas",
        ),
        (
            with("verification", serde_json::json!({ "replicas": 200 })),
            "verification.replicas",
        ),
        (
            with(
                "verification",
                serde_json::json!({ "replicas": 2, "quorum": 3 }),
            ),
            "verification.quorum",
        ),
        (
            with("verification", serde_json::json!({ "tolerance": true })),
            "verification.tolerance",
        ),
        (with("deadline_ms", serde_json::json!(0)), "deadline_ms"),
        (
            with("deadline_ms", serde_json::json!(u64::MAX)),
            "deadline_ms",
        ),
        (with("world", serde_json::json!("wasm")), "world"),
        (with("disclosure", serde_json::json!("none")), "disclosure"),
        (with("price", serde_json::json!(5)), "price"),
        (with("price", serde_json::json!("5.0")), "price"),
        (with("input", serde_json::json!({})), "input"),
        (
            with("input", serde_json::json!({ "text": "a", "base64": "" })),
            "input",
        ),
        (
            with("input", serde_json::json!({ "base64": "?" })),
            "input.base64",
        ),
        (
            with("input", serde_json::json!({ "text": "x".repeat(70_000) })),
            "input",
        ),
        (with("args", serde_json::json!(["a\0b"])), "args"),
        (with("args", serde_json::json!(vec!["a"; 2000])), "args"),
        (with("region", serde_json::json!("x".repeat(65))), "region"),
        (
            with("limits", serde_json::json!({ "fuel": -1 })),
            "limits.fuel",
        ),
    ] {
        let problem = order(json.clone()).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest);
        assert!(problem.detail.contains(named), "{problem} for {json}");
        assert!(problem.hint.is_some(), "{problem}");
    }
    for garbage in [&b""[..], b"[]", b"null", b"{", b"\xff\xff", b"\"x\""] {
        assert!(TaskRequest::parse(garbage).is_err());
    }
    // Nesting that would overflow a stack.
    assert!(TaskRequest::parse("[".repeat(100_000).as_bytes()).is_err());
    // One field twice: which one is meant cannot be known.
    let twice = format!("{{\"component\":{0},\"component\":{0}}}", component());
    assert!(TaskRequest::parse(twice.as_bytes()).is_err());
}
