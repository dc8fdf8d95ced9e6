//! `adit bench`: measures the processor and the devices, and makes a signed hardware record of it.

use std::path::PathBuf;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hardware::{CpuClaims, DeviceClaims, DeviceKind, HardwareRecord};
use adit_protocol::status::Status;
use adit_runtime::devices::rates::{self, Rates};
use adit_runtime::engine::Target;
use adit_runtime::nn::backend::cpu_baseline;
use adit_runtime::state::NoEvents;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::supervisor::{Supervisor, Task};
use anyhow::Context as _;
use rand_core::OsRng;
use serde_json::json;

use crate::amounts;
use crate::config::Config;
use crate::device::{DeviceArgs, in_words, survey_of};
use crate::error::{Exit, Failure};
use crate::state::{State, write_file};
use crate::text::{date_ms, grouped, one_line, size};
use crate::ui::Ui;

/// The standard component: it computes with integers and floats, reads and writes memory, and
/// calls nothing, until its fuel is used up.
const COMPONENT: &str = include_str!("bench/component.wat");

/// Fuel of one run of it.
const FUEL: u64 = 1_000_000_000;
/// Runs of it; the fastest counts, since anything else on the machine can only slow one down.
const RUNS: usize = 3;

/// Options of `adit bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Write the signed record to this file too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// `adit bench`: the processor, and the device that was asked for or all that there are.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let blobs = state.blobs()?;
    let key = state.local_key()?;
    let config = Config::load(state)?;
    let threads = args.device.threads_or(&config);
    let mut devices = vec![DeviceChoice::Embedded];
    devices.extend(others(ui, state, args, &config)?);

    ui.note("measuring the processor: a task without inference");
    let plain = state.supervisor(&blobs, Target::Processor, &DeviceChoice::Embedded, threads)?;
    let guest_fuel_rate = guest_rate(&blobs, &plain)?;
    let engine = plain.hello().context("no worker could be started")?.engine;
    drop(plain);

    let mut claims = Vec::new();
    let mut memory_bandwidth = 0;
    for device in devices {
        let supervisor = state.supervisor(&blobs, Target::Processor, &device, threads)?;
        let hello = match supervisor.hello() {
            Ok(hello) => hello,
            Err(error) if args.device.names_one(&config) => return Err(error.into()),
            Err(error) => {
                ui.note(format!("{}: left out: {error}", device.name()));
                continue;
            }
        };
        let environment = EnvironmentDocument::from_cbor(&hello.environment)
            .context("the worker describes its environment wrongly")?;
        ui.note(format!("measuring {}", in_words(&environment)));
        // A processor's memory is the machine's.
        let memory_bytes = match hello.gpu {
            true => hello.device_memory_bytes,
            false => machine_memory(),
        };
        let rates = rates::measure(&blobs, &supervisor, memory_bytes, hello.gpu)?;
        if !hello.gpu {
            memory_bandwidth = rates.memory.max(memory_bandwidth);
        }
        blobs.put(&hello.environment)?;
        claims.push(claim(&environment, hello.gpu, memory_bytes, &rates));
    }
    let record = HardwareRecord {
        node: key.public().to_bytes(),
        made_ms: amounts::now_ns() / 1_000_000,
        software: format!("adit {}", env!("CARGO_PKG_VERSION")),
        engine,
        cpu: CpuClaims {
            model: processor(),
            cores: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            baseline: cpu_baseline(),
            memory_bytes: machine_memory(),
            memory_bandwidth,
            guest_fuel_rate,
        },
        devices: claims,
        // There is no peer to measure with before a coordinator is chosen.
        network: None,
    };
    record.validate().context("the record cannot be made")?;
    let signed = record.sign(&key, &mut OsRng);
    let bytes = signed.to_cbor();
    let kept = state.root()?.join("hardware.cbor");
    write_file(&kept, &bytes, 0o644)?;
    if let Some(path) = &args.out {
        write_file(path, &bytes, 0o644)?;
    }
    match ui.json {
        true => ui.object(&json!({
            "record": record,
            "classes": record.devices.iter().map(|d| d.class()).collect::<Vec<_>>(),
            "hash": Hash::of(&bytes),
            "kept": kept,
        }))?,
        false => print(ui, &record)?,
    }
    ui.note(format!(
        "signed record: {}; `adit inspect` shows it",
        kept.display()
    ));
    Ok(Exit::Ok)
}

/// The devices besides the embedded one: that which was asked for, else all that can be tried.
fn others(
    ui: &Ui,
    state: &State,
    args: &Args,
    config: &Config,
) -> anyhow::Result<Vec<DeviceChoice>> {
    if args.device.names_one(config) {
        let chosen = args.device.choose(ui, state)?.device;
        return Ok(match chosen {
            DeviceChoice::Embedded => Vec::new(),
            other => vec![other],
        });
    }
    let found = match args.device.library(config) {
        Ok(found) => found,
        Err(_) => {
            ui.note(
                "ONNX Runtime was not found: only the processor is measured; see `adit doctor`",
            );
            return Ok(Vec::new());
        }
    };
    let survey = survey_of(&found.library)?;
    Ok(survey
        .providers()
        .map(|provider| {
            let device = args.device.on(provider, found.library.clone(), config);
            DeviceChoice::OnnxRuntime(device)
        })
        .collect())
}

/// Fuel per second of the standard component.
fn guest_rate(blobs: &BlobStore, supervisor: &Supervisor) -> anyhow::Result<u64> {
    let wasm = wat::parse_str(COMPONENT).context("the standard component cannot be assembled")?;
    let hello = supervisor.hello().context("no worker could be started")?;
    let task = Task {
        input: None,
        spec: ExecSpec {
            engine: hello.engine,
            world: World::Command,
            component: blobs.put(&wasm)?,
            input: blobs.put(b"")?,
            args: Vec::new(),
            clock_start_ns: 0,
            models: Default::default(),
            seed: [0; 32],
            limits: Limits {
                fuel: FUEL,
                ..Limits::default()
            },
        },
        manifests: Default::default(),
        deadline: Duration::from_secs(120),
        mode: Mode::Live,
    };
    let mut fastest = u64::MAX;
    for _ in 0..RUNS {
        let ran = supervisor.run(&task, &mut NoEvents)?;
        if ran.status != Status::OutOfFuel {
            return Failure::new(
                ran.status.into(),
                "the standard component did not run as it should",
            )
            .why(ran.detail.unwrap_or_else(|| ran.status.name().to_owned()))
            .exit(Exit::Unexpected)
            .into_err();
        }
        fastest = fastest.min(ran.duration_us.max(1));
    }
    Ok(FUEL.saturating_mul(1_000_000) / fastest)
}

fn claim(
    environment: &EnvironmentDocument,
    gpu: bool,
    memory_bytes: u64,
    rates: &Rates,
) -> DeviceClaims {
    DeviceClaims {
        environment: environment.hash(),
        name: match gpu {
            true => format!(
                "{} ({})",
                environment.device, environment.execution_provider
            ),
            false => format!("{} {}", environment.backend, environment.execution_provider),
        },
        kind: match gpu {
            true => DeviceKind::Gpu,
            false => DeviceKind::Cpu,
        },
        memory_bytes,
        memory_bandwidth: rates.memory,
        fp32_rate: rates.fp32,
        fp16_rate: rates.fp16.filter(|rate| *rate > 0),
        models: rates
            .models
            .iter()
            .map(|(name, rate)| ((*name).to_owned(), *rate))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into(),
    }
}

fn print(ui: &Ui, record: &HardwareRecord) -> anyhow::Result<()> {
    let cpu = &record.cpu;
    ui.line(format!("made          {}", date_ms(record.made_ms)))?;
    ui.line(format!(
        "processor     {}, {} cores, {} of memory, {}/s",
        one_line(&cpu.model),
        cpu.cores,
        size(cpu.memory_bytes),
        size(cpu.memory_bandwidth),
    ))?;
    ui.line(format!(
        "guests        {} fuel/s in one slot",
        grouped(cpu.guest_fuel_rate)
    ))?;
    for device in &record.devices {
        let rate = |rate: u64| format!("{:.1} GFLOP/s", rate as f64 / 1e9);
        let half = device.fp16_rate.map_or_else(|| "none".to_owned(), rate);
        ui.line(format!(
            "{:<13} {}",
            device.class().to_string(),
            one_line(&device.name)
        ))?;
        ui.line(format!(
            "              fp32 {}, fp16 {half}, memory {}/s",
            rate(device.fp32_rate),
            size(device.memory_bandwidth)
        ))?;
        for (name, rate) in device.models.iter() {
            ui.line(format!(
                "              {name}: {} inferences/s",
                grouped(rate / 1000)
            ))?;
        }
    }
    ui.line("network       not measured here: `adit miner status` shows the round trip to each coordinator")
}

/// The processor's name, as the system gives it.
fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    name.unwrap_or_default().chars().take(200).collect()
}

/// Bytes of the machine's memory; 0 where the system does not say.
fn machine_memory() -> u64 {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = about.lines().find_map(|line| {
        let rest = line.strip_prefix("MemTotal:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0).saturating_mul(1024)
}
