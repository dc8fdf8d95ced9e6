//! The engine: one thread that owns journal and state machine. Commands come in over a bounded
//! channel; all that wait are applied as one batch, and answered once it is durable in the journal.
//! Tables and log get it a little later, on a thread of their own.
//!
//! | part | subject |
//! |---|---|
//! | [`handle`] | what the rest of the process asks |
//! | `command` | how it is put to the thread |
//! | `thread` | what the thread does: batches, timers |
//! | `staged` | the store that a batch writes to |
//! | `follower` | tables and log, which follow the journal |
//! | `answers` | what is held back until a batch is durable, and polls that wait |
//! | [`stats`] | counters and levels |
//!
//! If journal, tables or log fail, nothing of the batch is acknowledged and the thread ends:
//! [`Handle::ready`] says why, everything after it is refused, and the next start goes on from what
//! is durable.

mod answers;
mod command;
pub(crate) mod follower;
pub mod handle;
mod staged;
pub mod stats;
#[cfg(test)]
mod tests;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use adit_net::db::{Db, DbError};
use adit_net::log::{Check, Log, LogError, LogOptions};
use adit_net::simulated::Bell;
use adit_net::{Clock, SharedRng};
use adit_protocol::keys::Keypair;
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::roster::Weighing;
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, channel};

pub use crate::Refusal;
use crate::core::{Core, Options};
pub use crate::core::{TaskContext, Validation};
use crate::membership::Membership;
use crate::planted::{NoProbe, Probe};
use crate::store::journal::{self, Journal};
use crate::store::read::{Reader, Readers};
use crate::store::tables::Tables;
use crate::store::{StoreError, load, rosters, schema};
use command::Command;
use follower::{Closing, Follower, Keep};
pub use handle::Handle;
use handle::Shared;
pub(crate) use handle::lock;
pub use stats::StatsView;

/// Questions to validators that wait at most. One that finds no room is put again after a minute.
const VALIDATIONS: usize = 1024;

/// What an engine is started with.
pub struct EngineOptions {
    /// The database; it is made if it is missing, with its folder.
    pub database: PathBuf,
    /// Bounds and times of the state machine.
    pub core: Options,
    /// The coordinator's node key.
    pub node: Keypair,
    /// Who takes part in the network.
    pub membership: Arc<dyn Membership>,
    /// The folder for the log's tiles and checkpoints.
    pub log_folder: PathBuf,
    /// The key that signs checkpoints, and nothing else.
    pub log_key: Keypair,
    /// Keys whose cosignatures are published.
    pub witnesses: Vec<NoteKey>,
    /// How much of the log is read before the engine starts.
    pub log_check: Check,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The generator for signatures.
    pub rng: SharedRng,
    /// Where a simulation ends the process.
    pub probe: Box<dyn Probe>,
    /// Commands that wait for the thread at most; more are refused.
    pub queue: usize,
    /// For how long ended tasks are kept, in milliseconds.
    pub keep_tasks_ms: u64,
    /// For how long small blobs are kept after their last use, in milliseconds. Longer than tasks
    /// are, and than they can wait and run.
    pub keep_blobs_ms: u64,
    /// For how long idempotency keys are kept, in milliseconds.
    pub keep_requests_ms: u64,
}

impl EngineOptions {
    /// The defaults: tasks are kept for a week, blobs for two, idempotency keys for a day.
    /// The database is `coordinator.db` in the state folder, the log's files are in `log`.
    pub fn new(
        state: &Path,
        node: Keypair,
        log_key: Keypair,
        membership: Arc<dyn Membership>,
        clock: Arc<dyn Clock>,
    ) -> EngineOptions {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        EngineOptions {
            database: state.join(crate::store::DATABASE),
            log_folder: state.join("log"),
            log_key,
            witnesses: Vec::new(),
            log_check: Check::All,
            core: Options::default(),
            node,
            membership,
            clock,
            rng: SharedRng::system(),
            probe: Box::new(NoProbe),
            queue: 4096,
            keep_tasks_ms: 7 * DAY_MS,
            keep_blobs_ms: 14 * DAY_MS,
            keep_requests_ms: DAY_MS,
        }
    }
}

/// Why an engine does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Db(#[from] DbError),
    /// What is in it cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be used, or contradicts itself.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system gives no thread.
    #[error("no thread can be started: {0}; hint: is the machine out of memory or processes?")]
    Thread(std::io::Error),
}

/// A running engine. Dropping it ends it after the batch at work.
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens database and log, goes on from what they hold, and starts the thread. The receiver gets
    /// the questions to apps' validators; whoever has none may drop it.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: EngineOptions) -> Result<(Engine, Receiver<Validation>), StartError> {
        let clock = Arc::clone(&options.clock);
        let (ByHand { thread, .. }, handle, asked) = ByHand::open(options)?;
        let follower = Arc::clone(&thread.follower);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let builder = std::thread::Builder::new().name(name.to_owned());
            builder.spawn(work).map_err(StartError::Thread)
        };
        let follows = spawn("follower", Box::new(move || follower.run(&*clock)))?;
        let works = spawn("engine", Box::new(move || thread.run()))?;
        let engine = Engine {
            handle,
            threads: vec![works, follows],
        };
        Ok((engine, asked))
    }

    /// The handle, to be cloned.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the thread after what it has taken on, and closes the database.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A full channel is being emptied; a closed one has no thread behind it any more.
        let _ = self.handle.commands.send(Command::Stop);
        for thread in self.threads.drain(..) {
            // A panic was told on stderr, and there is nothing left to do about it.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end();
        }
    }
}

/// An engine without a thread, whose steps a simulator does by hand. Dropping it ends it as a crash
/// does.
pub struct ByHand {
    thread: thread::Thread,
    bell: Bell,
}

impl ByHand {
    /// As [`Engine::start`], but for the thread.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        options: EngineOptions,
    ) -> Result<(ByHand, Handle, Receiver<Validation>), StartError> {
        let mut db = Db::open(&options.database, &schema::all())?;
        let members = options.membership.current();
        let own = options.node.public().to_bytes();
        let transaction = db.connection().transaction().map_err(StoreError::from)?;
        load::claim(&transaction, &members.genesis_hash, &own)?;
        load::use_membership(&transaction, members.membership.version)?;
        rosters::set_weighing(&transaction, &Weighing::of(&members.genesis))?;
        let applied = load::applied(&transaction)?;
        transaction.commit().map_err(StoreError::from)?;

        // After the database is known to be of this coordinator, since this may begin a log.
        let origin = Origin::new(&members.genesis_hash, &options.node.public());
        let log = Log::open(
            &mut db,
            LogOptions {
                folder: options.log_folder.clone(),
                origin: origin.name(),
                key: options.log_key,
                witnesses: options.witnesses,
                check: options.log_check,
            },
        )?;

        let path = options.database.with_file_name(journal::FILE);
        let (journal, waiting) = Journal::open(&path, &members.genesis_hash, &own, applied)?;
        let mut tables = Tables { db, log };
        let applied = waiting.last().map_or(applied, |batch| batch.number);
        tables.apply(waiting)?;
        let snapshot = load::snapshot(tables.db.connection())?;
        let leaf = tables.log.size();

        let keep = Keep {
            tasks_ms: options.keep_tasks_ms,
            blobs_ms: options.keep_blobs_ms,
            requests_ms: options.keep_requests_ms,
        };
        let stats = Arc::default();
        let follower = Arc::new(Follower::new(tables, applied, keep, Arc::clone(&stats)));
        let shared = Arc::new(Shared::new(
            stats,
            Readers::new(
                &options.database,
                &options.log_folder,
                Arc::clone(&follower),
            ),
            Arc::clone(&follower),
            options.node.clone(),
            members.genesis_hash,
            options.rng.clone(),
        ));
        let (commands, received) = sync_channel(options.queue.max(1));
        let (validations, asked) = channel(VALIDATIONS);
        let core = Core::new(
            options.core.clone(),
            members,
            options.node,
            Box::new(options.rng),
        );
        let mut thread = thread::Thread {
            journal,
            follower: Closing(follower),
            reader: Reader::connect(&options.database)?,
            recent: staged::Recent::default(),
            leaf,
            core,
            membership: options.membership,
            clock: options.clock,
            probe: options.probe,
            planted: options.core.planted,
            last_ms: 0,
            received,
            validations,
            shared: Arc::clone(&shared),
            waiting: answers::Waiting::default(),
            chores_ms: 0,
            more: false,
        };
        thread.resume(snapshot)?;
        let bell = Bell::new();
        let handle = Handle {
            commands,
            shared,
            bell: bell.clone(),
        };
        Ok((ByHand { thread, bell }, handle, asked))
    }

    /// Completes when there is something to do.
    pub async fn due(&mut self) {
        tokio::select! {
            biased;
            () = self.bell.rung() => {}
            () = tokio::time::sleep(self.thread.until_step()) => {}
        }
    }

    /// Does what there is to do, and returns whether to go on. Does not wait.
    ///
    /// # Errors
    /// [`StoreError`], after which the engine must not be used any more.
    pub fn step(&mut self) -> Result<bool, StoreError> {
        self.thread.step()
    }
}
