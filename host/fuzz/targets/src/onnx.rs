//! The reader of ONNX files.

use std::collections::BTreeSet;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::proto::*;
use adit_protocol::onnx::testing::{constant, info, model, node, symbolic};
use adit_protocol::onnx::{OnnxError, OnnxLimits, interface, manifest_from_onnx};
use arbitrary::Unstructured;
use prost::Message as _;

use crate::built::{alter, any, one_of, some, text};

const FILE: &str = "model.onnx";

/// Reads the bytes as an ONNX file. The manifest is the same each time and a valid document; a
/// message about a refused file is bounded.
pub fn onnx(bytes: &[u8]) {
    let limits = OnnxLimits::default();
    let vetted = interface(bytes, &limits);
    let read = read(bytes);
    match (&vetted, &read) {
        (Ok(interface), Ok(manifest)) => {
            let names = |list: &[adit_protocol::onnx::Declared]| -> Vec<String> {
                list.iter().map(|tensor| tensor.name.clone()).collect()
            };
            let stated = |list: &[adit_protocol::manifest::TensorSpec]| -> Vec<String> {
                list.iter().map(|tensor| tensor.name.clone()).collect()
            };
            assert_eq!(names(&interface.inputs), stated(&manifest.inputs));
            assert_eq!(names(&interface.outputs), stated(&manifest.outputs));
            // Each operator has at least a tag and a length in the file.
            assert!(interface.survey.nodes <= bytes.len() as u64 / 2);
            assert!(interface.survey.nested_nodes <= interface.survey.nodes);
        }
        (Ok(_), Err(OnnxError::UnstatedShape { .. })) => {}
        (Err(vetted), Err(read)) => assert_eq!(vetted, read),
        (vetted, read) => panic!("{} but {read:?}", vetted.is_ok()),
    }
    if let Err(error) = read {
        assert!(error.to_string().len() < 2048);
    }
}

fn read(bytes: &[u8]) -> Result<ModelManifest, OnnxError> {
    let read = manifest_from_onnx(bytes, FILE, &OnnxLimits::default());
    if let Ok(manifest) = &read {
        assert_eq!(
            manifest_from_onnx(bytes, FILE, &OnnxLimits::default()).as_ref(),
            Ok(manifest)
        );
        assert_eq!(
            ModelManifest::from_cbor(&manifest.to_cbor()).as_ref(),
            Ok(manifest)
        );
        let file = manifest.files.get(FILE).expect("the file it was made of");
        assert_eq!((file.hash, file.len), (Hash::of(bytes), bytes.len() as u64));
    }
    read
}

/// Builds an ONNX file and changes it. Of the file as it was built, the manifest has those inputs
/// that are no constants, and all outputs.
pub fn onnx_built(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let built = graph(&mut recipe, 3);
    let mut bytes = model(built.clone());
    if let Ok(manifest) = read(&bytes) {
        let constants: BTreeSet<&str> = built
            .initializer
            .iter()
            .map(|constant| constant.name.as_str())
            .collect();
        let expected: Vec<&str> = built
            .input
            .iter()
            .map(|input| input.name.as_str())
            .filter(|name| !constants.contains(name))
            .collect();
        let found = |list: &[adit_protocol::manifest::TensorSpec]| -> Vec<String> {
            list.iter().map(|tensor| tensor.name.clone()).collect()
        };
        assert_eq!(found(&manifest.inputs), expected);
        let outputs: Vec<&str> = built.output.iter().map(|out| out.name.as_str()).collect();
        assert_eq!(found(&manifest.outputs), outputs);
        // What is read is what another reader of the format sees.
        assert!(ModelProto::decode(bytes.as_slice()).is_ok());
    }
    onnx(&bytes);
    alter(&mut bytes, &mut recipe);
    onnx(&bytes);
}

/// A graph with up to `depth` graphs inside its operators.
fn graph(recipe: &mut Unstructured<'_>, depth: u32) -> GraphProto {
    GraphProto {
        node: some(recipe, 3, |recipe| operator(recipe, depth)),
        name: text(recipe),
        initializer: some(recipe, 3, |recipe| {
            let dims = some(recipe, 4, dimension);
            let mut constant = constant(&text(recipe), &dims, &[1.0]);
            constant.data_type = i32::from(any::<u8>(recipe) % 20);
            if any::<u8>(recipe) == 0 {
                constant.data_location = 1;
            }
            constant
        }),
        input: some(recipe, 4, tensor),
        output: some(recipe, 4, tensor),
    }
}

fn operator(recipe: &mut Unstructured<'_>, depth: u32) -> NodeProto {
    const TYPES: &[&str] = &["Add", "If", "Loop", "Dropout", "RandomNormal", "Constant"];
    let mut operator = node(one_of(recipe, TYPES), &["a", "b", "c"], &["y"]);
    if depth > 0 && any::<u8>(recipe) < 100 {
        operator.attribute.push(AttributeProto {
            name: "branch".into(),
            g: Some(graph(recipe, depth - 1)),
            r#type: 5,
            ..Default::default()
        });
    }
    if any::<bool>(recipe) {
        operator.attribute.push(AttributeProto {
            name: one_of(recipe, &["seed", "value"]).into(),
            t: any::<bool>(recipe).then(|| constant("t", &[dimension(recipe)], &[])),
            r#type: 4,
            ..Default::default()
        });
    }
    operator
}

fn tensor(recipe: &mut Unstructured<'_>) -> ValueInfoProto {
    let elements = i32::from(any::<u8>(recipe) % 20);
    match any::<u8>(recipe) {
        0..=9 => info(&text(recipe), elements, None),
        10..=99 => {
            let names = some(recipe, 9, text);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            symbolic(&text(recipe), elements, &names)
        }
        _ => {
            let dims = some(recipe, 9, dimension);
            info(&text(recipe), elements, Some(&dims))
        }
    }
}

fn dimension(recipe: &mut Unstructured<'_>) -> i64 {
    match any::<u8>(recipe) {
        0..=9 => any(recipe),
        small => i64::from(small) - 11,
    }
}
