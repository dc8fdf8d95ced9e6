//! The program: rows on stdin, rows on stdout; and streams that fail.

use std::io::{self, Read, Write};
use std::process::{Command, Output, Stdio};

use adit_settlement::{InputError, SettleError, settle};

use super::epochs::{Size, made_up};

fn input() -> Vec<u8> {
    let size = Size {
        coordinators: 2,
        miners: 3,
        receipts: 20,
    };
    made_up(8, size).bytes()
}

fn run(input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit-settlement"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program reads all of it before it writes anything. It may stop reading what it refuses.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn the_program_writes_what_the_library_does() {
    let input = input();
    let mut expected = Vec::new();
    settle(&input[..], &mut expected).unwrap();
    let found = run(&input);
    assert!(found.status.success());
    assert!(found.stdout == expected && found.stderr.is_empty());
}

#[test]
fn the_program_says_why_it_refuses_and_writes_nothing() {
    let input = input();
    let found = run(&input[..input.len() - 1]);
    assert_eq!(found.status.code(), Some(1));
    assert!(found.stdout.is_empty());
    let reason = String::from_utf8(found.stderr).unwrap();
    assert!(
        reason.starts_with("the input ends in row 19 of its receipts; hint: "),
        "{reason}"
    );
}

/// Fails once its bytes are used up.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to)? {
            0 => Err(io::Error::other("the cable was cut")),
            count => Ok(count),
        }
    }
}

impl Write for Failing<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self.0.len().min(from.len()) {
            0 => Err(io::Error::other("the disk is full")),
            count => {
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn streams_that_fail_are_errors() {
    let input = input();
    for len in [0, 100, input.len() - 1, input.len()] {
        match settle(Failing(&input[..len]), io::sink()) {
            Err(SettleError::Input(InputError::Read(error))) => {
                assert_eq!(error.to_string(), "the cable was cut");
            }
            other => panic!("{len}: {other:?}"),
        }
    }
    for len in [0, 100] {
        match settle(&input[..], Failing(&input[..len])) {
            Err(error @ SettleError::Write(_)) => {
                assert!(
                    error.to_string().contains("the disk is full; hint: "),
                    "{error}"
                );
            }
            other => panic!("{len}: {other:?}"),
        }
    }
}
