//! Where the tests of ONNX Runtime find its libraries, the models and the software GPU, and how a
//! test runs with the environment that they need.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::tensor::TensorBlob;
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::nn::onnxruntime::library::Search;
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::trial::Named;

use crate::support::{Bench, target};

/// Set to the test's name in the process that runs its body.
const CHILD: &str = "ADIT_TEST_CHILD";

/// The folder of a bundle, on a machine with a GPU; see `cargo xtask gpu-bundle`.
pub fn bundle() -> Option<PathBuf> {
    std::env::var_os("ADIT_BUNDLE").map(PathBuf::from)
}

/// Where `cargo xtask setup`, or a bundle, has the models and libraries.
pub fn root() -> PathBuf {
    bundle().unwrap_or_else(target)
}

/// A model that `cargo xtask setup` has fetched.
pub fn model_file(path: &str) -> Vec<u8> {
    let path = root().join("models").join(path);
    std::fs::read(&path).unwrap_or_else(|e| {
        panic!(
            "{}: {e}; hint: cargo xtask setup fetches it",
            path.display()
        )
    })
}

/// A model in a store, with its manifest.
pub fn stored(blobs: &BlobStore, path: &str) -> ModelManifest {
    let file = model_file(path);
    blobs.put(&file).unwrap();
    manifest_from_onnx(&file, "model.onnx", &OnnxLimits::default()).unwrap()
}

/// The library of an installed package, found as a user's is.
pub fn library(package: &str) -> PathBuf {
    let search = Search {
        argument: Some(root().join("runtimes").join(package)),
        ..Search::default()
    };
    search
        .find()
        .unwrap_or_else(|e| panic!("{e}; for the tests: cargo xtask setup"))
        .library
}

/// A device of a package's library.
pub fn device(provider: Provider, package: &str) -> OrtDevice {
    OrtDevice {
        provider,
        index: 0,
        library: library(package),
        memory_bytes: None,
        fallback: true,
    }
}

/// A bench whose worker computes on a device with one thread.
pub fn bench(device: OrtDevice) -> Bench {
    bench_with(device, 1, 1)
}

/// A bench with so many slots, whose worker computes with so many threads.
pub fn bench_with(device: OrtDevice, slots: u32, threads: u32) -> Bench {
    let options = WorkerOptions {
        slots,
        inference_threads: threads,
        device: DeviceChoice::OnnxRuntime(device),
        ..WorkerOptions::default()
    };
    Bench::with(options)
}

/// Input tensors as blobs of a store.
pub fn put(blobs: &BlobStore, made: &[(String, Tensor)]) -> Vec<Named> {
    made.iter()
        .map(|(name, t)| Named {
            name: name.clone(),
            hash: blobs
                .put(&TensorBlob::encode(t.dtype(), t.dims(), t.bytes()))
                .unwrap(),
        })
        .collect()
}

/// Runs the body of a test in a process of its own, in whose environment the software GPU is
/// found, unless this is that process. In a bundle the machine's own GPU is used.
///
/// `name` is the test's, with its module.
pub fn with_gpu(name: &str, body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|running| running == name) {
        return body();
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .stdin(Stdio::null());
    if bundle().is_none() {
        again.envs(software_gpu());
    }
    let output = again.output().unwrap();
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(text.contains("1 passed"), "the test did not run:\n{text}");
    println!("{text}");
}

/// The variables by which the Vulkan loader and the software GPU are found.
pub fn software_gpu() -> [(&'static str, OsString); 2] {
    let folder = root().join("runtimes/swiftshader");
    let driver = folder.join("vk_swiftshader_icd.json");
    assert!(
        Path::new(&driver).exists(),
        "{} is missing; hint: cargo xtask setup",
        driver.display()
    );
    [
        ("VK_DRIVER_FILES", driver.into()),
        ("LD_LIBRARY_PATH", folder.into()),
    ]
}
