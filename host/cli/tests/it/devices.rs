//! Which device is chosen, what is said of it, and what is remembered.

use crate::gpu::{fetched, webgpu, with_library};
use crate::support::{Home, ended, guest};

/// A run on the processor, computed again on the GPU, shows whether the GPU may be used.
#[test]
fn a_replay_on_a_device_is_remembered() {
    let home = Home::new();
    let model = format!("silero={}", fetched("models/silero/model.onnx").display());
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
        let tested = name == "cuda";
        assert_eq!(named(name)["tested_by_the_project"], tested, "{name}");
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
    let library = fetched("runtimes/onnxruntime");
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
