//! The worker as a program of its own, for embedders whose binary cannot become one, and for this
//! crate's tests.

fn main() {
    let args = std::env::args_os().skip(1);
    let code = adit_runtime::worker::main_if_worker(args).unwrap_or_else(|| {
        eprintln!("adit-worker is started by a supervisor; hint: run `adit` instead");
        1
    });
    std::process::exit(code);
}
