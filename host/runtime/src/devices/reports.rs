//! Where device reports are kept: a file for each model on each environment.
//!
//! Trusted as the rest of the state folder is: whoever can write here can make a wrong device look
//! right to this machine's owner. Others measure for themselves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::device_report::DeviceReport;

use crate::store::{StoreError, UNFINISHED, open_file, sweep};

/// A folder of reports.
#[derive(Clone, Debug)]
pub struct Reports {
    folder: PathBuf,
}

impl Reports {
    /// Reports in a folder, which is made when the first is kept.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Keeps a report, in place of an earlier one of the same model and environment. What only the
    /// earlier one has measured stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be written.
    pub fn keep(&self, report: &DeviceReport) -> Result<(), StoreError> {
        let earlier = self.find(&report.environment, &report.model);
        let mut report = report.clone();
        if let Some(earlier) = earlier {
            report.reference = report.reference.or(earlier.reference);
            report.repeatability = report.repeatability.or(earlier.repeatability);
        }
        let path = self.path(&report.environment, &report.model);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        sweep(folder);
        let bytes = report.to_cbor();
        let failed = |error| StoreError::write(&path, bytes.len() as u64)(error);
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(folder)
            .map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    /// The report of a model on an environment; `None` if there is none that can be read: it is
    /// made again by measuring.
    pub fn find(&self, environment: &Hash, model: &Hash) -> Option<DeviceReport> {
        let report = read(&self.path(environment, model))?;
        (report.environment == *environment && report.model == *model).then_some(report)
    }

    /// The reports of a model, on whatever environments.
    pub fn of_model(&self, model: &Hash) -> Vec<DeviceReport> {
        let Ok(environments) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let name = format!("{}.cbor", model.to_hex());
        environments
            .filter_map(|entry| read(&entry.ok()?.path().join(&name)))
            .filter(|report| report.model == *model)
            .collect()
    }

    fn path(&self, environment: &Hash, model: &Hash) -> PathBuf {
        self.folder
            .join(environment.to_hex())
            .join(format!("{}.cbor", model.to_hex()))
    }
}

fn read(path: &Path) -> Option<DeviceReport> {
    let mut bytes = Vec::new();
    open_file(path)
        .ok()?
        .take(DeviceReport::MAX_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .ok()?;
    DeviceReport::from_cbor(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::device_report::{ReferenceCheck, Repeatability};

    #[test]
    fn a_report_is_found_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let reports = Reports::at(folder.path().join("devices"));
        let (environment, model) = (Hash::of(b"e"), Hash::of(b"m"));
        assert_eq!(reports.find(&environment, &model), None);
        let mut report = DeviceReport {
            environment,
            model,
            reference: Some(ReferenceCheck {
                environment: Hash::of(b"r"),
                cases: 2,
                accepted: 2,
                exact: 0,
                max_abs_nano: 5,
                max_rel_ppm: 1,
            }),
            repeatability: None,
        };
        reports.keep(&report).unwrap();
        assert_eq!(reports.find(&environment, &model).as_ref(), Some(&report));
        // Another measurement adds to it.
        let repeatability = Repeatability {
            runs: 2,
            processes: 2,
            threads: vec![1],
            repeatable: true,
            across_threads: false,
        };
        let other = DeviceReport {
            reference: None,
            repeatability: Some(repeatability.clone()),
            ..report.clone()
        };
        reports.keep(&other).unwrap();
        report.repeatability = Some(repeatability);
        assert_eq!(reports.find(&environment, &model), Some(report));
        let path = reports.path(&environment, &model);
        let mut bytes = fs::read(&path).unwrap();
        bytes[10] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(reports.find(&environment, &model), None);
    }
}
