//! The settlement of an epoch by the component beside that by the function of this release, of the same
//! input: seconds of both, by turns, and what the component used, as a table in Markdown.
//!
//! A run of the component is all that a registry does: a worker is started, the input goes to it by way of
//! a file, and what comes back is checked. Compiling, which is done once, is told apart.
//!
//! `cargo bench -p adit-registry --bench component -- [--receipts 10000000]` adds a size. `cargo xtask
//! setup` builds the component.

#[path = "../../settlement/benches/epoch/mod.rs"]
mod epoch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_registry::settling::program::{Computed, Programs, Sandbox, spec};
use adit_runtime::state::NoEvents;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Supervisor, SupervisorOptions, Task};
use adit_settlement::compute;
use epoch::COORDINATORS;

/// Runs of each kind, of which the median is told.
const TURNS: usize = 3;
/// Of what `epoch` writes.
const EPOCH: u64 = 9;
const GENESIS: Hash = Hash::from_bytes([7; 32]);

fn main() {
    if let Some(code) = adit_runtime::worker::main_if_worker(std::env::args_os().skip(1)) {
        std::process::exit(code);
    }
    let mut args = std::env::args().skip_while(|arg| arg != "--receipts");
    let more = args.nth(1).map(|text| text.parse().expect("a number"));
    let bench = Bench::new();
    println!(
        "| receipts | logs | input, MB | native, s | component, s | ratio | fuel, G | component's memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for receipts in [10_000, 100_000, 1_000_000].into_iter().chain(more) {
        bench.row(receipts, COORDINATORS);
    }
    // What a log pays for is remembered while it is read.
    bench.row(1_000_000, 1);
    println!("\nCompiling the component once: {:.2} s", bench.compiling);
}

struct Bench {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    programs: Programs,
    component: Hash,
    compiling: f64,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let sandbox = Sandbox {
            worker: this(),
            components: open(folder.path(), "components"),
            scratch: open(folder.path(), "scratch"),
            code: folder.path().join("code"),
        };
        let wasm = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("../wasm32-wasip2/release/adit-settlement.wasm");
        let wasm = std::fs::read(&wasm)
            .unwrap_or_else(|error| panic!("{}: {error}; cargo xtask setup", wasm.display()));
        let component = sandbox.components.put(&wasm).expect("it is kept");
        let mut bench = Bench {
            folder,
            runtime: tokio::runtime::Runtime::new().expect("threads"),
            programs: Programs::new(sandbox),
            component,
            compiling: 0.0,
        };
        let mut input = Vec::new();
        epoch::write(&mut input, 0, COORDINATORS);
        let (first, _) = timed(|| bench.sandboxed(input.clone()));
        let (second, _) = timed(|| bench.sandboxed(input));
        bench.compiling = first.saturating_sub(second).as_secs_f64();
        bench
    }

    fn sandboxed(&self, input: Vec<u8>) -> Computed {
        let ran = self.programs.run(self.component, input, EPOCH, GENESIS);
        self.runtime.block_on(ran).expect("it settles")
    }

    fn row(&self, receipts: u64, logs: u64) {
        let mut input = Vec::new();
        epoch::write(&mut input, receipts, logs);
        let (mut native, mut component) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let (time, own) = timed(|| {
                let mut bytes = Vec::new();
                let output = compute(input.as_slice()).expect("it is in order");
                output.write(&mut bytes).expect("there is memory");
                bytes
            });
            native.push(time);
            let copy = input.clone();
            let (time, computed) = timed(|| self.sandboxed(copy));
            component.push(time);
            assert!(
                computed.bytes == own,
                "the component comes to something else"
            );
            assert_eq!(computed.output.totals.counts.paid, receipts);
        }
        let (native, component) = (median(native), median(component));
        let ran = self.used(&input);
        println!(
            "| {receipts} | {logs} | {:.1} | {native:.3} | {component:.3} | {:.2} | {:.2} | {:.0} |",
            input.len() as f64 / 1e6,
            component / native,
            ran.fuel as f64 / 1e9,
            ran.peak_memory as f64 / f64::from(1 << 20),
        );
    }

    /// What the component uses.
    fn used(&self, input: &[u8]) -> Ran {
        let blobs = open(self.folder.path(), "used");
        let components = open(self.folder.path(), "components");
        let wasm = components
            .get(&self.component, u64::MAX)
            .expect("it is there");
        blobs.put(&wasm).expect("it is kept");
        let options = SupervisorOptions {
            program: this(),
            worker: WorkerOptions::default(),
            code: self.folder.path().join("code"),
            fresh_key: [0; 32],
        };
        let task = Task {
            spec: spec(self.component, blobs.put(input).expect("it is kept")),
            input: None,
            manifests: Default::default(),
            deadline: Duration::from_secs(3600),
            mode: Mode::Live,
        };
        let ran = Supervisor::new(options, blobs).run(&task, &mut NoEvents);
        ran.expect("it runs")
    }
}

fn this() -> PathBuf {
    std::env::current_exe().expect("this program has a file")
}

fn open(folder: &Path, name: &str) -> BlobStore {
    BlobStore::open(folder.join(name)).expect("a folder")
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}
