//! `adit receipt diff`: what two receipts say differently, and where their runs parted.

use adit_protocol::Hash;
use adit_protocol::tensor::TensorBlob;
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Transcript};
use adit_runtime::record::{diverges, op_name};
use adit_runtime::store::blobs::BlobStore;
use serde_json::json;

use super::Subject;
use crate::error::Exit;
use crate::state::State;
use crate::text::{hex, one_line};
use crate::ui::Ui;

/// Longest tensor that is looked into, in bytes.
const TENSOR_BYTES_MAX: u64 = 1 << 30;

/// Fields that the exec spec and the inference answers determine.
const DETERMINED: [&str; 8] = [
    "status",
    "nn",
    "fuel",
    "nn_units",
    "peak_memory",
    "input",
    "output",
    "transcript",
];

/// `adit receipt diff A B`.
pub fn command(ui: &Ui, state: &State, a: &str, b: &str) -> anyhow::Result<Exit> {
    let (a, b) = (Subject::load(state, a)?, Subject::load(state, b)?);
    let differ: Vec<_> = fields(&a)
        .into_iter()
        .zip(fields(&b))
        .filter(|(one, other)| one != other)
        .collect();
    let same_spec = same_spec(&a, &b);
    let calls = first_call(&a, &b);
    let diverged = same_spec
        && differ
            .iter()
            .any(|((name, _), _)| DETERMINED.contains(name));
    let verdict = match (same_spec, diverged, differ.is_empty()) {
        (_, _, true) => "the receipts say the same",
        (true, true, _) => "DIVERGED: the same execution came to different results",
        (true, false, _) => "the same execution came to the same result",
        (false, ..) => "these are executions of different specs",
    };

    if ui.json {
        let fields: Vec<_> = differ
            .iter()
            .map(|((name, a), (_, b))| json!({ "field": name, "a": a, "b": b }))
            .collect();
        ui.object(&json!({
            "differ": fields,
            "same_spec": same_spec,
            "diverged": diverged,
            "first_call": match &calls {
                Calls::Differ { index, what } => json!({ "index": index, "what": what }),
                _ => json!(null),
            },
            "calls": match &calls {
                Calls::Same(count) => format!("all {count} are the same"),
                Calls::Differ { .. } => "they differ".to_owned(),
                Calls::Unknown(why) => format!("not compared: {why}"),
            },
            "summary": verdict,
        }))?;
    } else {
        for ((name, a), (_, b)) in &differ {
            ui.line(format!("{name:<14} {a}"))?;
            ui.line(format!("{:<14} {b}", ""))?;
        }
        ui.line(match &calls {
            Calls::Same(0) => "inference      neither made a call".to_owned(),
            Calls::Same(count) => format!("inference      the same {count} calls"),
            Calls::Differ { index, what } => {
                format!(
                    "inference      the first difference is at call {index}: {}",
                    one_line(what)
                )
            }
            Calls::Unknown(why) => format!("inference      not compared: {}", one_line(why)),
        })?;
        ui.line(verdict)?;
    }
    Ok(if diverged { Exit::Diverged } else { Exit::Ok })
}

/// Every field of the body with its name.
fn fields(subject: &Subject) -> Vec<(&'static str, String)> {
    let body = &subject.receipt.body;
    vec![
        ("network", hex(&body.network)),
        ("status", body.status.to_string()),
        ("gpu", body.gpu.to_string()),
        ("nn", body.nn.to_string()),
        ("epoch", body.epoch.to_string()),
        ("seq", body.seq.to_string()),
        ("start_ms", body.start_ms.to_string()),
        ("duration_us", body.duration_us.to_string()),
        ("fuel", body.fuel.to_string()),
        ("nn_units", body.nn_units.to_string()),
        ("peak_memory", body.peak_memory.to_string()),
        ("miner", hex(&body.miner)),
        ("coordinator", hex(&body.coordinator)),
        ("task", body.task.to_string()),
        ("assignment", body.assignment.to_string()),
        ("component", body.component.to_string()),
        ("input", body.input.to_string()),
        ("output", body.output.to_string()),
        ("transcript", body.transcript.to_string()),
        ("environment", body.environment.to_string()),
        ("prev", body.prev.to_string()),
    ]
}

/// Whether both are runs of one exec spec, under one salt: only then can the commitments be
/// compared, and a difference means something.
fn same_spec(a: &Subject, b: &Subject) -> bool {
    if a.receipt.body.task == b.receipt.body.task {
        return true;
    }
    match (&a.task, &b.task) {
        (Ok(a), Ok(b)) => a.exec == b.exec && a.salt == b.salt,
        _ => false,
    }
}

enum Calls {
    Same(usize),
    Differ { index: u64, what: String },
    Unknown(String),
}

fn first_call(a: &Subject, b: &Subject) -> Calls {
    let (one, other) = match (a.transcript(), b.transcript()) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(why), _) | (_, Err(why)) => return Calls::Unknown(why),
    };
    for (index, (one_call, other_call)) in (0..).zip(one.calls.iter().zip(&other.calls)) {
        if let Some(found) = diverges(index, one_call, other_call) {
            let what = format!(
                "{}: {} is {} in the first, {} in the second",
                found.operation, found.what, found.expected, found.actual
            );
            return Calls::Differ { index, what };
        }
        if let Some(what) = answers(one_call, other_call, &a.blobs) {
            let what = format!("{}: {what}", op_name(one_call.op));
            return Calls::Differ { index, what };
        }
        if environment(&one, one_call) != environment(&other, other_call) {
            let what = format!(
                "{}: it was made in another environment",
                op_name(one_call.op)
            );
            return Calls::Differ { index, what };
        }
    }
    let (ours, theirs) = (one.calls.len(), other.calls.len());
    if ours != theirs {
        let index = ours.min(theirs) as u64;
        let what = format!("the first made {ours} calls, the second {theirs}");
        return Calls::Differ { index, what };
    }
    Calls::Same(ours)
}

fn environment(transcript: &Transcript, call: &Call) -> Option<Hash> {
    let index = usize::try_from(call.environment?).ok()?;
    transcript.environments.get(index).copied()
}

/// How the answers to the same question differ.
fn answers(a: &Call, b: &Call, blobs: &BlobStore) -> Option<String> {
    if a.error != b.error {
        let show = |error: Option<u8>| match error {
            Some(code) => format!("error {code}"),
            None => "a result".to_owned(),
        };
        return Some(format!(
            "the answer is {} in the first, {} in the second",
            show(a.error),
            show(b.error)
        ));
    }
    for (one, other) in a.outputs.iter().zip(&b.outputs) {
        if one.name != other.name {
            return Some(format!(
                "output `{}` is `{}` in the second",
                one.name, other.name
            ));
        }
        if one.hash != other.hash {
            let far = distance(&one.hash, &other.hash, blobs)
                .map_or_else(String::new, |far| format!(" ({far})"));
            return Some(format!(
                "output `{}` is {} in the first, {} in the second{far}",
                one.name, one.hash, other.hash
            ));
        }
    }
    (a.outputs.len() != b.outputs.len()).then(|| {
        format!(
            "there are {} outputs in the first, {} in the second",
            a.outputs.len(),
            b.outputs.len()
        )
    })
}

/// How far two tensors are apart, if both are at hand and of one shape.
fn distance(a: &Hash, b: &Hash, blobs: &BlobStore) -> Option<String> {
    let (a, b) = (
        blobs.get(a, TENSOR_BYTES_MAX).ok()?,
        blobs.get(b, TENSOR_BYTES_MAX).ok()?,
    );
    let (dtype, dims, data) = TensorBlob::decode(&a).ok()?;
    let (other, other_dims, other_data) = TensorBlob::decode(&b).ok()?;
    if dtype != other {
        return Some(format!("{dtype} against {other}"));
    }
    let found = Tolerance::Exact.compare(dtype, &dims, data, &other_dims, other_data);
    Some(match found {
        Ok(found) => format!(
            "largest difference {:e} absolute, {:e} relative; cosine {:.6}",
            found.max_abs, found.max_rel, found.cosine
        ),
        Err(_) => format!("dimensions {dims:?} against {other_dims:?}"),
    })
}
