//! The worker's end of the channel, shared by all its threads.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::tensor::tensor_header;

use super::channel::Sender;
use super::messages::{BlobReply, FromWorker, Kind, PART_BYTES, Stream};
use super::{WorkerError, lock};
use crate::live::TensorSink;
use crate::nn::tensor::Tensor;
use crate::replay::TensorSource;
use crate::state::Events;
use crate::stop::Stop;

/// Output that may wait before it is sent on, in bytes and in time.
const FLUSH_BYTES: usize = 32 << 10;
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Least time between two progress reports that are passed on.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

pub(super) type Delivery = (BlobReply, Option<OwnedFd>);

/// The channel to the supervisor, shared by all threads of the worker.
pub(super) struct Link {
    sender: Mutex<Sender>,
    next_request: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::SyncSender<Delivery>>>,
}

impl Link {
    pub(super) fn new(sender: Sender) -> Self {
        Self {
            sender: Mutex::new(sender),
            next_request: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    pub(super) fn send(&self, message: &FromWorker) -> Result<(), WorkerError> {
        let payload = minicbor::to_vec(message).map_err(|e| WorkerError::Message(e.to_string()))?;
        Ok(lock(&self.sender).send(&payload, &[])?)
    }

    /// Send and, should that fail, leave it to the main thread to notice that the supervisor is
    /// gone.
    pub(super) fn tell(&self, message: &FromWorker) {
        let _ = self.send(message);
    }

    /// The same for a short message that another of the same job follows soon, with which it goes out.
    fn tell_with_next(&self, message: &FromWorker) {
        let payload = minicbor::to_vec(message);
        // It fails if the supervisor is gone.
        let _ = payload.map(|payload| lock(&self.sender).queue(&payload));
    }

    pub(super) fn answered(&self, request: u64, delivery: Delivery) {
        if let Some(waiting) = lock(&self.waiting).remove(&request) {
            let _ = waiting.send(delivery);
        }
    }

    /// Ask the supervisor for a blob of at most `max` bytes.
    pub(super) fn need(&self, kind: Kind, hash: &Hash, max: u64) -> Result<Vec<u8>, String> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = mpsc::sync_channel(1);
        lock(&self.waiting).insert(request, answer);
        let need = FromWorker::Need {
            request,
            kind,
            hash: *hash,
        };
        self.send(&need).map_err(|e| e.to_string())?;
        let (blob, fd) = answered.recv().map_err(|e| e.to_string())?;
        let bytes = match blob {
            BlobReply::Inline(bytes) => bytes,
            BlobReply::File(len) => read(fd, len.min(max.saturating_add(1)))?,
            BlobReply::Missing(why) => return Err(why),
        };
        if bytes.len() as u64 > max {
            return Err(format!(
                "{hash} has more than the {max} bytes that are expected"
            ));
        }
        Ok(bytes)
    }

    pub(super) fn parts(&self, job: u64, stream: Stream, pieces: &[&[u8]]) {
        for part in parts(job, stream, pieces) {
            self.tell(&part);
        }
    }

    /// The same at the end of a job, before [`FromWorker::Done`].
    pub(super) fn last_parts(&self, job: u64, stream: Stream, pieces: &[&[u8]]) {
        for part in parts(job, stream, pieces) {
            self.tell_with_next(&part);
        }
    }
}

fn parts(job: u64, stream: Stream, pieces: &[&[u8]]) -> impl Iterator<Item = FromWorker> {
    let mut pieces = pieces
        .iter()
        .flat_map(|piece| piece.chunks(PART_BYTES))
        .peekable();
    std::iter::from_fn(move || {
        let piece = pieces.next()?;
        Some(FromWorker::Part {
            job,
            stream,
            bytes: piece.to_vec(),
            more: stream == Stream::Blob && pieces.peek().is_some(),
        })
    })
}

fn read(fd: Option<OwnedFd>, len: u64) -> Result<Vec<u8>, String> {
    let fd = fd.ok_or("the supervisor sent no descriptor")?;
    let capacity = usize::try_from(len).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(capacity)
        .map_err(|e| e.to_string())?;
    let mut buf = vec![0; (1 << 20).min(capacity.max(1))];
    let mut file = File::from(fd);
    // `read_to_end` would ask for the file's metadata, which the sandbox refuses.
    while bytes.len() < capacity {
        let room = buf.len().min(capacity - bytes.len());
        let n = file
            .read(buf.get_mut(..room).unwrap_or_default())
            .map_err(|e| e.to_string())?;
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(buf.get(..n).unwrap_or_default());
    }
    Ok(bytes)
}

/// Sends recorded tensors to the supervisor, which keeps them.
pub(super) struct Tensors {
    pub link: Arc<Link>,
    pub job: u64,
}

impl TensorSink for Tensors {
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Stop> {
        let header = tensor_header(tensor.dtype(), tensor.dims());
        let pieces: [&[u8]; 2] = [&header, tensor.bytes()];
        if tensor.bytes().len() < PART_BYTES {
            // One frame: most tensors are small, and a frame costs more than the copy.
            self.link.parts(self.job, Stream::Blob, &[&pieces.concat()]);
        } else {
            self.link.parts(self.job, Stream::Blob, &pieces);
        }
        Ok(())
    }

    fn environment(&mut self, document: &[u8]) -> Result<(), Stop> {
        self.link.parts(self.job, Stream::Blob, &[document]);
        Ok(())
    }
}

/// Sends the environments of models to the supervisor, and keeps no tensor: for computations that
/// are made again.
pub(super) struct Environments {
    pub link: Arc<Link>,
    pub job: u64,
}

impl TensorSink for Environments {
    fn tensor(&mut self, _: &Tensor) -> Result<(), Stop> {
        Ok(())
    }

    fn environment(&mut self, document: &[u8]) -> Result<(), Stop> {
        self.link.parts(self.job, Stream::Blob, &[document]);
        Ok(())
    }
}

/// Recorded tensors, from the supervisor's blobs.
pub(super) struct Recorded(pub Arc<Link>);

impl TensorSource for Recorded {
    fn tensor(&mut self, hash: &Hash) -> Result<Vec<u8>, String> {
        self.0.need(Kind::Blob, hash, u64::MAX >> 1)
    }
}

/// Passes a run's events on, in pieces that are worth a frame.
pub(super) struct WorkerEvents {
    link: Arc<Link>,
    job: u64,
    cancel: Arc<AtomicBool>,
    output: Vec<u8>,
    log: Vec<u8>,
    flushed: Instant,
    progressed: Option<Instant>,
}

impl WorkerEvents {
    pub(super) fn new(link: Arc<Link>, job: u64, cancel: Arc<AtomicBool>) -> Self {
        Self {
            link,
            job,
            cancel,
            output: Vec::new(),
            log: Vec::new(),
            flushed: Instant::now(),
            progressed: None,
        }
    }

    fn waiting(&mut self) -> [(Stream, Vec<u8>); 2] {
        [
            (Stream::Output, std::mem::take(&mut self.output)),
            (Stream::Log, std::mem::take(&mut self.log)),
        ]
    }

    fn flush(&mut self) {
        for (stream, bytes) in self.waiting() {
            self.link.parts(self.job, stream, &[&bytes]);
        }
        self.flushed = Instant::now();
    }

    fn flush_if_due(&mut self) {
        if self.output.len() + self.log.len() >= FLUSH_BYTES
            || self.flushed.elapsed() >= FLUSH_AFTER
        {
            self.flush();
        }
    }
}

impl Events for WorkerEvents {
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        // A guest may report as often as it likes; people read a few times a second.
        if self
            .progressed
            .is_some_and(|at| at.elapsed() < PROGRESS_EVERY)
            && done != total
        {
            return;
        }
        self.progressed = Some(Instant::now());
        self.link.tell(&FromWorker::Progress {
            job: self.job,
            done,
            total,
            note: note.to_owned(),
        });
    }

    fn output(&mut self, chunk: &[u8]) {
        self.output.extend_from_slice(chunk);
        self.flush_if_due();
    }

    fn log(&mut self, chunk: &[u8]) {
        self.log.extend_from_slice(chunk);
        self.flush_if_due();
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl Drop for WorkerEvents {
    fn drop(&mut self) {
        for (stream, bytes) in self.waiting() {
            self.link.last_parts(self.job, stream, &[&bytes]);
        }
    }
}
