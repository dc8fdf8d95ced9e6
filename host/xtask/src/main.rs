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
mod growth;
mod hardship;
mod hostile;
mod models;
mod net;
mod oci_registry;
mod project;
mod runtimes;
mod samples;
mod setup;
mod simulate;
mod strace;
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
  bench net [--rounds N] [--seconds N] [--flight N] [--rate N]
                     The same trivial task through a network of ours, Celery with Redis, and Ray, in
                     turns: N rounds (default 3) of N seconds for each measurement (default 8), with
                     N tasks in flight (default 128), and N a second for each of them where all get
                     the same (default 200). Prints a table. Fetches the others from PyPI and Debian
                     the first time.
  growth [--tasks N] [--miners N] [--blobs N]
                     How a coordinator's costs grow up to N ended tasks that are kept (default
                     1000000), N miners (default 10000) and N blobs (default 10000); 0 leaves a part
                     out. Takes half an hour and some GB of the disk of temporary files.
  fuzz [TARGET] [--seconds N]
                     Fuzz every decoder, or one of them, for N seconds each (default 60). Fetches
                     and builds cargo-fuzz the first time.
  simulate [-- ARGS] Simulate whole networks in virtual time, one for each seed, in which everything
                     goes wrong; tell which invariant was broken by which seed. ARGS: --seeds N
                     (default 1000), --first SEED, --planted BUG, --verbose (each event, on stderr).
  crash [--rounds N] [--seed S]
                     Set up, then kill the processes of a network at random moments under load, N
                     times (default 50), and compare what was acknowledged with the log. The test
                     of the same name is the short form.
  syscalls           Set up, then let every write, fsync, rename and the like of one append fail
                     once with EIO, and kill the process in place of each; full and read-only disks,
                     flipped bits. The tests of the same name are the short form. Needs strace.
  hostile [--examples N] [--times N] [--seed N]
                     Set up, then let hostile peers at the program's processes: N cases of
                     schemathesis for each operation of the coordinator (default 200, from seed 1),
                     and N times the requests of CI (default 10).
  gpu-bundle [--cuda] [--out DIR]
                     Set up, then make a folder that tries `adit` and its GPU tests on a machine with
                     a GPU and no network, and an archive of it (default DIR: target/gpu-bundle).
                     --cuda: the CUDA libraries of ONNX Runtime as well, as part files.
  dist [--out DIR]   Build what is released, have it pass the conformance suite, and pack it: a
                     tarball and, with dpkg-deb, a Debian package, of the binary, units for
                     systemd, completions and manual pages (default DIR: target/packages).
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
    BenchNet(net::Asked),
    Growth(growth::Asked),
    Fuzz {
        target: Option<String>,
        seconds: u64,
    },
    Simulate {
        args: Vec<String>,
    },
    Crash {
        rounds: u64,
        seed: Option<u64>,
    },
    Syscalls,
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
        Command::BenchNet(asked) => net::command(&asked),
        Command::Growth(asked) => growth::command(&asked),
        Command::Fuzz { target, seconds } => fuzz::command(target.as_deref(), seconds),
        Command::Simulate { args } => simulate::command(&args),
        Command::Crash { rounds, seed } => hardship::crash(rounds, seed),
        Command::Syscalls => hardship::syscalls(),
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
    let mut rounds = 50;
    let mut seed = None;
    let mut net = None;
    let mut growth = growth::Asked::default();
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
            Long("rounds") if name.as_deref() == Some("crash") => {
                rounds = parser.value()?.parse()?;
            }
            Long("seed") if name.as_deref() == Some("crash") => {
                seed = Some(parser.value()?.parse()?);
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
            Long(option @ ("tasks" | "miners" | "blobs")) if name.as_deref() == Some("growth") => {
                let option = option.to_owned();
                growth.set(&option, parser.value()?.parse()?);
            }
            Value(value)
                if name.as_deref() == Some("bench") && rest.is_empty() && value == "net" =>
            {
                net = Some(net::Asked::default());
            }
            Long(option @ ("rounds" | "seconds" | "flight" | "rate")) if net.is_some() => {
                let option = option.to_owned();
                let number = parser.value()?.parse()?;
                if let Some(asked) = &mut net {
                    asked.set(&option, number);
                }
            }
            Value(value) if name.is_none() => name = Some(value.string()?),
            Value(value) if name.as_deref() == Some("fuzz") && rest.is_empty() => {
                rest.push(value.string()?);
            }
            Value(value) if takes_args(name.as_deref()) && net.is_none() => {
                rest.push(value.string()?)
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match name.as_deref() {
        Some("setup") => Ok(Command::Setup { demo }),
        Some("demo") => Ok(Command::Demo),
        Some("test") => Ok(Command::Test { args: rest }),
        Some("bench") => Ok(match net {
            Some(asked) => Command::BenchNet(asked),
            None => Command::Bench { args: rest },
        }),
        Some("growth") => Ok(Command::Growth(growth)),
        Some("fuzz") => Ok(Command::Fuzz {
            target: rest.pop(),
            seconds,
        }),
        Some("simulate") => Ok(Command::Simulate { args: rest }),
        Some("crash") => Ok(Command::Crash { rounds, seed }),
        Some("syscalls") => Ok(Command::Syscalls),
        Some("hostile") => Ok(Command::Hostile(amount)),
        Some("gpu-bundle") => Ok(Command::GpuBundle { cuda, out }),
        Some("dist") => Ok(Command::Dist { out }),
        Some("help") | None => Ok(Command::Help),
        Some(other) => Err(Error::UnknownCommand(other.to_owned())),
    }
}

fn takes_args(name: Option<&str>) -> bool {
    matches!(name, Some("test" | "bench" | "simulate"))
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
    fn a_crash_takes_rounds_and_a_seed() {
        let crash = |rounds, seed| Command::Crash { rounds, seed };
        assert_eq!(parsed(&["crash"]).unwrap(), crash(50, None));
        assert_eq!(
            parsed(&["crash", "--rounds", "9", "--seed", "7"]).unwrap(),
            crash(9, Some(7))
        );
        assert!(parsed(&["crash", "--rounds", "many"]).is_err());
        assert!(parsed(&["syscalls", "--seed", "7"]).is_err());
        assert_eq!(parsed(&["syscalls"]).unwrap(), Command::Syscalls);
    }

    #[test]
    fn growth_takes_its_numbers() {
        let growth = |tasks, miners, blobs| {
            Command::Growth(growth::Asked {
                tasks,
                miners,
                blobs,
            })
        };
        assert_eq!(
            parsed(&["growth"]).unwrap(),
            growth(1_000_000, 10_000, 10_000)
        );
        let args = ["growth", "--miners", "0", "--tasks", "5"];
        assert_eq!(parsed(&args).unwrap(), growth(5, 0, 10_000));
        assert!(parsed(&["growth", "5"]).is_err());
        assert!(parsed(&["bench", "--tasks", "5"]).is_err());
    }

    #[test]
    fn a_comparison_takes_its_numbers() {
        let net = |rounds, seconds, flight, rate| {
            Command::BenchNet(net::Asked {
                rounds,
                seconds,
                flight,
                rate,
            })
        };
        assert_eq!(parsed(&["bench", "net"]).unwrap(), net(3, 8, 128, 200));
        let args = [
            "bench", "net", "--rounds", "5", "--flight", "64", "--rate", "9",
        ];
        assert_eq!(parsed(&args).unwrap(), net(5, 8, 64, 9));
        assert!(parsed(&["bench", "--rounds", "5"]).is_err());
        assert!(parsed(&["bench", "net", "other"]).is_err());
        assert!(parsed(&["bench", "net", "--rounds", "many"]).is_err());
        let args = vec!["other".to_owned()];
        assert_eq!(
            parsed(&["bench", "--", "other"]).unwrap(),
            Command::Bench { args }
        );
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
