//! Devices as a user meets them: `adit run --gpu`, and replays on another device. The GPU is one in
//! software, unless this is a bundle on a machine that has one.

use std::path::PathBuf;
use std::process::Command;

use noto_sans_mono_bitmap::RasterHeight;
use serde_json::Value;

use crate::ocr::page::Drawing;
use crate::receipts::checks;
use crate::support::{Home, Said, bundle, ended, guest, target};

/// A file or folder that `cargo xtask setup`, or a bundle, has.
pub fn fetched(below: &str) -> PathBuf {
    let path = target().join(below);
    assert!(
        path.exists(),
        "{}: not there; hint: cargo xtask setup",
        path.display()
    );
    path
}

/// A command that finds this library, and the GPU in software unless there is a real one.
pub fn with_library(home: &Home, package: &str, args: &[&str]) -> Command {
    let mut command = home.command(args);
    command.env("ADIT_ONNXRUNTIME", fetched("runtimes").join(package));
    if !bundle() {
        let driver = "runtimes/swiftshader/vk_swiftshader_icd.json";
        command
            .env("LD_LIBRARY_PATH", fetched("runtimes/swiftshader"))
            .env("VK_DRIVER_FILES", fetched(driver));
    }
    command
}

/// A command with the build of ONNX Runtime that has WebGPU.
pub fn webgpu(home: &Home, args: &[&str]) -> Said {
    ended(with_library(home, "onnxruntime-webgpu", args))
}

/// What computed the models of a run that read the page of the test, on the GPU of a provider.
fn providers(ran: &Value, provider: &str) -> Vec<String> {
    assert_eq!(ran["output"]["text"], "EUR 1,204.50\n");
    assert_eq!(ran["nn"]["gpu"], true);
    let document = &ran["environment"]["document"];
    assert_eq!(document["execution_provider"], provider);
    assert!(!document["device"].as_str().unwrap().is_empty());
    let used = ran["nn"]["environments"].as_array().unwrap();
    let name = |used: &Value| used["execution_provider"].as_str().unwrap().to_owned();
    used.iter().map(name).collect()
}

/// Finding and reading text on a page, on a GPU; and the same answers on other machines.
#[test]
fn a_page_is_read_on_a_gpu_and_checked_without_one() {
    let home = Home::new();
    let mut page = Drawing::new(224, 64);
    page.write(16, 18, RasterHeight::Size24, "EUR 1,204.50");
    let image = home.file("page.png", page.png());
    let models = fetched("models/ppocr");
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
    // Detection runs wholly on it, recognition leaves some operators to the processor.
    assert_eq!(providers(&ran, "webgpu"), ["webgpu", "webgpu+cpu"]);
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
    // On a machine that has one, also on another GPU, by another provider.
    if bundle() && target().join("runtimes/onnxruntime-gpu").is_dir() {
        let said = ended(with_library(&home, "onnxruntime-gpu", &args)).exits(0);
        assert!(!providers(&said.json(), "cuda").is_empty());
        let args = [&again[..], &["--device", "webgpu"]].concat();
        let report = webgpu(&home, &args).exits(0).json();
        let passed = "3 inference: passed".to_owned();
        assert!(checks(&report).contains(&passed), "{report}");
    }
    for device in ["rten", "cpu"] {
        let args = [&again[..], &["--device", device]].concat();
        let report = webgpu(&home, &args).exits(0).json();
        assert!(
            checks(&report).contains(&"3 inference: passed".to_owned()),
            "{report}"
        );
    }
}
