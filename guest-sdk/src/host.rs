//! What a task can tell and ask the runtime beside inference.

use crate::sys;

/// Reports that `done` of `total` steps are finished, with a short `note` for a person.
///
/// `total = 0` means that the total is not known. Progress is advice: it may be shown, thinned
/// out or dropped, and it is no part of the output. At most 1024 bytes of `note` are kept. Each
/// call costs fuel, so report each second of work rather than each byte.
pub fn progress(done: u64, total: u64, note: &str) {
    sys::progress(done, total, note);
}

/// Appends `chunk` to the output now, before the task returns.
///
/// The output of a run is every chunk emitted, in order, followed by what the task returns.
/// Chunks stay part of the output when the task fails afterwards. Emitting more than the run's
/// limit ends the run with status 4, "limit-exceeded". Each call costs fuel, and fuel per byte.
pub fn emit(chunk: &[u8]) {
    sys::emit(chunk);
}

/// The arguments of the run (`adit run task.wasm -- ARGUMENT...`), without the program's name.
///
/// In tests they are those of `adit_sdk::testing::set_args`, none at first.
pub fn args() -> Vec<String> {
    sys::args()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn arguments_come_from_the_test() {
        assert!(args().is_empty());
        testing::set_args(["--json"]);
        assert_eq!(args(), ["--json"]);
    }
}
