//! Receipts that miners hand in: read, checked against specs and blobs, countersigned, and given to
//! the engine, which makes them durable. Only then does a countersignature leave the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_net::Problem;
use adit_net::http::extract::{Cbor, parse_cbor};
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::network::exchange::{HandIn, HandInAnswer, HandInItem, HandInResult};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::transcript::Transcript;
use adit_protocol::{Code, Hash};
use axum::extract::State;
use rand_core::OsRng;

use super::super::app::App;
use super::super::who::FromNode;
use crate::Refusal;
use crate::blobs::blocking;
use crate::check::{self, Behind, TRANSCRIPT_BYTES_MAX};
use crate::core::TaskContext;
use crate::order::{CheckedItem, HandInOrder};

/// Requests up to this many bytes are read on the thread that serves them: they hold a few
/// receipts, whose checks take some 100 microseconds, about as long as another thread takes to begin.
const SHORT_BYTES: usize = 4096;
/// Environments whose engines are remembered.
const ENVIRONMENTS_MAX: usize = 4096;

/// Hands in receipts. There is one result for each, in their order.
#[utoipa::path(post, path = "/v1/miner/receipts", tag = "miners",
    request_body(content_type = "application/cbor"), security(("node_signature" = [])),
    responses((status = 200, description = "what became of each", content_type = "application/cbor"),
        (status = 403, description = "the miner may not work")))]
pub async fn hand_in(
    State(app): State<App>,
    request: FromNode,
) -> Result<Cbor<HandInAnswer>, Problem> {
    let node = request.node;
    let bytes = request.bytes;
    let length = bytes.len();
    let (genesis, coordinator) = (app.genesis, app.node.public().to_bytes());
    let read = move || {
        let hand_in: HandIn = parse_cbor(&bytes)?;
        let receipts = check::receipts(&hand_in.items, &node, &coordinator, &genesis, &mut OsRng);
        Ok::<_, Problem>((hand_in.items, receipts))
    };
    let short = length <= SHORT_BYTES;
    let (items, receipts) = match short {
        true => read()?,
        false => blocking(read).await??,
    };
    let mut results = Vec::with_capacity(items.len());
    let mut orders = Vec::with_capacity(items.len());
    let mut stopped = false;
    for (item, receipt) in items.into_iter().zip(receipts) {
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(refusal) => {
                results.push(Some(refused(refusal, Vec::new())));
                continue;
            }
        };
        match one(&app, item, receipt).await? {
            // What is missing of those behind it is told too, so that all is uploaded at once.
            HandInOrder::Stop(refusal, missing) if stopped => {
                results.push(Some(refused(refusal, missing)));
            }
            _ if stopped => results.push(Some(refused(behind(), Vec::new()))),
            order => {
                stopped = matches!(order, HandInOrder::Stop(..));
                results.push(None);
                orders.push(order);
            }
        }
    }
    let key = app.node.clone();
    let sign = move || {
        for order in &mut orders {
            if let HandInOrder::Checked(item) = order {
                item.receipt.countersign(&key, &mut OsRng);
            }
        }
        orders
    };
    let orders = match short {
        true => sign(),
        false => blocking(sign).await?,
    };
    let handed = match orders.is_empty() {
        true => Vec::new(),
        false => app.handle.hand_in(node, orders).await?,
    };
    let mut handed = handed.into_iter();
    let results = results
        .into_iter()
        .filter_map(|result| result.or_else(|| handed.next()))
        .collect();
    Ok(Cbor(HandInAnswer { results }))
}

fn refused(refusal: Refusal, missing: Vec<Hash>) -> HandInResult {
    HandInResult {
        leaf: None,
        countersignature: None,
        refused: Some(refusal.code.to_string()),
        detail: Some(refusal.to_string().chars().take(1024).collect()),
        missing,
    }
}

/// The refusal of a receipt behind one that cannot be taken yet.
fn behind() -> Refusal {
    Refusal::new(
        Code::UnknownBlob,
        "a receipt before this one waits for its blobs",
        "upload those, then hand in all again in their order",
    )
}

/// What behind a receipt was found.
struct Found {
    transcript: Transcript,
    engines: Vec<Hash>,
    output_len: u64,
}

/// Checks one receipt whose miner's signature holds.
async fn one(app: &App, item: HandInItem, receipt: Receipt) -> Result<HandInOrder, Problem> {
    let body = &receipt.body;
    let context = match app.handle.task_spec(body.task).await {
        Ok(context) => context,
        Err(refusal) if refusal.code == Code::UnknownTask => {
            return Ok(match known(app, &receipt, &item.opening).await? {
                Some(again) => again,
                None => HandInOrder::Refused(Box::new(receipt.body), refusal),
            });
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let mut sent: BTreeMap<Hash, Vec<u8>> = item
        .blobs
        .iter()
        .map(|blob| (Hash::of(blob), blob.to_vec()))
        .collect();
    let mut checked = CheckedItem {
        receipt: receipt.clone(),
        opening: item.opening,
        mismatch: None,
        blobs: Vec::new(),
        environments: Vec::new(),
        detail: item.detail,
        log: item.log.map(|log| log.to_vec()),
    };
    if let Err(why) = check::opens(body, &item.opening, &context.spec) {
        checked.mismatch = Some(why);
        return Ok(HandInOrder::Checked(Box::new(checked)));
    }
    let mut missing = BTreeSet::new();
    let transcript = match transcript(app, &item.opening.transcript, &sent).await? {
        Read::Transcript(transcript) => transcript,
        Read::Missing => {
            missing.insert(item.opening.transcript);
            Transcript::default()
        }
        Read::Malformed(why) => {
            checked.mismatch = Some(why);
            return Ok(HandInOrder::Checked(Box::new(checked)));
        }
    };
    let mut used = check::tensors(&transcript);
    used.push(item.opening.output);
    used.push(item.opening.transcript);
    let elsewhere = used
        .iter()
        .filter(|hash| !sent.contains_key(hash))
        .copied()
        .collect();
    missing.extend(app.blobs.missing(elsewhere).await?);

    let mut engines = Vec::new();
    let environments = std::iter::once(&body.environment).chain(&transcript.environments);
    for hash in environments.collect::<BTreeSet<_>>() {
        match environment(app, hash, &sent).await? {
            Some((engine, document)) => {
                engines.push(engine);
                let document = document.map(|document| (*hash, document));
                checked.environments.extend(document);
            }
            None => {
                missing.insert(*hash);
            }
        }
    }
    if !missing.is_empty() {
        if let Some(again) = known(app, &receipt, &item.opening).await? {
            return Ok(again);
        }
        let refusal = Refusal::new(
            Code::UnknownBlob,
            format!("{} blobs behind the receipt are not here", missing.len()),
            "upload them with PUT /v1/blobs/HASH, then hand the receipt in again",
        );
        return Ok(HandInOrder::Stop(refusal, missing.into_iter().collect()));
    }
    let output_len = match sent.get(&item.opening.output) {
        Some(bytes) => bytes.len() as u64,
        None => app.blobs.head(item.opening.output, 0).await?.1,
    };
    let found = Found {
        transcript,
        engines,
        output_len,
    };
    checked.mismatch = mismatch(&receipt, &item.opening, &context, &found)?;
    // What nothing refers to is not kept.
    checked.blobs = used
        .iter()
        .filter_map(|hash| sent.remove_entry(hash))
        .collect();
    Ok(HandInOrder::Checked(Box::new(checked)))
}

/// The order for a receipt that is in the log already, and whose task or blobs are kept no longer:
/// it is answered as it was the first time.
async fn known(
    app: &App,
    receipt: &Receipt,
    opening: &ReceiptOpening,
) -> Result<Option<HandInOrder>, Problem> {
    match app.handle.receipt(receipt.id()).await {
        Ok(_) => Ok(Some(HandInOrder::Checked(Box::new(CheckedItem {
            receipt: receipt.clone(),
            opening: *opening,
            mismatch: None,
            blobs: Vec::new(),
            environments: Vec::new(),
            detail: None,
            log: None,
        })))),
        Err(refusal) if refusal.code == Code::NotFound => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

fn mismatch(
    receipt: &Receipt,
    opening: &ReceiptOpening,
    context: &Arc<TaskContext>,
    found: &Found,
) -> Result<Option<String>, Problem> {
    let exec = ExecSpec::from_cbor(&context.exec).map_err(Problem::internal)?;
    let behind = Behind {
        output_len: found.output_len,
        transcript: &found.transcript,
        engines: &found.engines,
    };
    Ok(check::fits(&receipt.body, opening, &context.spec, &exec, &behind).err())
}

/// What became of looking for a transcript.
enum Read {
    Transcript(Transcript),
    Missing,
    Malformed(String),
}

async fn transcript(
    app: &App,
    hash: &Hash,
    sent: &BTreeMap<Hash, Vec<u8>>,
) -> Result<Read, Problem> {
    if *hash == check::no_inference().0 {
        return Ok(Read::Transcript(Transcript::default()));
    }
    let bytes = match sent.get(hash) {
        Some(bytes) => bytes.clone(),
        None => match app.blobs.get(*hash, TRANSCRIPT_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(problem) if problem.code == Code::UnknownBlob => return Ok(Read::Missing),
            Err(problem) if problem.code == Code::BlobTooLarge => {
                return Ok(Read::Malformed(format!(
                    "the transcript: {}",
                    problem.detail
                )));
            }
            Err(problem) => return Err(problem),
        },
    };
    let decode = move || match Transcript::from_cbor(&bytes) {
        Ok(transcript) => Read::Transcript(transcript),
        Err(error) => Read::Malformed(error.to_string()),
    };
    blocking(decode).await
}

/// The engine of an environment, and its document if it is to be kept from now on; `None` if it is
/// not here.
async fn environment(
    app: &App,
    hash: &Hash,
    sent: &BTreeMap<Hash, Vec<u8>>,
) -> Result<Option<(Hash, Option<Vec<u8>>)>, Problem> {
    if let Some(engine) = app.environments().get(hash) {
        return Ok(Some((*engine, None)));
    }
    let known = app.handle.document(*hash).await?;
    let kept = known.is_some();
    let bytes = match (known, sent.get(hash)) {
        (Some(document), _) => Some(document.bytes),
        (None, Some(bytes)) => Some(bytes.clone()),
        (None, None) => app.handle.small(*hash).await?,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let Ok(document) = EnvironmentDocument::from_cbor(&bytes) else {
        // Something else of that name: no miner could hand in a document for it.
        return Ok(Some((Hash::ZERO, None)));
    };
    if kept {
        let mut environments = app.environments();
        if environments.len() >= ENVIRONMENTS_MAX {
            environments.clear();
        }
        environments.insert(*hash, document.engine);
    }
    Ok(Some((document.engine, (!kept).then_some(bytes))))
}
