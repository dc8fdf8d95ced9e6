//! The coarse class of a device: kind, memory and rate, each on a ladder.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::DeviceKind;

/// The rungs of memory, in GiB: the sizes that cards and machines are sold with. What has more than
/// the last is on the last.
pub const MEMORY_RUNGS_GIB: [u32; 26] = [
    0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024, 1536,
    2048, 3072, 4096,
];

/// What may be missing from a rung, in parts per million: a card reports somewhat less than its
/// name says, since it keeps some memory for itself.
const MISSING_PPM: u128 = 20_000;

/// The highest rung of the rate: that of the largest number of FLOP per second in 64 bits.
const RATE_MAX: u32 = (u64::MAX / GIGA).ilog2();
const GIGA: u64 = 1_000_000_000;

/// What a device can do, coarsely: its kind, a rung of memory and a rung of its rate. The text form
/// is as `gpu-24g-f14`, of which there is one for each class.
///
/// Devices of one class are alike enough to be counted together and to wait for the same tasks;
/// nothing that is paid rests on a class that was only claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareClass {
    kind: DeviceKind,
    memory_gib: u32,
    rate_log2: u32,
}

impl HardwareClass {
    /// The class of a device with this memory in bytes and this rate of binary32 in FLOP per
    /// second.
    ///
    /// The rung of memory is the largest of [`MEMORY_RUNGS_GIB`] of which the device has 98% or
    /// more. The rung of the rate is the binary logarithm of its whole GFLOP per second, rounded
    /// down; what has less than one is on rung 0, as what was not measured is.
    pub fn new(kind: DeviceKind, memory_bytes: u64, fp32_rate: u64) -> HardwareClass {
        let fits = |gib: &u32| {
            let needed = (u128::from(*gib) << 30) * (1_000_000 - MISSING_PPM);
            u128::from(memory_bytes) * 1_000_000 >= needed
        };
        HardwareClass {
            kind,
            memory_gib: MEMORY_RUNGS_GIB.into_iter().rfind(fits).unwrap_or(0),
            rate_log2: (fp32_rate / GIGA).checked_ilog2().unwrap_or(0),
        }
    }

    /// What the device is.
    pub fn kind(self) -> DeviceKind {
        self.kind
    }

    /// Its rung of memory, in GiB.
    pub fn memory_gib(self) -> u32 {
        self.memory_gib
    }

    /// Its rung of the rate: between 2^n GFLOP per second and twice as much.
    pub fn rate_log2(self) -> u32 {
        self.rate_log2
    }
}

impl fmt::Display for HardwareClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Gpu => "gpu",
        };
        write!(f, "{kind}-{}g-f{}", self.memory_gib, self.rate_log2)
    }
}

impl Serialize for HardwareClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not the class of a device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseHardwareClassError {
    /// Another form than kind, memory and rate.
    #[error(
        "a class is a kind, a memory in GiB and a rate, as `gpu-24g-f14`; hint: write the numbers without leading zeros, and all in lower case"
    )]
    Form,
    /// A memory that no class has.
    #[error(
        "no class has a memory of {found} GiB; hint: take the next smaller of 0, 1, 2, 4, 6, 8, 12, 16, 24, 32 and so on"
    )]
    Memory {
        /// The number given.
        found: u32,
    },
    /// A rate that no class has.
    #[error(
        "no class has the rate {found}; hint: it is the binary logarithm of GFLOP per second, at most 34"
    )]
    Rate {
        /// The number given.
        found: u32,
    },
}

impl FromStr for HardwareClass {
    type Err = ParseHardwareClassError;

    fn from_str(text: &str) -> Result<HardwareClass, ParseHardwareClassError> {
        let mut parts = text.split('-');
        let (Some(kind), Some(memory), Some(rate), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseHardwareClassError::Form);
        };
        let kind = match kind {
            "cpu" => DeviceKind::Cpu,
            "gpu" => DeviceKind::Gpu,
            _ => return Err(ParseHardwareClassError::Form),
        };
        let memory_gib = memory.strip_suffix('g').and_then(number);
        let rate_log2 = rate.strip_prefix('f').and_then(number);
        let (Some(memory_gib), Some(rate_log2)) = (memory_gib, rate_log2) else {
            return Err(ParseHardwareClassError::Form);
        };
        if !MEMORY_RUNGS_GIB.contains(&memory_gib) {
            return Err(ParseHardwareClassError::Memory { found: memory_gib });
        }
        if rate_log2 > RATE_MAX {
            return Err(ParseHardwareClassError::Rate { found: rate_log2 });
        }
        Ok(HardwareClass {
            kind,
            memory_gib,
            rate_log2,
        })
    }
}

/// A decimal number in its only form, of at most nine digits.
fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.len() <= 9;
    let shortest = digits == "0" || !digits.starts_with('0');
    (plain && shortest).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(memory_bytes: u64, fp32_rate: u64) -> HardwareClass {
        HardwareClass::new(DeviceKind::Gpu, memory_bytes, fp32_rate)
    }

    #[test]
    fn memory_stands_on_the_rung_that_it_fills_to_98_percent() {
        assert!(MEMORY_RUNGS_GIB.is_sorted_by(|a, b| a < b));
        for (lower, rung) in MEMORY_RUNGS_GIB
            .into_iter()
            .zip(MEMORY_RUNGS_GIB.into_iter().skip(1))
        {
            // The least number of bytes that is 98% of the rung, and one less.
            let least = (u64::from(rung) << 30) * 98;
            let least = least.div_ceil(100);
            assert_eq!(gpu(least, 0).memory_gib(), rung);
            assert_eq!(gpu(least - 1, 0).memory_gib(), lower);
            assert_eq!(gpu(u64::from(rung) << 30, 0).memory_gib(), rung);
        }
        assert_eq!(gpu(0, 0).memory_gib(), 0);
        assert_eq!(gpu(u64::MAX, 0).memory_gib(), 4096);
        // What cards with 24 and 80 GB were seen to report, in MiB.
        assert_eq!(gpu(24_564 << 20, 0).memory_gib(), 24);
        assert_eq!(gpu(81_559 << 20, 0).memory_gib(), 80);
    }

    #[test]
    fn the_rate_is_a_logarithm_rounded_down() {
        for rung in 1..=RATE_MAX {
            let least = GIGA << rung;
            assert_eq!(gpu(0, least).rate_log2(), rung);
            assert_eq!(gpu(0, least - 1).rate_log2(), rung - 1);
        }
        for rate in [0, 1, GIGA - 1, GIGA, 2 * GIGA - 1] {
            assert_eq!(gpu(0, rate).rate_log2(), 0);
        }
        assert_eq!(gpu(0, u64::MAX).rate_log2(), RATE_MAX);
        assert_eq!(RATE_MAX, 34);
    }

    #[test]
    fn a_class_has_one_text() {
        for kind in [DeviceKind::Cpu, DeviceKind::Gpu] {
            for memory_gib in MEMORY_RUNGS_GIB {
                for rate_log2 in 0..=RATE_MAX {
                    let class = HardwareClass {
                        kind,
                        memory_gib,
                        rate_log2,
                    };
                    assert_eq!(class.to_string().parse(), Ok(class));
                }
            }
        }
        for text in [
            "",
            "gpu",
            "gpu-24g",
            "gpu-24g-f14-",
            "GPU-24g-f14",
            "any-24g-f14",
            "gpu-24-f14",
            "gpu-24g-14",
            "gpu-024g-f14",
            "gpu-24g-f014",
            "gpu-+24g-f14",
            "gpu-g-f14",
            "gpu-24g-f",
            "gpu-٢g-f14",
            "gpu-4294967320g-f14",
        ] {
            assert_eq!(
                text.parse::<HardwareClass>(),
                Err(ParseHardwareClassError::Form),
                "{text}"
            );
        }
        assert_eq!(
            "gpu-10g-f14".parse::<HardwareClass>(),
            Err(ParseHardwareClassError::Memory { found: 10 })
        );
        assert_eq!(
            "cpu-0g-f35".parse::<HardwareClass>(),
            Err(ParseHardwareClassError::Rate { found: 35 })
        );
    }
}
