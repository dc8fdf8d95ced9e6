//! What a node offers to those who run it, and to clients: metrics, traces, health, tokens, pages,
//! and the description of its interface.

use std::sync::Arc;

use adit_net::http::client::{Client, ClientConfig, ClientError};
use adit_net::http::extract::{Json, Query};
use adit_net::http::health::{self, Version};
use adit_net::http::pages::{Page, PageKey, PageQuery};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::metrics::{HttpMetrics, Metrics};
use adit_net::openapi;
use adit_net::problem::Problem;
use adit_net::tokens::{self, ClientId, Quotas, Tokens};
use adit_net::trace::TraceContext;
use adit_protocol::Code;
use adit_protocol::rand_core::OsRng;
use axum::extract::FromRef;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use utoipa::OpenApi as _;

use crate::fixtures::{LOOPBACK, client, config, serve};

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
    let answer = client.get("/metrics").send().await.unwrap();
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    for line in [
        "adit_http_requests_total{route=\"/items/{id}\",method=\"GET\",status=\"2xx\"} 3",
        "adit_http_requests_total{route=\"unmatched\",method=\"other\",status=\"4xx\"} 2",
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

#[derive(Clone)]
struct State {
    tokens: Arc<Tokens>,
    pages: PageKey,
}

impl FromRef<State> for Arc<Tokens> {
    fn from_ref(state: &State) -> Arc<Tokens> {
        Arc::clone(&state.tokens)
    }
}

/// The numbers from 0 to 119, by pages.
#[utoipa::path(
    get, path = "/v1/numbers", params(PageQuery), security(("token" = [])),
    responses((status = 200, body = Page<u32>))
)]
async fn numbers(
    axum::extract::State(state): axum::extract::State<State>,
    _client: ClientId,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<u32>>, Problem> {
    let begin = match query.position(&state.pages, "numbers")? {
        None => 0,
        Some(bytes) => u32::from_le_bytes(bytes.try_into().map_err(|_| Problem::internal("x"))?),
    };
    let size = u32::try_from(query.size()?).unwrap_or(u32::MAX);
    let end = begin.saturating_add(size).min(120);
    let more = (end < 120).then(|| state.pages.seal("numbers", &end.to_le_bytes()));
    Ok(Json(Page {
        items: (begin..end).collect(),
        next_page_token: more.flatten(),
    }))
}

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "test", version = "0"), paths(numbers))]
struct Api;

async fn numbers_server(token: &str) -> Server {
    let tokens = Tokens::of(&[("alice", token, Quotas::default())]).unwrap();
    let state = State {
        tokens: Arc::new(tokens),
        pages: PageKey::new([7; 32]),
    };
    let document = openapi::complete(Api::openapi());
    let router = Router::new()
        .route("/v1/numbers", get(numbers))
        .merge(openapi::routes(&document).unwrap())
        .with_state(state);
    serve(Limits::default(), router).await
}

fn with_token(server: &Server, token: &str) -> Client {
    Client::new(ClientConfig {
        token: Some(token.into()),
        ..config(server)
    })
    .unwrap()
}

#[tokio::test]
async fn a_list_is_read_in_pages() {
    let token = tokens::generate(&mut OsRng);
    let server = numbers_server(&token).await;
    let client = with_token(&server, &token);
    let mut all = Vec::new();
    let mut next: Option<String> = None;
    let mut pages = 0;
    loop {
        let mut call = client.get("/v1/numbers").query("page_size", 50);
        if let Some(token) = &next {
            call = call.query("page_token", token);
        }
        let page: Page<u32> = call.send().await.unwrap().json().unwrap();
        all.extend(page.items);
        pages += 1;
        match page.next_page_token {
            Some(token) => next = Some(token),
            None => break,
        }
    }
    assert_eq!((all, pages), ((0..120).collect(), 3));

    let made_up = client.get("/v1/numbers").query("page_token", "bm9uc2Vuc2U");
    let error = made_up.send().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    assert!(error.to_string().contains("page_token"), "{error}");
    let error = client
        .get("/v1/numbers")
        .query("page_size", "many")
        .send()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("page_size"), "{error}");
}

#[tokio::test]
async fn only_known_tokens_are_let_in() {
    let token = tokens::generate(&mut OsRng);
    let server = numbers_server(&token).await;
    assert!(
        with_token(&server, &token)
            .get("/v1/numbers")
            .send()
            .await
            .is_ok()
    );
    for wrong in [
        "",
        "adit_x",
        &token.to_uppercase(),
        &format!("{token}x"),
        &"x".repeat(5000),
    ] {
        let error = with_token(&server, wrong)
            .get("/v1/numbers")
            .send()
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unauthorized, "{wrong}");
        assert!(!error.to_string().contains("adit_x"), "{error}");
    }
    let error = client(&server).get("/v1/numbers").send().await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Refused { problem, .. } if problem.status == 401),
        "{error}"
    );
    let basic = HeaderValue::try_from(format!("Basic {token}")).unwrap();
    let call = client(&server)
        .get("/v1/numbers")
        .header(http::header::AUTHORIZATION, basic);
    assert_eq!(call.send().await.unwrap_err().code(), Code::Unauthorized);
}

#[tokio::test]
async fn the_interface_is_described_with_its_problems() {
    let server = numbers_server("x").await;
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
