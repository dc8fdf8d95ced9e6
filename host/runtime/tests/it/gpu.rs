//! Inference on GPUs. Without one, WebGPU runs on a Vulkan device in software, which is the same
//! path up to the driver; on a machine with a GPU the same tests run on it, and on CUDA where its
//! libraries are there (`cargo xtask gpu-bundle`).

use std::collections::BTreeMap;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::ModelManifest;
use adit_runtime::devices::{self, Plan, inputs, standard};
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::worker::supervisor::Supervisor;
use adit_runtime::worker::trial::Tried;

use crate::libraries::{bench, bundle, device, model_file, put, stored, with_gpu};
use crate::support::Bench;

const LONG: Duration = Duration::from_secs(60);

/// CUDA, in a bundle that has its libraries. Where a bundle was made they lie about too, and there
/// need be no GPU.
fn cuda() -> Option<OrtDevice> {
    let there = bundle().is_some_and(|bundle| bundle.join("runtimes/onnxruntime-gpu").is_dir());
    there.then(|| device(Provider::Cuda, "onnxruntime-gpu"))
}

/// Every GPU path that can be tested here.
fn gpus() -> Vec<OrtDevice> {
    let webgpu = device(Provider::WebGpu, "onnxruntime-webgpu");
    std::iter::once(webgpu).chain(cuda()).collect()
}

fn whole(device: OrtDevice) -> OrtDevice {
    OrtDevice {
        fallback: false,
        ..device
    }
}

fn tried(bench: &Bench, manifest: &ModelManifest, size: u32) -> Tried {
    let case = put(&bench.blobs, &inputs::make(manifest, size, 2, 0));
    let tried = bench.supervisor.try_model(manifest, vec![case], 1, LONG);
    tried.unwrap_or_else(|e| panic!("{e}"))
}

fn environment_of(tried: &Tried) -> EnvironmentDocument {
    EnvironmentDocument::from_cbor(&tried.environment).unwrap()
}

fn reference() -> Bench {
    Bench::new()
}

#[test]
fn whole_models_run_on_the_device_and_are_right() {
    with_gpu("gpu::whole_models_run_on_the_device_and_are_right", || {
        for gpu in gpus() {
            let name = gpu.provider.name();
            let bench = bench(whole(gpu));
            let hello = bench.supervisor.hello().unwrap();
            assert!(hello.gpu);
            let models = [
                ("detection", stored(&bench.blobs, "ppocr/det.onnx")),
                (
                    "convolutions",
                    standard::models()[0].store(&bench.blobs).unwrap(),
                ),
            ];
            for (what, manifest) in models {
                let reference = reference();
                let (ours, theirs) = outputs_of(&bench, &reference, &manifest, 64);
                let agreement = manifest.tolerance.compare(
                    theirs.dtype(),
                    theirs.dims(),
                    theirs.bytes(),
                    ours.dims(),
                    ours.bytes(),
                );
                let agreement = agreement.unwrap();
                assert!(agreement.accepted, "{name} {what}: {agreement:?}");
                let document = environment_of(&tried(&bench, &manifest, 64));
                assert_eq!(document.execution_provider, name);
                assert!(!document.device.is_empty() && document.device != "cpu");
                assert!(!document.driver.is_empty(), "{document:?}");
                assert_eq!((document.requested, document.fallback), (None, None));
            }
        }
    });
}

/// The first output of a model on a device and on the reference, for the same input.
fn outputs_of(
    device: &Bench,
    reference: &Bench,
    manifest: &ModelManifest,
    size: u32,
) -> (Tensor, Tensor) {
    for (_, file) in manifest.files.iter() {
        let bytes = device.blobs.get(&file.hash, 1 << 30).unwrap();
        reference.blobs.put(&bytes).unwrap();
    }
    let first = |bench: &Bench| {
        let tried = tried(bench, manifest, size);
        let case = &tried.cases[0];
        assert_eq!(case.error, None);
        let blob = bench.blobs.get(&case.outputs[0].hash, 1 << 30).unwrap();
        adit_runtime::worker::trial::tensor(&blob).unwrap()
    };
    (first(device), first(reference))
}

/// magika has operators that WebGPU leaves to the processor.
#[test]
fn what_falls_back_is_told_and_can_be_refused() {
    with_gpu("gpu::what_falls_back_is_told_and_can_be_refused", || {
        let webgpu = device(Provider::WebGpu, "onnxruntime-webgpu");
        let bench_ = bench(webgpu.clone());
        let manifest = stored(&bench_.blobs, "magika/model.onnx");
        let document = environment_of(&tried(&bench_, &manifest, 64));
        assert_eq!(document.execution_provider, "webgpu+cpu");
        assert_eq!(document.requested.as_deref(), Some("webgpu"));
        let fallback = document.fallback.unwrap();
        assert!(
            fallback.keys().all(|key| key.starts_with("cpu/")),
            "{fallback:?}"
        );

        let strict = bench(whole(webgpu));
        stored(&strict.blobs, "magika/model.onnx");
        let case = put(&strict.blobs, &inputs::make(&manifest, 64, 2, 0));
        let refused = strict.supervisor.try_model(&manifest, vec![case], 1, LONG);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("fallback"), "{error}");
    });
}

/// What ONNX Runtime's own profile says of the operators that ran.
#[test]
fn the_profile_agrees_with_what_is_told() {
    with_gpu("gpu::the_profile_agrees_with_what_is_told", || {
        let webgpu = device(Provider::WebGpu, "onnxruntime-webgpu");
        profile_agrees(
            &webgpu,
            &[("ppocr/det.onnx", true), ("magika/model.onnx", false)],
        );
    });
}

/// The same on CUDA, where its libraries are there: a process has one library.
#[test]
fn the_profile_agrees_with_what_is_told_on_cuda() {
    let Some(cuda) = cuda() else { return };
    with_gpu("gpu::the_profile_agrees_with_what_is_told_on_cuda", || {
        profile_agrees(
            &cuda,
            &[("ppocr/det.onnx", false), ("magika/model.onnx", false)],
        );
    });
}

/// `whole`: whether all of a model is known to run on the device.
fn profile_agrees(gpu: &OrtDevice, models: &[(&str, bool)]) {
    let environment = ort::init_from(&gpu.library).unwrap().build().unwrap();
    let name = gpu.provider.library_name();
    for (path, whole) in models {
        let bench = bench(gpu.clone());
        let manifest = stored(&bench.blobs, path);
        let told = environment_of(&tried(&bench, &manifest, 64)).fallback;
        let told = told.unwrap_or_default();
        let ran = profiled(&environment, gpu, path, &inputs::make(&manifest, 64, 2, 0));
        let on_device = ran.iter().filter(|((provider, _), _)| provider == name);
        let count: u64 = on_device.map(|(_, n)| n).sum();
        assert!(count > 20, "{path}: {ran:?}");
        for ((provider, operator), number) in ran.iter().filter(|((p, _), _)| p != name) {
            assert!(!whole, "{path}: {provider}/{operator}");
            let key = format!("{}/{operator}", Provider::name_of(provider));
            let known = told.get(&key).copied().unwrap_or(0);
            assert!(
                known >= *number,
                "{path}: {key} ran {number}x, told {known}x"
            );
        }
    }
    // Freeing the library's global state is not what is tested here.
    std::mem::forget(environment);
}

/// Computes once with the binding itself and counts the operators of the profile, by provider and
/// type.
fn profiled(
    environment: &ort::environment::Environment,
    gpu: &OrtDevice,
    path: &str,
    inputs: &[(String, Tensor)],
) -> BTreeMap<(String, String), u64> {
    use ort::ep;
    use ort::session::{Session, SessionInputValue};

    let folder = tempfile::tempdir().unwrap();
    let provider = match gpu.provider {
        Provider::Cuda => ep::CUDA::default().build(),
        _ => ep::WebGPU::default().build(),
    };
    let mut session = Session::builder(environment)
        .unwrap()
        .with_execution_providers([provider.error_on_failure()])
        .unwrap()
        .with_profiling(folder.path().join("profile"))
        .unwrap()
        .commit_from_memory(&model_file(path))
        .unwrap();
    let values: Vec<(&str, SessionInputValue<'_>)> = inputs
        .iter()
        .map(|(name, tensor)| {
            let dims: Vec<usize> = tensor.dims().iter().map(|d| *d as usize).collect();
            let value = match tensor.as_f32() {
                Ok(values) => SessionInputValue::from(
                    ort::value::Tensor::from_array((dims, values.to_vec())).unwrap(),
                ),
                Err(_) => SessionInputValue::from(
                    ort::value::Tensor::from_array((dims, tensor.as_i32().unwrap().to_vec()))
                        .unwrap(),
                ),
            };
            (name.as_str(), value)
        })
        .collect();
    drop(session.run(values).unwrap());
    let file = session.end_profiling().unwrap();
    let profile: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut counts = BTreeMap::new();
    for event in profile.as_array().unwrap() {
        let text = |key: &str| Some(event["args"][key].as_str()?.to_owned());
        if let (Some(provider), Some(operator)) = (text("provider"), text("op_name")) {
            *counts.entry((provider, operator)).or_insert(0) += 1;
        }
    }
    std::mem::forget(session);
    counts
}

/// The software device computes recurrent networks wrongly, and reports nothing.
#[test]
fn a_device_that_is_silently_wrong_is_found() {
    with_gpu("gpu::a_device_that_is_silently_wrong_is_found", || {
        let gpu = device(Provider::WebGpu, "onnxruntime-webgpu");
        let first = bench(gpu.clone());
        let software = first.supervisor.hello().unwrap();
        let software = EnvironmentDocument::from_cbor(&software.environment).unwrap();
        let manifest = stored(&first.blobs, "silero/model.onnx");
        let reference = Bench::over_blobs(&first.blobs);
        let start =
            |_: u32| -> Supervisor { Bench::of_device(&first, gpu.clone()).into_supervisor() };
        let plan = Plan {
            cases: 1,
            runs: 2,
            processes: 1,
            time: LONG,
            ..Plan::default()
        };
        let measured = devices::measure(
            &first.blobs,
            &start,
            1,
            &reference.supervisor,
            &manifest,
            &plan,
        );
        let measured = measured.unwrap();
        println!("{}: {:?}", software.device, measured.report);
        // Another device may be right; this one is known.
        if software.device.contains("SwiftShader") {
            assert!(!measured.report.advertisable());
            let check = measured.report.reference.unwrap();
            assert!(check.max_abs_nano > 100_000_000, "{check:?}");
            assert!(measured.first_wrong.unwrap().contains("off by"));
        }
    });
}

#[test]
fn a_device_that_is_right_is_offered() {
    with_gpu("gpu::a_device_that_is_right_is_offered", || {
        for gpu in gpus() {
            let first = bench(gpu.clone());
            let reference = Bench::over_blobs(&first.blobs);
            let manifest = standard::models()[1].store(&first.blobs).unwrap();
            let start =
                |_: u32| -> Supervisor { Bench::of_device(&first, gpu.clone()).into_supervisor() };
            let plan = Plan {
                cases: 2,
                runs: 3,
                time: LONG,
                ..Plan::default()
            };
            let blobs = &first.blobs;
            let measured =
                devices::measure(blobs, &start, 1, &reference.supervisor, &manifest, &plan);
            let measured = measured.unwrap();
            println!("{}: {:?}", gpu.provider, measured.report);
            assert!(measured.report.advertisable(), "{:?}", measured.first_wrong);
            let again = measured.report.repeatability.clone().unwrap();
            assert_eq!((again.runs, again.processes), (3, 2));
            assert_eq!(measured.report.bit_exact(), again.repeatable);
            assert_ne!(measured.report.environment, Hash::ZERO);
        }
    });
}

/// Without a driver there is no device, and the answer says what to do. The library itself was
/// seen to crash then.
#[test]
fn without_a_driver_there_is_no_gpu() {
    let mut gpu = device(Provider::WebGpu, "onnxruntime-webgpu");
    gpu.index = 0;
    if std::env::var_os("ADIT_BUNDLE").is_some() || std::env::var_os("VK_DRIVER_FILES").is_some() {
        return;
    }
    let error = match bench(gpu).supervisor.hello() {
        // A developer's machine may have a GPU.
        Ok(hello) => return assert!(hello.gpu),
        Err(error) => error.to_string(),
    };
    assert!(
        error.contains("Vulkan") && error.contains("hint:"),
        "{error}"
    );
}
