//! Taking more and more of something: memory, handles, output, the host's answers.

use std::hint::black_box;
use std::io::Write;

use super::Args;
use super::wasi::cli::{environment, stdin, stdout};
use super::wasi::clocks::monotonic_clock;
use super::wasi::random;

/// Allocate that many bytes at once.
pub fn memory(args: &Args) {
    let bytes = vec![1u8; args.number(0) as usize];
    println!("{}", black_box(bytes).len());
}

/// Leak small allocations, for ever or until the allocator gives up.
pub fn leak(_: &Args) {
    loop {
        black_box(Box::leak(Box::new([1u8; 24])));
    }
}

/// Write that many bytes to standard output, ignoring errors.
pub fn stdout(args: &Args) {
    flood(&mut std::io::stdout(), args.number(0));
}

/// Write that many bytes to standard error, ignoring errors.
pub fn stderr(args: &Args) {
    flood(&mut std::io::stderr(), args.number(0));
}

fn flood(to: &mut dyn Write, bytes: u64) {
    let chunk = [b'x'; 1024];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(1024);
        if to.write_all(&chunk[..n as usize]).is_err() {
            return;
        }
        left -= n;
    }
}

/// Write that many bytes in one call, whatever `check-write` permits.
pub fn write_at_once(args: &Args) {
    let bytes = vec![b'w'; args.number(0) as usize];
    let wrote = stdout::get_stdout().blocking_write_and_flush(&bytes);
    assert!(wrote.is_ok());
}

/// Ask for that many zeroes in one call, that many times: bytes that cost the guest nothing.
pub fn write_zeroes(args: &Args) {
    let out = stdout::get_stdout();
    for _ in 0..args.number(1) {
        assert!(out.blocking_write_zeroes_and_flush(args.number(0)).is_ok());
    }
}

/// Ask for that many handles of standard input and keep them.
pub fn streams(args: &Args) {
    let kept: Vec<_> = (0..args.number(0)).map(|_| stdin::get_stdin()).collect();
    println!("{}", kept.len());
}

/// Make that many timers and keep them.
pub fn pollables(args: &Args) {
    let kept: Vec<_> = (0..args.number(0))
        .map(monotonic_clock::subscribe_duration)
        .collect();
    println!("{}", kept.len());
}

/// Ask for the arguments and the environment that many times: a list of strings each time, which
/// the host allocates in the guest piece by piece.
pub fn arguments_again(args: &Args) {
    let mut strings = 0;
    for _ in 0..args.number(0) {
        strings += environment::get_arguments().len();
        strings += environment::get_environment().len();
    }
    println!("{strings}");
}

/// Ask for that many random bytes, that many times, and keep the last of each answer.
pub fn random(args: &Args) {
    let mut last: Vec<u8> = Vec::new();
    for _ in 0..args.number(1) {
        last.extend(random::random::get_random_bytes(args.number(0)).last());
    }
    println!("{last:?}");
}
