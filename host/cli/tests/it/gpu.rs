//! Devices as a user meets them: `adit run --gpu`, `adit doctor`, replays on another device. The GPU
//! is one in software, unless this is a bundle on a machine that has one.

use std::path::{Path, PathBuf};
use std::process::Command;

use noto_sans_mono_bitmap::RasterHeight;

use crate::ocr::page::Drawing;
use crate::receipts::checks;
use crate::support::{Home, Said, ended, guest};

/// What `cargo xtask setup` has put below the target folder.
fn target(below: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_adit"));
    let path = program.ancestors().nth(2).unwrap().join(below);
    assert!(
        path.exists(),
        "{}: not there; hint: cargo xtask setup",
        path.display()
    );
    path
}

/// A command that finds this library, and the GPU in software.
fn with_library(home: &Home, package: &str, args: &[&str]) -> Command {
    let mut command = home.command(args);
    command
        .env("ADIT_ONNXRUNTIME", target("runtimes").join(package))
        .env("LD_LIBRARY_PATH", target("runtimes/swiftshader"))
        .env(
            "VK_DRIVER_FILES",
            target("runtimes/swiftshader/vk_swiftshader_icd.json"),
        );
    command
}

fn webgpu(home: &Home, args: &[&str]) -> Said {
    ended(with_library(home, "onnxruntime-webgpu", args))
}

/// Finding and reading text on a page, on a GPU; and the same answers on other machines.
#[test]
fn a_page_is_read_on_a_gpu_and_checked_without_one() {
    let home = Home::new();
    let mut page = Drawing::new(224, 64);
    page.write(16, 18, RasterHeight::Size24, "EUR 1,204.50");
    let image = home.file("page.png", page.png());
    let models = target("models/ppocr");
    let option = |name: &str| format!("{name}={}", models.join(format!("{name}.onnx")).display());
    let (det, rec) = (option("det"), option("rec"));
    let guest = guest("ocr.wasm");
    let args = [
        "--json",
        "run",
        guest.to_str().unwrap(),
        "--gpu",
        "--deadline",
        "10m",
        "--model",
        &det,
        "--model",
        &rec,
        "--input",
        image.to_str().unwrap(),
    ];
    let said = webgpu(&home, &args).exits(0);
    let ran = said.json();
    assert_eq!(ran["output"]["text"], "EUR 1,204.50\n");
    assert_eq!(ran["nn"]["gpu"], true);
    let document = &ran["environment"]["document"];
    assert_eq!(document["execution_provider"], "webgpu");
    assert!(!document["device"].as_str().unwrap().is_empty());
    // Detection runs wholly on it, recognition leaves some operators to the processor.
    let used = ran["nn"]["environments"].as_array().unwrap();
    let providers: Vec<_> = used
        .iter()
        .map(|e| e["execution_provider"].as_str().unwrap())
        .collect();
    assert_eq!(providers, ["webgpu", "webgpu+cpu"]);
    for words in [
        "device: webgpu on",
        "did not run on webgpu",
        "not yet compared",
    ] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }

    // The receipt says so, to whoever has it.
    let shown = home.adit(&["receipt", "show", "last"]).exits(0).text();
    assert!(
        shown.contains("a GPU") && shown.contains("webgpu+cpu on"),
        "{shown}"
    );

    // No GPU, no library, no model: the same bits.
    let replayed = home
        .adit(&["--json", "receipt", "replay", "last"])
        .exits(0)
        .json();
    assert!(checks(&replayed).contains(&"2 output: passed".to_owned()));

    // Computed again by two other libraries, within the models' tolerance.
    let again = ["--json", "receipt", "replay", "last", "--inference", "all"];
    for device in ["rten", "cpu"] {
        let args = [&again[..], &["--device", device]].concat();
        let report = ended(with_library(&home, "onnxruntime", &args))
            .exits(0)
            .json();
        assert!(
            checks(&report).contains(&"3 inference: passed".to_owned()),
            "{report}"
        );
    }
}

/// A run on the processor, computed again on the GPU, shows whether the GPU may be used.
#[test]
fn a_replay_on_a_device_is_remembered() {
    let home = Home::new();
    let model = format!("silero={}", target("models/silero/model.onnx").display());
    let guest = guest("guest_infer.wasm");
    let input = home.file("input", "speech silero 4");
    let run = [
        "run",
        guest.to_str().unwrap(),
        "--model",
        &model,
        "--input",
        input.to_str().unwrap(),
    ];
    home.adit(&run).exits(0);
    // The software GPU computes this network wrongly.
    let again = [
        "receipt",
        "replay",
        "last",
        "--inference",
        "all",
        "--device",
        "webgpu",
    ];
    let said = webgpu(&home, &again).exits(5);
    assert!(
        said.text().contains("outside the manifest's tolerance"),
        "{}",
        said.text()
    );
    let on_gpu = [&run[..], &["--gpu"]].concat();
    webgpu(&home, &on_gpu)
        .exits(1)
        .explains(&["wrongly", "another device"]);
    // The processor is right, and is not mistaken for it.
    let on_cpu = [&run[..], &["--device", "cpu"]].concat();
    ended(with_library(&home, "onnxruntime", &on_cpu)).exits(0);
}

#[test]
fn doctor_names_devices_and_what_is_missing() {
    let home = Home::new();
    let said = webgpu(&home, &["--json", "doctor", "--quick"]).exits(0);
    let report = said.json();
    assert_eq!(report["library"]["found_by"], "ADIT_ONNXRUNTIME");
    let devices = report["devices"].as_array().unwrap();
    let named = |name: &str| devices.iter().find(|d| d["name"] == name).unwrap();
    assert_eq!(named("rten")["usable"], true);
    assert_eq!(named("cpu")["usable"], true);
    assert_eq!(named("webgpu")["usable"], true);
    assert!(named("webgpu")["device_memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(named("webgpu")["tested_by_the_project"], true);
    for name in [
        "cuda",
        "migraphx",
        "coreml",
        "directml",
        "tensorrt",
        "openvino-gpu",
    ] {
        assert_eq!(named(name)["usable"], false, "{name}");
        assert_eq!(named(name)["tested_by_the_project"], false, "{name}");
    }
    let why = named("cuda")["why"].as_str().unwrap();
    assert!(why.contains("pip install onnxruntime-gpu"), "{why}");
    // For people.
    let text = webgpu(&home, &["doctor", "--quick"]).exits(0).text();
    assert!(text.contains("[untested by the project]"), "{text}");

    // Models, on one device.
    let args = ["--json", "doctor", "--device", "cpu", "--runs", "2"];
    let report = ended(with_library(&home, "onnxruntime", &args))
        .exits(0)
        .json();
    let models = report["devices"][0]["models"].as_array().unwrap();
    assert_eq!(models.len(), 3);
    for model in models {
        assert_eq!(model["advertisable"], true, "{model}");
        assert_eq!(model["bit_exact"], true, "{model}");
    }
}

#[test]
fn a_device_that_is_not_there_is_never_replaced() {
    let home = Home::new();
    let guest = guest("guest_infer.wasm");
    let guest = guest.to_str().unwrap();
    fn run<'a>(guest: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["run", guest], more].concat()
    }
    // No library at all.
    let mut command = home.command(&run(guest, &["--gpu"]));
    command
        .env_remove("ADIT_ONNXRUNTIME")
        .env("PATH", "/nonexistent");
    ended(command)
        .exits(1)
        .explains(&["not found", "pip install"]);
    // A place without one.
    let nowhere = home.path("nowhere");
    let args = run(
        guest,
        &[
            "--device",
            "cpu",
            "--onnxruntime",
            nowhere.to_str().unwrap(),
        ],
    );
    home.adit(&args)
        .exits(1)
        .explains(&["--onnxruntime names", "nowhere"]);
    // A library without the provider.
    ended(with_library(&home, "onnxruntime", &run(guest, &["--gpu"])))
        .exits(1)
        .explains(&["no GPU can be used", "no provider for a GPU"]);
    ended(with_library(
        &home,
        "onnxruntime",
        &run(guest, &["--device", "cuda"]),
    ))
    .exits(1)
    .explains(&["no cuda provider", "onnxruntime-gpu"]);
    // A GPU's library, and no driver.
    let mut command = with_library(
        &home,
        "onnxruntime-webgpu",
        &run(guest, &["--device", "webgpu"]),
    );
    command.env("VK_DRIVER_FILES", "/nonexistent.json");
    ended(command)
        .exits(1)
        .explains(&["Vulkan finds no device"]);
    // Options that would be without effect are not passed over.
    home.adit(&run(guest, &["--no-fallback"]))
        .exits(1)
        .explains(&["--no-fallback has no effect"]);
}

#[test]
fn the_configuration_names_a_device() {
    let home = Home::new();
    let library = target("runtimes/onnxruntime");
    let text = format!(
        "device = \"cpu\"\nonnxruntime = {:?}\nthreads = 2\n",
        library
    );
    home.file("state/config.toml", text);
    let guest = guest("guest_infer.wasm");
    let run = ["--json", "run", guest.to_str().unwrap()];
    let ran = home.adit(&run);
    let document = &ran.json()["environment"]["document"];
    assert_eq!(document["backend"], "onnxruntime");
    assert_eq!(document["threads"], 2);
    // The command line goes first.
    let ran = home.adit(&[&run[..], &["--device", "rten"]].concat());
    assert_eq!(ran.json()["environment"]["document"]["backend"], "rten");
    home.file("state/config.toml", "device = \"warp\"\n");
    home.adit(&run[1..])
        .exits(1)
        .explains(&["config.toml", "warp"]);
}

/// A signed record of the processor, which `inspect` verifies.
#[test]
fn bench_makes_a_signed_record() {
    let home = Home::new();
    let out = home.path("record");
    let args = [
        "--json",
        "bench",
        "--device",
        "rten",
        "--out",
        out.to_str().unwrap(),
    ];
    let report = home.adit(&args).exits(0).json();
    let record = &report["record"];
    assert!(record["cpu"]["guest_fuel_rate"].as_u64().unwrap() > 1_000_000);
    let device = &record["devices"][0];
    assert!(
        device["fp32_rate"].as_u64().unwrap() > 100_000_000,
        "{device}"
    );
    assert!(
        device["memory_bandwidth"].as_u64().unwrap() > 100_000_000,
        "{device}"
    );
    for model in ["attention", "conv", "dense"] {
        assert!(device["models"][model].as_u64().unwrap() > 0, "{device}");
    }
    assert!(report["classes"][0].as_str().unwrap().starts_with("cpu-"));
    let shown = home
        .adit(&["--json", "inspect", out.to_str().unwrap()])
        .exits(0);
    assert!(shown.text().contains("guest_fuel_rate"), "{}", shown.text());
    let mut bytes = std::fs::read(&out).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = home.file("forged", bytes);
    home.adit(&["inspect", forged.to_str().unwrap()]).exits(3);
}
