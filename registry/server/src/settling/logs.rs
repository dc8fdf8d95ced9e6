//! The logs of coordinators, read from the first entry on as far as the ledger says that epochs
//! reach. Where they are read from does not matter: the roots in the ledger must come out.

use std::collections::BTreeMap;
use std::future::Future;

use adit_ledger::Key;
use adit_ledger::state::Closing;
use adit_net::log::{LogReader, ReadLogError, TileSource, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::tree::{Frontier, RangeError};
use thiserror::Error;

use super::epoch::Logs;
use super::extract::{Extractor, Judged};

/// Why a log does not give an epoch's receipts.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogsError {
    /// It cannot be read, or contradicts its checkpoint.
    #[error("the log of the coordinator {coordinator}: {error}")]
    Read {
        /// Whose log it is.
        coordinator: Key,
        /// What is wrong.
        error: Box<ReadLogError>,
    },
    /// It is longer than can be.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// It is shorter than the ledger says.
    #[error(
        "the log of the coordinator {coordinator} has {found} entries, and by the ledger {expected} at the end of epoch {epoch}; hint: keep its checkpoint as evidence"
    )]
    Short {
        /// Whose log it is.
        coordinator: Key,
        /// The epoch.
        epoch: u64,
        /// Entries by the ledger.
        expected: u64,
        /// Entries of the newest checkpoint.
        found: u64,
    },
    /// Its entries are not those that checkers saw.
    #[error(
        "the first {size} entries of the log of the coordinator {coordinator} have the root {found}, and by the ledger {expected}; hint: it shows another history; keep its checkpoint as evidence"
    )]
    Root {
        /// Whose log it is.
        coordinator: Key,
        /// How many entries.
        size: u64,
        /// The root by the ledger.
        expected: Hash,
        /// The root of what was read.
        found: Hash,
    },
    /// Nobody can be asked for it.
    #[error(
        "the log of the coordinator {coordinator} cannot be asked for: {why}; hint: try again later; a registry whose checker has copied the log serves it too"
    )]
    Nowhere {
        /// Whose log it is.
        coordinator: Key,
        /// Why.
        why: String,
    },
}

/// Where logs are read from.
pub trait Places {
    /// What a log's files are read from.
    type Source: TileSource;

    /// The log of a coordinator that was closed so in an epoch: the one that is named by the node key
    /// of the closing, and at least as long, if there is such a place.
    fn log(
        &mut self,
        coordinator: &Key,
        epoch: u64,
        closing: &Closing,
    ) -> impl Future<Output = Result<LogReader<Self::Source>, LogsError>> + Send;
}

/// A log that was read up to some entry.
struct Read<S> {
    node_key: Key,
    /// From where, up to which checkpoint.
    from: Option<(LogReader<S>, Checkpoint)>,
    extractor: Extractor,
    frontier: Frontier,
}

/// The logs of all coordinators, each as far as it was read.
pub struct LogSet<P: Places> {
    genesis: Hash,
    places: P,
    logs: BTreeMap<Key, Read<P::Source>>,
    /// The receipts of the epoch that was read last: it may be settled again.
    last: Option<(u64, Logs)>,
}

impl<P: Places> LogSet<P> {
    /// Begins with nothing read.
    pub fn new(genesis: Hash, places: P) -> LogSet<P> {
        LogSet {
            genesis,
            places,
            logs: BTreeMap::new(),
            last: None,
        }
    }

    /// Where the logs are read from.
    pub fn places(&mut self) -> &mut P {
        &mut self.places
    }

    /// The receipts of an epoch, in which these logs were closed. Epochs must be asked for in order;
    /// the last one can be asked for again.
    ///
    /// # Errors
    /// [`LogsError`]; it can be tried again.
    pub async fn epoch(
        &mut self,
        epoch: u64,
        closings: &[(Key, Closing)],
    ) -> Result<&Logs, LogsError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != epoch) {
            let mut logs = Logs::new();
            for (coordinator, closing) in closings {
                let judged = self.advance(*coordinator, epoch, closing).await;
                match judged {
                    Ok(judged) => drop(logs.insert(*coordinator, judged)),
                    Err(error) => {
                        // What was taken of others would be missing the next time.
                        self.logs.clear();
                        return Err(error);
                    }
                }
            }
            self.last = Some((epoch, logs));
        }
        match &self.last {
            Some((_, logs)) => Ok(logs),
            None => unreachable!("it was put there"),
        }
    }

    async fn advance(
        &mut self,
        coordinator: Key,
        epoch: u64,
        closing: &Closing,
    ) -> Result<Vec<Judged>, LogsError> {
        let node_key = closing.node_key;
        let known = self.logs.remove(&coordinator);
        let mut log = match known.filter(|log| log.node_key == node_key) {
            Some(log) => log,
            None => Read {
                node_key,
                from: None,
                extractor: Extractor::new(self.genesis, *node_key.as_bytes()),
                frontier: Frontier::new(),
            },
        };
        let long = |(_, newest): &(_, Checkpoint)| newest.size >= closing.size;
        if !log.from.as_ref().is_some_and(long) {
            let reader = self.places.log(&coordinator, epoch, closing).await?;
            let newest = reader.checkpoint().await;
            let newest = newest
                .map_err(|error| wrong(coordinator, error))?
                .checkpoint;
            if newest.size < closing.size {
                return Err(LogsError::Short {
                    coordinator,
                    epoch,
                    expected: closing.size,
                    found: newest.size,
                });
            }
            log.from = Some((reader, newest));
        }
        // Of epochs before, which are settled, only what is open yet is of use.
        let pass = |extractor: &mut Extractor, leaf, entry: &[u8]| {
            extractor.pass(leaf, entry, epoch);
        };
        log.read(coordinator, closing.first, pass).await?;
        log.extractor.begin(epoch);
        log.read(coordinator, closing.size, Extractor::entry)
            .await?;
        let found = log.frontier.root();
        if found != closing.root || log.frontier.size() != closing.size {
            return Err(LogsError::Root {
                coordinator,
                size: closing.size,
                expected: closing.root,
                found,
            });
        }
        let judged = log.extractor.take(epoch);
        self.logs.insert(coordinator, log);
        Ok(judged)
    }
}

fn wrong(coordinator: Key, error: ReadLogError) -> LogsError {
    LogsError::Read {
        coordinator,
        error: Box::new(error),
    }
}

impl<S: TileSource> Read<S> {
    async fn read(
        &mut self,
        coordinator: Key,
        size: u64,
        take_in: impl Fn(&mut Extractor, u64, &[u8]),
    ) -> Result<(), LogsError> {
        let first = self.frontier.size();
        let Some((reader, newest)) = self.from.as_ref().filter(|_| first < size) else {
            return Ok(());
        };
        let wrong = |error| wrong(coordinator, error);
        let walk = reader.walk(newest, first..size, WalkOptions::default());
        let mut walk = walk.await.map_err(wrong)?;
        while let Some(bundle) = walk.next().await.map_err(wrong)? {
            for ((leaf, entry), hash) in bundle.entries().zip(&bundle.hashes) {
                // A file may begin before and end after.
                if leaf == self.frontier.size() && leaf < size {
                    self.frontier.append(*hash)?;
                    take_in(&mut self.extractor, leaf, entry);
                }
            }
        }
        Ok(())
    }
}
