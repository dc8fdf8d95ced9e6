//! How the costs of a coordinator grow with what it keeps and whom it serves: what is flat in the
//! tables stays flat, and what bends is seen.
//!
//! | part | what grows |
//! |---|---|
//! | `ended` | tasks that ended and are kept, with start and pruning at the end |
//! | `miners` | miners that ask for work, by the engine alone |
//! | `served` | miners that ask a coordinator in a process of its own, over HTTP |
//! | `blobs` | blobs of such a coordinator |
//!
//! Options: `--tasks N`, `--miners N`, `--blobs N`; 0 leaves a part out. `cargo xtask growth` runs it.
//! Times are processor time of the engine's thread or of the coordinator's process; those of `view`
//! and of pages are what a caller waits.

mod blobs;
mod ended;
mod miners;
#[path = "../network/mod.rs"]
mod network;
mod own;
mod served;

use std::path::Path;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, folder, ..] = &args[..]
        && role == "--role=coordinator"
    {
        served::run(Path::new(folder));
        return;
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        let value = at.and_then(|at| args.get(at + 1));
        value.map_or(default, |value| value.parse().expect("a number"))
    };
    let (tasks, miners) = (number("--tasks", 100_000), number("--miners", 10_000));
    let blobs = number("--blobs", 10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    if tasks > 0 {
        ended::run(&runtime, &folder.path().join("ended"), tasks);
    }
    if miners > 0 {
        let miners = u32::try_from(miners).expect("fewer");
        miners::run(&runtime, folder.path(), miners);
        served::polls(&runtime, folder.path(), miners);
    }
    if blobs > 0 {
        blobs::run(&runtime, folder.path(), blobs);
    }
}

/// Prints a row of a table.
fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}
