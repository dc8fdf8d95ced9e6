//! What a checker found of a report, signed, as a file that it hands to whoever gathers a quorum:
//!
//! ```json
//! {"genesis": "blake3:...", "report": "blake3:...", "appeal": false, "guilty": true,
//!  "fraction_ppm": 333333, "checker": "5...", "signature": "0x..."}
//! ```
//!
//! `checker` is the address that names the node, `signature` that of its node key over the finding
//! (`adit_ledger::slashing::Finding`).

use std::path::{Path, PathBuf};

use adit_ledger::slashing::Finding;
use adit_ledger::transaction::{Attestation, Percent};
use adit_ledger::{Action, Key};
use adit_protocol::codes::Code;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Document as _, Hash};
use anyhow::Context as _;
use rand_core::OsRng;
use serde::Deserialize;
use serde_json::json;

use super::evidence::node;
use super::{open, stage};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::keyring;
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::{Head, OpenReport};
use crate::ledger::{Ledger, RegistryArgs, refuse_development};
use crate::state::State;
use crate::text::{hex, one_line, unhex};
use crate::ui::Ui;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// What a checker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What the node loses, in parts per million; `None` if it did nothing.
    pub fraction_ppm: Option<u32>,
}

/// The file, as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    genesis: String,
    report: String,
    appeal: bool,
    guilty: bool,
    fraction_ppm: u32,
    checker: String,
    signature: String,
}

/// A file that was read.
struct Attested {
    finding: Finding,
    checker: Key,
    signature: [u8; 64],
}

fn finding(ledger: &Ledger, id: &Hash, open: &OpenReport, said: Verdict) -> Finding {
    Finding {
        genesis: ledger.genesis_hash,
        report: *id,
        appeal: open.appeal.is_some(),
        guilty: said.fraction_ppm.is_some(),
        fraction_ppm: said.fraction_ppm.unwrap_or(0),
    }
}

/// Whether checkers are asked now.
fn asked(open: &OpenReport) -> anyhow::Result<()> {
    match open.stage.as_str() {
        "waits-for-verdict" | "appealed" => Ok(()),
        other => Failure::argument("no verdict is asked for")
            .why(stage(other))
            .hint("only an appeal of the accused asks for another one")
            .into_err(),
    }
}

/// Makes and prints what a checker found.
///
/// # Errors
///
/// When the report is not open, the key is no checker's, or the finding is none.
pub async fn attest(
    ui: &Ui,
    state: &State,
    id: &Hash,
    said: Verdict,
    key: &str,
    registry: &RegistryArgs,
) -> anyhow::Result<Exit> {
    let secret = keyring::secret(ui, state, key, None)?;
    let ledger = registry.connect(ui).await?;
    if secret.development && !ledger.genesis.development {
        return refuse_development("checker's node key").into_err();
    }
    let open = open(&ledger, id).await?;
    asked(&open)?;
    let own = Key::new(&secret.keypair.public());
    let (checker, node) = node(&ledger, &own).await?;
    let refuse = |why: String| Failure::new(Code::BadKey, "nothing was signed").why(why);
    if node.role != "checker" {
        return refuse(format!("{checker} is a {}", one_line(&node.role)))
            .hint("sign with the node key of a checker")
            .into_err();
    }
    if node.keys.node.parse() != Ok(own) {
        return refuse(format!("{own} is not the node key of {checker} now"))
            .hint("sign with the key that it has in this epoch; `adit node show` tells")
            .into_err();
    }
    if open.node.parse() == Ok(checker) {
        return refuse("nobody judges itself".to_owned())
            .hint("other checkers have to")
            .into_err();
    }
    if let Some(ppm) = said.fraction_ppm {
        let head: Head = ledger
            .get("/v1/ledger")
            .await
            .context("the rules are not known")?;
        let most = head.parameters.slashing.fraction_ppm;
        if ppm == 0 || ppm > most {
            return Failure::argument("nothing was signed")
                .why(format!(
                    "a guilty node loses more than nothing and at most {}",
                    Percent(most)
                ))
                .hint("give a fraction within that, or --not-guilty")
                .into_err();
        }
    }
    let finding = finding(&ledger, id, &open, said);
    let signed = finding.sign(&secret.keypair, &mut OsRng);
    ui.object(&json!({
        "genesis": finding.genesis,
        "report": finding.report,
        "appeal": finding.appeal,
        "guilty": finding.guilty,
        "fraction_ppm": finding.fraction_ppm,
        "checker": checker,
        "signature": hex(signed.signature()),
    }))?;
    ui.note("keep it in a file: `adit report decide` takes those of a quorum of checkers");
    Ok(Exit::Ok)
}

fn read(path: &Path) -> anyhow::Result<Attested> {
    let bytes = read_file(path, FILE_BYTES_MAX, "the verdict")?;
    let wrong = |why: String| {
        Failure::new(
            Code::BadEncoding,
            format!("the verdict {} cannot be used", path.display()),
        )
        .why(why)
        .hint("give the file as `adit checker verdict` printed it")
        .exit(Exit::Signature)
    };
    let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let hash = |text: &str| {
        let hash = text.parse::<Hash>();
        hash.map_err(|error| wrong(error.to_string()))
    };
    let checker: Result<Key, _> = wire.checker.parse();
    Ok(Attested {
        finding: Finding {
            genesis: hash(&wire.genesis)?,
            report: hash(&wire.report)?,
            appeal: wire.appeal,
            guilty: wire.guilty,
            fraction_ppm: wire.fraction_ppm,
        },
        checker: checker.map_err(|error| wrong(error.to_string()))?,
        signature: unhex(&wire.signature)
            .ok_or_else(|| wrong("its signature is not 0x and 128 digits".to_owned()))?,
    })
}

/// `adit report decide`.
pub fn decide(
    ui: &Ui,
    state: &State,
    id: &Hash,
    paths: &[PathBuf],
    sign: &SignArgs,
) -> anyhow::Result<Exit> {
    let all = paths.iter().map(|path| read(path));
    let mut all = all.collect::<anyhow::Result<Vec<_>>>()?;
    all.sort_by_key(|one| one.checker);
    sign.run_with(ui, state, async |context| {
        let ledger = context.ledger;
        let open = open(ledger, id).await?;
        asked(&open)?;
        let refuse = |why: String| Failure::argument("nothing was handed in").why(why);
        let Some(first) = all.first().map(|one| one.finding) else {
            return refuse("no verdict was given".to_owned()).into_err();
        };
        let fraction_ppm = Some(first.fraction_ppm).filter(|_| first.guilty);
        let expected = finding(ledger, id, &open, Verdict { fraction_ppm });
        let mut before = None;
        for Attested {
            finding,
            checker,
            signature,
        } in &all
        {
            if *finding != expected {
                return refuse(differs(checker, finding, &expected))
                    .hint("all must sign the same: this report, as it is now, with one finding")
                    .into_err();
            }
            if before.replace(*checker) == Some(*checker) {
                return refuse(format!("{checker} is there twice"))
                    .hint("give one file of each checker")
                    .into_err();
            }
            let (_, node) = node(ledger, checker).await?;
            let signer = node.keys.node.parse::<Key>().ok();
            let signer = signer.and_then(|key| key.public().ok());
            let fits = signer.is_some_and(|key| {
                let document = finding.to_cbor();
                key.verify(Finding::CONTEXT, &document, signature).is_ok()
            });
            if !fits || node.role != "checker" {
                return refuse(format!(
                    "the signature of the checker {checker} does not fit"
                ))
                .hint("it must sign with the node key that it has in this epoch")
                .exit(Exit::Signature)
                .into_err();
            }
        }
        let attestations = all.iter().map(|one| Attestation {
            checker: one.checker,
            signature: one.signature,
        });
        Ok(Action::Verdict {
            report: *id,
            fraction_ppm,
            attestations: attestations.collect(),
        })
    })
}

/// In what a finding is another one.
fn differs(checker: &Key, found: &Finding, expected: &Finding) -> String {
    let what = if found.genesis != expected.genesis {
        "is of another network"
    } else if found.report != expected.report {
        "is on another report"
    } else if found.appeal != expected.appeal {
        "was not made at this stage: before an appeal and after it are two verdicts"
    } else {
        "finds something else than the others, or than can be"
    };
    format!("the verdict of {checker} {what}")
}
