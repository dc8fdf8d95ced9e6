//! What is known of a device for a model, from what `adit doctor` has measured.

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::device_report::DeviceReport;
use adit_protocol::environment::EnvironmentDocument;
use adit_runtime::store::blobs::BlobStore;

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
