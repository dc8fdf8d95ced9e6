//! What goes with a task to those who run and check it.

use std::collections::HashMap;

use adit_net::trace::TraceContext;
use adit_protocol::cbor::{DecodeError, Document as _};
use adit_protocol::hash::Hash;
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;

use crate::store::TaskRow;

/// The specs of a task and the small blobs that its miners are sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskContext {
    /// The task id.
    pub task: Hash,
    /// The client.
    pub client: String,
    /// The task spec: its salt, requirements, verification, disclosure.
    pub spec: TaskSpec,
    /// The same, encoded.
    pub spec_bytes: Vec<u8>,
    /// The exec spec, encoded.
    pub exec: Vec<u8>,
    /// Small blobs.
    pub blobs: Vec<Vec<u8>>,
    /// Hash of the component that has to accept the output.
    pub validator: Option<Hash>,
    /// The step of a trace that the client's request was.
    pub trace: Option<TraceContext>,
}

impl TaskContext {
    /// The context of a task; those of its blobs that are in `blobs` are taken from there.
    pub(crate) fn new(
        row: TaskRow,
        blobs: &mut HashMap<Hash, Vec<u8>>,
    ) -> Result<TaskContext, DecodeError> {
        Ok(TaskContext {
            task: row.id,
            client: row.client,
            spec: TaskSpec::from_cbor(&row.spec)?,
            spec_bytes: row.spec,
            exec: row.exec,
            blobs: row
                .inline
                .iter()
                .filter_map(|hash| blobs.remove(hash))
                .collect(),
            validator: row.validator,
            trace: row.trace,
        })
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        let blobs: usize = self.blobs.iter().map(Vec::len).sum();
        self.spec_bytes.len() + self.exec.len() + blobs + 512
    }
}

/// A question to the app's validator: is this output right? Answered by
/// [`crate::engine::Handle::validated`]; asked again after a minute, and after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// The task.
    pub task: Hash,
    /// Hash of the validator component.
    pub validator: Hash,
    /// Hash of the task's exec spec.
    pub exec: Hash,
    /// How the runs ended.
    pub status: Status,
    /// Hash of the output blob.
    pub output: Hash,
}
