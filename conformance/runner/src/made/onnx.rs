//! Hostile ONNX models, written with the few messages of the schema that they need.
//!
//! Field numbers are those of the public `onnx.proto3`
//! (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>).

use prost::Message;

/// How ONNX files begin: the field `ir_version`, 8, and the header of a field `graph` of 64 KiB.
pub const BEGINNING: [u8; 6] = [0x08, 0x08, 0x3a, 0x80, 0x80, 0x04];

/// Values of `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
const BOOL: i32 = 9;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
struct Opset {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(message, optional, tag = "6")]
    g: Option<Graph>,
    /// 2 integer, 5 graph.
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
}

/// `y = x`, computed by a loop that adds zero to it 2^63 - 1 times.
///
/// The body is three operators on two numbers, so that nothing but time is used.
pub fn endless() -> Vec<u8> {
    let body = Graph {
        node: vec![
            node("Identity", &["go_on"], &["still"]),
            node("Add", &["state", "zero"], &["next"]),
        ],
        name: "body".into(),
        input: vec![
            value("round", INT64, &[]),
            value("go_on", BOOL, &[]),
            value("state", FLOAT, &[2]),
        ],
        output: vec![value("still", BOOL, &[]), value("next", FLOAT, &[2])],
        ..Graph::default()
    };
    let mut rounds = node("Loop", &["rounds", "yes", "x"], &["y"]);
    rounds.attribute.push(Attribute {
        name: "body".into(),
        g: Some(body),
        r#type: 5,
        ..Attribute::default()
    });
    model(Graph {
        node: vec![rounds],
        initializer: vec![
            constant("rounds", INT64, &[], &i64::MAX.to_le_bytes()),
            constant("yes", BOOL, &[], &[1]),
            constant("zero", FLOAT, &[2], &[0; 8]),
        ],
        output: vec![value("y", FLOAT, &[2])],
        ..Graph::default()
    })
}

/// `y = x + the largest of a square of 160,000 by 160,000 zeros`, which take 102.4 GB.
pub fn hundred_gigabytes() -> Vec<u8> {
    let shape: Vec<u8> = [160_000i64; 2]
        .iter()
        .flat_map(|side| side.to_le_bytes())
        .collect();
    let mut largest = node("ReduceMax", &["square"], &["largest"]);
    largest.attribute.push(Attribute {
        name: "keepdims".into(),
        i: Some(0),
        r#type: 2,
        ..Attribute::default()
    });
    // The shape depends on `x`, which is not a number of the file: a backend that computes
    // constants when it loads a model must not be able to know it.
    let mut as_integer = node("Cast", &["x"], &["whole"]);
    as_integer.attribute.push(Attribute {
        name: "to".into(),
        i: Some(i64::from(INT64)),
        r#type: 2,
        ..Attribute::default()
    });
    model(Graph {
        node: vec![
            as_integer,
            node("Mul", &["whole", "none"], &["nothing"]),
            node("Add", &["nothing", "sides"], &["shape"]),
            node("ConstantOfShape", &["shape"], &["square"]),
            largest,
            node("Add", &["x", "largest"], &["y"]),
        ],
        initializer: vec![
            constant("sides", INT64, &[2], &shape),
            constant("none", INT64, &[2], &[0; 16]),
        ],
        output: vec![value("y", FLOAT, &[2])],
        ..Graph::default()
    })
}

/// A model of one graph that takes `x` f32[2].
fn model(graph: Graph) -> Vec<u8> {
    Model {
        ir_version: 8,
        graph: Some(Graph {
            name: "g".into(),
            input: vec![value("x", FLOAT, &[2])],
            ..graph
        }),
        opset_import: vec![Opset {
            domain: String::new(),
            version: 17,
        }],
    }
    .encode_to_vec()
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Node {
        input: owned(inputs),
        output: owned(outputs),
        name: format!("{op_type} of {}", outputs.first().unwrap_or(&"")),
        op_type: op_type.into(),
        attribute: Vec::new(),
    }
}

fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfo {
    let dim = dims.iter().map(|dim| Dimension {
        dim_value: Some(*dim),
    });
    ValueInfo {
        name: name.into(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type,
                shape: Some(Shape { dim: dim.collect() }),
            }),
        }),
    }
}

fn constant(name: &str, data_type: i32, dims: &[i64], bytes: &[u8]) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type,
        name: name.into(),
        raw_data: bytes.to_vec(),
    }
}
