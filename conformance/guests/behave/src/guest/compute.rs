//! Ways to compute, and ways to end.

use std::hint::black_box;

use super::Args;

/// Never end.
pub fn endless(_: &Args) {
    loop {
        black_box(0);
    }
}

/// Go round a loop as often as asked.
pub fn count(args: &Args) {
    let mut sum = 0u64;
    for i in 0..args.number(0) {
        sum = black_box(sum.wrapping_mul(31).wrapping_add(i));
    }
    black_box(sum);
}

/// Burn fuel in a loop, then trap, so that the last instructions before the trap matter.
pub fn burn_then_trap(args: &Args) {
    count(args);
    core::arch::wasm32::unreachable();
}

/// Panic, which prints a message and traps.
pub fn panic(_: &Args) {
    panic!("as asked");
}

/// Divide 1 by the argument.
pub fn divide(args: &Args) {
    println!("{}", 1 / black_box(args.number(0) as u32));
}

/// End with an exit code.
pub fn exit(args: &Args) {
    std::process::exit(args.number(0) as i32);
}

/// Recurse to a depth, with Rust's own stack in linear memory.
pub fn recurse(args: &Args) {
    fn deeper(depth: u64) -> u64 {
        if depth == 0 {
            0
        } else {
            black_box(deeper(depth - 1)) + 1
        }
    }
    println!("{}", deeper(args.number(0)));
}

/// Recurse to a depth with a large frame each time, so that Rust's stack in linear memory ends
/// long before the engine's.
pub fn recurse_wide(args: &Args) {
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 256]);
        if depth == 0 {
            0
        } else {
            deeper(depth - 1) + black_box(frame)[7]
        }
    }
    println!("{}", deeper(args.number(0)));
}
