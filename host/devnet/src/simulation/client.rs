//! Clients: each task is submitted until it is taken, and watched until it has ended.

use std::sync::Arc;
use std::time::Duration;

use adit_net::problem::RemoteProblem;
use adit_protocol::Hash;
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::api::passes;
use super::ledger::Invariant;
use super::wire::{self, Letter, Lost};
use super::world::{Life, Who, World};

/// Within which time tasks are submitted, in milliseconds.
const SUBMITTED_MS: u64 = 60_000;
/// After which time a task that has not ended never will, in milliseconds: it may wait for ten
/// minutes, and be tried a few times.
const NEVER_MS: u64 = 40 * 60_000;
/// How long a client waits for an end in one request, in seconds.
const WAIT_S: u64 = 20;

/// What is a component by its first bytes; nobody runs it here.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0 of a simulation";

/// Completes when all tasks have ended, or one of them never does.
pub async fn all(world: &Arc<World>) {
    let life = world.begin(Who::Client);
    let client = Client {
        world: Arc::clone(world),
        life,
    };
    if !client.upload().await {
        return;
    }
    let tasks = (0..world.options.tasks).map(|number| client.task(number));
    join_all(tasks).await;
}

struct Client {
    world: Arc<World>,
    life: Life,
}

impl Client {
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>, Lost> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(AUTHORIZATION, format!("Bearer {}", self.world.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(()) else {
            return Err(Lost("the request cannot be written"));
        };
        let (head, ()) = request.into_parts();
        let letter = Letter { head, body };
        let timeout = Duration::from_secs(WAIT_S + 15);
        wire::send(&self.world, self.life, letter, timeout).await
    }

    /// Sends it again and again until it is answered for good. `None` when that never happens.
    async fn insist(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Option<Response<Bytes>> {
        while self.goes_on() {
            let sent = self.send(method.clone(), path, headers, body.clone());
            if let Ok(response) = sent.await {
                let problem =
                    RemoteProblem::parse(response.status(), response.headers(), response.body());
                if response.status().is_success() || !passes(problem.code) {
                    return Some(response);
                }
            }
            self.world.pause(2_000).await;
        }
        None
    }

    /// Whether there is any sense in trying again.
    fn goes_on(&self) -> bool {
        !self.world.is_hopeless() && self.world.virtual_ms() < NEVER_MS
    }

    async fn upload(&self) -> bool {
        let path = format!("/v1/blobs/{}", Hash::of(COMPONENT));
        let headers = [(CONTENT_TYPE.as_str(), "application/octet-stream")];
        let body = Bytes::from_static(COMPONENT);
        let sent = self.insist(Method::PUT, &path, &headers, body).await;
        let done = sent.is_some_and(|response| response.status().is_success());
        if !done {
            let what = "the component could not be uploaded";
            self.world.broken(Invariant::Works, what);
        }
        done
    }

    async fn task(&self, number: u32) {
        let world = &self.world;
        world.pause(SUBMITTED_MS).await;
        let key = format!("key-{number}");
        let body = Bytes::from(self.order(number).to_string());
        let headers = [
            (CONTENT_TYPE.as_str(), "application/json"),
            ("idempotency-key", key.as_str()),
        ];
        let Some(answer) = self
            .insist(Method::POST, "/v1/tasks", &headers, body.clone())
            .await
        else {
            if !world.is_hopeless() {
                let what = format!("the task {number} was never taken");
                world.broken(Invariant::Works, what);
            }
            return;
        };
        let Some(task) = task_of(&answer) else {
            let what = format!(
                "the task {number} was refused: {} {}",
                answer.status(),
                String::from_utf8_lossy(answer.body())
            );
            return world.broken(Invariant::Works, what);
        };
        let at_ms = world.virtual_ms();
        world.ledger(|ledger| ledger.taken(at_ms, &key, task));
        // Some ask again, as if the answer had been lost.
        if world.below(4) == 0
            && let Ok(again) = self.send(Method::POST, "/v1/tasks", &headers, body).await
            && let Some(task) = task_of(&again)
        {
            let at_ms = world.virtual_ms();
            world.ledger(|ledger| ledger.taken(at_ms, &key, task));
        }
        if world.below(12) == 0 {
            world.pause(5_000).await;
            let path = format!("/v1/tasks/{task}/cancel");
            let _ = self.send(Method::POST, &path, &[], Bytes::new()).await;
        }
        self.watch(task).await;
        // What has ended stays so.
        world.pause(60_000).await;
        self.watch(task).await;
    }

    /// Waits for the end of a task.
    async fn watch(&self, task: Hash) {
        let path = format!("/v1/tasks/{task}?wait={WAIT_S}");
        while self.goes_on() {
            let Some(answer) = self.insist(Method::GET, &path, &[], Bytes::new()).await else {
                break;
            };
            let view: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let state = view["state"].as_str().unwrap_or_default();
            let at_ms = self.world.virtual_ms();
            match state {
                "completed" | "failed" | "cancelled" => {
                    let reason = &view["reason"];
                    self.world.note(&format_args!("{task} is {state} {reason}"));
                    return self.world.ledger(|ledger| ledger.shown(at_ms, task, &view));
                }
                "waiting" | "running" | "validating" => self.world.pause(2_000).await,
                _ => {
                    let what = format!(
                        "of the task {task} is said: {} {}",
                        answer.status(),
                        String::from_utf8_lossy(answer.body())
                    );
                    return self.world.broken(Invariant::EndsOnce, what);
                }
            }
        }
        if self.world.is_hopeless() {
            return;
        }
        let what = format!("the task {task} never ends");
        self.world.broken(Invariant::EndsOnce, what);
    }

    fn order(&self, number: u32) -> Value {
        let world = &self.world;
        let replicas = 1 + world.below(u64::from(world.options.miners.min(3)));
        let quorum = 1 + world.below(replicas);
        let args: &[&str] = match world.below(12) {
            0 => &["fault"],
            1 => &["report"],
            _ => &[],
        };
        json!({
            "component": Hash::of(COMPONENT).to_string(),
            "input": { "text": format!("task {number}") },
            "args": args,
            "deadline_ms": 3_000 + world.below(12_000),
            "verification": {
                "replicas": replicas,
                "quorum": quorum,
                "adaptive": world.below(4) == 0,
            },
        })
    }
}

fn task_of(answer: &Response<Bytes>) -> Option<Hash> {
    let view: Value = serde_json::from_slice(answer.body()).ok()?;
    view["task"].as_str()?.parse().ok()
}
