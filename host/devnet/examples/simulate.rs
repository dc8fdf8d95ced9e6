//! `simulate [--seeds N] [--first SEED] [--planted BUG] [--threads N] [--verbose] [--keep]`: whole
//! networks in virtual time, a seed after the other. Ends with 1 if an invariant was broken.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use adit_devnet::simulation::{self, Options, Planted, Report};

struct Args {
    seeds: u64,
    first: u64,
    planted: Option<Planted>,
    threads: usize,
    verbose: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args {
        seeds: 1000,
        first: 0,
        planted: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        verbose: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|error| format!("{word}: {error}"));
        match word.as_str() {
            "--seeds" => args.seeds = number(value()?)?,
            "--first" => args.first = number(value()?)?,
            "--threads" => args.threads = usize::try_from(number(value()?)?).unwrap_or(1),
            "--planted" => args.planted = Some(value()?.parse()?),
            "--verbose" => args.verbose = true,
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let folder = std::env::temp_dir().join(format!("adit-simulate-{}", std::process::id()));
    let begun = Instant::now();
    let next = AtomicU64::new(args.first);
    let last = args.first.saturating_add(args.seeds);
    let all = Mutex::new((Report::default(), 0u64, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    one(&args, seed, folder.clone(), &all);
                }
            });
        }
    });
    let _ = std::fs::remove_dir_all(&folder);
    let (sum, seeds, mut broken) = all.into_inner().unwrap_or_else(|held| held.into_inner());
    broken.sort_unstable();
    println!(
        "{seeds} seeds from {} in {:.1} s: {} tasks completed, {} not, {} receipts, {} entries, \
         {} crashes, {} events, {:.1} hours of virtual time; {} seeds with violations {broken:?}",
        args.first,
        begun.elapsed().as_secs_f64(),
        sum.completed,
        sum.not_completed,
        sum.receipts,
        sum.entries,
        sum.crashes,
        sum.events,
        sum.virtual_ms as f64 / 3_600_000.0,
        broken.len(),
    );
    match broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn one(args: &Args, seed: u64, folder: PathBuf, all: &Mutex<(Report, u64, Vec<u64>)>) {
    let options = Options {
        planted: args.planted,
        verbose: args.verbose,
        ..Options::new(seed, folder)
    };
    let result = simulation::run(options);
    let mut all = all.lock().unwrap_or_else(|held| held.into_inner());
    let (sum, seeds, broken) = &mut *all;
    *seeds += 1;
    match result {
        Ok(report) => {
            for violation in &report.violations {
                println!(
                    "seed {seed}, {} ms: {:?}: {}",
                    violation.at_ms, violation.invariant, violation.what
                );
            }
            if !report.violations.is_empty() {
                broken.push(seed);
            }
            if args.seeds == 1 {
                println!("trace {}", report.trace);
            }
            sum.completed += report.completed;
            sum.not_completed += report.not_completed;
            sum.receipts += report.receipts;
            sum.entries += report.entries;
            sum.crashes += report.crashes;
            sum.events += report.events;
            sum.virtual_ms += report.virtual_ms;
        }
        Err(error) => {
            println!("seed {seed}: {error}");
            broken.push(seed);
        }
    }
}
