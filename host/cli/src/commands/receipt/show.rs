//! `adit receipt show`: every field, in words.

use adit_protocol::Hash;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::keys::{PublicKey, ss58};
use adit_protocol::receipt::Receipt;
use adit_runtime::store::StoreError;
use serde_json::json;

use super::{Subject, document};
use crate::component::world_name;
use crate::device::{fell_back, in_words};
use crate::error::Exit;
use crate::state::State;
use crate::text::{date_ms, grouped, hex, micros, one_line, size};
use crate::ui::Ui;

/// `adit receipt show FILE|ID`.
pub fn command(ui: &Ui, state: &State, named: &str) -> anyhow::Result<Exit> {
    let subject = Subject::load(state, named)?;
    let receipt = &subject.receipt;
    // A reader of the fields must not have to remember that nothing was checked.
    let signature = receipt.verify_miner();
    if ui.json {
        ui.object(&as_json(&subject))?;
    } else {
        let holds = match &signature {
            Ok(()) => "holds".to_owned(),
            Err(error) => format!("DOES NOT HOLD: {error}"),
        };
        print(ui, &subject, &holds)?;
    }
    Ok(match signature {
        Ok(()) => Exit::Ok,
        Err(_) => Exit::Signature,
    })
}

fn print(ui: &Ui, subject: &Subject, signature: &str) -> anyhow::Result<()> {
    let receipt = &subject.receipt;
    let body = &receipt.body;
    let local = receipt.is_local();
    let line = |name: &str, value: String| ui.line(format!("{name:<14} {}", one_line(&value)));
    let none = |hash: &Hash, why: &str| match hash.is_zero() {
        true => format!("none ({why})"),
        false => hash.to_string(),
    };

    line("receipt", receipt.id().to_string())?;
    line("signature", format!("the miner's {signature}"))?;
    line("status", {
        let kind = match body.status.attestable() {
            true => "attestable: every replay ends the same",
            false => "not attestable: it can differ between machines",
        };
        format!("{} ({kind})", body.status)
    })?;
    line("fuel", grouped(body.fuel))?;
    line(
        "peak memory",
        format!("{} ({} bytes)", size(body.peak_memory), body.peak_memory),
    )?;
    line("inference", {
        let device = if body.gpu { "a GPU" } else { "no GPU" };
        match body.nn {
            true => format!("{} work units, {device}", grouped(body.nn_units)),
            false => "none".to_owned(),
        }
    })?;
    line(
        "started",
        format!("{} (a claim of the miner)", date_ms(body.start_ms)),
    )?;
    line(
        "took",
        format!("{} (a claim of the miner)", micros(body.duration_us)),
    )?;
    line(
        "network",
        match local {
            true => "none: a local run".to_owned(),
            false => hex(&body.network),
        },
    )?;
    line("epoch", body.epoch.to_string())?;
    line(
        "number",
        format!("{} of this miner and coordinator", body.seq),
    )?;
    line("previous", none(&body.prev, "the first"))?;
    line("miner", address(&body.miner))?;
    line(
        "coordinator",
        match body.coordinator == [0; 32] {
            true => "none (a local run)".to_owned(),
            false => address(&body.coordinator),
        },
    )?;
    line("assignment", none(&body.assignment, "a local run"))?;
    line("task", at_hand(subject, &body.task))?;
    line("component", at_hand(subject, &body.component))?;
    line("environment", at_hand(subject, &body.environment))?;
    match environments(subject) {
        Ok(used) => {
            for used in used {
                line("ran on", in_words(&used))?;
                if let Some(note) = fell_back(&used) {
                    line("", note)?;
                }
            }
        }
        Err(why) if body.nn => line("ran on", format!("not known: {why}"))?,
        Err(_) => {}
    }
    for (name, commitment, hash) in commitments(subject) {
        line(name, format!("{commitment} (a commitment)"))?;
        line(
            "",
            match hash {
                Ok(hash) => format!("to {}", at_hand(subject, &hash)),
                Err(why) => format!("to what is not known: {why}"),
            },
        )?;
    }
    match &subject.exec {
        Ok(exec) => {
            line("world", world_name(exec.world).to_owned())?;
            line("arguments", format!("{:?}", exec.args))?;
            line("engine", exec.engine.to_string())?;
            for (name, manifest) in exec.models.iter() {
                line("model", format!("{name} = {}", at_hand(subject, manifest)))?;
            }
        }
        Err(why) => line("spec", format!("not at hand: {why}"))?,
    }
    Ok(())
}

/// Where the models of the run were computed; all of it, or why it is not known.
fn environments(subject: &Subject) -> Result<Vec<EnvironmentDocument>, String> {
    let hashes = subject.transcript()?.environments;
    hashes
        .iter()
        .map(|hash| document(&subject.blobs, hash))
        .collect()
}

/// A hash, and whether the blob is in the store, whole.
fn at_hand(subject: &Subject, hash: &Hash) -> String {
    match subject.blobs.check(hash) {
        Ok(_) => format!("{hash} (at hand)"),
        Err(StoreError::Missing { .. }) => format!("{hash} (not at hand)"),
        Err(error) => format!("{hash} (not usable: {error})"),
    }
}

fn address(key: &[u8; 32]) -> String {
    match PublicKey::from_bytes(key) {
        Ok(key) => ss58::encode(&key, ss58::GENERIC_PREFIX),
        Err(_) => format!("{} (not a usable key)", hex(key)),
    }
}

/// The three commitments, and the hashes behind them where the opening fits.
fn commitments(subject: &Subject) -> [(&'static str, Hash, Result<Hash, String>); 3] {
    let body = &subject.receipt.body;
    let behind = |commitment: Hash, hash: Option<Hash>| {
        let salt = subject.task.as_ref().map_err(Clone::clone)?.salt;
        let hash = hash.ok_or("the receipt's opening is missing")?;
        match hash.commit(&salt) == commitment {
            true => Ok(hash),
            false => Err("the opening does not belong to the receipt".to_owned()),
        }
    };
    let opening = subject.opening;
    [
        (
            "input",
            body.input,
            behind(body.input, opening.map(|o| o.input)),
        ),
        (
            "output",
            body.output,
            behind(body.output, opening.map(|o| o.output)),
        ),
        (
            "transcript",
            body.transcript,
            behind(body.transcript, opening.map(|o| o.transcript)),
        ),
    ]
}

fn as_json(subject: &Subject) -> serde_json::Value {
    let Receipt { body, .. } = &subject.receipt;
    let behind = |at: usize| {
        let all = commitments(subject);
        all.get(at).and_then(|(_, _, hash)| hash.clone().ok())
    };
    let blob = |hash: Option<Hash>| {
        hash.map(|hash| json!({ "hash": hash, "at_hand": subject.blobs.check(&hash).is_ok() }))
    };
    json!({
        "id": subject.receipt.id(),
        "receipt": subject.receipt,
        "miner_signature_holds": subject.receipt.verify_miner().is_ok(),
        "local": subject.receipt.is_local(),
        "attestable": body.status.attestable(),
        "miner_address": address(&body.miner),
        "claims": ["start_ms", "duration_us"],
        "opening": {
            "input": blob(behind(0)),
            "output": blob(behind(1)),
            "transcript": blob(behind(2)),
        },
        "task": subject.task.as_ref().ok(),
        "exec": subject.exec.as_ref().ok(),
        "environments": environments(subject).ok(),
    })
}
