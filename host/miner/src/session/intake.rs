//! From a work item to a run that waits for a slot: it is checked, and what it needs is fetched.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adit_net::blocking;
use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::network::exchange::{BATCH_MAX, Work};
use adit_protocol::status::Status;
use adit_protocol::{Code, Hash};
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::store::StoreError;

use tracing::Instrument as _;

use super::{Job, Session};
use crate::backoff::Backoff;
use crate::cache::{CacheError, Pins};
use crate::check::{Distrust, Order};
use crate::held::{Cancel, Stage, Taken};
use crate::scheduler::meets;
use crate::transport::ApiError;

/// Longest input that is fetched, in bytes.
const INPUT_BYTES_MAX: u64 = 1 << 30;
/// So many items are checked where they came in; more on a thread that may block.
const FEW: usize = 4;
/// How often a blob is asked for that the coordinator says it does not have, or sends wrongly.
const TRIES: u32 = 3;

/// A run that lacks something.
struct Wanting {
    order: Arc<Order>,
    cancel: Cancel,
    pins: Pins,
}

/// Why a run cannot begin.
enum Lacking {
    /// Nobody waits for it any more.
    Ended,
    /// This miner is about to end.
    Cancelled,
    /// Something cannot be had.
    Unavailable(String),
    /// This machine failed.
    Store(StoreError),
}

impl Session {
    /// Takes in the work of an answer. Returns how many assignments are new.
    pub(super) async fn take_in(self: &Arc<Self>, work: Vec<Work>) -> usize {
        if work.len() <= FEW {
            return self.take_all(work);
        }
        let session = self.clone();
        let taken = blocking(move || {
            let taken = session.take_all(work);
            drop(session);
            taken
        });
        taken.await.unwrap_or(0)
    }

    fn take_all(self: &Arc<Self>, work: Vec<Work>) -> usize {
        if work.len() > BATCH_MAX {
            self.distrust(&Distrust::TooMany);
        }
        // What comes again is the usual case after a lost answer, and costs no signature.
        let known = |item: &Work| self.held.find(&item.assignment.body_hash()).is_some();
        let mut work: Vec<Work> = work.into_iter().take(BATCH_MAX).collect();
        work.retain(|item| !known(item));
        let mut rng = self.shared.rng.clone();
        let orders = self.authority.orders(&work, self.now_ms(), &mut rng);
        let mut taken = 0;
        for (item, order) in work.iter().zip(orders) {
            match order.and_then(|order| self.take_one(item, order)) {
                Ok(new) => taken += usize::from(new),
                Err(why) => self.distrust(&why),
            }
        }
        taken
    }

    fn take_one(self: &Arc<Self>, work: &Work, order: Order) -> Result<bool, Distrust> {
        let id = order.id;
        let devices = self.shared.scheduler.devices();
        let requirements = &order.task.requirements;
        if !devices.iter().any(|device| meets(device, requirements)) {
            return Err(Distrust::NoDevice);
        }
        let cancel = match self.held.take(id, order.assignment.deadline_ms) {
            Taken::New(cancel) => cancel,
            Taken::Again => return Ok(false),
            Taken::Full => return Err(Distrust::TooMany),
        };
        self.shared.metrics.taken();
        let exec = &order.exec;
        let input = order.input.is_none().then_some(exec.input);
        let needed = std::iter::once(exec.component)
            .chain(input)
            .chain(exec.models.values().copied());
        let pins = self.shared.cache.pin(needed);
        for blob in &work.blobs {
            let hash = Hash::of(blob);
            if !pins.hashes().contains(&hash) {
                continue;
            }
            // An input is used once; a manifest or a component again and again.
            let once = hash == exec.input && hash != exec.component;
            if let Err(error) = self.shared.cache.put(blob, once) {
                // It is fetched then, which fails the same way and says so.
                tracing::error!(%error, "a blob could not be stored");
            }
        }
        let wanting = Wanting {
            order: Arc::new(order),
            cancel,
            pins,
        };
        let cache = &self.shared.cache;
        let complete = wanting.order.exec.models.is_empty()
            && wanting
                .pins
                .hashes()
                .iter()
                .all(|hash| cache.contains(hash));
        if complete {
            self.queue(wanting, BTreeMap::new());
        } else {
            let session = self.clone();
            let trace = wanting.order.trace;
            let span = tracing::info_span!(
                "prepare",
                assignment = %id,
                coordinator = self.name(),
                trace_id = %trace.trace_id(),
            );
            let prepare = async move { session.prepare(wanting).await };
            self.spawn(trace.scope(prepare).instrument(span));
        }
        Ok(true)
    }

    /// Runs beside the others until the session ends.
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        self.shared.runtime.spawn(async move {
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = task => {}
            }
        });
    }

    fn queue(self: &Arc<Self>, wanting: Wanting, manifests: BTreeMap<String, Vec<u8>>) {
        let Wanting {
            order,
            cancel,
            pins,
        } = wanting;
        self.held.stage(&order.id, Stage::Waiting);
        let job = Job {
            session: self.clone(),
            order,
            cancel,
            pins,
            manifests,
        };
        self.shared.scheduler.push(self.coordinator, job);
    }

    /// Fetches what a run lacks, and lets it wait for a slot; or makes the receipt that says why it
    /// cannot run.
    async fn prepare(self: &Arc<Self>, mut wanting: Wanting) {
        let result = self.complete(&mut wanting).await;
        let id = wanting.order.id;
        if self.held.find(&id).is_none() {
            // The coordinator ended it meanwhile.
            return;
        }
        match result {
            Ok(manifests) => self.queue(wanting, manifests),
            Err(Lacking::Ended) => {
                self.shared.metrics.refused("expired-here");
                self.over(&[id]);
            }
            Err(Lacking::Cancelled) => self.decline(
                &wanting.order,
                Status::Cancelled,
                "the miner ended before the run began".to_owned(),
            ),
            Err(Lacking::Unavailable(why)) => {
                self.decline(&wanting.order, Status::Unavailable, why);
            }
            Err(Lacking::Store(error)) => {
                tracing::error!(%error, "the store failed");
                let why = format!("the miner's store failed: {}", error.code());
                self.decline(&wanting.order, Status::HostFault, why);
            }
        }
    }

    async fn complete(&self, wanting: &mut Wanting) -> Result<BTreeMap<String, Vec<u8>>, Lacking> {
        let exec = &wanting.order.exec;
        self.fetch(wanting, &exec.component, COMPONENT_BYTES_MAX, "component")
            .await?;
        if wanting.order.input.is_none() {
            self.fetch(wanting, &exec.input, INPUT_BYTES_MAX, "input")
                .await?;
        }
        let mut manifests = BTreeMap::new();
        let mut files = HashMap::new();
        let manifest_max = ModelManifest::MAX_LEN as u64;
        for (name, hash) in &exec.models {
            self.fetch(wanting, hash, manifest_max, "model manifest")
                .await?;
            let store = self.shared.cache.store();
            let bytes = store.get(hash, manifest_max).map_err(Lacking::Store)?;
            // What is no manifest is the worker's to refuse, as on every other machine.
            if let Ok(manifest) = ModelManifest::from_cbor(&bytes) {
                files.extend(manifest.files.values().map(|file| (file.hash, file.len)));
            }
            manifests.insert(name.clone(), bytes);
        }
        wanting.pins.add(files.keys().copied());
        for (hash, len) in files {
            self.fetch(wanting, &hash, len, "model file").await?;
        }
        Ok(manifests)
    }

    /// Has a blob fetched, trying again for as long as it makes sense.
    async fn fetch(
        &self,
        wanting: &Wanting,
        hash: &Hash,
        max: u64,
        what: &'static str,
    ) -> Result<(), Lacking> {
        let cache = &self.shared.cache;
        if cache.contains(hash) {
            return Ok(());
        }
        let lease = &wanting.order.assignment;
        let mut backoff = Backoff::default();
        let mut refusals = 0;
        loop {
            let left_ms = lease.deadline_ms.saturating_sub(self.now_ms());
            if left_ms == 0 {
                return Err(Lacking::Ended);
            }
            let tried = self.fetch_once(wanting, hash, max, left_ms).await?;
            let error = match tried {
                Ok(()) => {
                    self.shared.metrics.fetched();
                    return Ok(());
                }
                Err(CacheError::Store(error)) => return Err(Lacking::Store(error)),
                Err(error @ CacheError::Full { .. }) => {
                    return Err(Lacking::Unavailable(format!("{what} {hash}: {error}")));
                }
                Err(CacheError::Api(error)) => error,
            };
            self.trouble("blob", &error);
            let given_up = |error: &ApiError| {
                Lacking::Unavailable(format!(
                    "the {what} {hash} could not be had: {}",
                    error.code()
                ))
            };
            match &error {
                ApiError::BlobTooLarge { .. } => return Err(given_up(&error)),
                ApiError::Refused { code, .. } if !transient(*code) => refusals += 1,
                ApiError::BlobMismatch(_) | ApiError::BadAnswer(_) => refusals += 1,
                _ => {}
            }
            let wait = backoff.next(&self.shared.rng, error.retry_after());
            // The rest of the lease is another miner's chance.
            let lease_ms = lease.deadline_ms.saturating_sub(lease.issued_ms);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            if refusals >= TRIES || left_ms.saturating_sub(wait_ms) < lease_ms / 4 {
                return Err(given_up(&error));
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn fetch_once(
        &self,
        wanting: &Wanting,
        hash: &Hash,
        max: u64,
        left_ms: u64,
    ) -> Result<Result<(), CacheError>, Lacking> {
        let shared = &self.shared;
        // Closed never.
        let _permit = self.fetches.acquire().await.ok();
        let fetch = shared.cache.fetch(&self.coordinator, &*self.api, hash, max);
        tokio::select! {
            biased;
            fetched = fetch => Ok(fetched),
            () = tokio::time::sleep(Duration::from_millis(left_ms)) => Err(Lacking::Ended),
            () = cancelled(&wanting.cancel) => Err(Lacking::Cancelled),
        }
    }
}

/// Whether a refusal may be another answer soon without anyone doing anything.
fn transient(code: Code) -> bool {
    matches!(
        code,
        Code::Overloaded
            | Code::Timeout
            | Code::Draining
            | Code::QuotaExceeded
            | Code::RequestStale
            | Code::Internal
    )
}

/// Completes when a run is told to end.
async fn cancelled(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
