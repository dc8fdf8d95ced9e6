//! Small models for tests, of this crate and of those that build on it, written with the schema of
//! [`super::proto`].

use prost::Message;

use super::proto::*;

/// A declared tensor; `dims: None` leaves the shape out. Positive dimensions are fixed, 0 and
/// negative ones are written as they are.
pub fn info(name: &str, elem_type: i32, dims: Option<&[i64]>) -> ValueInfoProto {
    let shape = dims.map(|dims| TensorShapeProto {
        dim: dims
            .iter()
            .map(|&d| Dimension {
                dim_value: Some(d),
                dim_param: None,
            })
            .collect(),
    });
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor { elem_type, shape }),
            ..Default::default()
        }),
    }
}

/// A declared tensor with named dimensions.
pub fn symbolic(name: &str, elem_type: i32, dims: &[&str]) -> ValueInfoProto {
    let mut value = info(name, elem_type, Some(&[]));
    if let Some(tensor) = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
        let dim = dims
            .iter()
            .map(|&d| Dimension {
                dim_value: None,
                dim_param: Some(d.into()),
            })
            .collect();
        tensor.shape = Some(TensorShapeProto { dim });
    }
    value
}

/// An operator.
pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        name: format!("{op_type}_{}", outputs.first().unwrap_or(&"")),
        op_type: op_type.into(),
        ..Default::default()
    }
}

/// An integer attribute.
pub fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: 2,
        ..Default::default()
    }
}

/// An attribute of several integers.
pub fn ints_attribute(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: 7,
        ..Default::default()
    }
}

/// A constant of 32-bit floats.
pub fn constant(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        name: name.into(),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}

/// The bytes of a model with one graph.
pub fn model(graph: GraphProto) -> Vec<u8> {
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
    }
    .encode_to_vec()
}

/// The bytes of a model of operators only.
pub fn graph(
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
) -> Vec<u8> {
    model(GraphProto {
        node: nodes,
        name: "g".into(),
        input: inputs,
        output: outputs,
        ..Default::default()
    })
}

/// `sum = a + b`, both `f32[n, 3]`.
pub fn add_model() -> Vec<u8> {
    let tensor = |name| {
        let mut value = symbolic(name, data_type::FLOAT, &["n", ""]);
        if let Some(shape) = value
            .r#type
            .as_mut()
            .and_then(|t| t.tensor_type.as_mut())
            .and_then(|t| t.shape.as_mut())
        {
            shape.dim[1] = Dimension {
                dim_value: Some(3),
                dim_param: None,
            };
        }
        value
    };
    graph(
        vec![node("Add", &["a", "b"], &["sum"])],
        vec![tensor("a"), tensor("b")],
        vec![tensor("sum")],
    )
}
