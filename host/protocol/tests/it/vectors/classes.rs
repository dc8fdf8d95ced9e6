//! Classes of devices: what a device's claims come to, and the one text of it.

use adit_protocol::hardware::{
    DeviceKind, HardwareClass, MEMORY_RUNGS_GIB, ParseHardwareClassError,
};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, json_file, names, parse, text};

names! { ParseHardwareClassError, ERRORS:
    ParseHardwareClassError::Form => "form" null
    ParseHardwareClassError::Memory { found } => "memory" {"found": found}
    ParseHardwareClassError::Rate { found } => "rate" {"found": found}
}

/// A device as a file has it: numbers as texts, since not every reader has 64 bits.
fn file(kind: DeviceKind, memory_bytes: u64, fp32_rate: u64, class: &str) -> Vec<u8> {
    json_file(json!({
        "kind": kind,
        "memory_bytes": memory_bytes.to_string(),
        "fp32_rate": fp32_rate.to_string(),
        "class": class,
    }))
}

fn good(name: &str, kind: DeviceKind, memory_bytes: u64, fp32_rate: u64) -> Good {
    let class = HardwareClass::new(kind, memory_bytes, fp32_rate);
    let file = file(kind, memory_bytes, fp32_rate, &class.to_string());
    Good::new(name, file, value(class))
}

fn value(class: HardwareClass) -> Value {
    json!({
        "kind": class.kind(), "memory_gib": class.memory_gib(), "rate_log2": class.rate_log2(),
    })
}

pub fn kind() -> Kind {
    use DeviceKind::{Cpu, Gpu};
    let giga = 1_000_000_000;
    let mut list = vec![
        good("plain", Gpu, 24_564 << 20, 29_770 * giga),
        good("unmeasured", Cpu, 0, 0),
        good("largest-numbers", Gpu, u64::MAX, u64::MAX),
        good("rate-below-one", Cpu, 1 << 30, giga - 1),
        good("rate-one", Cpu, 1 << 30, giga),
        good("rate-just-below-two", Cpu, 1 << 30, 2 * giga - 1),
        good("rate-two", Cpu, 1 << 30, 2 * giga),
        good("rate-just-below-16384", Gpu, 1 << 30, 16_384 * giga - 1),
        good("rate-16384", Gpu, 1 << 30, 16_384 * giga),
    ];
    for gib in MEMORY_RUNGS_GIB.into_iter().skip(1) {
        // The least number of bytes that is 98% of the rung.
        let least = ((u64::from(gib) << 30) * 98).div_ceil(100);
        list.push(good(&format!("memory-{gib}"), Gpu, least, 0));
        list.push(good(&format!("memory-below-{gib}"), Gpu, least - 1, 0));
    }
    let form = |name, class, why| {
        Bad::new(
            name,
            file(Gpu, 0, 0, class),
            ParseHardwareClassError::Form,
            why,
        )
    };
    let memory = ParseHardwareClassError::Memory { found: 10 };
    let rate = ParseHardwareClassError::Rate { found: 35 };
    let other = Refusal {
        error: "class",
        detail: json!({ "expected": "gpu-24g-f14" }),
    };
    Kind {
        name: "hardware-classes",
        extension: "json",
        about: "Devices and their classes: kind, rung of memory in GiB, binary logarithm of GFLOP per second.",
        good: list,
        bad: vec![
            form("no-rate", "gpu-24g", "the rate is missing"),
            form("part-too-many", "gpu-24g-f14-x", "there is a fourth part"),
            form("upper-case", "GPU-24g-f14", "the kind is in upper case"),
            form("unknown-kind", "any-24g-f14", "there is no such kind"),
            form("no-unit", "gpu-24-f14", "the unit of the memory is missing"),
            form(
                "leading-zero",
                "gpu-024g-f14",
                "a leading zero would be a second form",
            ),
            form("sign", "gpu-24g-f+14", "a sign would be a second form"),
            form("no-digits", "gpu-g-f14", "the memory has no digits"),
            Bad::new(
                "memory-between-rungs",
                file(Gpu, 10 << 30, 0, "gpu-10g-f0"),
                memory,
                "no class has 10 GiB",
            ),
            Bad::new(
                "rate-above-64-bits",
                file(Gpu, 0, u64::MAX, "gpu-0g-f35"),
                rate,
                "no number of FLOP in 64 bits is so large",
            ),
            Bad::new(
                "class-of-another-device",
                file(Gpu, 24_564 << 20, 29_770 * giga, "gpu-16g-f14"),
                other,
                "the device has another class",
            ),
        ],
        check,
        errors: &[("ParseHardwareClassError", ERRORS), ("class", &["class"])],
    }
}

fn check(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let file = parse(file);
    let number = |key| text(&file, key).parse().expect("a number");
    let class: HardwareClass = text(&file, "class").parse()?;
    let kind = match text(&file, "kind") {
        "cpu" => DeviceKind::Cpu,
        _ => DeviceKind::Gpu,
    };
    let expected = HardwareClass::new(kind, number("memory_bytes"), number("fp32_rate"));
    if class != expected {
        return Err(Refusal {
            error: "class",
            detail: json!({ "expected": expected }),
        });
    }
    Ok(value(class))
}
