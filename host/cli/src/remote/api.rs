//! What a coordinator is asked, as functions.

use std::path::Path;

use adit_net::http::client::{Client, ClientError, Events, FileSink, MemorySink};
use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::exec::ExecSpec;
use adit_protocol::task::TaskSpec;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::wire::{Explain, Missing, Page, ReceiptView, Seen, Task};

/// Most hashes of one question for blobs.
const HASHES_MAX: usize = 1024;
/// How long a coordinator is asked to wait for the end of a task, in seconds.
const WAIT_S: u64 = 30;
/// Longest network file, and longest explanation, in bytes.
const LONG_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Longest silence of a stream of events, in milliseconds; comments come more often.
const SILENCE_MS: u64 = 60_000;

/// A coordinator's interface.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
}

/// The result of a question.
pub type Answered<T> = Result<T, ClientError>;

impl Api {
    /// The interface behind a client.
    pub fn new(client: Client) -> Api {
        Api { client }
    }

    /// The network file, encoded.
    ///
    /// # Errors
    /// [`ClientError`], as of all functions here.
    pub async fn network(&self) -> Answered<Vec<u8>> {
        let call = self.client.get("/v1/network");
        let answer = call.answer_bytes_max(LONG_ANSWER_BYTES).send().await?;
        Ok(answer.bytes.to_vec())
    }

    /// Those of the hashes whose blobs the coordinator lacks.
    pub async fn missing(&self, hashes: &[Hash]) -> Answered<Vec<Hash>> {
        let mut missing = Vec::new();
        for hashes in hashes.chunks(HASHES_MAX) {
            let call = self.client.post("/v1/blobs/missing").idempotent();
            let answer = call.json(&json!({ "hashes": hashes })).send().await?;
            let found: Missing = answer.json()?;
            missing.extend(found.missing.into_iter().map(|hash| hash.0));
        }
        missing.retain(|hash| hashes.contains(hash));
        Ok(missing)
    }

    /// Uploads a blob from a file.
    pub async fn put_blob(&self, hash: &Hash, path: &Path) -> Answered<()> {
        let call = self.client.put(&format!("/v1/blobs/{hash}"));
        call.upload(path).await.map(|_| ())
    }

    /// A blob of at most so many bytes; its content is compared with its hash.
    pub async fn blob(&self, hash: &Hash, bytes_max: u64) -> Answered<Vec<u8>> {
        self.bytes(&format!("/v1/blobs/{hash}"), hash, bytes_max)
            .await
    }

    /// A blob of at most so many bytes, into a file: models can be larger than memory.
    pub async fn blob_to(&self, sink: &mut FileSink, hash: &Hash, bytes_max: u64) -> Answered<u64> {
        let call = self.client.get(&format!("/v1/blobs/{hash}"));
        call.download(sink, hash, bytes_max).await
    }

    /// A document by its hash, and its bytes.
    pub async fn document<D: Document>(&self, hash: &Hash) -> Answered<(D, Vec<u8>)> {
        self.document_at(&format!("/v1/blobs/{hash}"), hash).await
    }

    /// The spec of a task, whose hash is the task's id, and its bytes.
    pub async fn task_spec(&self, task: &Hash) -> Answered<(TaskSpec, Vec<u8>)> {
        self.document_at(&format!("/v1/tasks/{task}/spec"), task)
            .await
    }

    /// The exec spec of a task by its hash, and its bytes.
    pub async fn exec_spec(&self, task: &Hash, exec: &Hash) -> Answered<(ExecSpec, Vec<u8>)> {
        self.document_at(&format!("/v1/tasks/{task}/exec"), exec)
            .await
    }

    /// What is at a path, if it has the hash that it should have.
    async fn bytes(&self, path: &str, hash: &Hash, bytes_max: u64) -> Answered<Vec<u8>> {
        let mut sink = MemorySink::default();
        let call = self.client.get(path);
        call.download(&mut sink, hash, bytes_max).await?;
        Ok(sink.0)
    }

    async fn document_at<D: Document>(&self, path: &str, hash: &Hash) -> Answered<(D, Vec<u8>)> {
        let bytes = self.bytes(path, hash, D::MAX_LEN as u64).await?;
        let document = D::from_cbor(&bytes).map_err(|error| ClientError::Malformed {
            url: super::shown(self.client.base()),
            why: error.to_string(),
        })?;
        Ok((document, bytes))
    }

    /// Submits a task.
    pub async fn submit(&self, order: &Value, idempotency_key: &str) -> Answered<Seen<Task>> {
        let call = self.client.post("/v1/tasks").json(order);
        self.seen(call.idempotency_key(idempotency_key)).await
    }

    /// A task.
    pub async fn task(&self, task: &Hash) -> Answered<Seen<Task>> {
        self.seen(self.client.get(&format!("/v1/tasks/{task}")))
            .await
    }

    /// A task once it has ended, or as it is after a while.
    pub async fn wait(&self, task: &Hash) -> Answered<Seen<Task>> {
        let call = self.client.get(&format!("/v1/tasks/{task}"));
        let call = call.query("wait", WAIT_S).timeout_ms((WAIT_S + 15) * 1000);
        self.seen(call).await
    }

    /// What happens to a task, from the beginning or from after the event with an id.
    pub async fn events(&self, task: &Hash, last_id: Option<&str>) -> Answered<Events> {
        let call = self.client.get(&format!("/v1/tasks/{task}/events"));
        let call = match last_id {
            Some(id) => call.last_event_id(id),
            None => call,
        };
        call.timeout_ms(SILENCE_MS).events().await
    }

    /// A page of this client's tasks, the newest first.
    pub async fn tasks(
        &self,
        state: Option<&str>,
        size: u32,
        after: Option<&str>,
    ) -> Answered<Page> {
        let mut call = self.client.get("/v1/tasks").query("page_size", size);
        if let Some(state) = state {
            call = call.query("state", state);
        }
        if let Some(after) = after {
            call = call.query("page_token", after);
        }
        call.answer_bytes_max(LONG_ANSWER_BYTES)
            .send()
            .await?
            .json()
    }

    /// Cancels a task.
    pub async fn cancel(&self, task: &Hash) -> Answered<Seen<Task>> {
        let call = self.client.post(&format!("/v1/tasks/{task}/cancel"));
        self.seen(call.idempotent()).await
    }

    /// Why a task is where it is.
    pub async fn explain(&self, task: &Hash) -> Answered<Seen<Explain>> {
        let call = self.client.get(&format!("/v1/tasks/{task}/explain"));
        self.seen(call.answer_bytes_max(LONG_ANSWER_BYTES)).await
    }

    /// A receipt with what is behind it.
    pub async fn receipt(&self, receipt: &Hash) -> Answered<Seen<ReceiptView>> {
        let call = self.client.get(&format!("/v1/receipts/{receipt}"));
        self.seen(call).await
    }

    /// The guest's stderr, or the end of it, by the miner of a receipt.
    pub async fn log(&self, receipt: &Hash) -> Answered<Vec<u8>> {
        let call = self.client.get(&format!("/v1/receipts/{receipt}/log"));
        Ok(call.send().await?.bytes.to_vec())
    }

    /// A file of the log, as `checkpoint`.
    pub async fn log_file(&self, name: &str, bytes_max: usize) -> Answered<Vec<u8>> {
        let call = self.client.get(&format!("/log/{name}"));
        let answer = call.answer_bytes_max(bytes_max).send().await?;
        Ok(answer.bytes.to_vec())
    }

    async fn seen<T: DeserializeOwned>(
        &self,
        call: adit_net::http::client::Call,
    ) -> Answered<Seen<T>> {
        let answer = call.send().await?;
        let json = answer.json()?;
        Seen::read(json).map_err(|error| answer.malformed(error))
    }
}
