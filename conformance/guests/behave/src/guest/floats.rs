//! Bits that differ where the floating-point unit is in another state, or where NaNs are not
//! canonical. What a compiler would fold is hidden from it.

use std::hint::black_box;

use super::Args;

/// A few of them.
pub fn float(_: &Args) {
    let tiny = black_box(f64::MIN_POSITIVE);
    let nan = black_box(0.0f64) / black_box(0.0);
    let signalling = black_box(f64::from_bits(0x7ff0_0000_0000_0001)) + 1.0;
    println!(
        "{:x} {:x} {:x}",
        (tiny / 4.0).to_bits(),
        nan.to_bits(),
        signalling.to_bits()
    );
    println!("{:x}", (black_box(f32::MIN_POSITIVE) / 3.0).to_bits());
}

/// Values at the edges: zeroes, subnormals, the largest, infinities, NaNs of every kind.
const EDGES: [u64; 14] = [
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x800f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x3690_0000_0000_0000,
    0x3ff8_0000_0000_0001,
    0xc002_8000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff8_dead_beef_0001,
    0x7ff0_0000_0000_0001,
];

/// Rust's own arithmetic on every pair of [`EDGES`], in 64 and 32 bits, folded into a few words;
/// and the mathematical functions, which are compiled into the guest and use no host's library.
pub fn many(_: &Args) {
    let mut double = Fold::new();
    let mut single = Fold::new();
    for a in EDGES.map(f64::from_bits).map(black_box) {
        for b in EDGES.map(f64::from_bits).map(black_box) {
            for c in [
                a + b,
                a - b,
                a * b,
                a / b,
                a % b,
                a.min(b),
                a.max(b),
                a.copysign(b),
            ] {
                double.add(c.to_bits());
            }
            double.add(a.mul_add(b, 1.0).to_bits());
            double.add(u64::from(a < b) | u64::from(a == b) << 1 | u64::from(a >= b) << 2);
            let (a, b) = (a as f32, b as f32);
            for c in [
                a + b,
                a - b,
                a * b,
                a / b,
                a % b,
                a.min(b),
                a.max(b),
                a.copysign(b),
            ] {
                single.add(u64::from(c.to_bits()));
            }
        }
        for c in [
            a.sqrt(),
            a.floor(),
            a.ceil(),
            a.trunc(),
            a.round_ties_even(),
            -a,
            a.abs(),
        ] {
            double.add(c.to_bits());
        }
        for c in [a.sin(), a.exp(), a.ln(), a.tan(), a.cbrt(), a.powf(1.3)] {
            double.add(c.to_bits());
        }
        single.add(u64::from((a as f32).to_bits()));
        single.add(f64::from(a as f32).to_bits());
        double.add(a as i64 as u64 ^ u64::from(a as u32) ^ a as u64);
    }
    println!("{:016x} {:016x}", double.0, single.0);
}

/// FNV-1a over 64-bit words, enough to tell two sequences apart.
struct Fold(u64);

impl Fold {
    fn new() -> Self {
        Fold(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
