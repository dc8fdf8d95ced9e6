//! `adit coordinator evidence`: receipts of miners that contradict each other, as files.

use adit_coordinator::store::DATABASE;
use adit_coordinator::store::equivocations::equivocations;
use adit_protocol::codes::Code;
use anyhow::Context as _;
use serde_json::json;

use super::{EvidenceArgs, configuration, folder};
use crate::error::{Exit, Failure};
use crate::state::{State, private_folder, write_file};
use crate::text::{date_ms, hex};
use crate::ui::Ui;

/// Pairs that are written at most, the newest.
const PAIRS_MAX: u32 = 1024;

/// `adit coordinator evidence DIR`.
pub fn command(ui: &Ui, state: &State, args: &EvidenceArgs) -> anyhow::Result<Exit> {
    let data = match &args.data {
        Some(data) => data.clone(),
        None => {
            let folder = folder(state)?;
            // So that a mistyped state folder is told from a coordinator without evidence.
            configuration(&folder)?;
            folder.join("data")
        }
    };
    if !data.join(DATABASE).is_file() {
        return Failure::new(Code::InvalidArgument, "there is no evidence to read")
            .why(format!(
                "no coordinator has run in {}: it has no {DATABASE}",
                data.display()
            ))
            .hint("name the folder with --data, or the state folder with --state")
            .into_err();
    }
    let found = equivocations(&data, PAIRS_MAX)
        .map_err(|error| Failure::from_error("the evidence could not be read", &error))?;
    let mut all = Vec::new();
    for one in &found {
        let pair = args.out.join(one.assignment.to_hex());
        private_folder(&pair).with_context(|| format!("the folder {}", pair.display()))?;
        let (first, second) = (pair.join("first"), pair.join("second"));
        write_file(&first, &one.first.to_bytes(), 0o644)?;
        write_file(&second, &one.second.to_bytes(), 0o644)?;
        match ui.json {
            true => all.push(json!({
                "assignment": one.assignment,
                "miner": hex(&one.first.body.miner),
                "noticed_ms": one.noticed_ms,
                "first": first,
                "second": second,
            })),
            false => ui.line(format!(
                "{}  adit report equivocation {} {} --key KEY",
                date_ms(one.noticed_ms),
                first.display(),
                second.display()
            ))?,
        }
    }
    if ui.json {
        ui.object(&json!({ "equivocations": all }))?;
    } else if found.is_empty() {
        ui.note("no miner has signed two receipts for one assignment");
    }
    Ok(Exit::Ok)
}
