//! A command that does what its first argument says, for the tests of the runtime.
//!
//! `list` prints the names of all behaviours, one a line: a test demands a case for each.

#[cfg(target_family = "wasm")]
mod guest;

fn main() {
    #[cfg(target_family = "wasm")]
    guest::main();
    #[cfg(not(target_family = "wasm"))]
    {
        eprintln!("this is a guest; hint: build it with --target wasm32-wasip2, and `adit run` it");
        std::process::exit(2);
    }
}
