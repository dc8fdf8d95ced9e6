//! `adit report`: misdeeds of nodes. What proves itself is punished at once, of the rest checkers
//! judge.

mod attestation;
mod evidence;

use std::path::PathBuf;

use adit_ledger::Action;
use adit_protocol::Hash;
use adit_protocol::codes::Code;
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::error::{Exit, Failure};
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::{OpenReport, ReportDetail, Reports};
use crate::ledger::{Ledger, RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

pub use attestation::{Verdict, attest};

/// The subcommands of `adit report`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Report a miner that signed two receipts for one assignment: it loses a part of its stake at
    /// once, of which you get a share
    Equivocation {
        /// The one receipt: a file, an id or its first digits
        #[arg(value_name = "RECEIPT")]
        first: String,
        /// The other
        #[arg(value_name = "RECEIPT")]
        second: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Report a coordinator that signed two roots for one size of its log, with the same effect
    Fork {
        /// The one checkpoint, a signed note, as `adit log watch` and `adit log checkpoint` keep it
        #[arg(value_name = "CHECKPOINT")]
        first: PathBuf,
        /// The other
        #[arg(value_name = "CHECKPOINT")]
        second: PathBuf,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Accuse a node of what checkers have to judge. A deposit is put down, which is lost if they
    /// acquit it
    Accuse {
        /// The node: its address, 0x and digits, or a key file
        #[arg(value_name = "NODE")]
        node: String,
        /// What it did: wrong-execution, missing-receipt, not-serving or judgement
        #[arg(value_name = "MISDEED")]
        misdeed: String,
        /// What that rests on, as checkers will look for it: a receipt (a file, or its id) of
        /// wrong-execution and missing-receipt, else a document (a file, or its hash)
        #[arg(long, value_name = "HASH|FILE")]
        evidence: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// List reports that wait for a verdict, or for its effect
    List {
        /// Only those of a node
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show a report: what it rests on, how far it is, what comes next
    Show {
        /// Its id: that of the transaction that made it
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Hand in what a quorum of checkers found: files that `adit checker verdict` made
    Decide {
        /// The report
        #[arg(value_name = "ID")]
        id: Hash,
        /// Verdicts of checkers, all with the same finding
        #[arg(value_name = "FILE", required = true)]
        attestations: Vec<PathBuf>,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Ask for a second verdict, as the operator of the accused node. A deposit is put down, which is
    /// lost if it is found guilty again
    Appeal {
        /// The report
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// `adit report ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let done = match command {
        Command::Equivocation {
            first,
            second,
            sign,
        } => return evidence::equivocation(ui, state, [first, second], sign),
        Command::Fork {
            first,
            second,
            sign,
        } => return evidence::fork(ui, state, [first, second], sign),
        Command::Accuse {
            node,
            misdeed,
            evidence,
            sign,
        } => return evidence::accuse(ui, state, node, misdeed, evidence, sign),
        Command::Decide {
            id,
            attestations,
            sign,
        } => return attestation::decide(ui, state, id, attestations, sign),
        Command::Appeal { id, sign } => return appeal(ui, state, id, sign),
        Command::List { node, registry } => block_on(list(ui, state, node.as_deref(), registry)),
        Command::Show { id, registry } => block_on(show(ui, id, registry)),
    };
    Ok(done?.unwrap_or_else(|exit| exit))
}

/// A report by its id.
///
/// # Errors
///
/// When there is none, or it cannot be asked for.
async fn detail(ledger: &Ledger, id: &Hash) -> anyhow::Result<Value> {
    let answer = ledger.get(&format!("/v1/reports/{id}")).await;
    answer.context("the report is not known")
}

/// A report that is not over.
///
/// # Errors
///
/// When there is none, or it is over.
async fn open(ledger: &Ledger, id: &Hash) -> anyhow::Result<OpenReport> {
    let found: ReportDetail = serde_json::from_value(detail(ledger, id).await?)
        .context("the registry's answer cannot be read")?;
    match found.open {
        Some(open) => Ok(open),
        None => Failure::new(Code::NotFound, format!("the report {id} is not open"))
            .why(stage(&found.stage))
            .hint("nothing is left to do; `adit report list` has those that are open")
            .into_err(),
    }
}

fn appeal(ui: &Ui, state: &State, id: &Hash, sign: &SignArgs) -> anyhow::Result<Exit> {
    sign.run_with(ui, state, async |context| {
        let open = open(context.ledger, id).await?;
        if open.stage != "can-be-appealed" {
            return Failure::argument("there is nothing to appeal")
                .why(stage(&open.stage))
                .hint("one appeal is possible, after a first verdict")
                .into_err();
        }
        ui.note(format!(
            "a deposit as large as that of a report ({}) is put down",
            open.deposit
        ));
        Ok(Action::Appeal { report: *id })
    })
}

async fn list(
    ui: &Ui,
    state: &State,
    node: Option<&str>,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let node = node.map(|node| key(state, &ledger.genesis, node, "node key"));
    let node = node.transpose()?;
    let mut after: Option<String> = None;
    let mut all = Vec::new();
    let mut some = false;
    loop {
        let mut parameters = Vec::new();
        parameters.extend(node.map(|node| ("node", node.to_string())));
        parameters.extend(after.take().map(|after| ("after", after)));
        let page: Value = ledger
            .get_with("/v1/reports", &parameters)
            .await
            .context("the reports are not known")?;
        if ui.json {
            all.extend(page["items"].as_array().cloned().unwrap_or_default());
        }
        let page: Reports =
            serde_json::from_value(page).context("the registry's answer cannot be read")?;
        some |= !page.items.is_empty();
        if !ui.json {
            for one in &page.items {
                ui.line(format!(
                    "{}  {:<15}  {}  {}",
                    one_line(&one.id),
                    one_line(&one.misdeed),
                    one_line(&one.node),
                    until(one)
                ))?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if ui.json {
        ui.object(&json!({ "items": all }))?;
    } else if !some {
        ui.note("no report is open");
    }
    Ok(Exit::Ok)
}

async fn show(ui: &Ui, id: &Hash, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let answer = detail(&ledger, id).await?;
    if ui.json {
        ui.object(&answer)?;
        return Ok(Exit::Ok);
    }
    let found: ReportDetail =
        serde_json::from_value(answer).context("the registry's answer cannot be read")?;
    ui.line(format!("report    {}", one_line(&found.id)))?;
    ui.line(format!("node      {}", one_line(&found.node)))?;
    ui.line(format!("misdeed   {}", one_line(&found.misdeed)))?;
    match &found.evidence {
        Some(evidence) => ui.line(format!("evidence  {}", one_line(evidence)))?,
        None => ui.line(format!("evidence  in entry {} of the log", found.leaf))?,
    }
    ui.line(format!("by        {}", one_line(&found.reporter)))?;
    let Some(open) = &found.open else {
        ui.line(format!("state     {}", stage(&found.stage)))?;
        return Ok(Exit::Ok);
    };
    ui.line(format!("deposit   {}", open.deposit))?;
    if let Some(ppm) = open.verdict_ppm {
        let percent = adit_ledger::transaction::Percent(ppm);
        ui.line(format!("verdict   guilty, it loses {percent} of its stake"))?;
    }
    if let Some(appeal) = &open.appeal {
        ui.line(format!("appeal    {appeal} put down"))?;
    }
    ui.line(format!("state     {}", until(open)))?;
    if matches!(
        found.misdeed.as_str(),
        "wrong-execution" | "missing-receipt"
    ) {
        ui.note("the evidence is a receipt's id: `adit receipt replay ID --from URL` executes it again, `adit audit URL` reads the log of its coordinator");
    }
    Ok(Exit::Ok)
}

/// How far a report is, in words.
fn stage(stage: &str) -> &'static str {
    match stage {
        "waits-for-verdict" => "it waits for the checkers' verdict",
        "can-be-appealed" => "it has a verdict, which can be appealed",
        "appealed" => "it was appealed, and waits for a second verdict",
        "decided" => "it is decided for good",
        "punished" => "it was proven, and the node punished at once",
        "ran-out" => "no verdict came in time, and it ran out",
        "judged" => "it was judged and is over: the node was punished or acquitted",
        _ => "it is in a state that this program does not know",
    }
}

/// What comes next, and when.
fn until(open: &OpenReport) -> String {
    let (stage, epoch, at) = (stage(&open.stage), open.until_epoch, date_ms(open.until_ms));
    let then = match open.verdict_ppm {
        None => "without one it runs out",
        Some(_) => "takes effect",
    };
    format!("{stage}; {then} with epoch {epoch} ({at})")
}
