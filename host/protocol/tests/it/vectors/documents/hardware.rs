//! Hardware records, plain and signed.

use adit_protocol::cbor::{DecodeError, Document, Reason, SortedMap};
use adit_protocol::hardware::{
    CONTEXT, CpuClaims, DeviceClaims, DeviceKind, HardwareError, HardwareRecord, NetworkClaims,
    SignedHardwareRecord,
};
use serde_json::json;

use super::samples::{h, names};
use super::{REASONS, invalid, mistyped};
use crate::fixtures::{miner, rng};
use crate::vectors::kind::{Bad, Kind, Refusal};
use crate::vectors::signatures::{self, IDENTITY_FORGERY, NEGATIVE};

const ERRORS: &[&str] = &["record", "zero-key", "not-a-point", "node-signature"];

impl From<HardwareError> for Refusal {
    fn from(error: HardwareError) -> Refusal {
        match error {
            // Which rule of the record's own is broken, by the name that its kind has for it.
            HardwareError::Record(error) => Refusal {
                error: "record",
                detail: json!({ "rule": Refusal::from(error).error }),
            },
            HardwareError::Key(error) => error.into(),
            HardwareError::Signature => Refusal::new("node-signature"),
        }
    }
}

fn device() -> DeviceClaims {
    DeviceClaims {
        environment: h("environment"),
        name: "GPU ™".into(),
        kind: DeviceKind::Gpu,
        memory_bytes: 24_564 << 20,
        memory_bandwidth: 936_000_000_000,
        fp32_rate: 29_770_000_000_000,
        fp16_rate: Some(59_540_000_000_000),
        models: [("embedder-small", 900_000), ("vad", 12)]
            .into_iter()
            .collect(),
    }
}

fn record() -> HardwareRecord {
    HardwareRecord {
        node: miner(1).public().to_bytes(),
        made_ms: 1_700_000_000_000,
        software: "0.1.0".into(),
        engine: h("engine"),
        cpu: CpuClaims {
            model: "CPU ®".into(),
            cores: 16,
            baseline: "x86-64-v2".into(),
            memory_bytes: 64 << 30,
            memory_bandwidth: 40_000_000_000,
            guest_fuel_rate: 900_000_000,
        },
        devices: vec![device()],
        network: Some(NetworkClaims {
            peer: "coordinator.example".into(),
            rtt_us: 12_000,
            down: 125_000_000,
            up: 12_500_000,
        }),
    }
}

/// What can be left out is, and what was not measured is zero.
fn unmeasured() -> HardwareRecord {
    HardwareRecord {
        made_ms: 0,
        cpu: CpuClaims {
            model: String::new(),
            cores: 1,
            baseline: String::new(),
            memory_bytes: 0,
            memory_bandwidth: 0,
            guest_fuel_rate: 0,
        },
        devices: vec![],
        network: None,
        ..record()
    }
}

pub fn records() -> Vec<(&'static str, HardwareRecord)> {
    let plain = DeviceClaims {
        name: "cpu".into(),
        kind: DeviceKind::Cpu,
        memory_bytes: 0,
        memory_bandwidth: 0,
        fp32_rate: 0,
        fp16_rate: None,
        models: SortedMap::new(),
        ..device()
    };
    vec![
        ("plain", record()),
        ("unmeasured", unmeasured()),
        (
            "two-of-a-kind-and-the-cpu",
            HardwareRecord {
                devices: vec![device(), device(), plain],
                ..record()
            },
        ),
        (
            "largest-numbers",
            HardwareRecord {
                made_ms: u64::MAX,
                cpu: CpuClaims {
                    cores: u32::MAX,
                    guest_fuel_rate: u64::MAX,
                    ..record().cpu
                },
                devices: vec![DeviceClaims {
                    memory_bytes: u64::MAX,
                    fp32_rate: u64::MAX,
                    fp16_rate: Some(u64::MAX),
                    models: [("m".repeat(128), u64::MAX)].into_iter().collect(),
                    ..device()
                }],
                ..record()
            },
        ),
    ]
}

pub fn bad_records() -> Vec<Bad> {
    let broken = |name, change: fn(&mut HardwareRecord), field, why| {
        let mut document = record();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let r = record();
    vec![
        broken(
            "software-empty",
            |d| d.software.clear(),
            "software",
            "the version of the software is empty",
        ),
        broken(
            "no-cores",
            |d| d.cpu.cores = 0,
            "cpu.cores",
            "nothing can have been measured on no core",
        ),
        broken(
            "control-character",
            |d| d.cpu.model = "CPU\u{1b}[2J".into(),
            "cpu.model",
            "an escape sequence could forge what a terminal shows",
        ),
        broken(
            "devices-65",
            |d| d.devices = vec![device(); 65],
            "devices",
            "65 devices are one too many",
        ),
        broken(
            "device-without-name",
            |d| d.devices[0].name.clear(),
            "devices.name",
            "a device has no name",
        ),
        broken(
            "no-binary16",
            |d| d.devices[0].fp16_rate = Some(0),
            "devices.fp16_rate",
            "a rate of nothing is said by leaving it out",
        ),
        broken(
            "models-257",
            |d| d.devices[0].models = names(257, 3).map(|name| (name, 1)).collect(),
            "devices.models",
            "257 models are one too many",
        ),
        broken(
            "model-name-129-bytes",
            |d| d.devices[0].models = names(1, 129).map(|name| (name, 1)).collect(),
            "devices.models",
            "the name of a model has 129 bytes",
        ),
        broken(
            "peer-empty",
            |d| d.network.as_mut().unwrap().peer.clear(),
            "network.peer",
            "the peer has no name",
        ),
        mistyped(
            "node-of-31-bytes",
            &r,
            &[0],
            &[&[0x58, 31][..], &[7; 31]].concat(),
            "a byte of the node's key is missing",
        ),
        mistyped(
            "unknown-kind",
            &r,
            &[5, 0, 2],
            &[2],
            "there is no kind of device 2",
        ),
        mistyped(
            "cores-of-33-bits",
            &r,
            &[4, 1],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the number of cores has 32 bits",
        ),
    ]
}

/// The signed form, with the check of the signature.
pub fn signed() -> Kind {
    let node = miner(1);
    let plain = record().sign(&node, &mut rng());
    let least = unmeasured().sign(&node, &mut rng());
    let good = vec![("plain", plain.clone()), ("unmeasured", least)];
    let mut kind = super::kind(
        "signed-hardware-records",
        "Hardware records with the signature of their node, under the context `adit-hardware-v1`.",
        good,
        bad_signed(&plain),
    );
    for (good, record) in kind.good.iter_mut().zip([record(), unmeasured()]) {
        good.value["record"] = json!(record);
    }
    kind.check = |file, _| {
        let signed = SignedHardwareRecord::from_cbor(file)?;
        assert_eq!(signed.to_cbor(), file);
        let mut value = super::value(&signed);
        value["record"] = json!(signed.verify()?);
        Ok(value)
    };
    kind.errors = &[("DecodeError", REASONS), ("HardwareError", ERRORS)];
    kind
}

fn bad_signed(plain: &SignedHardwareRecord) -> Vec<Bad> {
    let node = miner(1);
    // What the signature is made of, or what is signed, is another one.
    let signature = |name, signature, why| {
        let document = SignedHardwareRecord {
            signature,
            ..plain.clone()
        };
        Bad::new(name, document.to_cbor(), HardwareError::Signature, why)
    };
    let signing = |name, record: Vec<u8>, error: HardwareError, why| {
        let signature = node.sign(CONTEXT, &record, &mut rng());
        let document = SignedHardwareRecord { record, signature };
        Bad::new(name, document.to_cbor(), error, why)
    };
    let of_key = |name, key, signature, why| {
        let record = HardwareRecord {
            node: key,
            ..record()
        };
        let error = match adit_protocol::keys::PublicKey::from_bytes(&key) {
            Err(error) => HardwareError::Key(error),
            Ok(_) => HardwareError::Signature,
        };
        let document = SignedHardwareRecord {
            record: record.to_cbor(),
            signature,
        };
        Bad::new(name, document.to_cbor(), error, why)
    };
    let record_error = |reason| {
        HardwareError::Record(DecodeError {
            document: HardwareRecord::NAME,
            reason,
        })
    };
    let end = plain.record.len();
    let mut later = record();
    later.made_ms += 1;
    let altered = SignedHardwareRecord {
        record: later.to_cbor(),
        ..plain.clone()
    };
    let mut nothing_ran = record();
    nothing_ran.cpu.cores = 0;
    let message = &plain.record;
    vec![
        signature(
            "flipped-bit-of-the-signature",
            signatures::flipped(plain.signature, 3),
            "a bit of the signature is flipped",
        ),
        signature(
            "unmarked",
            signatures::unmarked(plain.signature),
            "the highest bit of the signature, which marks sr25519, is not set",
        ),
        signature(
            "other-key",
            miner(2).sign(CONTEXT, message, &mut rng()),
            "another node signed the record",
        ),
        signature(
            "context-of-stock-tools",
            node.sign(b"substrate", message, &mut rng()),
            "it was signed under the context `substrate`, where only receipts and the like are",
        ),
        signature(
            "context-of-another-message",
            node.sign(b"adit-assignment-v1", message, &mut rng()),
            "it was signed under the context `adit-assignment-v1`",
        ),
        Bad::new(
            "altered-record",
            altered.to_cbor(),
            HardwareError::Signature,
            "the time was changed after signing",
        ),
        of_key(
            "node-of-zeros",
            [0; 32],
            IDENTITY_FORGERY,
            "the node's key is the identity, under which anyone can sign",
        ),
        of_key(
            "node-not-a-point",
            NEGATIVE,
            plain.signature,
            "the node's key is odd, which Ristretto does not allow as the form of a point",
        ),
        signing(
            "record-with-trailing-byte",
            [&message[..], &[0]].concat(),
            record_error(Reason::Trailing { offset: end }),
            "a byte follows the record that was signed",
        ),
        signing(
            "record-empty",
            vec![],
            record_error(Reason::CutOff { offset: 0 }),
            "no record was signed",
        ),
        signing(
            "record-breaks-a-rule",
            nothing_ran.to_cbor(),
            record_error(Reason::Invalid {
                field: "cpu.cores",
                detail: String::new(),
            }),
            "the record that was signed has no cores",
        ),
        Bad::new(
            "record-over-bound",
            [0xa2, 0, 0x5a, 0, 1, 0, 1],
            Reason::OverBound {
                offset: 2,
                what: "byte string",
                found: 65_537,
                max: 65_536,
            },
            "it claims a record of 65537 bytes",
        ),
        mistyped(
            "signature-of-63-bytes",
            plain,
            &[1],
            &[&[0x58, 63][..], &[3; 63]].concat(),
            "a byte of the signature is missing",
        ),
        mistyped(
            "record-not-in-bytes",
            plain,
            &[0],
            message,
            "the record is a map of its own, and not its bytes",
        ),
    ]
}
