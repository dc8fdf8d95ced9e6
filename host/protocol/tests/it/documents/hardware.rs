//! Properties of hardware records and device reports.

use adit_protocol::device_report::{DeviceReport, ReferenceCheck, Repeatability};
use adit_protocol::hardware::{
    CpuClaims, DeviceClaims, DeviceKind, HardwareRecord, NetworkClaims, SignedHardwareRecord,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{check, hash, map, name, signature};
use crate::fixtures::{miner, rng};

fn device() -> impl Strategy<Value = DeviceClaims> {
    let kind = select(vec![DeviceKind::Cpu, DeviceKind::Gpu]);
    let numbers = any::<[u64; 3]>();
    let fp16 = option::of(1..=u64::MAX);
    let models = map(any::<u64>());
    (hash(), name(), kind, numbers, fp16, models).prop_map(
        |(environment, name, kind, numbers, fp16_rate, models)| DeviceClaims {
            environment,
            name,
            kind,
            memory_bytes: numbers[0],
            memory_bandwidth: numbers[1],
            fp32_rate: numbers[2],
            fp16_rate,
            models,
        },
    )
}

fn record() -> impl Strategy<Value = HardwareRecord> {
    let cpu = (name(), 1..=u32::MAX, name(), any::<[u64; 3]>()).prop_map(
        |(model, cores, baseline, numbers)| CpuClaims {
            model,
            cores,
            baseline,
            memory_bytes: numbers[0],
            memory_bandwidth: numbers[1],
            guest_fuel_rate: numbers[2],
        },
    );
    let network = (name(), any::<[u64; 3]>()).prop_map(|(peer, numbers)| NetworkClaims {
        peer,
        rtt_us: numbers[0],
        down: numbers[1],
        up: numbers[2],
    });
    (
        any::<u8>(),
        any::<u64>(),
        name(),
        hash(),
        cpu,
        vec(device(), 0..3),
        option::of(network),
    )
        .prop_map(
            |(node, made_ms, software, engine, cpu, devices, network)| HardwareRecord {
                node: miner(node).public().to_bytes(),
                made_ms,
                software,
                engine,
                cpu,
                devices,
                network,
            },
        )
}

fn report() -> impl Strategy<Value = DeviceReport> {
    let reference = (1..=u32::MAX).prop_flat_map(|cases| {
        (hash(), 0..=cases, 0..cases, any::<u64>(), any::<u64>()).prop_map(
            move |(environment, accepted, exact, max_abs_nano, max_rel_ppm)| ReferenceCheck {
                environment,
                cases,
                accepted,
                exact,
                max_abs_nano,
                max_rel_ppm,
            },
        )
    });
    let threads = btree_set(any::<u32>(), 2..5);
    let repeatability = (2..=u32::MAX, 1..=u32::MAX, threads, any::<(bool, bool)>()).prop_map(
        |(runs, processes, threads, (repeatable, across))| Repeatability {
            runs,
            processes,
            threads: threads.into_iter().collect(),
            repeatable,
            across_threads: repeatable && across,
        },
    );
    (hash(), hash(), reference, option::of(repeatability)).prop_map(
        |(environment, model, reference, repeatability)| DeviceReport {
            environment,
            model,
            reference: Some(reference),
            repeatability,
        },
    )
}

proptest! {
    #[test]
    fn hardware_records(d in record(), at in any::<Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn signed_hardware_records(
        record in vec(any::<u8>(), 0..300),
        signature in signature(),
        at in any::<Index>(),
        x in 1..=255u8,
    ) {
        check(SignedHardwareRecord { record, signature }, at, x)?;
    }

    #[test]
    fn device_reports(d in report(), at in any::<Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn no_changed_record_still_verifies(
        record in record(),
        key in any::<u8>(),
        at in any::<Index>(),
        x in 1..=255u8,
    ) {
        let node = miner(key);
        let record = HardwareRecord { node: node.public().to_bytes(), ..record };
        let mut signed = record.sign(&node, &mut rng());
        prop_assert_eq!(signed.verify(), Ok(record));
        let at = at.index(signed.record.len());
        signed.record[at] ^= x;
        prop_assert!(signed.verify().is_err());
    }
}
