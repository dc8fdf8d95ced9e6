//! What a node offers to those who run it, and to clients: metrics, traces, health, and the
//! description of its interface.

use std::sync::Arc;

use adit_net::http::extract::{Json, Query};
use adit_net::http::health::{self, Version};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::metrics::{HttpMetrics, Metrics};
use adit_net::openapi;
use adit_net::trace::TraceContext;
use adit_protocol::Code;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use utoipa::OpenApi as _;

use crate::fixtures::{LOOPBACK, client, serve};

#[tokio::test]
async fn requests_are_counted_by_route() {
    let metrics = Metrics::new();
    let listen = Listen {
        metrics: Some(HttpMetrics::new(&metrics)),
        ..Listen::plain(LOOPBACK)
    };
    let router = Router::new()
        .route("/items/{id}", get(async || "x"))
        .merge(metrics.routes());
    let server = Server::start(listen, Limits::default(), router, Default::default())
        .await
        .unwrap();
    let client = client(&server);
    for id in 0..3 {
        client.get(&format!("/items/{id}")).send().await.unwrap();
    }
    let method = Method::from_bytes(b"MADEUP").unwrap();
    for path in ["/made/up/1", "/made/up/2"] {
        assert!(client.call(method.clone(), path).send().await.is_err());
    }
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        assert!(client.call(method, "/items/1").send().await.is_err());
    }
    let answer = client.get("/metrics").send().await.unwrap();
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    for line in [
        "adit_http_requests_total{route=\"/items/{id}\",method=\"GET\",status=\"2xx\"} 3",
        "adit_http_requests_total{route=\"unmatched\",method=\"other\",status=\"4xx\"} 2",
        "adit_http_requests_total{route=\"/items/{id}\",method=\"other\",status=\"4xx\"} 3",
        "adit_http_request_seconds_count{route=\"/items/{id}\",method=\"GET\"} 3",
        // The one that asks.
        "adit_http_requests_in_flight 1",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("made/up"), "{text}");
}

#[tokio::test]
async fn a_trace_goes_through_all_nodes() {
    let echo = async |headers: HeaderMap, Extension(context): Extension<TraceContext>| {
        let given = headers
            .get("traceparent")
            .map_or("", |value| value.to_str().unwrap());
        format!("{given} {context}")
    };
    let last = serve(Limits::default(), Router::new().route("/", get(echo))).await;
    let ask_last = client(&last);
    let relay = async move || ask_last.get("/").send().await.unwrap().bytes;
    let first = serve(Limits::default(), Router::new().route("/", get(relay))).await;

    let header = HeaderName::from_static("traceparent");
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let call = client(&first)
        .get("/")
        .header(header, HeaderValue::from_static(given));
    let answer = call.send().await.unwrap();
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    let (at_last, of_last) = text.split_once(' ').unwrap();
    for seen in [at_last, of_last] {
        assert!(
            seen.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{text}"
        );
        assert!(seen.ends_with("-01") && seen != given, "{text}");
    }
    assert_ne!(at_last, of_last);

    // Without one, a trace begins.
    let answer = client(&last).get("/").send().await.unwrap();
    assert!(answer.bytes.starts_with(b" 00-"), "{:?}", answer.bytes);
}

#[tokio::test]
async fn health_says_whether_and_why_not() {
    let version = Version {
        role: "coordinator".into(),
        version: "1.2.3".into(),
        engine: None,
        network: None,
        node: None,
    };
    let ready = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    let routes = health::routes(version.clone(), move || {
        match asked.load(std::sync::atomic::Ordering::SeqCst) {
            true => Ok(()),
            false => Err("the log is being checked".into()),
        }
    });
    let server = serve(Limits::default(), routes).await;
    let client = client(&server);
    assert!(client.get("/livez").send().await.is_ok());
    let error = client.get("/readyz").send().await.unwrap_err();
    assert!(
        error.to_string().contains("the log is being checked"),
        "{error}"
    );
    assert_eq!(error.problem().unwrap().status, 503);
    ready.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(client.get("/readyz").send().await.is_ok());
    let answer = client.get("/version").send().await.unwrap();
    assert_eq!(answer.json::<Version>().unwrap(), version);
}

/// A number, and those after it.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct NumberQuery {
    from: u32,
    count: u32,
}

/// Some numbers.
#[utoipa::path(
    get, path = "/v1/numbers", params(NumberQuery), security(("token" = [])),
    responses((status = 200, body = Vec<u32>))
)]
async fn numbers(Query(query): Query<NumberQuery>) -> Json<Vec<u32>> {
    Json((query.from..).take(query.count as usize).collect())
}

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "test", version = "0"), paths(numbers))]
struct Api;

async fn numbers_server() -> Server {
    let document = openapi::complete(Api::openapi());
    let router = Router::new()
        .route("/v1/numbers", get(numbers))
        .merge(openapi::routes(&document).unwrap());
    serve(Limits::default(), router).await
}

#[tokio::test]
async fn a_parameter_that_is_wrong_is_named() {
    let server = numbers_server().await;
    let client = client(&server);
    let call = client.get("/v1/numbers").query("from", 7).query("count", 2);
    let found: Vec<u32> = call.send().await.unwrap().json().unwrap();
    assert_eq!(found, [7, 8]);
    let call = client
        .get("/v1/numbers")
        .query("from", 7)
        .query("count", "many");
    let error = call.send().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    assert!(error.to_string().contains("count"), "{error}");
}

#[tokio::test]
async fn the_interface_is_described_with_its_problems() {
    let server = numbers_server().await;
    let answer = client(&server)
        .get("/v1/openapi.json")
        .send()
        .await
        .unwrap();
    let document: serde_json::Value = answer.json().unwrap();
    let operation = &document["paths"]["/v1/numbers"]["get"];
    let schema = "/content/application~1problem+json/schema/$ref";
    assert_eq!(
        operation["responses"]["default"].pointer(schema),
        Some(&"#/components/schemas/Problem".into()),
        "{document:#}"
    );
    let problem = &document["components"]["schemas"]["Problem"]["properties"];
    for field in [
        "type",
        "title",
        "status",
        "detail",
        "code",
        "hint",
        "retryable",
    ] {
        assert!(problem[field].is_object(), "{field}: {problem:#}");
    }
    assert_eq!(operation["security"][0]["token"], serde_json::json!([]));
    let names: Vec<_> = operation["parameters"].as_array().unwrap().iter().collect();
    assert_eq!(
        (names.len(), &names[0]["in"]),
        (2, &"query".into()),
        "{names:?}"
    );
    let etag = answer.headers["etag"].clone();
    let call = client(&server).get("/v1/openapi.json");
    let again = call
        .header(http::header::IF_NONE_MATCH, etag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status, 304);
}
