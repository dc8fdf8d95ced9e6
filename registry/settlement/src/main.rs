//! The settlement of an epoch as a program: the input on stdin, the output on stdout.
//!
//! The same source is the `wasi:cli/command` component that a network names in its parameters. On
//! a refusal the reason is on stderr, stdout is empty, and the exit status is 1.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match adit_settlement::settle(io::stdin().lock(), io::stdout().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
