//! Tests of the rten backend on small models.

use adit_protocol::manifest::{Dim, Encoding, TensorSpec};
use adit_protocol::onnx::proto::*;
use adit_protocol::onnx::testing::*;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::tensor::DType;

use super::*;
use crate::nn::pool::InferencePool;
use crate::nn::vet::fits;

fn manifest_of(file: &[u8]) -> ModelManifest {
    manifest_from_onnx(file, "model.onnx", &OnnxLimits::default()).unwrap()
}

fn load_as(manifest: &ModelManifest, file: Vec<u8>) -> Result<Arc<dyn LoadedModel>, BackendError> {
    let files = ModelFiles::from_memory([("model.onnx".to_string(), file)]);
    RtenBackend::new(1).unwrap().load(manifest, files)
}

fn load(file: Vec<u8>) -> Result<Arc<dyn LoadedModel>, BackendError> {
    load_as(&manifest_of(&file), file)
}

fn named(name: &str, tensor: Tensor) -> Vec<(String, Tensor)> {
    vec![(name.to_string(), tensor)]
}

fn f32s(dims: &[u32], values: &[f32]) -> Tensor {
    Tensor::from_f32(dims.to_vec(), values.to_vec()).unwrap()
}

/// A model of one operator from `x` to `y`.
fn unary(op: NodeProto, x: ValueInfoProto, y: ValueInfoProto) -> Vec<u8> {
    graph(vec![op], vec![x], vec![y])
}

fn identity(elem_type: i32, dims: &[i64]) -> Arc<dyn LoadedModel> {
    let bytes = unary(
        node("Identity", &["x"], &["y"]),
        info("x", elem_type, Some(dims)),
        info("y", elem_type, Some(dims)),
    );
    load(bytes).unwrap()
}

#[test]
fn the_linked_version_is_the_named_one() {
    let lock = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .chain(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .ancestors()
                .map(|folder| folder.join("Cargo.lock")),
        )
        .find(|path| path.ends_with("Cargo.lock") && path.is_file())
        .expect("cargo wrote a lock file");
    let lock = std::fs::read_to_string(lock).unwrap();
    assert!(lock.contains(&format!("name = \"rten\"\nversion = \"{RTEN_VERSION}\"\n")));
}

#[test]
fn it_describes_itself_without_empty_facts() {
    let info = RtenBackend::new(2).unwrap().describe();
    assert_eq!(
        (info.name.as_str(), info.threads, info.gpu),
        ("rten", 2, false)
    );
    assert_eq!(info.cpu_baseline, cpu_baseline());
}

#[test]
fn it_adds() {
    let model = load(add_model()).unwrap();
    let inputs = vec![
        (
            "b".to_string(),
            f32s(&[2, 3], &[10., 20., 30., 40., 50., 60.]),
        ),
        ("a".to_string(), f32s(&[2, 3], &[1., 2., 3., 4., 5., 6.])),
    ];
    let outputs = model.compute(inputs).unwrap();
    assert_eq!(
        outputs,
        named("sum", f32s(&[2, 3], &[11., 22., 33., 44., 55., 66.]))
    );
    assert!(model.resident_bytes() > 0);
}

#[test]
fn it_multiplies_matrices_with_a_constant() {
    let bytes = model(GraphProto {
        node: vec![node("MatMul", &["x", "w"], &["y"])],
        initializer: vec![constant("w", &[2, 2], &[1., 2., 3., 4.])],
        input: vec![symbolic("x", data_type::FLOAT, &["n", "k"])],
        output: vec![symbolic("y", data_type::FLOAT, &["n", "m"])],
        ..Default::default()
    });
    let model = load(bytes).unwrap();
    let y = model
        .compute(named("x", f32s(&[1, 2], &[1., 10.])))
        .unwrap();
    assert_eq!(y, named("y", f32s(&[1, 2], &[31., 42.])));
}

#[test]
fn every_type_passes_through_unchanged() {
    let same = |elem_type: i32, tensor: Tensor| {
        let dims: Vec<i64> = tensor.dims().iter().map(|&d| d.into()).collect();
        let outputs = identity(elem_type, &dims)
            .compute(named("x", tensor.clone()))
            .unwrap();
        assert_eq!(outputs, named("y", tensor));
    };
    same(data_type::FLOAT, f32s(&[3], &[1.5, f32::NAN, -0.0]));
    same(
        data_type::INT32,
        Tensor::from_i32(vec![2], vec![i32::MIN, i32::MAX]).unwrap(),
    );
    same(
        data_type::INT64,
        Tensor::from_i64(vec![2], &[i32::MIN.into(), i32::MAX.into()]).unwrap(),
    );
    same(
        data_type::DOUBLE,
        Tensor::from_f64(vec![3], &[0.5, f64::INFINITY, -2.0]).unwrap(),
    );
    same(
        data_type::UINT8,
        Tensor::new(DType::U8, vec![3], vec![0, 1, 255]).unwrap(),
    );
    same(
        data_type::BOOL,
        Tensor::new(DType::U8, vec![2], vec![0, 1]).unwrap(),
    );
    // 1.0 and the smallest subnormal.
    same(
        data_type::FLOAT16,
        Tensor::new(DType::Fp16, vec![2], vec![0, 0x3c, 1, 0]).unwrap(),
    );
    same(
        data_type::BFLOAT16,
        Tensor::new(DType::Bf16, vec![2], vec![0x80, 0x3f, 1, 0]).unwrap(),
    );
}

#[test]
fn values_that_rten_cannot_hold_are_named() {
    let refused = |elem_type: i32, tensor: Tensor, at: u64, text: &str| {
        let dims: Vec<i64> = tensor.dims().iter().map(|&d| d.into()).collect();
        match identity(elem_type, &dims)
            .compute(named("x", tensor))
            .unwrap_err()
        {
            BackendError::ValueOutOfRange {
                tensor,
                index,
                value,
                ..
            } => {
                assert_eq!((tensor.as_str(), index, value.as_str()), ("x", at, text));
            }
            other => panic!("{other}"),
        }
    };
    let big = i64::from(i32::MAX) + 1;
    refused(
        data_type::INT64,
        Tensor::from_i64(vec![2], &[0, big]).unwrap(),
        1,
        "2147483648",
    );
    refused(
        data_type::INT64,
        Tensor::from_i64(vec![1], &[i64::MIN]).unwrap(),
        0,
        "-9223372036854775808",
    );
    refused(
        data_type::BOOL,
        Tensor::new(DType::U8, vec![2], vec![1, 2]).unwrap(),
        1,
        "2",
    );
    refused(
        data_type::DOUBLE,
        Tensor::from_f64(vec![1], &[1e300]).unwrap(),
        0,
        &1e300.to_string(),
    );
}

#[test]
fn casts_come_out_in_the_manifests_types() {
    let cast_to = |elem_type: i32| {
        let mut cast = node("Cast", &["x"], &["y"]);
        cast.attribute = vec![int_attribute("to", elem_type.into())];
        let bytes = unary(
            cast,
            info("x", data_type::FLOAT, Some(&[3])),
            info("y", elem_type, Some(&[3])),
        );
        load(bytes).unwrap()
    };
    let x = || named("x", f32s(&[3], &[0.0, 1.0, -3.5]));
    for (elem_type, expected) in [
        (
            data_type::INT64,
            Tensor::from_i64(vec![3], &[0, 1, -3]).unwrap(),
        ),
        (
            data_type::DOUBLE,
            Tensor::from_f64(vec![3], &[0.0, 1.0, -3.5]).unwrap(),
        ),
    ] {
        assert_eq!(
            cast_to(elem_type).compute(x()).unwrap(),
            named("y", expected)
        );
    }
    let to_bool = cast_to(data_type::BOOL);
    let y = to_bool
        .compute(named("x", f32s(&[3], &[0.0, 1.0, 1.0])))
        .unwrap();
    assert_eq!(
        y,
        named("y", Tensor::new(DType::U8, vec![3], vec![0, 1, 1]).unwrap())
    );
    // rten's cast to bool truncates to an integer instead of comparing with zero; a guest must not
    // be given the result as if it were a boolean.
    assert!(matches!(to_bool.compute(x()), Err(BackendError::Failed(_))));
}

#[test]
fn a_scalar_is_one_element_to_the_guest() {
    let mut sum = node("ReduceSum", &["x"], &["y"]);
    sum.attribute = vec![int_attribute("keepdims", 0)];
    let bytes = unary(
        sum,
        symbolic("x", data_type::FLOAT, &["n"]),
        info("y", data_type::FLOAT, Some(&[])),
    );
    let outputs = load(bytes)
        .unwrap()
        .compute(named("x", f32s(&[3], &[1., 2., 3.])))
        .unwrap();
    assert_eq!(outputs, named("y", f32s(&[1], &[6.])));

    let model = identity(data_type::INT64, &[]);
    for dims in [vec![1], vec![]] {
        let x = Tensor::from_i64(dims, &[16000]).unwrap();
        let outputs = model.compute(named("x", x)).unwrap();
        assert_eq!(
            outputs,
            named("y", Tensor::from_i64(vec![1], &[16000]).unwrap())
        );
    }
}

#[test]
fn inputs_that_contradict_the_manifest_are_refused() {
    let model = load(add_model()).unwrap();
    let good = || f32s(&[1, 3], &[1., 2., 3.]);
    let refused = |inputs: Vec<(&str, Tensor)>, name: &str, words: &str| {
        let inputs = inputs
            .into_iter()
            .map(|(n, t)| (n.to_string(), t))
            .collect();
        match model.compute(inputs).unwrap_err() {
            BackendError::InvalidInput { tensor, why } => {
                assert_eq!(tensor, name);
                assert!(why.contains(words), "{why}");
            }
            other => panic!("{other}"),
        }
    };
    refused(vec![("a", good())], "b", "missing");
    refused(
        vec![("a", good()), ("b", good()), ("c", good())],
        "c",
        "no input",
    );
    refused(
        vec![("a", good()), ("b", good()), ("a", good())],
        "a",
        "twice",
    );
    refused(
        vec![("a", good()), ("b", f32s(&[3], &[1., 2., 3.]))],
        "b",
        "dimensions",
    );
    refused(
        vec![("a", good()), ("b", f32s(&[1, 2], &[1., 2.]))],
        "b",
        "dimensions",
    );
    let ints = Tensor::from_i32(vec![1, 3], vec![1, 2, 3]).unwrap();
    refused(vec![("a", good()), ("b", ints)], "b", "i32");
}

#[test]
fn an_error_inside_the_graph_leaves_the_model_usable() {
    let model = load(add_model()).unwrap();
    // Two rows and three rows: within the symbols' freedom, impossible to add.
    let inputs = |rows: u32| {
        let b = f32s(&[rows, 3], &vec![1.0; rows as usize * 3]);
        vec![
            ("a".to_string(), f32s(&[2, 3], &[0.5; 6])),
            ("b".to_string(), b),
        ]
    };
    assert!(matches!(
        model.compute(inputs(3)),
        Err(BackendError::Failed(_))
    ));
    assert_eq!(
        model.compute(inputs(2)).unwrap(),
        named("sum", f32s(&[2, 3], &[1.5; 6]))
    );
}

#[test]
fn a_manifest_that_differs_from_the_file_is_refused() {
    let file = add_model();
    let malformed = |change: &dyn Fn(&mut ModelManifest)| {
        let mut manifest = manifest_of(&file);
        change(&mut manifest);
        assert!(matches!(
            load_as(&manifest, file.clone()),
            Err(BackendError::Malformed(_))
        ));
    };
    malformed(&|m| m.inputs[0].name = "z".into());
    malformed(&|m| m.inputs[0].dtype = DType::I32);
    malformed(&|m| m.inputs[0].dims[1] = Dim::Fixed(4));
    malformed(&|m| m.inputs[0].dims[1] = Dim::Symbol("any".into()));
    malformed(&|m| m.inputs[0].dims.truncate(1));
    malformed(&|m| m.inputs.truncate(1));
    malformed(&|m| m.outputs[0].name = "z".into());

    let mut narrower = manifest_of(&file);
    narrower.inputs[0].dims[0] = Dim::Fixed(2);
    let model = load_as(&narrower, file.clone()).unwrap();
    let one_row = f32s(&[1, 3], &[1.; 3]);
    let inputs = vec![
        ("a".to_string(), one_row.clone()),
        ("b".to_string(), one_row),
    ];
    assert!(matches!(
        model.compute(inputs),
        Err(BackendError::InvalidInput { .. })
    ));

    let mut other = manifest_of(&file);
    other.encoding = Encoding::Ggml;
    assert!(matches!(
        load_as(&other, file),
        Err(BackendError::Unsupported(_))
    ));
}

#[test]
fn models_that_cannot_run_are_refused_with_the_reason() {
    let io = || {
        (
            info("x", data_type::FLOAT, Some(&[1])),
            info("y", data_type::FLOAT, Some(&[1])),
        )
    };
    let refusal = |file: Vec<u8>| match load(file) {
        Err(BackendError::Unsupported(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was loaded"),
    };

    let (x, y) = io();
    let why = refusal(unary(node("NoSuchOperator", &["x"], &["y"]), x, y));
    assert!(why.contains("NoSuchOperator"), "{why}");

    let (_, y) = io();
    let why = refusal(graph(
        vec![node("RandomNormalLike", &["x"], &["y"])],
        vec![io().0],
        vec![y],
    ));
    assert!(why.contains("without a seed"), "{why}");
}

#[test]
fn external_data_is_refused_before_rten_sees_it() {
    let mut outside = constant("w", &[1], &[]);
    outside.data_location = 1;
    outside.external_data = vec![
        StringStringEntryProto {
            key: "location".into(),
            value: "weights.bin".into(),
        },
        StringStringEntryProto {
            key: "offset".into(),
            value: "0".into(),
        },
        StringStringEntryProto {
            key: "length".into(),
            value: "4".into(),
        },
    ];
    let with = |weights: TensorProto| {
        model(GraphProto {
            node: vec![node("Add", &["x", "w"], &["y"])],
            initializer: vec![weights],
            input: vec![info("x", data_type::FLOAT, Some(&[1]))],
            output: vec![info("y", data_type::FLOAT, Some(&[1]))],
            ..Default::default()
        })
    };
    let manifest = manifest_of(&with(constant("w", &[1], &[1.0])));
    match load_as(&manifest, with(outside)) {
        Err(BackendError::Unsupported(why)) => assert!(why.contains("another file"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn damaged_files_give_errors() {
    let bytes = add_model();
    let manifest = manifest_of(&bytes);
    for len in 0..bytes.len() {
        if let Err(error) = load_as(&manifest, bytes[..len].to_vec()) {
            assert!(
                !matches!(error, BackendError::Panicked(_)),
                "{len}: {error}"
            );
        }
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        if let Err(error) = load_as(&manifest, changed) {
            assert!(!matches!(error, BackendError::Panicked(_)), "{at}: {error}");
        }
    }
}

#[test]
fn a_panic_inside_rten_is_contained() {
    // A reshape to more elements than memory can address overflows inside rten.
    let shape = TensorProto {
        dims: vec![3],
        data_type: data_type::INT64,
        name: "shape".into(),
        raw_data: Some(
            [i64::from(i32::MAX); 3]
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        ..Default::default()
    };
    let bytes = model(GraphProto {
        node: vec![node("Expand", &["x", "shape"], &["y"])],
        initializer: vec![shape],
        input: vec![info("x", data_type::FLOAT, Some(&[1]))],
        output: vec![symbolic("y", data_type::FLOAT, &["a", "b", "c"])],
        ..Default::default()
    });
    let manifest = manifest_of(&bytes);
    match load_as(&manifest, bytes) {
        Ok(model) => {
            let error = model.compute(named("x", f32s(&[1], &[1.]))).unwrap_err();
            assert!(
                matches!(error, BackendError::Panicked(_) | BackendError::Failed(_)),
                "{error}"
            );
        }
        Err(error) => {
            assert!(
                matches!(
                    error,
                    BackendError::Panicked(_) | BackendError::Malformed(_)
                ),
                "{error}"
            );
        }
    }
}

#[test]
fn a_long_chain_of_operators_does_not_overflow_the_stack() {
    let chain = |length: usize| {
        let op = |i: usize| {
            let name = ["Abs", "Neg"][i % 2];
            node(name, &[&format!("v{i}")], &[&format!("v{}", i + 1)])
        };
        let last = format!("v{length}");
        let io = |name: &str| info(name, data_type::FLOAT, Some(&[2]));
        graph(
            (0..length).map(op).collect(),
            vec![io("v0")],
            vec![io(&last)],
        )
    };
    let length = 20_000;
    let file = chain(length);
    let manifest = Arc::new(manifest_of(&file));
    let pool = InferencePool::new(Arc::new(RtenBackend::new(1).unwrap()), 1).unwrap();
    let files = ModelFiles::from_memory([("model.onnx".to_string(), file)]);
    let model = pool.load(manifest, files).unwrap();
    for _ in 0..2 {
        let y = pool
            .compute(model.clone(), named("v0", f32s(&[2], &[-1.5, 2.0])))
            .unwrap();
        assert_eq!(y, named(&format!("v{length}"), f32s(&[2], &[-1.5, -2.0])));
    }
}

#[test]
fn a_specification_of_a_scalar_takes_one_element_only() {
    let scalar = TensorSpec {
        name: "s".into(),
        dtype: DType::Fp32,
        dims: vec![],
    };
    assert!(fits(&[1], &scalar.dims) && fits(&[], &scalar.dims));
    assert!(!fits(&[2], &scalar.dims) && !fits(&[1, 1], &scalar.dims));
}
