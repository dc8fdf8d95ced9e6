//! Transactions: handing them in, and looking at those that took effect.

use adit_ledger::SignedTransaction;
use adit_ledger::entry::LogEntry;
use adit_net::http::extract::{Json, Path};
use adit_net::http::server::Peer;
use adit_net::{Problem, blocking};
use adit_protocol::{Code, Hash};
use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::schema::EventSchema;
use crate::engine::SubmitError;
use crate::store::Place;

/// What a wallet has signed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The transaction's text, without what wallets put around it.
    pub text: String,
    /// The signature, `0x` and 128 digits.
    pub signature: String,
}

/// A transaction that took effect.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionView {
    /// Its id.
    pub id: String,
    /// Index of its entry in the log.
    pub leaf: u64,
    /// Its block.
    pub height: u64,
    /// Its account.
    pub account: String,
    /// Its number among those of the account.
    pub number: u64,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it did; not said in lists.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Vec<EventSchema>>)]
    pub events: Value,
}

impl From<Place> for TransactionView {
    fn from(place: Place) -> TransactionView {
        TransactionView {
            id: place.id.to_string(),
            leaf: place.leaf,
            height: place.height,
            account: place.account.to_string(),
            number: place.number,
            text: None,
            events: Value::Null,
        }
    }
}

/// Takes a transaction. One that took effect already is answered as the first time, so that it can be
/// sent again when an answer was lost.
#[utoipa::path(post, path = "/v1/transactions", tag = "transactions",
    request_body = Submission,
    responses((status = 200, description = "it took effect, and is durable", body = TransactionView),
        (status = 403, description = "the account may not do that"),
        (status = 409, description = "its number is not the account's next, or a key is taken"),
        (status = 422, description = "the ledger refuses it"),
        (status = 429, description = "the faucet has given enough, or too much of this address was refused"),
        (status = 503, description = "too many wait"),
        (status = 507, description = "the registry's disk is full")))]
pub(super) async fn submit(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Json(submission): Json<Submission>,
) -> Result<Json<TransactionView>, Problem> {
    let signature = signature(&submission.signature)?;
    let signed = SignedTransaction::new(&submission.text, signature)
        .map_err(|error| Problem::new(error.code(), error))?;
    let id = signed.id();
    let found = app.read(move |reader| {
        let place = reader.find(&id)?;
        place
            .map(|place| Ok((place, reader.events(place.leaf)?)))
            .transpose()
    });
    if let Some((place, events)) = found.await? {
        return Ok(Json(TransactionView {
            events,
            ..place.into()
        }));
    }
    app.0.checks.take(peer.address.ip())?;
    let verified = blocking(move || signed.verify())
        .await
        .map_err(Problem::internal)?
        .map_err(|error| Problem::new(Code::BadSignature, error))?;
    let said = verified.transaction();
    let (account, number) = (said.account, said.number);
    let submitted = app.0.handle.submit(verified).await;
    if !matches!(submitted, Err(SubmitError::Refused(_))) {
        app.0.checks.give_back(peer.address.ip());
    }
    let accepted = submitted?;
    let place = Place {
        id: accepted.id,
        leaf: accepted.leaf,
        height: accepted.height,
        account,
        number,
    };
    let events = serde_json::to_value(&accepted.events).map_err(Problem::internal)?;
    Ok(Json(TransactionView {
        events,
        ..place.into()
    }))
}

/// A transaction that took effect.
#[utoipa::path(get, path = "/v1/transactions/{id}", operation_id = "transaction", tag = "transactions",
    params(("id" = String, Path, pattern = "^blake3:[0-9a-f]{64}$", description = "its id, `blake3:` and 64 digits")),
    responses((status = 200, body = TransactionView), (status = 404, description = "none of that id took effect")))]
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<TransactionView>, Problem> {
    let id: Hash = id
        .parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))?;
    let found = app
        .read(move |reader| {
            let place = reader.find(&id)?;
            place
                .map(|place| {
                    let entry = reader.entry(place.leaf)?;
                    Ok((place, entry, reader.events(place.leaf)?))
                })
                .transpose()
        })
        .await?;
    let (place, entry, events) = found.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("no transaction {id} took effect; hint: it may have been refused; send it again to learn why"),
        )
    })?;
    let text = match LogEntry::from_bytes(&entry) {
        Ok(LogEntry::Transaction(signed)) if signed.id() == id => signed.text().to_owned(),
        _ => {
            return Err(Problem::internal(format!(
                "entry {} is not {id}",
                place.leaf
            )));
        }
    };
    Ok(Json(TransactionView {
        text: Some(text),
        events,
        ..place.into()
    }))
}

fn signature(text: &str) -> Result<[u8; 64], Problem> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let mut bytes = [0; 64];
    let fits = digits.len() == 128 && digits.is_ascii();
    let pairs = digits.as_bytes().chunks_exact(2);
    let parsed = bytes.iter_mut().zip(pairs).try_for_each(|(byte, pair)| {
        let pair = std::str::from_utf8(pair).ok()?;
        // It takes a sign, too.
        let digits = pair.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| digits)?;
        Some(())
    });
    match parsed {
        Some(()) if fits => Ok(bytes),
        _ => Err(Problem::new(
            Code::InvalidRequest,
            "the signature is not 0x and 128 hexadecimal digits; hint: it is what the wallet returned",
        )),
    }
}
