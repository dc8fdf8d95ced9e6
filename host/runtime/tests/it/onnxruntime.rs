//! Inference on the processor by way of ONNX Runtime, and by OpenVINO inside of it.

use std::time::Duration;

use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::{Dim, ModelManifest};
use adit_protocol::onnx::proto::{GraphProto, data_type};
use adit_protocol::onnx::testing::{info, model, node};
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::tensor::DType;
use adit_runtime::devices::{inputs, standard};
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::nn::onnxruntime::library::VARIABLE;
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::worker::survey::survey;
use adit_runtime::worker::trial::tensor;

use crate::libraries::{bench, bench_with, device, library, model_file, put, stored};
use crate::support::Bench;

const TIME: Duration = Duration::from_secs(30);

fn cpu() -> OrtDevice {
    device(Provider::Cpu, "onnxruntime")
}

fn compute(bench: &Bench, manifest: &ModelManifest, inputs: &[(String, Tensor)]) -> Vec<Tensor> {
    let case = put(&bench.blobs, inputs);
    let tried = bench
        .supervisor
        .try_model(manifest, vec![case], 1, TIME)
        .unwrap();
    let case = &tried.cases[0];
    assert_eq!(case.error, None);
    case.outputs
        .iter()
        .map(|output| tensor(&bench.blobs.get(&output.hash, 1 << 30).unwrap()).unwrap())
        .collect()
}

/// The sizes and numbers of integers at which each model takes what is made up for it.
const MODELS: [(&str, u32, u32); 5] = [
    ("magika/model.onnx", 64, 256),
    ("minilm/model.onnx", 64, 2),
    ("silero/model.onnx", 576, 2),
    ("ppocr/det.onnx", 64, 2),
    ("ppocr/rec.onnx", 64, 2),
];

/// Two libraries that share no code agree on real models, within the tolerance of a manifest.
#[test]
fn it_computes_what_the_embedded_backend_does() {
    for (provider, package) in [
        (Provider::Cpu, "onnxruntime"),
        (Provider::OpenVino, "onnxruntime-openvino"),
    ] {
        let bench = bench(device(provider, package));
        let hello = bench.supervisor.hello().unwrap();
        assert!(!hello.gpu);
        let document = EnvironmentDocument::from_cbor(&hello.environment).unwrap();
        assert_eq!(document.backend, "onnxruntime");
        assert_eq!(document.execution_provider, provider.name());
        assert!(document.build.starts_with("blake3:"), "{document:?}");
        let reference = Bench::over_blobs(&bench.blobs);
        for (path, size, integers) in MODELS {
            // OpenVINO refuses a model whose ranks are not known.
            if provider == Provider::OpenVino && path.starts_with("silero") {
                continue;
            }
            let manifest = stored(&bench.blobs, path);
            let made = inputs::make(&manifest, size, integers, 1);
            let ours = compute(&bench, &manifest, &made);
            let theirs = compute(&reference, &manifest, &made);
            for (a, b) in ours.iter().zip(&theirs) {
                let tolerance = manifest.tolerance;
                let agreement =
                    tolerance.compare(b.dtype(), b.dims(), b.bytes(), a.dims(), a.bytes());
                let agreement = agreement.unwrap();
                assert!(agreement.accepted, "{provider} {path}: {agreement:?}");
            }
        }
    }
}

/// Each element type goes in and comes out as it is, whatever the library calls it.
#[test]
fn element_types_are_kept() {
    let bench = bench(cpu());
    let types = [
        (data_type::FLOAT, DType::Fp32, 1.5f32.to_le_bytes().to_vec()),
        (
            data_type::DOUBLE,
            DType::Fp64,
            1e300f64.to_le_bytes().to_vec(),
        ),
        (data_type::INT32, DType::I32, (-7i32).to_le_bytes().to_vec()),
        (
            data_type::INT64,
            DType::I64,
            i64::MAX.to_le_bytes().to_vec(),
        ),
        (data_type::UINT8, DType::U8, vec![200]),
        (data_type::BOOL, DType::U8, vec![1]),
        (data_type::FLOAT16, DType::Fp16, vec![0x00, 0x3e]),
        (data_type::BFLOAT16, DType::Bf16, vec![0xc0, 0x3f]),
    ];
    for (elem_type, dtype, element) in types {
        let file = model(GraphProto {
            node: vec![node("Identity", &["x"], &["y"])],
            name: "g".into(),
            input: vec![info("x", elem_type, Some(&[2, 3]))],
            output: vec![info("y", elem_type, Some(&[2, 3]))],
            ..Default::default()
        });
        bench.blobs.put(&file).unwrap();
        let manifest = manifest_from_onnx(&file, "m.onnx", &OnnxLimits::default()).unwrap();
        let input = Tensor::new(dtype, vec![2, 3], element.repeat(6)).unwrap();
        let outputs = compute(&bench, &manifest, &[("x".to_owned(), input.clone())]);
        assert_eq!(outputs, [input], "{dtype}");
    }
}

#[test]
fn a_boolean_is_0_or_1_and_a_scalar_has_one_element() {
    let bench = bench(cpu());
    let file = model(GraphProto {
        node: vec![node("Not", &["x"], &["y"])],
        name: "g".into(),
        input: vec![info("x", data_type::BOOL, Some(&[]))],
        output: vec![info("y", data_type::BOOL, Some(&[]))],
        ..Default::default()
    });
    bench.blobs.put(&file).unwrap();
    let manifest = manifest_from_onnx(&file, "m.onnx", &OnnxLimits::default()).unwrap();
    let boolean = |value: u8| {
        let tensor = Tensor::new(DType::U8, vec![1], vec![value]).unwrap();
        vec![("x".to_owned(), tensor)]
    };
    let outputs = compute(&bench, &manifest, &boolean(0));
    assert_eq!(outputs[0].dims(), [1]);
    assert_eq!(outputs[0].bytes(), [1]);
    let case = put(&bench.blobs, &boolean(2));
    let tried = bench
        .supervisor
        .try_model(&manifest, vec![case], 1, TIME)
        .unwrap();
    let error = tried.cases[0].error.clone().unwrap();
    assert!(error.contains("a boolean is 0 or 1"), "{error}");
}

/// Callers at the same time have sessions of their own and get their own answers.
#[test]
fn many_at_once_get_their_own_answers() {
    let bench = bench_with(cpu(), 4, 1);
    let manifest = standard::models()[2].store(&bench.blobs).unwrap();
    let cases: Vec<_> = (0..8)
        .map(|case| inputs::make(&manifest, 1, 2, case))
        .collect();
    let alone: Vec<_> = cases
        .iter()
        .map(|made| compute(&bench, &manifest, made))
        .collect();
    std::thread::scope(|scope| {
        for (made, expected) in cases.iter().zip(&alone) {
            let (bench, manifest) = (&bench, &manifest);
            scope.spawn(move || {
                for _ in 0..5 {
                    let case = put(&bench.blobs, made);
                    let tried = bench.supervisor.try_model(manifest, vec![case], 200, TIME);
                    let case = tried.unwrap().cases[0].clone();
                    assert!(case.same && case.error.is_none());
                    assert_eq!(case.outputs[0].hash, expected[0].hash());
                }
            });
        }
    });
}

/// With the threads fixed, the library gives the same bits in every process.
#[test]
fn the_same_bits_in_every_process() {
    let first = bench(cpu());
    for path in ["magika/model.onnx", "ppocr/rec.onnx"] {
        let manifest = stored(&first.blobs, path);
        let made = inputs::make(&manifest, 64, 2, 0);
        let expected = compute(&first, &manifest, &made);
        for _ in 0..2 {
            let again = Bench::of_device(&first, cpu());
            assert_eq!(compute(&again, &manifest, &made), expected, "{path}");
        }
    }
}

/// What a model states that it needs is held against what the device may use.
#[test]
fn a_model_that_needs_more_than_the_device_may_use_is_refused() {
    let limited = OrtDevice {
        memory_bytes: Some(1 << 20),
        ..cpu()
    };
    let bench = bench(limited);
    let manifest = stored(&bench.blobs, "magika/model.onnx");
    let case = put(&bench.blobs, &inputs::make(&manifest, 64, 2, 0));
    let error = bench
        .supervisor
        .try_model(&manifest, vec![case], 1, TIME)
        .unwrap_err();
    assert!(error.to_string().contains("not enough memory"), "{error}");
}

#[test]
fn a_manifest_that_is_not_the_file_s_is_refused() {
    let bench = bench(cpu());
    let mut manifest = stored(&bench.blobs, "magika/model.onnx");
    manifest.inputs[0].dims = vec![Dim::Fixed(1), Dim::Fixed(7)];
    let case = put(&bench.blobs, &inputs::make(&manifest, 64, 2, 0));
    let error = bench
        .supervisor
        .try_model(&manifest, vec![case], 1, TIME)
        .unwrap_err();
    assert!(error.to_string().contains("manifest"), "{error}");
}

/// A library is asked what it has in a process of its own.
#[test]
fn a_survey_tells_what_a_library_has() {
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_adit-worker"));
    for (package, provider) in [
        ("onnxruntime", Provider::Cpu),
        ("onnxruntime-webgpu", Provider::WebGpu),
        ("onnxruntime-openvino", Provider::OpenVino),
    ] {
        let path = library(package);
        let found = survey(&program, &path).unwrap();
        assert!(found.providers().any(|p| p == provider), "{found:?}");
        assert!(
            path.to_string_lossy().ends_with(&found.version),
            "{found:?}"
        );
    }
    // Neither of these is one.
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so");
    std::fs::write(&text, model_file("silero/model.onnx")).unwrap();
    let error = survey(&program, &text).unwrap_err();
    assert!(error.contains("cannot be used"), "{error}");
    let shared = library("onnxruntime").with_file_name("libonnxruntime_providers_shared.so");
    let error = survey(&program, &shared).unwrap_err();
    assert!(error.contains("not ONNX Runtime"), "{error}");
    assert_eq!(VARIABLE, "ADIT_ONNXRUNTIME");
}

#[test]
fn a_provider_that_the_library_lacks_is_refused_with_the_package_that_has_it() {
    let lacking = OrtDevice {
        provider: Provider::Cuda,
        ..cpu()
    };
    let error = bench(lacking).supervisor.hello().unwrap_err().to_string();
    assert!(error.contains("no cuda provider"), "{error}");
    assert!(error.contains("pip install onnxruntime-gpu"), "{error}");
}
