//! Networks in virtual time: hundreds of seeds in which nothing may break, and bugs that are put in
//! and must be found.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_devnet::simulation::{self, Options, Planted, Report};

/// Seeds of the long test.
const SEEDS: u64 = 200;
/// Seeds in which a bug has to be found.
const FOUND_WITHIN: u64 = 80;

fn run(seed: u64, planted: Option<Planted>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        planted,
        ..Options::new(seed, PathBuf::from(folder.path()))
    };
    simulation::run(options).unwrap()
}

/// On all processors, since each seed is a thread's own.
fn each(seeds: std::ops::Range<u64>, look: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !look(seed) {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn hundreds_of_seeds_break_nothing() {
    let all = Mutex::new(Report::default());
    let broken = Mutex::new(Vec::new());
    each(0..SEEDS, |seed| {
        let report = run(seed, None);
        if !report.violations.is_empty() {
            broken.lock().unwrap().push((seed, report.violations));
        }
        let mut all = all.lock().unwrap();
        all.completed += report.completed;
        all.not_completed += report.not_completed;
        all.crashes += report.crashes;
        all.receipts += report.receipts;
        true
    });
    let broken = broken.into_inner().unwrap();
    assert!(
        broken.is_empty(),
        "{broken:#?}\ntry `cargo xtask simulate --seeds 1 --verbose --first SEED`"
    );
    // It is no test of networks in which nothing happens.
    let all = all.into_inner().unwrap();
    let tasks = all.completed + all.not_completed;
    assert_eq!(tasks, SEEDS * 24);
    assert!(all.completed > tasks / 2, "{all:?}");
    assert!(all.not_completed > tasks / 50, "{all:?}");
    assert!(all.crashes > 2 * SEEDS, "{all:?}");
}

#[test]
fn a_seed_makes_the_same_run_again() {
    for seed in [1, 2, 3, 1001, 1002] {
        let (first, second) = (run(seed, None), run(seed, None));
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
    assert_ne!(run(1, None).trace, run(2, None).trace);
}

#[test]
fn a_bug_that_is_put_in_is_found() {
    for planted in Planted::ALL {
        let found = Mutex::new(None);
        let others = Mutex::new(Vec::new());
        each(0..FOUND_WITHIN, |seed| {
            let report = run(seed, Some(planted));
            let hit = report
                .violations
                .iter()
                .any(|violation| violation.invariant == planted.breaks());
            if hit {
                *found.lock().unwrap() = Some(seed);
            } else {
                others.lock().unwrap().extend(report.violations);
            }
            found.lock().unwrap().is_none()
        });
        assert!(
            found.lock().unwrap().is_some(),
            "nobody found that {planted:?} breaks {:?}, only {:#?}",
            planted.breaks(),
            others.lock().unwrap()
        );
    }
}
