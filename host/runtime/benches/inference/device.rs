//! Where the time of an inference goes: in the library's operators, in what is around them, and
//! how much of a GPU is in use meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_runtime::nn::onnxruntime::provider::Provider;
use serde_json::Value;

use crate::case::{Case, GuestTask};
use crate::setting::Setting;
use crate::ways::{Direct, Guest, Way, median};

/// How long a GPU is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// How often; NVIDIA's library averages over a sixth of a second to a second.
const LOOK: Duration = Duration::from_millis(50);

/// Prints where the time of a case's inferences goes.
pub fn report(setting: &Setting, case: &Arc<Case>) {
    println!("{}, where the time goes:", case.name);
    let bare = match &case.guest {
        Some(task) => sandbox(setting, case, task),
        None => alone(setting, case),
    };
    kernels(setting, case, bare);
    if setting.provider.is_gpu() {
        utilisation(setting, case);
    }
}

/// What a guest's inference is made of, in medians over runs of the guest with as many inferences
/// of the crate `ort` after each. Gives the microseconds of the latter.
fn sandbox(setting: &Setting, case: &Arc<Case>, task: &GuestTask) -> f64 {
    let mut direct = Direct::new(setting, case);
    if !direct.agrees() {
        println!("  the crate ort computes other bits than the backend");
    }
    let mut parts: [Vec<f64>; 3] = Default::default();
    let until = Instant::now() + WATCHED;
    while parts[0].len() < 5 || Instant::now() < until {
        let seen = task.run(setting, false);
        let count = seen.settled().count() as u64;
        let answered: Duration = seen.settled().map(|(_, part)| part).sum();
        let whole: Duration = seen.settled().map(|(whole, _)| whole).sum();
        direct.run(count);
        let times = [direct.run(count), answered, whole];
        for (part, time) in parts.iter_mut().zip(times) {
            part.push(time.as_secs_f64() * 1e6 / count as f64);
        }
    }
    let [bare, answered, whole] = parts.map(median);
    println!("  ort                                             {bare:>9.1} us");
    println!(
        "  hand-over, values, checks, keeping the outputs  {:>9.1} us",
        answered - bare
    );
    println!(
        "  hashes, transcript, and the guest itself        {:>9.1} us",
        whole - answered
    );
    bare
}

/// The microseconds of an inference of the crate `ort`.
fn alone(setting: &Setting, case: &Arc<Case>) -> f64 {
    let mut direct = Direct::new(setting, case);
    let mut times = Vec::new();
    let until = Instant::now() + WATCHED;
    while times.len() < 5 || Instant::now() < until {
        times.push(direct.run(10).as_secs_f64() * 1e5);
    }
    median(times)
}

/// What the library's own profile says. It takes its time for every operator, so that only the
/// times that a device takes for itself can be compared with runs that are not profiled.
fn kernels(setting: &Setting, case: &Arc<Case>, bare: f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = setting.backend.session_builder().expect("options");
    let session = builder
        .with_profiling(folder.path().join("profile"))
        .expect("options")
        .commit_from_memory(&case.file)
        .expect("model");
    let mut profiled = Direct::of(session, case);
    let inferences = case.inputs.len() as u64;
    profiled.run(inferences);
    let file = profiled.end_profiling();
    let text = std::fs::read_to_string(file).expect("a profile");
    let events: Vec<Value> = serde_json::from_str(&text).expect("a profile");
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for event in &events {
        let text = |key: &str| event[key].as_str().unwrap_or_default();
        let kind = match (text("cat"), text("name")) {
            ("Session", "model_run") => "runs",
            ("Node", name) if name.ends_with("_kernel_time") => "operators",
            ("Kernel", _) => "kernels",
            // The WebGPU provider calls its kernels so.
            ("Api", _) if setting.provider == Provider::WebGpu => "kernels",
            _ => continue,
        };
        *sums.entry(kind).or_default() += event["dur"].as_f64().unwrap_or(0.0);
    }
    let of = |kind: &str| sums.get(kind).map(|sum| sum / inferences as f64);
    let (runs, operators) = (of("runs").unwrap_or(0.0), of("operators").unwrap_or(0.0));
    println!(
        "  while profiled: a run {runs:.1} us, of which operators on the host {operators:.1} us"
    );
    if !setting.provider.is_gpu() {
        return;
    }
    match of("kernels") {
        Some(kernels) => println!(
            "  kernels on the device {kernels:.1} us, outside of them {:.1} us",
            bare - kernels
        ),
        None => println!("  kernels on the device: not known, the library's profile has none"),
    }
}

/// How much of the time the device computes anything, as NVIDIA's library has it.
fn utilisation(setting: &Setting, case: &Arc<Case>) {
    let Ok(nvml) = nvml_wrapper::Nvml::init() else {
        println!("  utilisation: not known, there is no NVML");
        return;
    };
    let mut ways: Vec<Box<dyn Way + '_>> = vec![Box::new(Direct::new(setting, case))];
    if let Some(guest) = Guest::new(setting, case) {
        ways.push(Box::new(guest));
    }
    for mut way in ways {
        let ended = AtomicBool::new(false);
        let rates = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut rates = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK);
                    let device = nvml.device_by_index(0);
                    let rate = device.and_then(|device| device.utilization_rates());
                    rates.extend(rate.map(|rate| f64::from(rate.gpu)));
                }
                rates
            });
            let until = Instant::now() + WATCHED;
            while Instant::now() < until {
                way.run(10);
            }
            ended.store(true, Ordering::Relaxed);
            watching.join().expect("no panic")
        });
        match rates.is_empty() {
            true => println!("  utilisation: not known, NVML does not tell"),
            false => println!("  utilisation, {}: {:.0} %", way.name(), median(rates)),
        }
    }
}
