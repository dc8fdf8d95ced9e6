//! The settlement component that a network's rules name, run in the sandbox.
//!
//! Where the rules name none, epochs are settled by the function of this release. Where they name one, it
//! is run, also if it was built from this very release: it is what was voted on. It runs as any task
//! does, in a worker process without keys, network and files, with the input on stdin and the output on
//! stdout. All else that determines its result is fixed here: no arguments, no models, a clock that
//! begins at 0, the seed 0, and [`LIMITS`]. So whoever runs it comes to the same bytes.
//!
//! What it writes is read as if an enemy had written it ([`Output::read`]), and the ledger holds the sums
//! to what it knows itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_ledger::Parameters;
use adit_net::blocking;
use adit_net::http::client::{Client, ClientError, MemorySink};
use adit_net::simulated::BrokenOff;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::status::Status;
use adit_protocol::{Amount, Document as _, Hash};
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use adit_runtime::engine_document::engine_document;
use adit_runtime::state::Events;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorError, SupervisorOptions, Task};
use adit_settlement::input::Snapshot;
use adit_settlement::{InputError, InputWriter, Output, OutputError};
use rand_core::{OsRng, RngCore as _};
use thiserror::Error;

use super::snapshot::parameters;

/// Most bytes of an input that a component is given: some 15 million receipts.
pub const INPUT_BYTES_MAX: u64 = 2 << 30;

/// What a settlement component may use. The limits are part of the rules: one that runs into them settles
/// nothing, on every machine. This release's own takes some 8,300 units of fuel for a receipt, so that
/// the fuel is eight times that of the longest input. Memory is all that WebAssembly can address, and the
/// output is that of 20 million accounts.
pub const LIMITS: Limits = Limits {
    fuel: 1_000_000_000_000,
    memory_bytes: 4 << 30,
    table_elements: 100_000,
    output_bytes: 1 << 30,
    emit_bytes: 0,
    stderr_bytes: 64 << 10,
    // Inference is not the same on every machine, so there is none.
    tensor_bytes_held: 0,
    tensor_bytes_moved: 0,
    model_bytes: 0,
    handles: 100,
};

/// Name of the folder of settlement components, in a registry's state folder.
pub const COMPONENTS: &str = "components";
/// Name of the folder of what a component needs while it runs, there too.
const SCRATCH: &str = "settling";
/// Name of the folder of compiled components, there too.
const CODE: &str = "code";
/// Most private memory of the worker: the input twice, while it is taken in, and the guest's.
const WORKER_BYTES: u64 = 10 << 30;
/// Longest time of a run. It ends for the machine's sake, and says nothing of the component.
const DEADLINE: Duration = Duration::from_secs(3600);
/// How long a run that failed is not made again.
const AGAIN: Duration = Duration::from_secs(60);
/// Characters of what a component says for itself that are kept.
const WORDS_MAX: usize = 300;

/// With what components are run.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// A program that becomes a worker: one that calls [`adit_runtime::worker::main_if_worker`].
    pub worker: PathBuf,
    /// Settlement components by their hashes.
    pub components: BlobStore,
    /// What a run needs while it lasts.
    pub scratch: BlobStore,
    /// Folder of compiled code.
    pub code: PathBuf,
}

impl Sandbox {
    /// That of a registry.
    ///
    /// # Errors
    /// [`StoreError`] when a folder cannot be made.
    pub fn of_registry(state: &Path, worker: PathBuf) -> Result<Sandbox, StoreError> {
        let scratch = state.join(SCRATCH);
        // What a run has left that was broken off. Where it cannot be removed, it is in nobody's way.
        let _ = std::fs::remove_dir_all(&scratch);
        Ok(Sandbox {
            worker,
            components: BlobStore::open(state.join(COMPONENTS))?,
            scratch: BlobStore::open(scratch)?,
            code: state.join(CODE),
        })
    }
}

/// Why a component has settled nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not here.
    #[error(
        "the settlement component {component}, which the rules name, is not here; hint: add it on the registry's machine with `adit registry add-component FILE`"
    )]
    Missing {
        /// Which.
        component: Hash,
    },
    /// It is not here, and the registry does not give it.
    #[error("the settlement component {component}, which the rules name, was not fetched: {error}")]
    Fetch {
        /// Which.
        component: Hash,
        /// Why.
        error: Box<ClientError>,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It ran to no good end. Until it is tried again, the same error is given.
    #[error(transparent)]
    Run(#[from] Arc<RunError>),
    /// No input for a trial.
    #[error("the input of a trial is wrong: {0}")]
    Input(#[from] InputError),
    /// Something that the authors ruled out.
    #[error(transparent)]
    Broken(#[from] BrokenOff),
}

/// Why a run has settled nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The epoch is too large for a component.
    #[error(
        "the settlement's input has {bytes} bytes, and a component is given at most {INPUT_BYTES_MAX}; hint: shorter epochs have less receipts"
    )]
    TooLarge {
        /// Length of the input.
        bytes: u64,
    },
    /// Blobs cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no worker.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// This machine did not bring it to its end.
    #[error(
        "the settlement component {component} was not run to its end here ({status}): {why}; hint: see to memory and disk of this machine; it is tried again"
    )]
    NotRun {
        /// Which.
        component: Hash,
        /// How it ended.
        status: Status,
        /// More of it.
        why: String,
    },
    /// It settles nothing, on no machine.
    #[error(
        "the settlement component {component} ended with {status}: {why}; hint: it does so on every machine, so whoever proposed it should mend it"
    )]
    Failed {
        /// Which.
        component: Hash,
        /// How it ended.
        status: Status,
        /// More of it, which may be its own words.
        why: String,
    },
    /// What it writes is no output.
    #[error("what the settlement component {component} writes is no output: {error}")]
    Output {
        /// Which.
        component: Hash,
        /// What is wrong.
        error: OutputError,
    },
    /// Its output is not that of the input.
    #[error(
        "what the settlement component {component} writes is of another epoch or network than its input; hint: whoever proposed it should mend it"
    )]
    Other {
        /// Which.
        component: Hash,
    },
}

impl RunError {
    /// Whether it is the component's own fault, which every machine finds.
    pub fn is_components(&self) -> bool {
        matches!(
            self,
            RunError::Failed { .. } | RunError::Output { .. } | RunError::Other { .. }
        )
    }
}

/// What a component made of an input.
#[derive(Debug)]
pub struct Computed {
    /// The input.
    pub input: Vec<u8>,
    /// The output, which adds up.
    pub output: Output,
    /// The same as it was written.
    pub bytes: Vec<u8>,
}

/// The last run, if it failed.
struct Failed {
    component: Hash,
    input: Hash,
    error: Arc<RunError>,
    at: Instant,
}

/// Runs settlement components, one run at a time.
pub struct Programs {
    sandbox: Sandbox,
    /// The registry that is asked for what is not here.
    registry: Option<Client>,
    failed: Arc<Mutex<Option<Failed>>>,
}

impl Programs {
    /// Components of a sandbox, and of no other place.
    pub fn new(sandbox: Sandbox) -> Programs {
        Programs {
            sandbox,
            registry: None,
            failed: Arc::default(),
        }
    }

    /// The same, where a registry is asked for components that are not here.
    pub fn fetching(sandbox: Sandbox, registry: Client) -> Programs {
        Programs {
            registry: Some(registry),
            ..Programs::new(sandbox)
        }
    }

    /// Sees to it that a component is here.
    ///
    /// # Errors
    /// [`ProgramError::Missing`], [`ProgramError::Fetch`], [`ProgramError::Store`].
    pub async fn ready(&self, component: &Hash) -> Result<(), ProgramError> {
        let component = *component;
        let components = self.sandbox.components.clone();
        if components.contains(&component) {
            return Ok(());
        }
        let Some(registry) = &self.registry else {
            return Err(ProgramError::Missing { component });
        };
        let mut sink = MemorySink::default();
        let call = registry.get(&format!("/v1/blobs/{component}"));
        let fetched = call
            .download(&mut sink, &component, COMPONENT_BYTES_MAX)
            .await;
        fetched.map_err(|error| ProgramError::Fetch {
            component,
            error: Box::new(error),
        })?;
        blocking(move || components.put(&sink.0)).await??;
        Ok(())
    }

    /// Runs a component on an input of `epoch` in the network of `genesis`. The run is cancelled when
    /// the future is dropped.
    ///
    /// # Errors
    /// [`ProgramError`]. After a run that failed, the same error is returned for a while.
    pub async fn run(
        &self,
        component: Hash,
        input: Vec<u8>,
        epoch: u64,
        genesis: Hash,
    ) -> Result<Computed, ProgramError> {
        self.ready(&component).await?;
        let job = Job {
            sandbox: self.sandbox.clone(),
            component,
            epoch,
            genesis,
            cancelled: Arc::default(),
        };
        let _cancelled = Dropped(Arc::clone(&job.cancelled));
        let failed = Arc::clone(&self.failed);
        let ran = blocking(move || {
            // Held while it runs: two runs at one time might need more memory than there is.
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            let named = Hash::of(&input);
            if let Some(last) = failed.as_ref()
                && (last.component, last.input) == (component, named)
                && last.at.elapsed() < AGAIN
            {
                return Err(Arc::clone(&last.error));
            }
            *failed = None;
            job.run(input).map_err(|error| {
                let error = Arc::new(error);
                *failed = Some(Failed {
                    component,
                    input: named,
                    error: Arc::clone(&error),
                    at: Instant::now(),
                });
                error
            })
        });
        Ok(ran.await??)
    }

    /// Has a component settle an epoch in which nothing was done, by these rules: whether it can be run at
    /// all, and writes what is read.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub async fn try_out(
        &self,
        component: Hash,
        rules: &Parameters,
        genesis: Hash,
    ) -> Result<(), ProgramError> {
        let nobody = Snapshot {
            parameters: parameters(rules, genesis, 0, Amount::SUPPLY_MAX),
            coordinators: Vec::new(),
            miners: Vec::new(),
            votes: Vec::new(),
        };
        let input = InputWriter::new(Vec::new(), nobody, 0)?.finish()?;
        self.run(component, input, 0, genesis).await.map(drop)
    }
}

/// Says that nobody waits any more.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Watches a run only for whether it is to end.
struct Watch(Arc<AtomicBool>);

impl Events for Watch {
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
    fn output(&mut self, _: &[u8]) {}
    fn log(&mut self, _: &[u8]) {}
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One run.
struct Job {
    sandbox: Sandbox,
    component: Hash,
    epoch: u64,
    genesis: Hash,
    cancelled: Arc<AtomicBool>,
}

impl Job {
    fn run(self, input: Vec<u8>) -> Result<Computed, RunError> {
        let component = self.component;
        let length = u64::try_from(input.len()).unwrap_or(u64::MAX);
        if length > INPUT_BYTES_MAX {
            return Err(RunError::TooLarge { bytes: length });
        }
        let Sandbox {
            components,
            scratch,
            ..
        } = &self.sandbox;
        scratch.put(&components.get(&component, COMPONENT_BYTES_MAX)?)?;
        let named = scratch.put(&input)?;
        let bytes = self.execute(named);
        // Nobody needs it there any more. What cannot be removed goes with the folder.
        let _ = std::fs::remove_file(scratch.path(&named));
        let bytes = bytes?;
        let output = Output::read(bytes.as_slice())
            .map_err(|error| RunError::Output { component, error })?;
        if (output.epoch, &output.genesis) != (self.epoch, self.genesis.as_bytes()) {
            return Err(RunError::Other { component });
        }
        Ok(Computed {
            input,
            output,
            bytes,
        })
    }

    /// Runs it on an input, which is in the scratch store, and returns what it wrote.
    fn execute(&self, input: Hash) -> Result<Vec<u8>, RunError> {
        let component = self.component;
        let mut fresh_key = [0; 32];
        OsRng.fill_bytes(&mut fresh_key);
        // A worker for each run: it comes seldom, and leaves no memory behind.
        let options = SupervisorOptions {
            program: self.sandbox.worker.clone(),
            worker: WorkerOptions {
                slots: 1,
                memory_bytes: WORKER_BYTES,
                ..WorkerOptions::default()
            },
            code: self.sandbox.code.clone(),
            fresh_key,
        };
        let supervisor = Supervisor::new(options, self.sandbox.scratch.clone());
        let task = Task {
            spec: spec(component, input),
            input: None,
            manifests: Default::default(),
            deadline: DEADLINE,
            mode: Mode::Live,
        };
        let mut watch = Watch(Arc::clone(&self.cancelled));
        let ran = supervisor.run(&task, &mut watch)?;
        if ran.status == Status::Ok {
            return Ok(ran.output);
        }
        let status = ran.status;
        let why = match (ran.detail, ran.log.is_empty()) {
            (Some(detail), _) => detail,
            (None, false) => words(&ran.log),
            (None, true) => "it does not say why".to_owned(),
        };
        match status.attestable() {
            true => Err(RunError::Failed {
                component,
                status,
                why,
            }),
            false => Err(RunError::NotRun {
                component,
                status,
                why,
            }),
        }
    }
}

/// All that determines what a component makes of an input.
pub fn spec(component: Hash, input: Hash) -> ExecSpec {
    ExecSpec {
        engine: engine_document().hash(),
        world: World::Command,
        component,
        input,
        args: Vec::new(),
        clock_start_ns: 0,
        models: Default::default(),
        seed: [0; 32],
        limits: LIMITS,
    }
}

/// The last of what a component says, as one line.
fn words(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let printable = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<Vec<_>>();
    let from = printable.len().saturating_sub(WORDS_MAX);
    let last: String = printable.iter().skip(from).collect();
    last.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_says_is_short_and_printable() {
        assert_eq!(words(b"\x1b[31mno\n"), "[31mno");
        let long = "x".repeat(1_000);
        assert_eq!(words(long.as_bytes()).len(), WORDS_MAX);
        assert_eq!(words(b"\xff"), "\u{fffd}");
    }
}
