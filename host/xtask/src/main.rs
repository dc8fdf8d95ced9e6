//! `cargo xtask`: the commands a contributor and the CI need, in Rust, so that they work wherever
//! the project builds.
//!
//! It imports no other crate of the workspace: it must build in seconds, and it uses the project
//! the way a stranger does, through cargo and the `adit` binary.

mod archive;
mod bench;
mod bundle;
mod debian;
mod demo;
mod dist;
mod error;
mod fetch;
mod fuzz;
mod hostile;
mod models;
mod project;
mod runtimes;
mod samples;
mod setup;
mod swiftshader;
mod test;
mod toolchains;
mod verifiers;

use std::path::PathBuf;
use std::process::ExitCode;

use error::{Error, Result};
use lexopt::prelude::*;

const USAGE: &str = "\
Development tasks of Adit.

usage: cargo xtask COMMAND

  setup [--demo]     Add the Wasm targets, fetch the models (hashes pinned), build the guests (the
                     example tasks, and those of tests), `adit`, and what it builds tasks in Python,
                     JavaScript and C with; install what checks the vectors; fetch the builds of ONNX
                     Runtime and the software GPU that the inference tests use. Quick when there is
                     nothing to do. --demo: only what the demo needs, by cargo alone.
  demo               Watch a machine-learning task run in the sandbox, leave a signed receipt,
                     replay bit for bit, and a forged receipt be refused.
  test [-- ARGS]     Set up, then run every test. ARGS go to `cargo test`.
  bench [-- ARGS]    Set up, then run every benchmark. ARGS go to the benchmarks.
  fuzz [TARGET] [--seconds N]
                     Fuzz every decoder, or one of them, for N seconds each (default 60). Fetches
                     and builds cargo-fuzz the first time.
  hostile [--examples N] [--times N] [--seed N]
                     Set up, then let hostile peers at the program's processes: N cases of
                     schemathesis for each operation of the coordinator (default 200, from seed 1),
                     and N times the requests of CI (default 10).
  gpu-bundle [--cuda] [--out DIR]
                     Set up, then make a folder that tries `adit` and its GPU tests on a machine with
                     a GPU and no network, and an archive of it (default DIR: target/gpu-bundle).
                     --cuda: the CUDA libraries of ONNX Runtime as well, as part files.
  dist [--out DIR]   Build what is released: a tarball and, with dpkg-deb, a Debian package, of the
                     binary, units for systemd, completions and manual pages (default DIR:
                     target/dist).
  help               Print this text.
";

/// A parsed command line.
#[derive(Debug, PartialEq)]
enum Command {
    Setup {
        demo: bool,
    },
    Demo,
    Test {
        args: Vec<String>,
    },
    Bench {
        args: Vec<String>,
    },
    Fuzz {
        target: Option<String>,
        seconds: u64,
    },
    Hostile(hostile::Amount),
    GpuBundle {
        cuda: bool,
        out: Option<PathBuf>,
    },
    Dist {
        out: Option<PathBuf>,
    },
    Help,
}

fn main() -> ExitCode {
    let outcome = parse(lexopt::Parser::from_env()).and_then(|command| match command {
        Command::Setup { demo } => setup::command(demo),
        Command::Demo => demo::command(),
        Command::Test { args } => test::command(&args),
        Command::Bench { args } => bench::command(&args),
        Command::Fuzz { target, seconds } => fuzz::command(target.as_deref(), seconds),
        Command::Hostile(amount) => hostile::command(amount),
        Command::GpuBundle { cuda, out } => bundle::command(cuda, out.as_deref()),
        Command::Dist { out } => dist::command(out.as_deref()),
        Command::Help => {
            print!("{USAGE}");
            Ok(())
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command> {
    let mut name: Option<String> = None;
    let mut demo = false;
    let mut seconds = 60;
    let mut amount = hostile::Amount::default();
    let mut cuda = false;
    let mut out = None;
    let mut rest = Vec::new();
    // `raw_args` would take options too; a lone `--` is what separates our options from theirs.
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("demo") if name.as_deref() == Some("setup") => demo = true,
            Long("seconds") if name.as_deref() == Some("fuzz") => {
                seconds = parser.value()?.parse()?;
            }
            Long("examples") if name.as_deref() == Some("hostile") => {
                amount.examples = parser.value()?.parse()?;
            }
            Long("times") if name.as_deref() == Some("hostile") => {
                amount.times = parser.value()?.parse()?;
            }
            Long("seed") if name.as_deref() == Some("hostile") => {
                amount.seed = parser.value()?.parse()?;
            }
            Long("cuda") if name.as_deref() == Some("gpu-bundle") => cuda = true,
            Long("out") if matches!(name.as_deref(), Some("gpu-bundle" | "dist")) => {
                out = Some(PathBuf::from(parser.value()?));
            }
            Value(value) if name.is_none() => name = Some(value.string()?),
            Value(value) if name.as_deref() == Some("fuzz") && rest.is_empty() => {
                rest.push(value.string()?);
            }
            Value(value) if takes_args(name.as_deref()) => rest.push(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    match name.as_deref() {
        Some("setup") => Ok(Command::Setup { demo }),
        Some("demo") => Ok(Command::Demo),
        Some("test") => Ok(Command::Test { args: rest }),
        Some("bench") => Ok(Command::Bench { args: rest }),
        Some("fuzz") => Ok(Command::Fuzz {
            target: rest.pop(),
            seconds,
        }),
        Some("hostile") => Ok(Command::Hostile(amount)),
        Some("gpu-bundle") => Ok(Command::GpuBundle { cuda, out }),
        Some("dist") => Ok(Command::Dist { out }),
        Some("help") | None => Ok(Command::Help),
        Some(other) => Err(Error::UnknownCommand(other.to_owned())),
    }
}

fn takes_args(name: Option<&str>) -> bool {
    matches!(name, Some("test" | "bench"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command> {
        parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn arguments_after_the_dashes_are_passed_on() {
        assert_eq!(
            parsed(&["test", "--", "-p", "xtask", "--", "--nocapture"]).unwrap(),
            Command::Test {
                args: ["-p", "xtask", "--", "--nocapture"]
                    .map(str::to_owned)
                    .to_vec()
            }
        );
    }

    #[test]
    fn demo_is_an_option_of_setup_only() {
        assert_eq!(
            parsed(&["setup", "--demo"]).unwrap(),
            Command::Setup { demo: true }
        );
        assert!(parsed(&["test", "--demo"]).is_err());
        assert!(parsed(&["setup", "extra"]).is_err());
        assert!(parsed(&["frobnicate"]).is_err());
    }

    #[test]
    fn fuzz_takes_one_target_and_a_time() {
        let fuzz = |target: Option<&str>, seconds| Command::Fuzz {
            target: target.map(str::to_owned),
            seconds,
        };
        assert_eq!(parsed(&["fuzz"]).unwrap(), fuzz(None, 60));
        assert_eq!(
            parsed(&["fuzz", "uri", "--seconds", "5"]).unwrap(),
            fuzz(Some("uri"), 5)
        );
        assert!(parsed(&["fuzz", "uri", "tensor"]).is_err());
        assert!(parsed(&["fuzz", "--seconds", "soon"]).is_err());
        assert!(parsed(&["test", "--seconds", "5"]).is_err());
    }

    #[test]
    fn hostile_takes_amounts() {
        let usual = hostile::Amount::default();
        assert_eq!(parsed(&["hostile"]).unwrap(), Command::Hostile(usual));
        let more = hostile::Amount {
            examples: 1000,
            times: 3,
            seed: 7,
        };
        let args = [
            "hostile",
            "--examples",
            "1000",
            "--times",
            "3",
            "--seed",
            "7",
        ];
        assert_eq!(parsed(&args).unwrap(), Command::Hostile(more));
        assert!(parsed(&["fuzz", "--times", "3"]).is_err());
    }

    #[test]
    fn a_bundle_takes_cuda_and_a_place() {
        let bundle = |cuda, out: Option<&str>| Command::GpuBundle {
            cuda,
            out: out.map(PathBuf::from),
        };
        assert_eq!(parsed(&["gpu-bundle"]).unwrap(), bundle(false, None));
        assert_eq!(
            parsed(&["gpu-bundle", "--cuda", "--out", "a/b"]).unwrap(),
            bundle(true, Some("a/b"))
        );
        assert!(parsed(&["gpu-bundle", "a/b"]).is_err());
        let dist = Command::Dist {
            out: Some(PathBuf::from("a/b")),
        };
        assert_eq!(parsed(&["dist", "--out", "a/b"]).unwrap(), dist);
        assert!(parsed(&["dist", "--cuda"]).is_err());
        assert!(parsed(&["test", "--cuda"]).is_err());
    }

    #[test]
    fn no_command_prints_the_usage() {
        assert_eq!(parsed(&[]).unwrap(), Command::Help);
        assert_eq!(parsed(&["setup", "--help"]).unwrap(), Command::Help);
    }
}
