//! The device report: what was measured about one model on one device before the device is offered
//! for it.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::hash::Hash;

/// The answers of a device next to those of a reference, under the model's tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ReferenceCheck {
    /// Hash of the environment document of the reference.
    #[n(0)]
    pub environment: Hash,
    /// Inputs that both computed, from 1.
    #[n(1)]
    pub cases: u32,
    /// Cases in which every output was within the model's tolerance.
    #[n(2)]
    pub accepted: u32,
    /// Cases in which every output had the same bytes. Such a case need not be accepted: a tensor
    /// that a perceptual hash cannot measure is not, whatever its bytes.
    #[n(3)]
    pub exact: u32,
    /// Largest absolute difference of all cases in 10^-9, as [`nano`] makes it.
    #[n(4)]
    pub max_abs_nano: u64,
    /// Largest relative difference of all cases in 10^-6, as [`ppm`] makes it.
    #[n(5)]
    pub max_rel_ppm: u64,
}

/// The answers of a device next to its own: whether they are the same bytes each time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Repeatability {
    /// Runs of each input in each process, from 1.
    #[n(0)]
    pub runs: u32,
    /// Processes, each of which loaded the model anew, from 1.
    #[n(1)]
    pub processes: u32,
    /// Numbers of threads that were tried, in ascending order, each once. Empty where the provider
    /// has no such setting.
    #[n(2)]
    pub threads: Vec<u32>,
    /// Whether all runs of all processes gave the same bytes, with the threads of the environment.
    #[n(3)]
    pub repeatable: bool,
    /// Whether they were the same with every number of threads too.
    #[n(4)]
    pub across_threads: bool,
}

/// What was measured about a model in an environment. At least one of the two measurements is
/// there: a report of nothing is no report.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct DeviceReport {
    /// Hash of the model's environment document on the device, which says what fell back.
    #[n(0)]
    pub environment: Hash,
    /// Hash of the model's manifest.
    #[n(1)]
    pub model: Hash,
    /// Comparison with a reference; absent if there was none to compare with.
    #[n(2)]
    pub reference: Option<ReferenceCheck>,
    /// Comparison with itself; absent if it was not made.
    #[n(3)]
    pub repeatability: Option<Repeatability>,
}

impl DeviceReport {
    /// Whether the device may be offered for the model: it was compared with a reference, and
    /// every case was within the model's tolerance.
    pub fn advertisable(&self) -> bool {
        self.reference
            .is_some_and(|check| check.cases > 0 && check.accepted == check.cases)
    }

    /// Whether two runs in this environment may be compared bit for bit: the answers were the same
    /// in at least two runs of at least two processes.
    pub fn bit_exact(&self) -> bool {
        self.repeatability
            .as_ref()
            .is_some_and(|found| found.repeatable && found.runs >= 2 && found.processes >= 2)
    }
}

impl Document for DeviceReport {
    const NAME: &'static str = "device report";
    const MAX_LEN: usize = 4 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        if let Some(check) = &self.reference {
            check.check()?;
        }
        match &self.repeatability {
            Some(found) => found.check(),
            None if self.reference.is_none() => {
                Invalid::new("reference", "nothing was measured at all")
            }
            None => Ok(()),
        }
    }
}

impl ReferenceCheck {
    fn check(&self) -> Result<(), Invalid> {
        if self.cases == 0 {
            return Invalid::new("reference.cases", "it is 0, which is said by no reference");
        }
        if self.accepted > self.cases {
            return Invalid::new("reference.accepted", "there are more than cases");
        }
        if self.exact > self.cases {
            return Invalid::new("reference.exact", "there are more than cases");
        }
        let all_exact = self.exact == self.cases;
        if all_exact && self.max_abs_nano > 0 {
            return Invalid::new("reference.max_abs_nano", "the same bytes do not differ");
        }
        if all_exact && self.max_rel_ppm > 0 {
            return Invalid::new("reference.max_rel_ppm", "the same bytes do not differ");
        }
        Ok(())
    }
}

impl Repeatability {
    fn check(&self) -> Result<(), Invalid> {
        if self.runs == 0 {
            return Invalid::new("repeatability.runs", "it is 0, and nothing was measured");
        }
        if self.processes == 0 {
            return Invalid::new(
                "repeatability.processes",
                "it is 0, and nothing was measured",
            );
        }
        fields::count("repeatability.threads", self.threads.len(), 64)?;
        if !self.threads.is_sorted_by(|a, b| a < b) {
            return Invalid::new(
                "repeatability.threads",
                "they are not in ascending order, each once",
            );
        }
        if self.repeatable && self.runs == 1 && self.processes == 1 {
            return Invalid::new(
                "repeatability.repeatable",
                "one run of one process cannot show it",
            );
        }
        if self.across_threads && !self.repeatable {
            return Invalid::new(
                "repeatability.across_threads",
                "the answers were not even the same with one number of threads",
            );
        }
        if self.across_threads && self.threads.len() < 2 {
            return Invalid::new(
                "repeatability.across_threads",
                "fewer than two numbers of threads cannot show it",
            );
        }
        Ok(())
    }
}

/// A difference in 10^-9: see [`ReferenceCheck::max_abs_nano`]. Rounded up, so that a difference is
/// never shown as none; what does not fit, infinity and NaN are `u64::MAX`.
pub fn nano(difference: f64) -> u64 {
    scaled(difference, 1e9)
}

/// A difference in 10^-6, rounded as [`nano`] does.
pub fn ppm(difference: f64) -> u64 {
    scaled(difference, 1e6)
}

fn scaled(difference: f64, unit: f64) -> u64 {
    if difference.is_nan() {
        return u64::MAX;
    }
    // The cast saturates at both ends.
    (difference * unit).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: ReferenceCheck = ReferenceCheck {
        environment: Hash::ZERO,
        cases: 3,
        accepted: 3,
        exact: 0,
        max_abs_nano: 5,
        max_rel_ppm: 7,
    };

    fn report() -> DeviceReport {
        DeviceReport {
            environment: Hash::ZERO,
            model: Hash::ZERO,
            reference: Some(CHECK),
            repeatability: Some(Repeatability {
                runs: 2,
                processes: 2,
                threads: vec![1, 2],
                repeatable: true,
                across_threads: false,
            }),
        }
    }

    #[test]
    fn a_device_is_offered_if_every_case_was_accepted() {
        assert!(report().advertisable());
        let with = |reference| DeviceReport {
            reference,
            ..report()
        };
        assert!(!with(None).advertisable());
        for (cases, accepted) in [(3, 2), (0, 0)] {
            let check = ReferenceCheck {
                cases,
                accepted,
                ..CHECK
            };
            assert!(!with(Some(check)).advertisable());
        }
    }

    #[test]
    fn it_takes_two_runs_of_two_processes_to_be_exact() {
        assert!(report().bit_exact());
        let without = DeviceReport {
            repeatability: None,
            ..report()
        };
        assert!(!without.bit_exact());
        for change in [
            (|found| found.runs = 1) as fn(&mut Repeatability),
            |found| found.processes = 1,
            |found| found.repeatable = false,
        ] {
            let mut report = report();
            change(report.repeatability.as_mut().unwrap());
            assert_eq!(report.validate(), Ok(()));
            assert!(!report.bit_exact());
        }
    }

    #[test]
    fn no_difference_is_rounded_away() {
        assert_eq!((nano(0.0), ppm(-0.0)), (0, 0));
        assert_eq!((nano(1e-300), ppm(f64::MIN_POSITIVE)), (1, 1));
        assert_eq!((nano(1.5), ppm(1.5)), (1_500_000_000, 1_500_000));
        for huge in [1e300, f64::INFINITY, f64::NAN] {
            assert_eq!((nano(huge), ppm(huge)), (u64::MAX, u64::MAX));
        }
    }
}
