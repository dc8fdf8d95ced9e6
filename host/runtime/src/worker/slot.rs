//! One job in a slot of the worker: gather what it needs, run it, tell how it ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;

use super::link::{Environments, Link, Recorded, Tensors, WorkerEvents};
use super::lock;
use super::messages::{Done, FromWorker, Job, Kind, Mode, Stream};
use crate::executor::{Executor, Prepared, Run};
use crate::live::{Device, Live};
use crate::nn::host::ModelEntry;
use crate::outcome::Outcome;
use crate::record::Answerer;
use crate::replay::{Recheck, Rechecker, Replay};
use crate::stop::Stop;
use crate::store::code::CODE_BYTES_MAX;

/// Compiled components that a worker keeps ready.
const PREPARED_MAX: usize = 64;

/// What all slots of a worker share.
pub(super) struct Worker {
    pub(super) executor: Executor,
    pub(super) link: Arc<Link>,
    pub(super) device: Arc<Device>,
    /// Where models run that guests bring along.
    pub(super) reference: Arc<Device>,
    pub(super) prepared: Mutex<HashMap<Hash, (u64, Prepared)>>,
    pub(super) cancels: Mutex<HashMap<u64, Arc<AtomicBool>>>,
    pub(super) uses: AtomicU64,
}

impl Worker {
    /// Run a job and send everything it leaves to the supervisor.
    pub(super) fn run(&self, job: Job, cancel: Arc<AtomicBool>) {
        let started = Instant::now();
        let findings = Arc::new(Mutex::new(Vec::new()));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.execute(&job, cancel, &findings)
        }))
        .unwrap_or_else(|_| Err(Stop::host_fault("the worker panicked; see its log")));
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        lock(&self.cancels).remove(&job.job);

        let done = match ended {
            Ok(outcome) => {
                let transcript = outcome.transcript.to_cbor();
                let pieces: [&[u8]; 1] = [&transcript];
                self.link.last_parts(job.job, Stream::Transcript, &pieces);
                done(&job, outcome, duration_us, &lock(&findings))
            }
            Err(stop) => not_run(&job, &stop, duration_us),
        };
        self.link.tell(&FromWorker::Done(done));
    }

    fn execute(
        &self,
        job: &Job,
        cancel: Arc<AtomicBool>,
        findings: &Arc<Mutex<Vec<Recheck>>>,
    ) -> Result<Outcome, Stop> {
        let bad = |what: &str, e: String| Stop::host_fault(format!("the {what} is unusable: {e}"));
        let spec = ExecSpec::from_cbor(&job.spec).map_err(|e| bad("spec", e.to_string()))?;
        let mut models = BTreeMap::new();
        for named in &job.manifests {
            let manifest = ModelManifest::from_cbor(&named.bytes)
                .map_err(|e| bad("manifest", e.to_string()))?;
            let entry = ModelEntry {
                hash: Hash::of(&named.bytes),
                manifest: Arc::new(manifest),
                brought: false,
            };
            models.insert(named.name.clone(), entry);
        }
        let prepared = self.prepared(&spec.component)?;
        let input: Arc<[u8]> = match &job.input {
            Some(bytes) => bytes.as_slice().into(),
            None => self.blob(&spec.input, "input", u64::MAX >> 1)?.into(),
        };
        let answerer = self.answerer(job, findings)?;
        let events = WorkerEvents::new(self.link.clone(), job.job, cancel);
        let run = Run {
            spec: &spec,
            input,
            models: Arc::new(models),
            answerer,
            events: Box::new(events),
            deadline: Some(Duration::from_millis(job.deadline_ms)),
        };
        Ok(self.executor.run(&prepared, run))
    }

    fn answerer(
        &self,
        job: &Job,
        findings: &Arc<Mutex<Vec<Recheck>>>,
    ) -> Result<Box<dyn Answerer>, Stop> {
        let live = |sink| {
            let (device, reference) = (self.device.clone(), self.reference.clone());
            Box::new(Live::new(device, reference, sink))
        };
        match &job.mode {
            Mode::Live => Ok(live(Box::new(Tensors {
                link: self.link.clone(),
                job: job.job,
            }))),
            Mode::Replay { transcript, every } => {
                let max = Transcript::MAX_LEN as u64;
                let bytes = self.blob(transcript, "transcript", max)?;
                let transcript = Transcript::from_cbor(&bytes)
                    .map_err(|e| Stop::Unavailable(format!("the transcript is not usable: {e}")))?;
                let rechecker = (*every > 0).then(|| Rechecker {
                    backend: live(Box::new(Environments {
                        link: self.link.clone(),
                        job: job.job,
                    })),
                    every: *every,
                    findings: findings.clone(),
                });
                let tensors = Box::new(Recorded(self.link.clone()));
                Ok(Box::new(Replay::new(transcript, tensors, rechecker)))
            }
        }
    }

    fn blob(&self, hash: &Hash, what: &str, max: u64) -> Result<Vec<u8>, Stop> {
        let unavailable =
            |why: String| Stop::Unavailable(format!("the {what} is not available: {why}"));
        let bytes = self.link.need(Kind::Blob, hash, max).map_err(unavailable)?;
        if Hash::of(&bytes) != *hash {
            return Err(unavailable(format!(
                "the file for {hash} is damaged; hint: delete it and fetch it again"
            )));
        }
        Ok(bytes)
    }

    fn prepared(&self, component: &Hash) -> Result<Prepared, Stop> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some((used, prepared)) = lock(&self.prepared).get_mut(component) {
            *used = now;
            return Ok(prepared.clone());
        }
        let code = self
            .link
            .need(Kind::Code, component, CODE_BYTES_MAX)
            .map_err(|e| Stop::host_fault(format!("no code for {component}: {e}")))?;
        // SAFETY: the supervisor hands out only code that its own compile child made, and that it
        // has authenticated since it was stored.
        let prepared = unsafe { self.executor.prepare(&code) }?;
        let mut all = lock(&self.prepared);
        if all.len() >= PREPARED_MAX
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(k, _)| *k)
        {
            all.remove(&oldest);
        }
        all.insert(*component, (now, prepared.clone()));
        Ok(prepared)
    }
}

fn done(job: &Job, outcome: Outcome, duration_us: u64, findings: &[Recheck]) -> Done {
    let (task_error_code, task_error_message) = outcome.task_error.unzip();
    Done {
        job: job.job,
        status: outcome.status as u8,
        refusal: None,
        fuel: outcome.fuel,
        nn_units: outcome.nn_units,
        peak_memory: outcome.peak_memory,
        duration_us,
        task_error_code,
        task_error_message,
        detail: outcome.detail,
        divergence: outcome.divergence,
        rechecks: findings.to_vec(),
    }
}

fn not_run(job: &Job, stop: &Stop, duration_us: u64) -> Done {
    let status = match stop {
        Stop::Unavailable(_) => Status::Unavailable,
        Stop::Cancelled => Status::Cancelled,
        Stop::Refused(_) => Status::InvalidComponent,
        _ => Status::HostFault,
    };
    let refusal = match stop {
        Stop::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    };
    Done {
        job: job.job,
        status: status as u8,
        refusal,
        fuel: 0,
        nn_units: 0,
        peak_memory: 0,
        duration_us,
        task_error_code: None,
        task_error_message: None,
        detail: Some(stop.to_string()),
        divergence: None,
        rechecks: Vec::new(),
    }
}
