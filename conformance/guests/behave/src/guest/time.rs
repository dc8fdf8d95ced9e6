//! Clocks, sleeping and waiting.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Args;
use super::wasi::cli::{stdin, stdout};
use super::wasi::clocks::{monotonic_clock, wall_clock};
use super::wasi::io::poll::{Pollable, poll};

const HOUR_NS: u64 = 3_600_000_000_000;

/// Both clocks through the standard library, and a short sleep.
pub fn clock(_: &Args) {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = Instant::now();
    let step = start.elapsed();
    std::thread::sleep(Duration::from_millis(250));
    println!(
        "{} {} {}",
        wall.as_nanos(),
        step.as_nanos(),
        start.elapsed().as_nanos()
    );
}

/// Both clocks and their resolutions, read in turns.
pub fn clocks(_: &Args) {
    for _ in 0..3 {
        let wall = wall_clock::now();
        println!(
            "{} {}.{:09}",
            monotonic_clock::now(),
            wall.seconds,
            wall.nanoseconds
        );
    }
    let wall = wall_clock::resolution();
    println!(
        "{} {}.{:09}",
        monotonic_clock::resolution(),
        wall.seconds,
        wall.nanoseconds
    );
}

/// Sleep that many seconds and tell how many went by.
pub fn sleep(args: &Args) {
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(args.number(0)));
    println!("{}", start.elapsed().as_secs());
}

/// Sleep that many nanoseconds, twice, and read both clocks.
pub fn sleep_ns(args: &Args) {
    for _ in 0..2 {
        monotonic_clock::subscribe_duration(args.number(0)).block();
        let wall = wall_clock::now();
        println!(
            "{} {}.{:09}",
            monotonic_clock::now(),
            wall.seconds,
            wall.nanoseconds
        );
    }
}

/// Spin on `ready` until that many nanoseconds have gone by, without ever waiting.
pub fn spin(args: &Args) {
    let timer = monotonic_clock::subscribe_duration(args.number(0));
    let mut spins = 0u64;
    while !timer.ready() {
        spins += 1;
    }
    println!("{spins} {}", monotonic_clock::now());
}

/// Wait for timers and streams together, and print what came back.
pub fn poll_ahead(_: &Args) {
    let at = monotonic_clock::subscribe_instant;
    let hour = at(HOUR_NS);
    let also = at(HOUR_NS);
    let second = at(1_000_000_000);
    let never = at(u64::MAX);
    let past = at(0);
    let input = stdin::get_stdin().subscribe();
    let output = stdout::get_stdout().subscribe();
    println!("{:?}", poll(&[&hour, &input, &second, &output, &past]));
    println!("{:?} {}", poll(&[&hour, &second]), monotonic_clock::now());
    println!(
        "{:?} {}",
        poll(&[&never, &hour, &never, &also]),
        monotonic_clock::now()
    );
    // The same pollable twice in one list.
    println!("{:?} {}", poll(&[&past, &past]), monotonic_clock::now());
    println!("{:?} {}", poll(&[&never]), monotonic_clock::now());
}

/// Wait for what never comes, again and again.
pub fn poll_for_ever(_: &Args) {
    let never = monotonic_clock::subscribe_instant(u64::MAX);
    loop {
        poll(&[&never]);
    }
}

/// Wait for that many pollables in one call, that many times. There are few handles to be had, so
/// the list names the same ones again and again.
pub fn poll_many(args: &Args) {
    let timers: Vec<Pollable> = (1..=100)
        .map(|hours| monotonic_clock::subscribe_instant(hours * HOUR_NS))
        .collect();
    let list: Vec<&Pollable> = timers
        .iter()
        .cycle()
        .take(args.number(0) as usize)
        .collect();
    let mut ready = 0;
    for _ in 0..args.number(1) {
        ready += poll(&list).len();
    }
    println!("{ready} {}", monotonic_clock::now());
}

/// Wait for nothing at all, which the contract says is a trap.
pub fn poll_nothing(_: &Args) {
    println!("{:?}", poll(&[]));
}

/// Ask an input that has ended whether there is more, for ever.
pub fn stdin_for_ever(_: &Args) {
    let input = stdin::get_stdin();
    loop {
        input.subscribe().block();
        std::hint::black_box(input.read(1).is_ok());
    }
}
