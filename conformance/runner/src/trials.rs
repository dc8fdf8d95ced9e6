//! The whole suite as tests that run side by side.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};

use crate::case::{Case, Suite};
use crate::check::{Homes, Report, check};
use crate::error::Error;
use crate::places::Places;
use crate::process::Implementation;
use crate::{exercised, vectors};

/// Cases that run at the same time unless told otherwise: each may take all memory that its
/// bounds admit.
pub const THREADS: usize = 2;

/// What the suite is to be run on.
#[derive(Clone, Debug)]
pub struct Options {
    /// The implementation.
    pub adit: Implementation,
    /// Guests, models, vectors.
    pub places: Places,
    /// The folder of data files.
    pub cases: PathBuf,
}

impl Options {
    /// The suite's own data files.
    pub fn new(program: PathBuf, places: Places) -> Options {
        Options {
            adit: Implementation { program },
            cases: places.suite.join("cases"),
            places,
        }
    }
}

/// All trials: one for each case, one for each vector that the command line can check, and one
/// for whether the cases use all that the guests can do.
///
/// # Errors
///
/// [`Error`] if the data files cannot be read.
pub fn trials(options: &Options) -> Result<Vec<Trial>, Error> {
    let suite = Suite::load(&options.cases)?;
    let engine: Option<Arc<str>> = suite.engine.map(Into::into);
    let cases: Vec<Arc<Case>> = suite.cases.into_iter().map(Arc::new).collect();
    let mut trials = Vec::new();
    let homes = Arc::new(Homes::default());
    for case in &cases {
        let homes = homes.clone();
        let (options, case, engine) = (options.clone(), case.clone(), engine.clone());
        trials.push(Trial::test(format!("case/{}", case.name), move || {
            let report = check(&options.adit, &options.places, &homes, &case)?;
            verdict(&case, &report, engine.as_deref())
        }));
    }
    trials.extend(vectors::trials(options)?);
    let options = options.clone();
    trials.push(Trial::test("every-behaviour-has-a-case", move || {
        let idle = exercised::behaviours(&options, &cases)?;
        match idle.is_empty() {
            true => Ok(()),
            false => Err(Failed::from(format!(
                "no case makes a guest do this: {}",
                idle.join(", ")
            ))),
        }
    }));
    Ok(trials)
}

/// The report as the result of a test.
fn verdict(case: &Case, report: &Report, engine: Option<&str>) -> Result<(), Failed> {
    if report.findings.is_empty() {
        return Ok(());
    }
    let mut text = format!("{} ({})\n", case.why, case.file.display());
    for finding in &report.findings {
        let _ = writeln!(text, "\n  $ {}", finding.command);
        for mismatch in &finding.mismatches {
            let _ = writeln!(text, "  {}", mismatch.field);
            let _ = writeln!(text, "      expected {}", mismatch.expected);
            let _ = writeln!(text, "      got      {}", mismatch.got);
        }
        if !finding.stderr.is_empty() {
            let _ = writeln!(text, "  stderr ended with");
            for line in finding.stderr.lines() {
                let _ = writeln!(text, "      {line}");
            }
        }
    }
    if let Some(folder) = &report.folder {
        let _ = writeln!(text, "\nits files were kept in {}", folder.display());
    }
    let own = report.outcome.as_ref().map(|run| &*run.exec.spec.engine);
    if let (Some(engine), Some(own)) = (engine, own)
        && engine != own
    {
        let _ = writeln!(
            text,
            "\nthe figures belong to the engine {engine}, and this program has {own}: fuel and \
             memory may differ; hint: copy the data files and give the copy with --cases DIR \
             --bless"
        );
    }
    Err(Failed::from(text))
}
