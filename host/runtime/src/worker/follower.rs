//! What a supervisor collects of one run: the streams that its worker sends, over all attempts.

use std::time::Duration;

use adit_protocol::cbor::Document as _;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;

use super::messages::{Done, Stream};
use super::supervisor::{Ran, Task};
use crate::state::Events;
use crate::store::StoreError;
use crate::store::blobs::BlobStore;

/// Bytes that a run may send beyond what its limits allow for: framing, dimensions, environments.
const SLACK_BYTES: u64 = 1 << 20;

/// Collects what a run sends, over all attempts.
pub(super) struct Follower<'a> {
    blobs: &'a BlobStore,
    pub(super) events: &'a mut dyn Events,
    output: Vec<u8>,
    log: Vec<u8>,
    transcript: Vec<u8>,
    blob: Vec<u8>,
    received: u64,
    received_max: u64,
    shown_output: usize,
    shown_log: usize,
    keep_failed: Option<StoreError>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(blobs: &'a BlobStore, task: &Task, events: &'a mut dyn Events) -> Self {
        let limits = &task.spec.limits;
        let received_max = limits
            .output_bytes
            .saturating_add(limits.stderr_bytes)
            .saturating_add(limits.tensor_bytes_moved)
            .saturating_add(Transcript::MAX_LEN as u64)
            .saturating_add(SLACK_BYTES)
            // What the guest's limits count in elements, blobs hold with headers of up to 34
            // bytes each.
            .saturating_mul(2);
        Self {
            blobs,
            events,
            output: Vec::new(),
            log: Vec::new(),
            transcript: Vec::new(),
            blob: Vec::new(),
            received: 0,
            received_max,
            shown_output: 0,
            shown_log: 0,
            keep_failed: None,
        }
    }

    pub(super) fn restart(&mut self) {
        self.output.clear();
        self.log.clear();
        self.transcript.clear();
        self.blob.clear();
        self.received = 0;
    }

    pub(super) fn part(
        &mut self,
        stream: Stream,
        bytes: Vec<u8>,
        more: bool,
    ) -> Result<(), String> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > self.received_max {
            return Err("the worker sent more than a run can produce".to_owned());
        }
        match stream {
            Stream::Output => {
                self.output.extend_from_slice(&bytes);
                // After a restart the observer has seen the beginning already.
                let new = self.output.get(self.shown_output..).unwrap_or_default();
                if !new.is_empty() {
                    self.events.output(new);
                    self.shown_output = self.output.len();
                }
            }
            Stream::Log => {
                self.log.extend_from_slice(&bytes);
                let new = self.log.get(self.shown_log..).unwrap_or_default();
                if !new.is_empty() {
                    self.events.log(new);
                    self.shown_log = self.log.len();
                }
            }
            Stream::Transcript => self.transcript.extend_from_slice(&bytes),
            Stream::Blob => {
                self.blob.extend_from_slice(&bytes);
                if !more {
                    let blob = std::mem::take(&mut self.blob);
                    if let Err(e) = self.blobs.put(&blob) {
                        self.keep_failed = Some(e);
                    }
                }
            }
        }
        Ok(())
    }

    /// What the run left.
    ///
    /// # Errors
    ///
    /// The store's, if a recorded tensor could not be kept: a result whose replay would lack
    /// tensors must not be attested.
    pub(super) fn finish(&mut self, done: Done) -> Result<Ran, StoreError> {
        let status = Status::try_from(done.status).unwrap_or(Status::HostFault);
        let ran = Ran {
            status,
            output: std::mem::take(&mut self.output),
            log: std::mem::take(&mut self.log),
            fuel: done.fuel,
            nn_units: done.nn_units,
            peak_memory: done.peak_memory,
            duration_us: done.duration_us,
            transcript: std::mem::take(&mut self.transcript),
            task_error: done.task_error_code.zip(done.task_error_message),
            detail: done.detail,
            refusal: done.refusal,
            divergence: done.divergence,
            rechecks: done.rechecks,
        };
        if let Some(error) = self.keep_failed.take() {
            return Err(error);
        }
        if ran.transcript.is_empty() {
            // The worker ended before there was a guest.
            let nothing = Ran::without_guest(status, String::new());
            return Ok(Ran {
                transcript: nothing.transcript,
                ..ran
            });
        }
        Ok(ran)
    }

    pub(super) fn cut_short(&mut self, status: Status, after: Duration) -> Ran {
        let why = match status {
            Status::Cancelled => "the run was cancelled; its worker was ended",
            _ => {
                "the wall-clock deadline passed during a host call that could not be interrupted; the worker was ended"
            }
        };
        Ran {
            output: std::mem::take(&mut self.output),
            log: std::mem::take(&mut self.log),
            duration_us: u64::try_from(after.as_micros()).unwrap_or(u64::MAX),
            ..Ran::without_guest(status, why.to_owned())
        }
    }
}
