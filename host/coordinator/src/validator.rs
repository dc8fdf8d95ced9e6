//! Runs the validators of apps: components that are given a result before it is accepted, and may
//! refuse it.
//!
//! A validator has the world `task`. Its input is JSON:
//!
//! ```json
//! {"task": "blake3:...", "status": "ok", "exec": {"component": "blake3:...", "args": []},
//!  "input": {"hash": "blake3:...", "base64": "..."}, "output": {"hash": "blake3:...", "base64": "..."}}
//! ```
//!
//! `exec` is the whole exec spec. It accepts by returning the text `ok`; whatever else it returns,
//! and an error of its own, is the reason of a refusal. One that ends in another way that every
//! machine would see too, as a trap or too much fuel, has not accepted either. If the machine is at
//! fault, nothing is answered, and the engine asks again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_net::Problem;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::status::Status;
use adit_protocol::{Hash, SortedMap};
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::engine_document::engine_document;
use adit_runtime::state::NoEvents;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorError, SupervisorOptions, Task};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use rand_core::{OsRng, RngCore as _};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::blobs::{Blobs, blocking};
use crate::engine::{Handle, Validation};

/// Validators that run at one time.
const SLOTS: u32 = 2;
/// Longest input and longest output that a validator is given, in bytes.
const GIVEN_BYTES_MAX: u64 = 16 << 20;
/// Components that are kept beside each other.
const COMPONENTS_MAX: usize = 64;
/// Longest reason for a refusal, in characters.
const REASON_MAX: usize = 1024;
/// Fuel and memory of a validator.
const FUEL: u64 = 20_000_000_000;
const MEMORY_BYTES: u64 = 512 << 20;

/// The sandbox for validators.
pub struct Validator {
    supervisor: Arc<Supervisor>,
    store: BlobStore,
    folder: PathBuf,
    deadline: Duration,
    engine: Hash,
}

/// Why an output could not be judged at all.
#[derive(Debug, Error)]
enum Undecided {
    #[error("{0}")]
    Problem(#[from] Problem),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    #[error("the validator ended with {0}, for which the machine is at fault")]
    Machine(Status),
}

impl Validator {
    /// A sandbox whose worker is `program`, with what it needs in `folder`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(
        folder: &Path,
        program: &Path,
        deadline: Duration,
    ) -> Result<Validator, StoreError> {
        let blobs = folder.join("blobs");
        // What an earlier process has left there is of no use: it is copied again when needed.
        match std::fs::remove_dir_all(&blobs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("empty", &blobs)(error));
            }
            _ => {}
        }
        let store = BlobStore::open(&blobs)?;
        let mut fresh_key = [0; 32];
        OsRng.fill_bytes(&mut fresh_key);
        let options = SupervisorOptions {
            program: program.to_owned(),
            worker: WorkerOptions {
                slots: SLOTS,
                ..WorkerOptions::default()
            },
            code: folder.join("code"),
            fresh_key,
        };
        Ok(Validator {
            supervisor: Arc::new(Supervisor::new(options, store.clone())),
            store,
            folder: blobs,
            deadline,
            engine: engine_document().hash(),
        })
    }

    /// Answers the engine's questions until there are no more, or `stopped`.
    pub async fn serve(
        self,
        questions: mpsc::Receiver<Validation>,
        handle: Handle,
        blobs: Blobs,
        stopped: CancellationToken,
    ) {
        let questions = futures_util::stream::unfold(questions, async |mut questions| {
            questions.recv().await.map(|question| (question, questions))
        });
        let (this, handle, blobs) = (&self, &handle, &blobs);
        let answered = questions.for_each_concurrent(SLOTS as usize, async |question| {
            let (task, output) = (question.task, question.output);
            match this.judge(handle, blobs, &question).await {
                Ok(result) => {
                    if let Err(error) = handle.validated(task, output, result).await {
                        tracing::warn!(%task, %error, "a validation could not be told; it is made again");
                    }
                }
                Err(error) => {
                    tracing::warn!(%task, %error, "an output could not be validated; it is tried again");
                }
            }
        });
        tokio::select! {
            biased;
            () = answered => {}
            () = stopped.cancelled() => {}
        }
    }

    async fn judge(
        &self,
        handle: &Handle,
        blobs: &Blobs,
        question: &Validation,
    ) -> Result<Result<(), String>, Undecided> {
        let context = handle
            .task_spec(question.task)
            .await
            .map_err(Problem::from)?;
        let exec = ExecSpec::from_cbor(&context.exec).map_err(Problem::internal)?;
        let output = match given(blobs, question.output, "output").await? {
            Ok(output) => output,
            Err(why) => return Ok(Err(why)),
        };
        let input = match given(blobs, exec.input, "input").await? {
            Ok(input) => input,
            Err(why) => return Ok(Err(why)),
        };
        let json = serde_json::json!({
            "task": question.task,
            "status": question.status,
            "exec": exec,
            "input": input,
            "output": output,
        });
        let component = match self.store.contains(&question.validator) {
            true => None,
            false => Some(blobs.get(question.validator, COMPONENT_BYTES_MAX).await?),
        };
        let (store, folder) = (self.store.clone(), self.folder.clone());
        let input = blocking(move || {
            if let Some(component) = component {
                make_room(&folder);
                store.put(&component)?;
            }
            store.put(json.to_string().as_bytes())
        })
        .await??;
        let task = Task {
            spec: self.spec(question.validator, input),
            input: None,
            manifests: Default::default(),
            deadline: self.deadline,
            mode: Mode::Live,
        };
        let supervisor = Arc::clone(&self.supervisor);
        let ran = blocking(move || supervisor.run(&task, &mut NoEvents)).await?;
        // Nothing else has this name; if it stays, the next start removes it.
        let _ = std::fs::remove_file(self.store.path(&input));
        let ran = ran?;
        Ok(match ran.status {
            Status::Ok if ran.output.trim_ascii() == b"ok" => Ok(()),
            Status::Ok => Err(reason(&String::from_utf8_lossy(&ran.output))),
            Status::TaskError => Err(match ran.task_error {
                Some((code, message)) => reason(&format!("error {code}: {message}")),
                None => "the validator returned an error".to_owned(),
            }),
            status if status.attestable() => {
                Err(format!("the validator itself ended with {status}"))
            }
            status => return Err(Undecided::Machine(status)),
        })
    }

    fn spec(&self, component: Hash, input: Hash) -> ExecSpec {
        ExecSpec {
            engine: self.engine,
            world: World::Task,
            component,
            input,
            args: Vec::new(),
            clock_start_ns: 0,
            models: SortedMap::default(),
            seed: [0; 32],
            limits: Limits {
                fuel: FUEL,
                memory_bytes: MEMORY_BYTES,
                output_bytes: 64 << 10,
                emit_bytes: 0,
                ..Limits::default()
            },
        }
    }
}

/// A blob as a validator is given it, or why it is not.
async fn given(
    blobs: &Blobs,
    hash: Hash,
    name: &str,
) -> Result<Result<serde_json::Value, String>, Problem> {
    match blobs.get(hash, GIVEN_BYTES_MAX).await {
        Ok(bytes) => Ok(Ok(serde_json::json!({
            "hash": hash,
            "base64": STANDARD.encode(bytes),
        }))),
        Err(problem) if problem.code == adit_protocol::Code::BlobTooLarge => Ok(Err(format!(
            "the {name} is longer than the {GIVEN_BYTES_MAX} bytes that a validator is given"
        ))),
        Err(problem) => Err(problem),
    }
}

/// A validator's words: bounded, and without characters that could command a terminal.
fn reason(text: &str) -> String {
    let shown: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_MAX)
        .collect();
    match shown.is_empty() {
        true => "the validator refused it without a reason".to_owned(),
        false => shown,
    }
}

/// Removes components if there are many. Those that are in use are open, or are copied again.
fn make_room(folder: &Path) {
    let shelves = || std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files: Vec<PathBuf> = shelves()
        .filter(|entry| entry.path().is_dir())
        .flat_map(|shelf| {
            std::fs::read_dir(shelf.path())
                .into_iter()
                .flatten()
                .flatten()
        })
        .map(|entry| entry.path())
        .collect();
    if files.len() > COMPONENTS_MAX {
        for file in files {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_plain() {
        assert_eq!(reason(" not\u{1b}[2J it \n"), "not [2J it");
        assert_eq!(reason("x\u{7}").len(), 2);
        assert_eq!(reason(&"y".repeat(5000)).len(), REASON_MAX);
        assert!(!reason("\n").is_empty());
    }
}
