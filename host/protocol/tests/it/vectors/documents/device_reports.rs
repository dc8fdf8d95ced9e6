//! Device reports: what was measured, and what cannot have been.

use adit_protocol::device_report::{DeviceReport, ReferenceCheck, Repeatability};

use super::samples::h;
use super::{invalid, mistyped};
use crate::vectors::kind::Bad;

fn report() -> DeviceReport {
    DeviceReport {
        environment: h("environment"),
        model: h("manifest"),
        reference: Some(ReferenceCheck {
            environment: h("reference"),
            cases: 16,
            accepted: 16,
            exact: 3,
            max_abs_nano: 1_200,
            max_rel_ppm: 7,
        }),
        repeatability: Some(Repeatability {
            runs: 3,
            processes: 2,
            threads: vec![1, 2, 4],
            repeatable: true,
            across_threads: true,
        }),
    }
}

/// The report after a change of its comparison with a reference.
fn reference(change: fn(&mut ReferenceCheck)) -> DeviceReport {
    let mut report = report();
    report.reference.iter_mut().for_each(change);
    report
}

/// The report after a change of its comparison with itself.
fn repeatability(change: fn(&mut Repeatability)) -> DeviceReport {
    let mut report = report();
    report.repeatability.iter_mut().for_each(change);
    report
}

pub fn reports() -> Vec<(&'static str, DeviceReport)> {
    vec![
        ("plain", report()),
        (
            "only-a-reference",
            DeviceReport {
                repeatability: None,
                ..report()
            },
        ),
        (
            "only-repeatability",
            DeviceReport {
                reference: None,
                ..report()
            },
        ),
        (
            "differences-without-measure",
            reference(|check| {
                check.accepted = 0;
                check.exact = 0;
                check.max_abs_nano = u64::MAX;
                check.max_rel_ppm = u64::MAX;
            }),
        ),
        // As where a tolerance cannot be measured: the same bytes, and not accepted.
        (
            "exact-but-not-accepted",
            reference(|check| {
                check.accepted = 0;
                check.exact = 16;
                check.max_abs_nano = 0;
                check.max_rel_ppm = 0;
            }),
        ),
        (
            "not-repeatable",
            repeatability(|found| {
                found.runs = 1;
                found.processes = 1;
                found.threads = vec![];
                found.repeatable = false;
                found.across_threads = false;
            }),
        ),
        (
            "repeatable-with-one-number-of-threads",
            repeatability(|found| {
                found.threads = vec![u32::MAX];
                found.across_threads = false;
            }),
        ),
    ]
}

pub fn bad_reports() -> Vec<Bad> {
    let r = report();
    let nothing = DeviceReport {
        reference: None,
        repeatability: None,
        ..report()
    };
    let mut bad = vec![
        invalid(
            "nothing-measured",
            &nothing,
            "reference",
            "there is neither a comparison with a reference nor one with itself",
        ),
        mistyped(
            "cases-of-33-bits",
            &r,
            &[2, 1],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the number of cases has 32 bits",
        ),
        mistyped(
            "repeatable-is-a-number",
            &r,
            &[3, 3],
            &[1],
            "a flag is a number",
        ),
        mistyped(
            "reference-without-cases",
            &r,
            &[2],
            &[0xa0],
            "the comparison with a reference has no fields",
        ),
    ];
    let of_reference: [(_, fn(&mut ReferenceCheck), _, _); 5] = [
        (
            "no-cases",
            |check| check.cases = 0,
            "reference.cases",
            "a comparison of nothing is said by leaving it out",
        ),
        (
            "accepted-above-cases",
            |check| check.accepted = 17,
            "reference.accepted",
            "17 of 16 cases cannot be accepted",
        ),
        (
            "exact-above-cases",
            |check| check.exact = 17,
            "reference.exact",
            "17 of 16 cases cannot be exact",
        ),
        (
            "same-bytes-differ",
            |check| check.exact = 16,
            "reference.max_abs_nano",
            "all cases have the same bytes, and yet there is a difference",
        ),
        (
            "same-bytes-differ-relatively",
            |check| {
                check.exact = 16;
                check.max_abs_nano = 0;
            },
            "reference.max_rel_ppm",
            "all cases have the same bytes, and yet there is a relative difference",
        ),
    ];
    let of_itself: [(_, fn(&mut Repeatability), _, _); 8] = [
        (
            "no-runs",
            |found| found.runs = 0,
            "repeatability.runs",
            "nothing was run",
        ),
        (
            "no-processes",
            |found| found.processes = 0,
            "repeatability.processes",
            "nothing ran",
        ),
        (
            "threads-out-of-order",
            |found| found.threads = vec![2, 1],
            "repeatability.threads",
            "the numbers of threads are not in ascending order",
        ),
        (
            "threads-twice",
            |found| found.threads = vec![1, 1],
            "repeatability.threads",
            "a number of threads is there twice",
        ),
        (
            "threads-65",
            |found| found.threads = (1..=65).collect(),
            "repeatability.threads",
            "65 numbers of threads are one too many",
        ),
        (
            "repeatable-after-one-run",
            |found| {
                found.runs = 1;
                found.processes = 1;
            },
            "repeatability.repeatable",
            "one run cannot show that another comes to the same",
        ),
        (
            "across-threads-but-not-repeatable",
            |found| found.repeatable = false,
            "repeatability.across_threads",
            "the answers differ with one number of threads, and so over all",
        ),
        (
            "across-one-number-of-threads",
            |found| found.threads = vec![4],
            "repeatability.across_threads",
            "one number of threads cannot show what others do",
        ),
    ];
    bad.extend(
        of_reference
            .map(|(name, change, field, why)| invalid(name, &reference(change), field, why)),
    );
    bad.extend(
        of_itself
            .map(|(name, change, field, why)| invalid(name, &repeatability(change), field, why)),
    );
    bad
}
