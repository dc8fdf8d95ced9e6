//! `adit-conformance`: the suite against a program of one's choice.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use adit_conformance::Error;
use adit_conformance::bless::bless;
use adit_conformance::places::{Places, target_of};
use adit_conformance::trials::{Options, THREADS, trials};
use libtest_mimic::Arguments;
use serde::Deserialize;

const USAGE: &str = "\
usage: adit-conformance --adit PATH [options]

Runs hostile guests and fixed vectors on the program PATH, through its command line and JSON alone,
and compares what comes of them with the data files, to the unit of fuel. See conformance/README.md.

  --adit PATH      the program
  --guests DIR     guests that cargo has built [default: <target>/wasm32-wasip2/release]
  --models DIR     models that set-up has fetched [default: <target>/models]
  --cases DIR      the data files [default: conformance/cases]
  --filter TEXT    only trials whose names contain TEXT
  --threads N      trials that run at the same time [default: 2]
  --list           list the trials
  --bless          write the program's figures to the data files; statuses are never changed

<target> is the folder that PATH lies in, or else this workspace's.
Exit codes: 0 all passed, 1 the suite could not be run, 101 a trial failed.
";

#[derive(Default)]
struct Args {
    adit: Option<PathBuf>,
    guests: Option<PathBuf>,
    models: Option<PathBuf>,
    cases: Option<PathBuf>,
    filter: Option<String>,
    threads: Option<usize>,
    list: bool,
    bless: bool,
    help: bool,
}

fn main() -> ExitCode {
    match parse().map_err(|error| format!("{error}; hint: see --help")) {
        Ok(args) if args.help => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(args) => run(args).unwrap_or_else(|error| fail(&error)),
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn parse() -> Result<Args, lexopt::Error> {
    use lexopt::prelude::*;
    let mut args = Args::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("adit") => args.adit = Some(parser.value()?.into()),
            Long("guests") => args.guests = Some(parser.value()?.into()),
            Long("models") => args.models = Some(parser.value()?.into()),
            Long("cases") => args.cases = Some(parser.value()?.into()),
            Long("filter") => args.filter = Some(parser.value()?.string()?),
            Long("threads") => args.threads = Some(parser.value()?.parse()?),
            Long("list") => args.list = true,
            Long("bless") => args.bless = true,
            Short('h') | Long("help") => args.help = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

fn run(args: Args) -> Result<ExitCode, String> {
    let adit = args
        .adit
        .ok_or("--adit is missing; hint: --adit PATH names the program to be examined")?;
    // Cases are run in folders of their own, where a relative path would mean another file.
    let adit = std::fs::canonicalize(&adit).map_err(|error| {
        format!(
            "{}: {error}; hint: cargo xtask setup builds adit",
            adit.display()
        )
    })?;
    let mut places = match target_of(&adit) {
        Some(target) => Places::of_target(&target),
        None => Places::of_target(&workspace_target()?),
    };
    for (given, place) in [
        (args.guests, &mut places.guests),
        (args.models, &mut places.models),
    ] {
        if let Some(given) = given {
            *place = given;
        }
        if !place.is_dir() {
            return Err(format!(
                "{}: there is no such folder; hint: cargo xtask setup builds guests and fetches \
                 models; --guests DIR and --models DIR name other folders",
                place.display()
            ));
        }
    }
    let mut options = Options::new(adit, places);
    if let Some(cases) = args.cases {
        options.cases = cases;
    }
    if args.bless {
        return blessed(&options, args.filter.as_deref().unwrap_or_default())
            .map_err(|error| error.to_string());
    }
    let arguments = Arguments {
        filter: args.filter,
        list: args.list,
        test_threads: Some(args.threads.unwrap_or(THREADS)),
        ..Arguments::default()
    };
    let trials = trials(&options).map_err(|error| error.to_string())?;
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn blessed(options: &Options, filter: &str) -> Result<ExitCode, Error> {
    let blessed = bless(options, filter)?;
    for name in &blessed.changed {
        println!("new figures: {name}");
    }
    for (name, why) in &blessed.refused {
        eprintln!("left alone: {name}: {why}");
    }
    let (changed, refused) = (blessed.changed.len(), blessed.refused.len());
    println!("{changed} with new figures, {refused} left alone");
    Ok(match refused {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The target folder of the workspace, as cargo knows it.
fn workspace_target() -> Result<PathBuf, String> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let failed = |why: String| {
        format!(
            "where guests and models are cannot be told: {why}; hint: name them with --guests DIR \
             and --models DIR"
        )
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(adit_conformance::places::suite())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&answer.stdout)
        .map(|metadata: Metadata| metadata.target_directory)
        .map_err(|_| failed(String::from_utf8_lossy(&answer.stderr).into_owned()))
}
