//! `adit doctor`: what this machine can compute on, whether it is right, and what is missing.
//!
//! Each device is tried in a process of its own, computes models beside the reference (the embedded
//! backend on the processor), and is asked for the same thing again in other processes. What is
//! found is kept, and is what `adit run` and a miner go by.

use std::path::PathBuf;

use adit_protocol::cbor::Document as _;
use adit_protocol::device_report::DeviceReport;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::ModelManifest;
use adit_runtime::devices::{self, MeasureError, Measured, Plan, standard};
use adit_runtime::engine::Target;
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Hello;
use adit_runtime::worker::supervisor::Supervisor;
use anyhow::Context as _;
use serde_json::{Value, json};

use crate::config::Config;
use crate::device::{Chosen, DeviceArgs, fell_back, in_words, survey_of};
use crate::error::{Exit, Report};
use crate::state::State;
use crate::text::{count, micros, one_line, size};
use crate::ui::Ui;
use crate::{amounts, models};

/// Options of `adit doctor`.
#[derive(clap::Args)]
pub struct Args {
    /// Check the devices for this model too: an ONNX file or a manifest; may be repeated
    #[arg(long, short, value_name = "NAME=FILE", value_parser = amounts::named_file)]
    model: Vec<(String, PathBuf)>,
    /// Only see which devices there are, and compute no model on them
    #[arg(long, conflicts_with = "model")]
    quick: bool,
    /// How often each input is computed in a process
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Processes in which each model is computed anew
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=100))]
    processes: u32,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `adit doctor`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let doctor = Doctor::new(ui, state, args)?;
    let candidates = doctor.candidates()?;
    let mut findings = Vec::new();
    let mut bad = false;
    for candidate in candidates {
        let finding = doctor.examine(candidate)?;
        bad |= finding.is_bad();
        if !ui.json {
            finding.print(ui)?;
        }
        findings.push(finding);
    }
    if ui.json {
        ui.object(&json!({
            "library": doctor.library,
            "devices": findings.iter().map(Finding::as_json).collect::<Vec<_>>(),
            "ok": !bad,
        }))?;
    } else if bad {
        ui.line("not all is well: see the lines that say `wrong` or `not usable`")?;
    }
    Ok(if bad { Exit::Fixable } else { Exit::Ok })
}

/// A device to look at.
struct Candidate {
    name: &'static str,
    /// How to reach it; or why it cannot even be tried.
    device: Result<DeviceChoice, String>,
    /// The user asked for it, so that its absence is a fault.
    asked: bool,
    /// The project's tests run it.
    tested: bool,
}

struct Doctor<'a> {
    ui: &'a Ui,
    state: &'a State,
    args: &'a Args,
    config: Config,
    blobs: BlobStore,
    chosen: Option<Chosen>,
    threads: u32,
    models: Vec<(String, ModelManifest)>,
    library: Value,
    found: Option<(PathBuf, Vec<Provider>)>,
}

impl<'a> Doctor<'a> {
    fn new(ui: &'a Ui, state: &'a State, args: &'a Args) -> anyhow::Result<Doctor<'a>> {
        let blobs = state.blobs()?;
        let config = Config::load(state)?;
        let chosen = match args.device.names_one(&config) {
            true => Some(args.device.choose(ui, state)?),
            false => None,
        };
        let threads = args.device.threads_or(&config);
        let mut all: Vec<(String, ModelManifest)> = Vec::new();
        if !args.quick {
            for model in standard::models() {
                all.push((model.name.to_owned(), model.store(&blobs)?));
            }
        }
        let given = models::store(ui, &blobs, &args.model)?;
        for (name, bytes) in given.manifests {
            let manifest = ModelManifest::from_cbor(&bytes).context("the manifest is not valid")?;
            all.push((name, manifest));
        }
        let (library, found) = library(ui, args, &config);
        Ok(Doctor {
            ui,
            state,
            args,
            config,
            blobs,
            chosen,
            threads,
            models: all,
            library,
            found,
        })
    }

    /// The devices to look at: the one that was asked for, else every one that there could be.
    fn candidates(&self) -> anyhow::Result<Vec<Candidate>> {
        if let Some(chosen) = &self.chosen {
            let tested = match &chosen.device {
                DeviceChoice::Embedded => true,
                DeviceChoice::OnnxRuntime(device) => device.provider.is_tested(),
            };
            return Ok(vec![Candidate {
                name: chosen.device.name(),
                device: Ok(chosen.device.clone()),
                asked: true,
                tested,
            }]);
        }
        let mut all = vec![Candidate {
            name: DeviceChoice::Embedded.name(),
            device: Ok(DeviceChoice::Embedded),
            asked: true,
            tested: true,
        }];
        for provider in Provider::ALL {
            let device = match &self.found {
                _ if provider.other_system().is_some() => Err(format!(
                    "it needs {}",
                    provider.other_system().unwrap_or_default()
                )),
                Some((library, has)) if has.contains(&provider) => {
                    let device = self.args.device.on(provider, library.clone(), &self.config);
                    Ok(DeviceChoice::OnnxRuntime(device))
                }
                Some(_) => Err(format!(
                    "this build of ONNX Runtime lacks it; hint: pip install {}",
                    provider.package()
                )),
                None => Err(format!("hint: pip install {}", provider.package())),
            };
            all.push(Candidate {
                name: provider.name(),
                device,
                asked: false,
                tested: provider.is_tested(),
            });
        }
        Ok(all)
    }

    fn examine(&self, candidate: Candidate) -> anyhow::Result<Finding> {
        let Candidate {
            name,
            device,
            asked,
            tested,
        } = candidate;
        let mut finding = Finding {
            name,
            asked,
            tested,
            state: Err(String::new()),
            models: Vec::new(),
        };
        let device = match device {
            Ok(device) => device,
            Err(why) => {
                finding.state = Err(why);
                return Ok(finding);
            }
        };
        match self.state.probe(&device, self.threads) {
            Ok(hello) => {
                let environment = EnvironmentDocument::from_cbor(&hello.environment)
                    .context("the worker describes its environment wrongly")?;
                finding.state = Ok((Box::new(hello), environment));
            }
            Err(why) => {
                finding.state = Err(why);
                return Ok(finding);
            }
        }
        for (name, manifest) in &self.models {
            if !self.ui.json {
                self.ui.detail(format!("{}: {name}", finding.name));
            }
            let measured = self.measure(&device, manifest);
            if let Ok(measured) = &measured {
                // By it a report is found again when the device is used.
                self.blobs.put(&measured.environment.to_cbor())?;
                self.state.reports()?.keep(&measured.report)?;
            }
            finding.models.push((name.clone(), measured));
        }
        Ok(finding)
    }

    fn measure(
        &self,
        device: &DeviceChoice,
        manifest: &ModelManifest,
    ) -> Result<Box<Measured>, String> {
        let start = |device: &DeviceChoice, threads: u32| -> Supervisor {
            // It only fails where this program cannot find its own file, which it has by now.
            match self
                .state
                .supervisor(&self.blobs, Target::Processor, device, threads)
            {
                Ok(supervisor) => supervisor,
                Err(error) => unreachable!("{error:#}"),
            }
        };
        let on_processor = !matches!(
            device,
            DeviceChoice::OnnxRuntime(device) if device.provider.is_gpu()
        );
        let plan = Plan {
            runs: self.args.runs,
            processes: self.args.processes,
            // Of a processor the number of threads may change the order of sums.
            threads: match on_processor {
                true => vec![1, 2, 4],
                false => Vec::new(),
            },
            ..Plan::default()
        };
        let reference = start(&DeviceChoice::Embedded, 1);
        let device = |threads| start(device, threads);
        devices::measure(
            &self.blobs,
            &device,
            self.threads,
            &reference,
            manifest,
            &plan,
        )
        .map(Box::new)
        .map_err(|error: MeasureError| error.to_string())
    }
}

/// The library, as JSON and as what is needed of it; its absence is told and is no error here.
fn library(ui: &Ui, args: &Args, config: &Config) -> (Value, Option<(PathBuf, Vec<Provider>)>) {
    let found = args.device.library(config).and_then(|found| {
        let survey = survey_of(&found.library)?;
        Ok((found, survey))
    });
    match found {
        Ok((found, survey)) => {
            let providers: Vec<Provider> = survey.providers().collect();
            if !ui.json {
                let names: Vec<&str> = providers.iter().map(|p| p.name()).collect();
                ui.note(format!(
                    "ONNX Runtime {} at {}, from {}: {}",
                    one_line(&survey.version),
                    found.library.display(),
                    found.by,
                    names.join(", ")
                ));
            }
            let value = json!({
                "path": found.library,
                "found_by": found.by,
                "version": survey.version,
                "providers": providers.iter().map(|p| p.name()).collect::<Vec<_>>(),
            });
            (value, Some((found.library, providers)))
        }
        Err(error) => {
            let report = Report::new(&error);
            if !ui.json {
                ui.note(format!("ONNX Runtime: {}", report.why()));
            }
            (json!({ "missing": report.why() }), None)
        }
    }
}

/// What was found of a device.
struct Finding {
    name: &'static str,
    asked: bool,
    tested: bool,
    state: Result<(Box<Hello>, EnvironmentDocument), String>,
    models: Vec<(String, Result<Box<Measured>, String>)>,
}

impl Finding {
    /// Whether something is wrong that the user would want to know from the exit code.
    fn is_bad(&self) -> bool {
        let wrong = |measured: &Result<Box<Measured>, String>| match measured {
            Ok(measured) => !measured.report.advertisable(),
            Err(_) => self.asked,
        };
        self.asked && self.state.is_err() || self.models.iter().any(|(_, m)| wrong(m))
    }

    fn print(&self, ui: &Ui) -> anyhow::Result<()> {
        let label = if self.tested {
            ""
        } else {
            " [untested by the project]"
        };
        let (hello, environment) = match &self.state {
            Err(why) => {
                return ui.line(format!(
                    "{:<13} not usable{label}: {}",
                    self.name,
                    one_line(why)
                ));
            }
            Ok(state) => (&state.0, &state.1),
        };
        let memory = match hello.device_memory_bytes {
            0 => String::new(),
            bytes => format!(", {} of memory", size(bytes)),
        };
        ui.line(format!(
            "{:<13} {}{memory}{label}",
            self.name,
            in_words(environment)
        ))?;
        for (name, measured) in &self.models {
            match measured {
                Ok(measured) => {
                    ui.line(format!("  {name:<11} {}", verdict(measured)))?;
                    if let Some(note) = fell_back(&measured.environment) {
                        ui.line(format!("  {:<11} {note}", ""))?;
                    }
                }
                Err(why) => {
                    // The last hint is the one for this case.
                    let (why, _) = why.split_once("; hint:").unwrap_or((why, ""));
                    ui.line(format!("  {name:<11} not measured: {}", one_line(why)))?;
                }
            }
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        let models = self.models.iter().map(|(name, measured)| match measured {
            Ok(measured) => json!({
                "name": name,
                "report": measured.report,
                "advertisable": measured.report.advertisable(),
                "bit_exact": measured.report.bit_exact(),
                "environment": measured.environment,
                "load_us": measured.load_us,
                "median_us": measured.median_us,
                "reference_us": measured.reference_us,
                "first_wrong": measured.first_wrong,
            }),
            Err(why) => json!({ "name": name, "error": why }),
        });
        let (environment, why) = match &self.state {
            Ok((_, environment)) => (Some(environment), None),
            Err(why) => (None, Some(why)),
        };
        json!({
            "name": self.name,
            "usable": self.state.is_ok(),
            "why": why,
            "tested_by_the_project": self.tested,
            "environment": environment,
            "sandbox": self.state.as_ref().ok().map(|(hello, _)| &hello.sandbox),
            "device_memory_bytes": self.state.as_ref().ok().map(|(hello, _)| hello.device_memory_bytes),
            "models": models.collect::<Vec<_>>(),
        })
    }
}

/// What was measured of a model, in one line.
fn verdict(measured: &Measured) -> String {
    let DeviceReport {
        reference,
        repeatability,
        ..
    } = &measured.report;
    let mut words = Vec::new();
    if let Some(check) = reference {
        let right = match (check.accepted == check.cases, check.exact == check.cases) {
            (true, true) => "right, to the bit".to_owned(),
            (true, false) => {
                format!(
                    "right, off by at most {:.1e}",
                    check.max_abs_nano as f64 / 1e9
                )
            }
            (false, _) => format!(
                "WRONG in {} of {}: {}",
                check.cases - check.accepted,
                count(u64::from(check.cases), "case"),
                one_line(measured.first_wrong.as_deref().unwrap_or("see --json"))
            ),
        };
        words.push(right);
    }
    if let Some(again) = repeatability {
        let over = format!(
            "{} in {} each",
            count(u64::from(again.runs), "run"),
            match again.processes {
                1 => "1 process".to_owned(),
                many => format!("{many} processes"),
            }
        );
        words.push(match (again.repeatable, again.across_threads) {
            (true, true) => format!("the same bits over {over} and any number of threads"),
            (true, false) if again.threads.len() > 1 => {
                format!("the same bits over {over}, others with other numbers of threads")
            }
            (true, false) => format!("the same bits over {over}"),
            (false, _) => format!("NOT the same bits over {over}"),
        });
    }
    words.push(format!(
        "{} (reference {})",
        micros(measured.median_us),
        micros(measured.reference_us)
    ));
    words.join("; ")
}
