//! `adit log watch`: each checkpoint must continue the one before, which is kept in the state folder:
//!
//! ```text
//! logs/HASH/         of a log, by the hash of its origin
//!   vkey             its key
//!   checkpoint       the newest one that was seen
//!   forks/           pairs of checkpoints that contradict each other
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_net::log::Trusted;
use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::note;
use anyhow::Context as _;
use serde_json::json;

use super::check::{compare, describe, newest};
use super::place::{KnownBy, LogArgs, Named};
use crate::amounts::{self, now_ns};
use crate::error::{Exit, Failure, Report};
use crate::remote::block_on;
use crate::state::{State, private_folder, read_own, write_file};
use crate::text::{date_ms, grouped};
use crate::ui::Ui;

/// Longest verifier key that is kept, in bytes.
const VKEY_MAX: u64 = 1024;

/// Options of `adit log watch`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = amounts::duration)]
    interval: Duration,
    /// Look once and end, as for a timer that starts this program
    #[arg(long)]
    once: bool,
}

/// `adit log watch`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let watched = block_on(async {
        let mut found: Option<(Named, Memory)> = None;
        loop {
            let looked = match &mut found {
                Some((log, memory)) => look(ui, log, memory).await,
                None => match begin(ui, state, args).await {
                    Ok((log, mut memory)) => {
                        let looked = look(ui, &log, &mut memory).await;
                        found = Some((log, memory));
                        looked
                    }
                    Err(error) => Err(error),
                },
            };
            match looked {
                Ok(()) if args.once => return Ok(Exit::Ok),
                Ok(()) => {}
                // What could not be asked may be there again later; anything else is to be looked at.
                Err(error) if !args.once && is_passing(&error) => {
                    ui.note(format!("not seen: {}", Report::new(&error).why()));
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(args.interval).await;
        }
    })?;
    Ok(watched.unwrap_or_else(|exit| exit))
}

fn is_passing(error: &anyhow::Error) -> bool {
    Report::new(error).exit() == Exit::Unchecked
}

/// Finds the log, and what is known of it.
async fn begin(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<(Named, Memory)> {
    let log = args.log.find(ui).await?;
    let memory = Memory::open(state, &log)?;
    Ok((log, memory))
}

/// Looks once.
async fn look(ui: &Ui, log: &Named, memory: &mut Memory) -> anyhow::Result<()> {
    let trusted = newest(log).await?;
    let new = &trusted.checkpoint;
    if let Some(old) = &memory.signed {
        let old = old.unverified();
        if old == new {
            return Ok(());
        }
        if let Err(failure) = compare(&log.reader, old, new).await {
            return Err(memory.failed(ui, &trusted, failure)?);
        }
    }
    memory.keep(&trusted)?;
    let now = now_ns() / 1_000_000;
    match ui.json {
        true => {
            let mut object = describe(log, &trusted);
            object["seen_ms"] = json!(now);
            ui.object(&object)
        }
        false => ui.line(format!(
            "{}  {} entries  {}",
            date_ms(now),
            grouped(new.size),
            new.root
        )),
    }
}

/// What is kept of a log.
struct Memory {
    folder: PathBuf,
    signed: Option<SignedCheckpoint>,
}

impl Memory {
    /// Reads what is kept; the key must be the one of before.
    fn open(state: &State, log: &Named) -> anyhow::Result<Memory> {
        let key = &log.reader.trust().log;
        let name = Hash::of(key.name().as_str().as_bytes()).to_hex();
        let folder = state.root()?.join("logs").join(name);
        private_folder(&folder).with_context(|| format!("the folder {}", folder.display()))?;
        let path = folder.join("vkey");
        let vkey = format!("{key}\n");
        if !path.exists() {
            write_file(&path, vkey.as_bytes(), 0o600)?;
        } else if read_own(&path, VKEY_MAX, "the log's key")? != vkey.as_bytes() {
            if log.known_by == KnownBy::Coordinator {
                return Failure::new(Code::BadSignature, "the log has another key than before")
                    .why(format!(
                        "the coordinator says so itself, and {} has the key of before",
                        path.display()
                    ))
                    .hint("give the network's own word with --network FILE, if the key was changed")
                    .exit(Exit::Signature)
                    .into_err();
            }
            write_file(&path, vkey.as_bytes(), 0o600)?;
        }
        let path = folder.join("checkpoint");
        let signed = match path.exists() {
            false => None,
            true => {
                let bytes = read_own(&path, note::MAX_LEN as u64, "the kept checkpoint")?;
                let signed = SignedCheckpoint::parse(&bytes);
                Some(signed.map_err(|error| crate::state::corrupt(&path, error))?)
            }
        };
        Ok(Memory { folder, signed })
    }

    fn keep(&mut self, trusted: &Trusted) -> anyhow::Result<()> {
        let path = self.folder.join("checkpoint");
        write_file(&path, trusted.signed.to_string().as_bytes(), 0o600)?;
        self.signed = Some(trusted.signed.clone());
        Ok(())
    }

    /// Says of a failure what there is to say, and keeps the evidence.
    fn failed(&self, ui: &Ui, new: &Trusted, failure: Failure) -> anyhow::Result<anyhow::Error> {
        let error = anyhow::Error::from(failure);
        if let (Exit::Proof, Some(old)) = (Report::new(&error).exit(), &self.signed) {
            keep_fork(ui, &self.folder, old, &new.signed)?;
        }
        Ok(error)
    }
}

/// Keeps two checkpoints that contradict each other, and says where.
///
/// # Errors
///
/// When they cannot be written.
pub fn keep_fork(
    ui: &Ui,
    folder: &Path,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
) -> anyhow::Result<()> {
    let name = format!("{}-{}", old.unverified().size, new.unverified().size);
    // The same pair is kept once.
    let id = Hash::of(format!("{old}{new}").as_bytes()).to_hex();
    let id = id.get(..8).unwrap_or_default();
    let forks = folder.join("forks").join(format!("{name}-{id}"));
    private_folder(&forks).with_context(|| format!("the folder {}", forks.display()))?;
    write_file(&forks.join("old"), old.to_string().as_bytes(), 0o644)?;
    write_file(&forks.join("new"), new.to_string().as_bytes(), 0o644)?;
    ui.note(format!(
        "ALARM: two checkpoints that contradict each other are in {}",
        forks.display()
    ));
    let folder = forks.display();
    ui.note(match old.unverified().size == new.unverified().size {
        true => format!(
            "report it: adit report fork {folder}/old {folder}/new --key KEY"
        ),
        false => "the ledger takes two roots of one size: ask others who watch the log for a checkpoint of one of these sizes, then `adit report fork`".to_owned(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_waited_for() {
        let with = |exit| anyhow::Error::from(Failure::argument("x").exit(exit));
        assert!(is_passing(&with(Exit::Unchecked)));
        for exit in [Exit::Proof, Exit::Signature, Exit::Fixable] {
            assert!(!is_passing(&with(exit)));
        }
    }
}
