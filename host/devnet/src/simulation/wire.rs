//! Requests on their way to the coordinator, and answers on their way back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use super::world::{Life, World};

/// Longest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 << 20;
/// How long it takes at most until a lost request is noticed, in milliseconds.
const NOTICED_MS: u64 = 2_000;

/// No answer came.
#[derive(Clone, Copy, Debug)]
pub struct Lost(pub &'static str);

/// A request, to be sent more than once if need be.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What goes over the wire.
    pub head: http::request::Parts,
    /// The body.
    pub body: Bytes,
}

impl Letter {
    fn request(&self) -> Request<Body> {
        Request::from_parts(self.head.clone(), Body::from(self.body.clone()))
    }

    fn name(&self) -> String {
        let path = self.head.uri.path();
        // Without the hashes that it names.
        let short: String = path.chars().take(24).collect();
        format!("{} {short} {}", self.head.method, self.body.len())
    }
}

/// Sends a request of a process, and waits for the answer up to a time. Of a process that was ended
/// meanwhile nothing comes back, ever.
pub async fn send(
    world: &Arc<World>,
    from: Life,
    letter: Letter,
    timeout: Duration,
) -> Result<Response<Bytes>, Lost> {
    alive(world, from).await;
    let answer = tokio::time::timeout(timeout, deliver(world, from, letter)).await;
    alive(world, from).await;
    answer.unwrap_or(Err(Lost("no answer within the time for it")))
}

/// Goes on only if the process has not been ended.
async fn alive(world: &World, life: Life) {
    if !world.step(life) {
        std::future::pending::<()>().await;
    }
}

async fn deliver(world: &Arc<World>, from: Life, letter: Letter) -> Result<Response<Bytes>, Lost> {
    let name = letter.name();
    world.note(&format_args!("{:?} sends {name}", from.who));
    travel(world, from, "the request").await?;
    let Some((_, to)) = world.routes() else {
        return Err(Lost("nobody listens"));
    };
    if !world.step(to) {
        return Err(Lost("the connection broke"));
    }
    world.note(&format_args!("{:?} arrives {name}", from.who));
    if world.chance(world.weather().double_ppm) {
        // The second one comes sometime, and nobody waits for its answer.
        let (again, later) = (letter.clone(), Arc::clone(world));
        world.at_coordinator(async move {
            later.pause(500).await;
            if let Some((routes, _)) = later.routes() {
                let _ = routes.oneshot(again.request()).await;
            }
        });
    }
    let (answered, answer) = oneshot::channel();
    let Some((routes, _)) = world.routes() else {
        return Err(Lost("the connection broke"));
    };
    let request = letter.request();
    world.at_coordinator(async move {
        let Ok(response) = routes.oneshot(request).await;
        let (head, body) = response.into_parts();
        if let Ok(body) = axum::body::to_bytes(body, ANSWER_BYTES).await {
            let _ = answered.send(Response::from_parts(head, body));
        }
    });
    let response = answer.await.map_err(|_| Lost("the connection broke"))?;
    if !world.step(to) {
        return Err(Lost("the connection broke"));
    }
    world.note(&format_args!(
        "{:?} is answered {name} {} {}",
        from.who,
        response.status(),
        response.body().len()
    ));
    let at_ms = world.virtual_ms();
    world.ledger(|ledger| ledger.answered(at_ms, &letter, &response));
    travel(world, from, "the answer").await?;
    Ok(response)
}

/// One way.
async fn travel(world: &World, from: Life, what: &'static str) -> Result<(), Lost> {
    let weather = world.weather();
    let cut_off = world.is_cut_off(from.who) || world.is_cut_off(super::world::Who::Coordinator);
    if cut_off || world.chance(weather.loss_ppm) {
        world.pause(NOTICED_MS).await;
        return Err(Lost(what));
    }
    // Now and then much longer than usual.
    let most = match world.below(20) {
        0 => weather.delay_ms.saturating_mul(20),
        _ => weather.delay_ms,
    };
    world.pause(most).await;
    Ok(())
}
