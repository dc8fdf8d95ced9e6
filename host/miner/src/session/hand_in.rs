//! From the journal to the coordinator: receipts in the order of their numbers, as many in one
//! request as are ready, until each is acknowledged or refused for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adit_net::blocking;
use adit_protocol::network::exchange::{
    BATCH_MAX, HandIn, HandInAnswer, HandInResult, MESSAGE_BYTES_MAX,
};
use adit_protocol::receipt::{Receipt, verify_coordinators};
use adit_protocol::{Code, Hash};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::Session;
use crate::backoff::Backoff;
use crate::check::Distrust;
use crate::journal::{Answer, Ready, Settled};
use crate::progress::COLLECT;
use crate::text::{cut, tame};
use crate::transport::{ApiError, Upload};

/// Most bytes of one request: well within what a message may have.
const REQUEST_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;
/// Receipts that are read from the journal at once.
const PAGE: usize = 1024;
/// So many receipts are checked where the answer came in; more on a thread that may block.
const FEW: usize = 8;
/// How often a blob is offered that the coordinator goes on to ask for.
const TRIES: u32 = 8;
/// Longest words of a refusal that are written down, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;
/// The journal and the coordinator are compared anew after so many requests in vain.
const GREET_AFTER: u32 = 3;

/// A receipt on its way.
struct Item {
    ready: Ready,
    /// Its blobs are being uploaded.
    uploading: bool,
    tries: u32,
}

/// An upload has ended: the receipt's number, and whether all its blobs are there.
type Uploaded = (u64, bool);

struct Queue {
    session: Arc<Session>,
    items: BTreeMap<u64, Item>,
    uploaded: UnboundedSender<Uploaded>,
    /// Where to go on reading receipts that an earlier process, or an earlier answer, has left.
    page_after: Option<u64>,
}

/// What came of a request.
enum Came {
    /// Some are settled.
    Settled,
    /// Uploads go on.
    Waits,
    /// Nothing.
    Nothing(Option<Duration>),
}

/// Hands receipts in until the session ends.
pub(super) async fn run(session: Arc<Session>, mut ready: UnboundedReceiver<Ready>) {
    let end = session.end.clone();
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = work(session, &mut ready) => {}
    }
}

async fn work(session: Arc<Session>, ready: &mut UnboundedReceiver<Ready>) {
    let (uploaded, mut uploads) = mpsc::unbounded_channel();
    let mut greeted = session.greeted.subscribe();
    let mut backoff = Backoff::default();
    let mut greeting = 0;
    let mut queue = Queue {
        session: session.clone(),
        items: BTreeMap::new(),
        uploaded,
        page_after: None,
    };
    loop {
        // Nothing goes out before it is known what the coordinator has; after each greeting, the
        // journal may have taken answers back.
        let agree = greeted.wait_for(|(_, standing)| standing.is_some_and(|s| s.is_sound()));
        match agree.await.map(|now| now.0) {
            Err(_) => return,
            Ok(count) if count != greeting => {
                greeting = count;
                queue.page_after = Some(0);
            }
            Ok(_) => {}
        }
        while let Ok(item) = ready.try_recv() {
            queue.add(item);
        }
        while let Ok(done) = uploads.try_recv() {
            queue.uploaded(done);
        }
        queue.read_page().await;
        let batch = queue.batch();
        if batch.is_empty() {
            tokio::select! {
                biased;
                item = ready.recv() => match item {
                    Some(item) => queue.add(item),
                    None => return,
                },
                Some(done) = uploads.recv() => queue.uploaded(done),
                changed = greeted.changed() => if changed.is_err() { return },
            }
            continue;
        }
        match queue.send(batch).await {
            Came::Settled => backoff.reset(),
            Came::Waits => {}
            Came::Nothing(at_least) => {
                let wait = backoff.next(&session.shared.rng, at_least);
                if backoff.failures().is_multiple_of(GREET_AFTER) {
                    session.greet_again.notify_one();
                }
                tokio::time::sleep(wait).await;
            }
        }
    }
}

impl Queue {
    fn add(&mut self, ready: Ready) {
        let seq = ready.seq();
        if self.items.contains_key(&seq) {
            return;
        }
        let stored = ready.parts.as_ref().map(|parts| parts.stored.clone());
        let stored = stored.unwrap_or_default();
        let uploading = !stored.is_empty();
        if uploading {
            self.upload(seq, stored, &ready);
        }
        let item = Item {
            ready,
            uploading,
            tries: 0,
        };
        self.items.insert(seq, item);
    }

    /// Reads receipts that are signed and not settled from the journal.
    async fn read_page(&mut self) {
        let Some(after) = self.page_after else { return };
        // Those that are on their way are enough for the moment.
        if self.items.len() >= PAGE {
            return;
        }
        let coordinator = self.session.coordinator;
        let page = self
            .session
            .shared
            .journal
            .ask(move |journal| journal.unsettled(&coordinator, after, PAGE))
            .await;
        match page {
            Ok(page) => {
                self.page_after = match page.len() < PAGE {
                    true => None,
                    false => page.last().map(Ready::seq),
                };
                for ready in page {
                    let id = ready.assignment();
                    if self.session.held.find(&id).is_none() {
                        self.session.held.take_recorded(id);
                        let stored = ready.parts.as_ref().map(|parts| parts.stored.as_slice());
                        self.session.keep(id, stored.unwrap_or_default());
                    }
                    self.add(ready);
                }
            }
            Err(error) => {
                tracing::error!(%error, "receipts could not be read from the journal");
                self.page_after = None;
            }
        }
    }

    /// The receipts of the next request: the lowest numbers, up to one whose blobs are not there.
    fn batch(&self) -> Vec<Ready> {
        let mut bytes = 0usize;
        let mut batch = Vec::new();
        for item in self.items.values().take(BATCH_MAX) {
            let len = item.ready.parts.as_ref().map_or(1024, |p| p.len_max());
            bytes = bytes.saturating_add(len);
            let full = bytes > REQUEST_BYTES_MAX && !batch.is_empty();
            if item.uploading || full {
                break;
            }
            batch.push(item.ready.clone());
        }
        batch
    }

    async fn send(&mut self, batch: Vec<Ready>) -> Came {
        let session = self.session.clone();
        let items = batch.iter().map(|ready| {
            let parts = ready.parts.clone().unwrap_or_default();
            parts.item(&ready.receipt)
        });
        let request = HandIn {
            items: items.collect(),
        };
        session.shared.metrics.handed_in(batch.len());
        let answer = match session.api.hand_in(&request).await {
            Ok(answer) => answer,
            Err(error) => {
                session.trouble("hand-in", &error);
                if error.code().as_str() == "hello-first" {
                    session.greet_again.notify_one();
                }
                return Came::Nothing(error.retry_after());
            }
        };
        match session.check(batch, answer).await {
            Ok(results) => self.apply(results),
            Err(why) => {
                session.distrust(&why);
                session.idle(Code::BadAnswer, why.to_string());
                Came::Nothing(None)
            }
        }
    }

    fn apply(&mut self, results: Vec<(Ready, HandInResult)>) -> Came {
        let session = self.session.clone();
        let mut settled = Vec::new();
        let mut over = Vec::new();
        let mut waits = false;
        for (ready, result) in results {
            let seq = ready.seq();
            let answer = match self.judge(&ready, result) {
                Judged::Final(answer) => answer,
                Judged::Waits => {
                    waits = true;
                    continue;
                }
                Judged::Again => continue,
            };
            self.items.remove(&seq);
            session.shared.metrics.answered(match &answer {
                Answer::Acknowledged { .. } => "acknowledged",
                Answer::Refused { .. } => "refused",
            });
            settled.push(Settled {
                coordinator: session.coordinator,
                seq,
                at_ms: session.now_ms(),
                answer,
            });
            over.push(ready.assignment());
        }
        if settled.is_empty() {
            return match waits {
                true => Came::Waits,
                false => Came::Nothing(None),
            };
        }
        session.shared.journal.settle(settled);
        session.over(&over);
        Came::Settled
    }

    fn judge(&mut self, ready: &Ready, result: HandInResult) -> Judged {
        let session = &self.session;
        if let (Some(leaf), Some(countersignature)) = (result.leaf, result.countersignature) {
            let countersignature = countersignature.as_slice().try_into();
            return match countersignature {
                Ok(countersignature) => Judged::Final(Answer::Acknowledged {
                    leaf,
                    countersignature,
                }),
                // It was checked before, with its length.
                Err(_) => Judged::Again,
            };
        }
        let seq = ready.seq();
        let code = result.refused.as_deref().unwrap_or_default();
        let detail = cut(
            result.detail.as_deref().unwrap_or_default(),
            DETAIL_BYTES_MAX,
        );
        if !result.missing.is_empty() {
            let tries = self.items.get_mut(&seq).map_or(TRIES, |item| {
                item.tries = item.tries.saturating_add(1);
                item.tries
            });
            if tries < TRIES {
                if let Some(item) = self.items.get_mut(&seq) {
                    item.uploading = true;
                }
                self.upload(seq, result.missing, ready);
                return Judged::Waits;
            }
            // What is asked for again and again is not to be had here.
            return Judged::Final(Answer::Refused {
                code: Code::BlobMissing.as_str().to_owned(),
                detail: format!(
                    "{} blobs could not be given: {detail}",
                    result.missing.len()
                ),
            });
        }
        let known = code.parse::<Code>().ok();
        tracing::warn!(
            coordinator = session.name(),
            seq,
            code = tame(code),
            detail = tame(detail),
            "a receipt was refused"
        );
        match known {
            Some(code) if is_final(code) => Judged::Final(Answer::Refused {
                code: code.as_str().to_owned(),
                detail: detail.to_owned(),
            }),
            _ => {
                session.state().last_error = Some(tame(&format!("hand-in: {code}: {detail}")));
                Judged::Again
            }
        }
    }

    /// Uploads blobs of a receipt, each until it is there.
    fn upload(&self, seq: u64, hashes: Vec<Hash>, ready: &Ready) {
        let session = self.session.clone();
        let done = self.uploaded.clone();
        let inline: Vec<bytes::Bytes> = ready
            .parts
            .iter()
            .flat_map(|parts| {
                parts
                    .inline
                    .iter()
                    .map(|blob| bytes::Bytes::copy_from_slice(blob))
            })
            .collect();
        let end = session.end.clone();
        tokio::spawn(async move {
            let upload = async {
                let mut all = true;
                // Once each, however often it is named.
                for hash in hashes.into_iter().collect::<BTreeSet<_>>() {
                    all &= session.upload_one(&hash, &inline).await;
                }
                all
            };
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                all = upload => {
                    let _ = done.send((seq, all));
                }
            }
        });
    }

    fn uploaded(&mut self, (seq, all): Uploaded) {
        if let Some(item) = self.items.get_mut(&seq) {
            item.uploading = false;
            if !all {
                item.tries = item.tries.saturating_add(1);
            }
        }
    }
}

/// What an answer to a receipt means.
enum Judged {
    Final(Answer),
    /// Blobs are uploaded, then it is sent again.
    Waits,
    /// It is sent again.
    Again,
}

/// Whether a refusal stays, however often the same bytes are sent. A gap is closed by sending what
/// comes before.
fn is_final(code: Code) -> bool {
    !code.retryable() && code != Code::SeqOutOfOrder
}

impl Session {
    /// Whether an answer fits the receipts that were sent, and each acknowledgement is signed.
    async fn check(
        &self,
        batch: Vec<Ready>,
        answer: HandInAnswer,
    ) -> Result<Vec<(Ready, HandInResult)>, Distrust> {
        if answer.results.len() != batch.len() {
            return Err(Distrust::Contradiction(
                "the answer has another number of results than receipts were sent",
            ));
        }
        let results: Vec<(Ready, HandInResult)> = batch.into_iter().zip(answer.results).collect();
        let mut receipts: Vec<Receipt> = Vec::with_capacity(results.len());
        for (ready, result) in &results {
            match (&result.leaf, &result.countersignature, &result.refused) {
                (Some(_), Some(countersignature), None) => {
                    let mut receipt = ready.receipt.clone();
                    receipt.coordinator_signature = countersignature
                        .as_slice()
                        .try_into()
                        .map_err(|_| Distrust::Countersignature)?;
                    receipts.push(receipt);
                }
                (None, None, Some(_)) => {}
                (None, None, None) if !result.missing.is_empty() => {}
                _ => {
                    return Err(Distrust::Contradiction(
                        "a receipt is neither acknowledged nor refused",
                    ));
                }
            }
        }
        let mut rng = self.shared.rng.clone();
        // This miner made the other signature.
        let mut check = move || verify_coordinators(&receipts, &mut rng).is_ok();
        let fits = match results.len() <= FEW {
            true => check(),
            false => blocking(check).await.unwrap_or(false),
        };
        match fits {
            true => Ok(results),
            false => Err(Distrust::Countersignature),
        }
    }

    /// Uploads a blob until it is there. `false` if this miner does not have it, or the coordinator
    /// never wants it.
    async fn upload_one(&self, hash: &Hash, inline: &[bytes::Bytes]) -> bool {
        let mut backoff = Backoff::default();
        let carried = inline.iter().find(|bytes| Hash::of(bytes) == *hash);
        loop {
            let upload = match carried {
                Some(bytes) => Upload::Bytes(bytes.clone()),
                None => match self.shared.cache.store().open_blob(hash) {
                    Ok(_) => Upload::File(self.shared.cache.store().path(hash)),
                    Err(error) => {
                        tracing::error!(%error, "a blob of a receipt cannot be given");
                        return false;
                    }
                },
            };
            let error = match self.api.put_blob(hash, upload).await {
                Ok(()) => return true,
                Err(error) => error,
            };
            self.trouble("upload", &error);
            match &error {
                // The file is damaged: there is no other copy.
                ApiError::BlobMismatch(_) | ApiError::Local(_) => return false,
                ApiError::Refused {
                    code: Code::BlobTooLarge | Code::BlobMismatch | Code::Forbidden,
                    ..
                } => {
                    return false;
                }
                _ => {}
            }
            let wait = backoff.next(&self.shared.rng, error.retry_after());
            tokio::time::sleep(wait).await;
        }
    }
}

/// Sends what guests report until the session ends.
pub(super) async fn progress(session: Arc<Session>) {
    let end = session.end.clone();
    let send = async {
        loop {
            session.progress.news().await;
            loop {
                tokio::time::sleep(COLLECT).await;
                let (reports, younger) = session.progress.take();
                for report in reports {
                    // It is worth nothing later, so that it is not sent again.
                    if let Err(error) = session.api.progress(&report).await {
                        session.trouble("progress", &error);
                        break;
                    }
                }
                if !younger {
                    break;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = send => {}
    }
}
