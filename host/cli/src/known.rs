//! What is known of a device for a model, from what `adit doctor` and replays have measured.

use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::device_report::{DeviceReport, ReferenceCheck, nano, ppm};
use adit_protocol::environment::EnvironmentDocument;
use adit_runtime::replay::Recheck;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;

use crate::error::Failure;
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

/// Says so if a device was never compared with the reference for a model, before it is used.
///
/// # Errors
///
/// When it was, and is wrong: its results would be worth nothing to anyone.
pub fn check(
    ui: &Ui,
    state: &State,
    blobs: &BlobStore,
    device: &EnvironmentDocument,
    name: &str,
    model: &Hash,
) -> anyhow::Result<()> {
    let name = one_line(name);
    match report(state, blobs, device, model)? {
        Some(report) if report.advertisable() => Ok(()),
        Some(report) if report.reference.is_some() => Failure::new(
            Code::DeviceWrong,
            format!("the device computes the model `{name}` wrongly"),
        )
        .why("its answers were compared with the reference's and differ by more than the model's tolerance")
        .hint(format!("use another device; or, after a new driver or library, measure again: adit doctor --model {name}=FILE"))
        .into_err(),
        _ => {
            ui.note(format!(
                "note: the device was not yet compared with the reference for the model `{name}`; see `adit doctor --model {name}=FILE`"
            ));
            Ok(())
        }
    }
}

/// Keeps what a replay with inference has shown: answers that the reference gave for real input, and
/// that a device here gave again.
///
/// # Errors
///
/// When the state folder cannot be written.
pub fn learn(state: &State, blobs: &BlobStore, rechecks: &[Recheck]) -> anyhow::Result<()> {
    let mut compared: BTreeMap<[Hash; 3], ReferenceCheck> = BTreeMap::new();
    for recheck in rechecks {
        let (Some(recorded), Some(own)) = (recheck.recorded, recheck.environment) else {
            continue;
        };
        if recorded == own {
            continue;
        }
        let check = compared
            .entry([own, recheck.model, recorded])
            .or_insert(ReferenceCheck {
                environment: recorded,
                cases: 0,
                accepted: 0,
                exact: 0,
                max_abs_nano: 0,
                max_rel_ppm: 0,
            });
        check.cases = check.cases.saturating_add(1);
        check.accepted = check.accepted.saturating_add(u32::from(recheck.accepted));
        check.exact = check.exact.saturating_add(u32::from(recheck.exact));
        check.max_abs_nano = check.max_abs_nano.max(nano(recheck.max_abs));
        check.max_rel_ppm = check.max_rel_ppm.max(ppm(recheck.max_rel));
    }
    for ([environment, model, _], reference) in compared {
        // Answers of another device say nothing about this one.
        if !is_reference(blobs, &reference.environment) {
            continue;
        }
        state.reports()?.keep(&DeviceReport {
            environment,
            model,
            reference: Some(reference),
            repeatability: None,
        })?;
    }
    Ok(())
}

/// Whether an environment is that of the embedded backend, by which devices are judged.
fn is_reference(blobs: &BlobStore, environment: &Hash) -> bool {
    let bytes = blobs.get(environment, EnvironmentDocument::MAX_LEN as u64);
    let document = bytes
        .ok()
        .and_then(|b| EnvironmentDocument::from_cbor(&b).ok());
    document.is_some_and(|document| document.backend == DeviceChoice::Embedded.name())
}

/// The report of a model on a device, whatever of the model falls back there.
fn report(
    state: &State,
    blobs: &BlobStore,
    device: &EnvironmentDocument,
    model: &Hash,
) -> anyhow::Result<Option<DeviceReport>> {
    let reports = state.reports()?.of_model(model);
    let max = EnvironmentDocument::MAX_LEN as u64;
    Ok(reports.into_iter().find(|report| {
        let document = blobs.get(&report.environment, max).ok();
        document
            .and_then(|bytes| EnvironmentDocument::from_cbor(&bytes).ok())
            .is_some_and(|environment| without_model(environment) == *device)
    }))
}

/// The document of the device on which a model has this one.
fn without_model(environment: EnvironmentDocument) -> EnvironmentDocument {
    let asked = environment.requested.clone();
    EnvironmentDocument {
        execution_provider: asked.unwrap_or(environment.execution_provider),
        requested: None,
        fallback: None,
        ..environment
    }
}
