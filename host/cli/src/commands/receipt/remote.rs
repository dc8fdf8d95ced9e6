//! Receipts from elsewhere: fetched from a coordinator or a bundle with what belongs to them, and
//! looked up in the log.

use std::path::PathBuf;

use adit_protocol::Hash;
use adit_protocol::log::proof::{inclusion, verify_inclusion};
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tree::leaf_hash;
use adit_protocol::network::entry::Entry;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::receipt::Receipt;
use adit_runtime::audit::{Check, Fault, Verdict};

use super::find;
use crate::commands::audit::report::subject;
use crate::error::{Exit, Failure};
use crate::evidence::entries::Entries;
use crate::evidence::network::{Anchor, Outcome, anchor};
use crate::evidence::source::{Source, networks, of_evidence};
use crate::evidence::{Evidence, EvidenceError, needs};
use crate::state::State;
use crate::text::{count, one_line};
use crate::ui::Ui;

/// Name of the check that a receipt is in a log.
pub const LOG_INCLUSION: &str = "log inclusion";
/// Name of the checks of the log's checkpoint.
const CHECKPOINT: &str = "checkpoint signatures";

/// Where a receipt comes from, and whose network it has to be of.
#[derive(clap::Args, Default)]
pub struct From {
    /// Get the receipt and what it speaks of from this coordinator or bundle, and check its log
    #[arg(long, value_name = "URL|dev|BUNDLE")]
    from: Option<String>,
    /// With --from: the certificate authority of the coordinator's certificate, in PEM, if it is one
    /// of your own
    #[arg(long, value_name = "FILE", requires = "from")]
    ca: Option<PathBuf>,
    /// With --from: the network file that you have from elsewhere
    #[arg(long = "network", value_name = "FILE", requires = "from")]
    networks: Vec<PathBuf>,
}

/// What was fetched.
#[derive(Default)]
pub struct Fetched {
    /// The receipt and its id as text; none if nothing was to be fetched.
    receipt: Option<(Receipt, String)>,
    log: Vec<Check>,
}

impl From {
    /// Fetches a receipt and checks the log, if that was asked for; `blobs` also what a replay takes.
    ///
    /// # Errors
    /// When the receipt cannot be had.
    pub fn fetch(
        &self,
        ui: &Ui,
        state: &State,
        named: &str,
        blobs: bool,
    ) -> anyhow::Result<Fetched> {
        let Some(from) = &self.from else {
            return Ok(Fetched::default());
        };
        let source = Source::named(from, self.ca.as_deref())?;
        let id = self.id(state, named)?;
        let networks = networks(&self.networks, Some(from))?;
        let what = || format!("the receipt {id} was not fetched");
        let (receipt, leaf) = match &source {
            Source::Http(http) => http
                .locate(&id)
                .map(|located| (located.receipt, located.leaf)),
            Source::Bundle(bundle) => scan(&**bundle, &id),
        }
        .map_err(|error| of_evidence(what(), &error))?;
        let evidence = source.evidence();
        let log = log(evidence, &networks, &receipt, leaf);
        if blobs {
            let store = state.blobs()?;
            let needs = needs::fetch(evidence, &receipt, &store)
                .map_err(|error| of_evidence(what(), &error))?;
            state.received()?.keep(&receipt, needs.opening.as_ref())?;
            if !needs.lacking.is_empty() {
                let number = count(needs.lacking.len() as u64, "thing");
                ui.note(format!("note: {number} cannot be had from {from}:"));
                for what in needs.lacking.iter().take(10) {
                    ui.note(format!("  {what}"));
                }
            }
        }
        Ok(Fetched {
            receipt: Some((receipt, id.to_string())),
            log,
        })
    }

    /// The id that a text names: itself, or that of a receipt which is here.
    fn id(&self, state: &State, named: &str) -> anyhow::Result<Hash> {
        let digits = named.strip_prefix("blake3:").unwrap_or(named);
        if let Ok(id) = format!("blake3:{digits}").parse() {
            return Ok(id);
        }
        let Ok(bytes) = find(state, named) else {
            return Failure::argument(format!("`{}` is no id of a receipt", one_line(named)))
                .why("to fetch a receipt takes its whole id, or a receipt that is here already")
                .hint("give the id with all its 64 digits")
                .into_err();
        };
        match Receipt::from_bytes(&bytes) {
            Ok(receipt) => Ok(receipt.id()),
            Err(error) => Failure::argument(format!("`{}` is not a receipt", one_line(named)))
                .because(error)
                .exit(Exit::Signature)
                .into_err(),
        }
    }
}

impl Fetched {
    /// The text that names the receipt for what follows.
    pub fn named<'a>(&'a self, named: &'a str) -> &'a str {
        self.receipt.as_ref().map_or(named, |(_, id)| id)
    }

    /// The receipt's bytes: what was fetched, or what is here.
    ///
    /// # Errors
    /// When there is none.
    pub fn bytes(&self, state: &State, named: &str) -> anyhow::Result<Vec<u8>> {
        match &self.receipt {
            Some((receipt, _)) => Ok(receipt.to_bytes().to_vec()),
            None => find(state, named),
        }
    }

    /// Whether a log was to be checked.
    pub fn asked(&self) -> bool {
        self.receipt.is_some()
    }

    /// The checks of a record, with those of the log in place of those that could not be made.
    pub fn with_log(&self, mut checks: Vec<Check>) -> Vec<Check> {
        if self.asked() {
            checks.retain(|check| check.name != LOG_INCLUSION && check.name != CHECKPOINT);
            checks.extend(self.log.iter().cloned());
        }
        checks
    }
}

/// Finds a receipt by reading a log.
fn scan(evidence: &dyn Evidence, id: &Hash) -> Result<(Receipt, u64), EvidenceError> {
    use adit_protocol::log::checkpoint::SignedCheckpoint;

    let checkpoint = SignedCheckpoint::parse(&evidence.checkpoint()?)
        .map_err(|error| EvidenceError::damaged("the checkpoint", error))?;
    let mut entries = Entries::new(evidence, checkpoint.unverified().size, None);
    loop {
        let first = entries.position();
        let chunk = entries.next()?;
        if chunk.is_empty() {
            return Err(EvidenceError::Missing {
                what: format!("the receipt {id}"),
            });
        }
        for (leaf, entry) in (first..).zip(&chunk) {
            if let Ok(Entry::Receipt(receipt)) = Entry::decode(entry)
                && receipt.id() == *id
            {
                return Ok((*receipt, leaf));
            }
        }
    }
}

/// The checks of the log: whose it is, and whether it has the receipt at this leaf.
fn log(
    evidence: &dyn Evidence,
    networks: &[NetworkFile],
    receipt: &Receipt,
    leaf: u64,
) -> Vec<Check> {
    let (named, found) = anchor(evidence, networks, None);
    let mut checks: Vec<Check> = named
        .into_iter()
        .filter(|(id, _)| *id != "continuation")
        .map(|(id, outcome)| check(subject(id).map_or(id, |subject| subject.title), outcome))
        .collect();
    let included = match &found {
        Some((anchor, _)) => included(evidence, anchor, receipt, leaf),
        None => Outcome::unchecked("it is not certain whose log this is"),
    };
    let mut included = check(LOG_INCLUSION, included);
    included.note = Some(format!("leaf {leaf}"));
    checks.push(included);
    checks
}

fn check(name: &'static str, outcome: Outcome) -> Check {
    let (verdict, fault) = match outcome {
        Outcome::Passed => (Verdict::Passed, None),
        Outcome::Failed(why, Exit::Signature) => (Verdict::Failed(why), Some(Fault::Signature)),
        Outcome::Failed(why, _) => (Verdict::Failed(why), Some(Fault::Proof)),
        Outcome::NotPerformed { why, .. } => (Verdict::NotPerformed(why), None),
    };
    Check {
        level: 1,
        name,
        verdict,
        fault,
        note: None,
    }
}

/// Whether an inclusion proof, made of the files of the log, leads from the receipt to the root that
/// was signed.
fn included(evidence: &dyn Evidence, anchor: &Anchor, receipt: &Receipt, leaf: u64) -> Outcome {
    let body = &receipt.body;
    if body.coordinator != anchor.coordinator.node || body.network != anchor.genesis.network_id() {
        return Outcome::unproven("the receipt is of another network or coordinator than the log");
    }
    let checkpoint = &anchor.checkpoint;
    if leaf >= checkpoint.size {
        return Outcome::unchecked(format!(
            "the receipt is said to be at leaf {leaf}, and the newest checkpoint has {} entries; hint: the log is integrated each second, try again",
            checkpoint.size
        ));
    }
    let mut reader = TileReader::new(checkpoint.size, |tile| {
        let mut files = evidence.tiles(&[tile])?;
        files.pop().ok_or_else(|| EvidenceError::Missing {
            what: tile.to_string(),
        })
    });
    let proof = match inclusion(&mut reader, leaf, checkpoint.size) {
        Ok(proof) => proof,
        Err(error) => return Outcome::unchecked(error),
    };
    let entry = Entry::Receipt(Box::new(receipt.clone())).encode();
    let hash = leaf_hash(&entry);
    match verify_inclusion(&hash, leaf, checkpoint.size, &checkpoint.root, &proof) {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::unproven(error),
    }
}
