//! The component index over HTTP.

use adit_ledger::Action;
use adit_ledger::index::{Model, Publication};
use adit_net::ManualClock;
use adit_net::http::client::ClientError;
use adit_protocol::exec::World;
use adit_protocol::{Amount, Code, Hash};
use serde_json::{Value, json};

use crate::support::*;

fn publication(name: &str, version: &str) -> Publication {
    Publication {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        component: Hash::of(format!("{name} {version}").as_bytes()),
        world: World::Task,
        models: Vec::new(),
        description: None,
        source: None,
    }
}

async fn publish(registry: &adit_registry::Running, name: &str, version: &str) -> Value {
    done(registry, 1, Action::Publish(publication(name, version))).await
}

async fn yank(registry: &adit_registry::Running, name: &str, version: &str) {
    let action = Action::Yank {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        yanked: true,
    };
    done(registry, 1, action).await;
}

fn refused(result: Result<Value, ClientError>) -> Code {
    match result {
        Err(error @ ClientError::Refused { .. }) => error.code(),
        other => panic!("not refused: {other:?}"),
    }
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_found_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let before = get(&registry, "/v1/scopes/acme").await.unwrap();
    let tokens = |tokens| Amount::tokens(tokens).units().to_string();
    assert_eq!(
        before,
        json!({"scope": "acme", "owner": null, "fee": tokens(1)})
    );
    let whole = Publication {
        world: World::Command,
        models: vec![Model {
            name: "bert".to_owned(),
            manifest: Hash::of(b"manifest"),
        }],
        description: Some("Counts Wörter.".to_owned()),
        source: Some("oci://ghcr.io/acme/word-count:1.2.0".to_owned()),
        ..publication("acme/word-count", "1.2.0")
    };
    let accepted = done(&registry, 1, Action::Publish(whole.clone())).await;
    let events = accepted["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(kinds, ["burned", "scope-owned", "published"]);
    publish(&registry, "acme/word-count", "1.10.0").await;
    publish(&registry, "acme/word-count", "2.0.0-rc.1").await;
    publish(&registry, "acme", "0.1.0").await;
    publish(&registry, "solo", "0.1.0").await;
    let after = get(&registry, "/v1/scopes/acme").await.unwrap();
    assert_eq!(after["owner"], key(1).to_string());
    assert_eq!(after["fee"], "10000000000");

    // Another account can publish nothing there, and nobody anything twice.
    let faucet = Action::Faucet {
        amount: Amount::tokens(10),
    };
    done(&registry, 2, faucet).await;
    let action = Action::Publish(publication("acme/other", "1.0.0"));
    let theirs = body(&registry, 2, action).await;
    assert_eq!(refused(post(&registry, &theirs).await), Code::Forbidden);
    let twice = body(&registry, 1, Action::Publish(whole.clone())).await;
    assert_eq!(refused(post(&registry, &twice).await), Code::RuleBroken);

    for restarted in [false, true] {
        let path = "/v1/components/acme%2Fword-count";
        let all = get(&registry, path).await.unwrap();
        assert_eq!(all["owner"], key(1).to_string());
        assert_eq!(all["versions"], 3);
        assert_eq!(all["latest"]["version"], "1.10.0");
        let versions = all["items"].as_array().unwrap().iter();
        let versions: Vec<_> = versions
            .map(|item| item["version"].as_str().unwrap())
            .collect();
        assert_eq!(versions, ["2.0.0-rc.1", "1.10.0", "1.2.0"]);
        let found = get(&registry, &format!("{path}/1.2.0")).await.unwrap();
        assert_eq!(
            found,
            json!({
                "name": "acme/word-count",
                "version": "1.2.0",
                "owner": key(1).to_string(),
                "component": whole.component,
                "world": "wasi:cli/command",
                "models": [{"name": "bert", "manifest": Hash::of(b"manifest")}],
                "description": "Counts Wörter.",
                "source": "oci://ghcr.io/acme/word-count:1.2.0",
                "yanked": restarted,
                "published_ms": found["published_ms"],
                "publisher": key(1).to_string(),
                "transaction": accepted["id"],
            })
        );
        assert!(found["published_ms"].as_u64().unwrap() >= BEGIN_MS);
        let latest = get(&registry, &format!("{path}/latest")).await.unwrap();
        assert_eq!(latest["version"], "1.10.0");
        if !restarted {
            yank(&registry, "acme/word-count", "1.2.0").await;
        }
    }
    // From there on with what is yanked.
    yank(&registry, "acme/word-count", "1.10.0").await;
    let path = "/v1/components/acme%2Fword-count/latest";
    let latest = get(&registry, path).await.unwrap();
    assert_eq!(latest["version"], "2.0.0-rc.1");
    yank(&registry, "acme/word-count", "2.0.0-rc.1").await;
    assert_eq!(refused(get(&registry, path).await), Code::NotFound);
    let named = path.replace("latest", "1.10.0");
    assert_eq!(get(&registry, &named).await.unwrap()["yanked"], true);
    let all = get(&registry, "/v1/components/acme%2Fword-count")
        .await
        .unwrap();
    assert_eq!(all["latest"], Value::Null);
    registry.stop().await;
    // The log says all of it.
    let registry = start(folder.path(), &clock).await.unwrap();
    let again = get(&registry, "/v1/components/acme%2Fword-count")
        .await
        .unwrap();
    assert_eq!(again, all);
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_are_searched_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let empty = get(&registry, "/v1/components").await.unwrap();
    assert_eq!(empty, json!({"items": [], "next": null}));
    for number in 0..101 {
        publish(&registry, &format!("many/n{number:03}"), "1.0.0").await;
    }
    let described = |name: &str, version: &str, text: &str| {
        Action::Publish(Publication {
            description: Some(text.to_owned()),
            ..publication(name, version)
        })
    };
    done(&registry, 1, described("b", "1.0.0", "Finds WÖRTER.")).await;
    done(&registry, 1, described("a", "1.0.0", "Finds WÖRTER.")).await;
    done(&registry, 1, described("a", "1.1.0", "Finds nothing.")).await;
    let first = get(&registry, "/v1/components").await.unwrap();
    let (first_names, next) = (names(&first), first["next"].as_str().unwrap());
    assert_eq!(first_names.len(), 100);
    assert_eq!(first_names[..3], ["a", "b", "many/n000"]);
    assert_eq!(first_names[99], next);
    let path = format!("/v1/components?after={next}");
    let second = get(&registry, &path).await.unwrap();
    assert_eq!(names(&second), ["many/n098", "many/n099", "many/n100"]);
    assert_eq!(second["next"], Value::Null);
    // A full page: there may be more, which nobody has looked at.
    let exact = get(&registry, "/v1/components?q=many/n0").await.unwrap();
    assert_eq!(names(&exact).len(), 100);
    assert_eq!(exact["next"], "many/n099");
    for (wanted, found) in [
        ("wörter", &["b"][..]),
        ("NOTHING", &["a"]),
        ("N10", &["many/n100"]),
        ("absent", &[]),
        ("", &first_names),
    ] {
        let path = format!("/v1/components?q={wanted}");
        let page = get(&registry, &path).await.unwrap();
        assert_eq!(names(&page), found, "{wanted}");
    }
    for (path, code) in [
        ("/v1/components?after=A", Code::InvalidRequest),
        ("/v1/components?page=1", Code::InvalidRequest),
        (
            &format!("/v1/components?q={}", "a".repeat(65)),
            Code::InvalidRequest,
        ),
        ("/v1/components/A", Code::InvalidRequest),
        ("/v1/components/a%2Fb%2Fc", Code::InvalidRequest),
        ("/v1/components/absent", Code::NotFound),
        ("/v1/components/absent/latest", Code::NotFound),
        ("/v1/components/a/1.2.0", Code::NotFound),
        ("/v1/components/a/1.2", Code::InvalidRequest),
        ("/v1/components/a/1.2.0+1", Code::InvalidRequest),
        ("/v1/scopes/a%2Fb", Code::InvalidRequest),
    ] {
        assert_eq!(refused(get(&registry, path).await), code, "{path}");
    }
    registry.stop().await;
}
