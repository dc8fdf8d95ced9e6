//! `adit receipt`: show, verify, replay and compare receipts.

use std::path::Path;

use adit_protocol::cbor::Document;
use adit_protocol::exec::ExecSpec;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{BODY_LEN, Receipt};
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;
use adit_protocol::{Code, Hash};
use adit_runtime::engine::Target;
use adit_runtime::store::blobs::BlobStore;

use crate::device::DeviceArgs;
use crate::error::{Exit, Failure};
use crate::journal::read_receipt;
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

mod check;
mod diff;
mod remote;
mod show;

use remote::From;

/// The subcommands of `adit receipt`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Show every field of a receipt
    Show {
        /// A file, an id or its first digits, or `last`
        #[arg(value_name = "FILE|ID")]
        receipt: String,
        #[command(flatten)]
        from: From,
    },
    /// Check the record: encoding and signatures, and with --from that it is in the log (level 1)
    Verify {
        /// A file, an id or its first digits, or `last`
        #[arg(value_name = "FILE|ID")]
        receipt: String,
        #[command(flatten)]
        from: From,
    },
    /// Run it again with the recorded inference answers, and compare everything (levels 1 and 2)
    Replay {
        /// A file, an id or its first digits, or `last`
        #[arg(value_name = "FILE|ID")]
        receipt: String,
        /// Also make computations again, on this machine's backend (level 3): all, or each N-th
        #[arg(long, value_name = "all|N", value_parser = every)]
        inference: Option<u64>,
        /// Execute in wasmtime's interpreter, without native code: a second opinion, slower
        ///
        /// A replay as native code rests on the compiler that the miner used as well: a fault in
        /// how it makes machine code would show in both, and go unseen. The interpreter executes
        /// no machine code made from the guest, so a result that is the same in it does not rest
        /// on that part. What is compared is the same: output, status, fuel, memory, transcript.
        /// A guest that computes takes about ten to twenty times as long.
        #[arg(long)]
        interpreter: bool,
        #[command(flatten)]
        from: From,
        #[command(flatten)]
        device: DeviceArgs,
    },
    /// Compare two receipts field by field, and find the first inference call that differs
    Diff {
        /// A file, an id or its first digits, or `last`
        a: String,
        /// The other
        b: String,
    },
}

/// `adit receipt ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Show { receipt, from } => {
            let fetched = from.fetch(ui, state, receipt, true)?;
            show::command(ui, state, fetched.named(receipt))
        }
        Command::Verify { receipt, from } => {
            let fetched = from.fetch(ui, state, receipt, false)?;
            check::verify(ui, state, receipt, &fetched)
        }
        Command::Replay {
            receipt,
            inference,
            interpreter,
            from,
            device,
        } => {
            let target = match interpreter {
                true => Target::Interpreter,
                false => Target::Processor,
            };
            let fetched = from.fetch(ui, state, receipt, true)?;
            let every = inference.unwrap_or(0);
            check::replay(ui, state, receipt, &fetched, every, target, device)
        }
        Command::Diff { a, b } => diff::command(ui, state, a, b),
    }
}

fn every(text: &str) -> Result<u64, String> {
    match text {
        "all" => Ok(1),
        _ => text
            .parse()
            .ok()
            .filter(|every| *every > 0)
            .ok_or_else(|| "write `all`, or a number from 1 on".to_owned()),
    }
}

/// The bytes of the receipt that a text names: a file, or one of the state folder.
fn find(state: &State, named: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(named);
    if path.exists() {
        return read_receipt(path);
    }
    let own = state.journal()?.find(named);
    let received = state.received()?.find(named)?;
    match (own, received) {
        (Ok(own), Some(other)) if own.get(..BODY_LEN) != other.get(..BODY_LEN) => {
            Failure::argument(format!("`{}` names two receipts", one_line(named)))
                .why("one of this machine, and one that was received, begin with these digits")
                .hint("give more of the digits")
                .into_err()
        }
        (Ok(own), _) => Ok(own),
        (Err(_), Some(received)) => Ok(received),
        (Err(error), None) => Err(error),
    }
}

/// The receipt that a text names, as [`find`] finds it. Its signatures are not checked.
///
/// # Errors
///
/// When there is none, or it is none.
pub fn named(state: &State, named: &str) -> anyhow::Result<Receipt> {
    let bytes = find(state, named)?;
    Ok(Receipt::from_bytes(&bytes).map_err(|error| {
        Failure::new(
            Code::BadEncoding,
            format!("`{}` is not a receipt", one_line(named)),
        )
        .because(error)
        .exit(Exit::Signature)
    })?)
}

/// A receipt and what of it is at hand.
struct Subject {
    receipt: Receipt,
    blobs: BlobStore,
    opening: Option<ReceiptOpening>,
    task: Result<TaskSpec, String>,
    exec: Result<ExecSpec, String>,
}

impl Subject {
    /// Reads a receipt; its signatures are not checked.
    fn load(state: &State, named: &str) -> anyhow::Result<Subject> {
        let receipt = self::named(state, named)?;
        Subject::of(state, named, receipt)
    }

    fn of(state: &State, named: &str, receipt: Receipt) -> anyhow::Result<Subject> {
        let blobs = state.blobs()?;
        let task: Result<TaskSpec, String> = document(&blobs, &receipt.body.task);
        let id = receipt.id();
        let opening = match state.journal()?.opening(&id, named)? {
            None => state.received()?.opening(&id)?,
            own => own,
        };
        let opening = match opening {
            Some((opening, path)) => {
                if let Ok(task) = &task
                    && !belongs(&opening, &receipt, task)
                {
                    return Failure::new(
                        Code::StateCorrupt,
                        format!("the opening {} cannot be used", path.display()),
                    )
                    .why("it is not the one of this receipt, or it is damaged")
                    .hint("restore it, or move it away: without it, only its hashes are not known")
                    .exit(Exit::Unchecked)
                    .into_err();
                }
                Some(opening)
            }
            None => None,
        };
        let exec = match &task {
            Ok(task) => document(&blobs, &task.exec),
            Err(why) => Err(why.clone()),
        };
        Ok(Subject {
            receipt,
            blobs,
            opening,
            task,
            exec,
        })
    }

    /// The transcript, if the opening leads to it.
    fn transcript(&self) -> Result<Transcript, String> {
        let opening = self.opening.ok_or("the receipt's opening is missing")?;
        let task = self.task.as_ref().map_err(Clone::clone)?;
        if opening.transcript.commit(&task.salt) != self.receipt.body.transcript {
            return Err("the opening does not belong to the receipt".to_owned());
        }
        document(&self.blobs, &opening.transcript)
    }
}

/// Whether the hashes of an opening are those that a receipt commits to.
fn belongs(opening: &ReceiptOpening, receipt: &Receipt, task: &TaskSpec) -> bool {
    let body = &receipt.body;
    [
        (opening.input, body.input),
        (opening.output, body.output),
        (opening.transcript, body.transcript),
    ]
    .iter()
    .all(|(hash, commitment)| hash.commit(&task.salt) == *commitment)
}

/// A document of the blob store, or why it cannot be had.
fn document<D: Document>(blobs: &BlobStore, hash: &Hash) -> Result<D, String> {
    let bytes = blobs
        .get(hash, D::MAX_LEN as u64)
        .map_err(|error| error.to_string())?;
    D::from_cbor(&bytes).map_err(|error| error.to_string())
}
