//! Tests of the ONNX reader: what it makes of sound files, and that nothing makes it panic.

use super::proto::*;
use super::testing::{add_model, constant, graph, info, model, node, symbolic};
use super::*;
use crate::cbor::Document;

fn read(bytes: &[u8]) -> Result<ModelManifest, OnnxError> {
    manifest_from_onnx(bytes, "model.onnx", &OnnxLimits::default())
}

#[test]
fn the_manifest_of_a_small_model() {
    let bytes = add_model();
    let manifest = read(&bytes).unwrap();
    let dims = vec![Dim::Symbol("n".into()), Dim::Fixed(3)];
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        dtype: DType::Fp32,
        dims: dims.clone(),
    };
    assert_eq!(manifest.inputs, [spec("a"), spec("b")]);
    assert_eq!(manifest.outputs, [spec("sum")]);
    assert_eq!(
        manifest.cost,
        CostFunction {
            base: 1,
            per_input_element: 1
        }
    );
    assert_eq!(manifest.memory_bytes, 2 * bytes.len() as u64 + (64 << 20));
    assert_eq!(manifest.licence, "");
    let file = manifest.files.get("model.onnx").unwrap();
    assert_eq!(
        (file.hash, file.len),
        (Hash::of(&bytes), bytes.len() as u64)
    );
    assert_eq!(read(&bytes).unwrap(), manifest);
}

#[test]
fn element_types_map_as_documented() {
    let types = [
        (data_type::FLOAT, DType::Fp32),
        (data_type::DOUBLE, DType::Fp64),
        (data_type::FLOAT16, DType::Fp16),
        (data_type::BFLOAT16, DType::Bf16),
        (data_type::UINT8, DType::U8),
        (data_type::BOOL, DType::U8),
        (data_type::INT32, DType::I32),
        (data_type::INT64, DType::I64),
    ];
    for (elem_type, dtype) in types {
        let tensor = |name| info(name, elem_type, Some(&[2]));
        let bytes = graph(
            vec![node("Identity", &["x"], &["y"])],
            vec![tensor("x")],
            vec![tensor("y")],
        );
        let manifest = read(&bytes).unwrap();
        assert_eq!(manifest.inputs[0].dtype, dtype);
        assert_eq!(manifest.outputs[0].dtype, dtype);
    }
    for (elem_type, name) in [
        (data_type::STRING, "string"),
        (data_type::INT8, "int8"),
        (99, "number 99 of ONNX's list"),
    ] {
        let tensor = |name| info(name, elem_type, Some(&[2]));
        let bytes = graph(vec![], vec![tensor("x")], vec![tensor("y")]);
        assert_eq!(
            read(&bytes).unwrap_err(),
            OnnxError::Unsupported {
                tensor: "x".into(),
                type_name: name.into()
            }
        );
    }
}

#[test]
fn sequences_are_refused_by_name() {
    let mut value = info("x", data_type::FLOAT, None);
    value.r#type = Some(TypeProto {
        sequence_type: Some(Unread {}),
        ..Default::default()
    });
    let bytes = graph(vec![], vec![value], vec![info("y", data_type::FLOAT, None)]);
    assert_eq!(
        read(&bytes).unwrap_err(),
        OnnxError::Unsupported {
            tensor: "x".into(),
            type_name: "sequence".into()
        }
    );
}

#[test]
fn dimensions_that_are_not_positive_are_unknown() {
    let bytes = graph(
        vec![],
        vec![
            info("x", data_type::FLOAT, Some(&[0, -1, 7])),
            symbolic("s", data_type::FLOAT, &["t", ""]),
        ],
        vec![info("scalar", data_type::FLOAT, Some(&[]))],
    );
    let manifest = read(&bytes).unwrap();
    let unknown = || Dim::Symbol(String::new());
    assert_eq!(
        manifest.inputs[0].dims,
        [unknown(), unknown(), Dim::Fixed(7)]
    );
    assert_eq!(
        manifest.inputs[1].dims,
        [Dim::Symbol("t".into()), unknown()]
    );
    assert_eq!(manifest.outputs[0].dims, []);

    let long = "n".repeat(65);
    for odd in [long.as_str(), "a\u{1b}[2J"] {
        let y = vec![symbolic("y", data_type::FLOAT, &[odd])];
        assert_eq!(
            read(&graph(vec![], vec![], y)).unwrap().outputs[0].dims,
            [unknown()]
        );
    }
    let y = vec![info("y", data_type::FLOAT, None)];
    assert_eq!(
        read(&graph(vec![], vec![], y)).unwrap_err(),
        OnnxError::UnstatedShape { tensor: "y".into() }
    );
}

#[test]
fn a_manifest_is_a_valid_document() {
    let manifest = read(&add_model()).unwrap();
    let bytes = manifest.to_cbor();
    assert_eq!(ModelManifest::from_cbor(&bytes).unwrap(), manifest);
    for name in ["", "a\nb", &"n".repeat(257)] {
        assert!(matches!(
            manifest_from_onnx(&add_model(), name, &OnnxLimits::default()),
            Err(OnnxError::FileName { .. })
        ));
    }
}

#[test]
fn constants_are_not_inputs() {
    let bytes = model(GraphProto {
        node: vec![node("Add", &["x", "w"], &["y"])],
        initializer: vec![constant("w", &[1], &[2.0])],
        input: vec![
            info("x", data_type::FLOAT, Some(&[1])),
            info("w", data_type::FLOAT, Some(&[1])),
        ],
        output: vec![info("y", data_type::FLOAT, Some(&[1]))],
        ..Default::default()
    });
    let manifest = read(&bytes).unwrap();
    assert_eq!(
        manifest
            .inputs
            .iter()
            .map(|i| i.name.as_str())
            .collect::<Vec<_>>(),
        ["x"]
    );
}

#[test]
fn external_data_is_refused_wherever_it_is() {
    let mut outside = constant("w", &[1], &[2.0]);
    outside.raw_data = None;
    outside.data_location = 1;
    outside.external_data = vec![StringStringEntryProto {
        key: "location".into(),
        value: "../secret".into(),
    }];
    let expected = OnnxError::ExternalData { tensor: "w".into() };
    let io = || {
        (
            vec![info("x", data_type::FLOAT, Some(&[1]))],
            vec![info("y", data_type::FLOAT, Some(&[1]))],
        )
    };

    let (input, output) = io();
    let in_graph = GraphProto {
        initializer: vec![outside.clone()],
        input,
        output,
        ..Default::default()
    };
    assert_eq!(read(&model(in_graph.clone())).unwrap_err(), expected);

    let mut in_attribute = node("Constant", &[], &["c"]);
    in_attribute.attribute = vec![AttributeProto {
        name: "value".into(),
        t: Some(outside),
        r#type: 4,
        ..Default::default()
    }];
    let (inputs, outputs) = io();
    assert_eq!(
        read(&graph(vec![in_attribute], inputs, outputs)).unwrap_err(),
        expected
    );

    let mut branch = node("If", &["x"], &["y"]);
    branch.attribute = vec![AttributeProto {
        name: "then_branch".into(),
        g: Some(in_graph),
        r#type: 5,
        ..Default::default()
    }];
    let (inputs, outputs) = io();
    assert_eq!(
        read(&graph(vec![branch], inputs, outputs)).unwrap_err(),
        expected
    );
}

#[test]
fn nesting_is_bounded() {
    let mut inner = GraphProto::default();
    for _ in 0..30 {
        let mut branch = node("If", &["x"], &["y"]);
        branch.attribute = vec![AttributeProto {
            name: "b".into(),
            g: Some(inner),
            r#type: 5,
            ..Default::default()
        }];
        inner = GraphProto {
            node: vec![branch],
            ..Default::default()
        };
    }
    inner.output = vec![info("y", data_type::FLOAT, None)];
    assert_eq!(
        read(&model(inner)).unwrap_err(),
        OnnxError::too_complex("levels of nesting", 64)
    );
}

#[test]
fn names_ranks_and_counts_are_bounded() {
    let y = || vec![info("y", data_type::FLOAT, Some(&[]))];
    for name in [&"n".repeat(257), "a\u{1b}[2J", ""] {
        let x = vec![info(name, data_type::FLOAT, Some(&[]))];
        assert!(matches!(
            read(&graph(vec![], x, y())),
            Err(OnnxError::Malformed(_))
        ));
    }
    assert!(matches!(
        read(&graph(
            vec![],
            vec![info("x", data_type::FLOAT, Some(&[1; 9]))],
            y()
        )),
        Err(OnnxError::Malformed(_))
    ));
    let many = (0..257)
        .map(|i| info(&format!("x{i}"), data_type::FLOAT, Some(&[])))
        .collect();
    assert_eq!(
        read(&graph(vec![], many, y())).unwrap_err(),
        OnnxError::too_complex("inputs", 256)
    );
    let twice = vec![
        info("x", data_type::FLOAT, Some(&[])),
        info("x", data_type::FLOAT, Some(&[])),
    ];
    assert!(matches!(
        read(&graph(vec![], twice, y())),
        Err(OnnxError::Malformed(_))
    ));
    let limits = OnnxLimits {
        file_bytes: 10,
        ..OnnxLimits::default()
    };
    assert!(matches!(
        manifest_from_onnx(&add_model(), "m", &limits),
        Err(OnnxError::TooLarge { max: 10, .. })
    ));
}

#[test]
fn constants_of_impossible_size_are_refused() {
    for dims in [
        vec![-1],
        vec![1 << 40, 1 << 40],
        vec![1 << 20, 1 << 20],
        vec![0, i64::MAX],
    ] {
        let mut huge = constant("w", &[], &[]);
        huge.dims = dims;
        let bytes = model(GraphProto {
            initializer: vec![huge],
            output: vec![info("y", data_type::FLOAT, None)],
            ..Default::default()
        });
        assert!(matches!(read(&bytes), Err(OnnxError::Malformed(_))));
    }
}

#[test]
fn a_declared_number_of_bytes_is_not_believed() {
    // Field 7 (the graph) of 2^62 bytes, then field 5 with a message that has no end.
    let lying = [
        0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x2a,
    ];
    assert!(matches!(read(&lying), Err(OnnxError::Malformed(_))));
    assert!(matches!(read(&[]), Err(OnnxError::Malformed(_))));
    assert!(matches!(read(&[0xff; 64]), Err(OnnxError::Malformed(_))));
    // A group, a wire type that was given up.
    assert!(matches!(read(&[0x3b, 0x3c]), Err(OnnxError::Malformed(_))));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = add_model();
    for len in 0..bytes.len() {
        // The last field is the operator set; without it the file is still a whole message.
        match read(&bytes[..len]) {
            Err(OnnxError::Malformed(_)) => {}
            Ok(manifest) => assert_eq!(manifest.inputs, read(&bytes).unwrap().inputs),
            Err(other) => panic!("{len}: {other}"),
        }
    }
}

#[test]
fn every_changed_byte_gives_a_result() {
    let bytes = add_model();
    for at in 0..bytes.len() {
        for change in [1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            // The answer may be a manifest, as a name may have changed; what counts is an answer.
            if let Ok(manifest) = read(&changed) {
                assert!(!manifest.outputs.is_empty());
            }
        }
    }
}

#[test]
fn unseeded_random_operators_are_noticed() {
    let y = || vec![info("y", data_type::FLOAT, None)];
    let random = |seeded: bool, op: &str, inputs: &[&str]| {
        let mut node = node(op, inputs, &["y"]);
        if seeded {
            node.attribute = vec![AttributeProto {
                name: "seed".into(),
                f: Some(1.0),
                r#type: 1,
                ..Default::default()
            }];
        }
        let bytes = graph(vec![node], vec![], y());
        survey(&bytes).unwrap().unseeded_random.is_some()
    };
    assert!(random(false, "RandomNormal", &[]));
    assert!(!random(true, "RandomNormal", &[]));
    assert!(random(false, "Dropout", &["x", "ratio", "training"]));
    assert!(!random(false, "Dropout", &["x"]));
    assert!(!random(false, "Relu", &["x"]));
}
