//! Walks the bytes of an ONNX file once, without copying or building anything.
//!
//! Backends parse ONNX with parsers of their own, which trust lengths, recurse and allocate per
//! message. The survey is what makes that safe to do with a hostile file: it visits every message
//! that such a parser visits and refuses a file that is damaged, nests too deeply, consists of too
//! many parts, or refers to other files.
//!
//! The wire format is that of Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>),
//! the field numbers are those of ONNX's public `onnx.proto3`.

use super::OnnxError;

/// Messages inside messages. A graph inside a graph (`If`, `Loop`) takes three levels, so that
/// this admits 20 of them, more than exporters produce.
const MAX_DEPTH: u32 = 64;
/// Operators of all graphs together. Large language models have some ten thousand.
const MAX_NODES: u64 = 1 << 18;
/// Messages of any kind. A parser spends up to half a kilobyte on each.
const MAX_MESSAGES: u64 = 1 << 21;
/// Fields of any kind. A parser spends up to 24 bytes on each.
const MAX_FIELDS: u64 = 1 << 23;
/// Elements of one constant; it also bounds the product that parsers compute without a check.
const MAX_ELEMENTS: u64 = 1 << 33;

/// What the walk over an ONNX file found.
#[derive(Debug)]
pub struct Survey<'a> {
    /// Body of the top-level graph.
    pub graph: &'a [u8],
    /// Bytes of all constants once loaded, at four bytes per element (one for 8-bit integers).
    pub weight_bytes: u64,
    /// Number of operators in all graphs.
    pub nodes: u64,
    /// Number of operators of the largest graph that is part of an operator (`If`, `Loop`, `Scan`).
    pub nested_nodes: u64,
    /// An operator that draws random numbers without a seed, by its type; such a model gives
    /// another result on each run.
    pub unseeded_random: Option<String>,
}

/// Surveys a file.
///
/// # Errors
///
/// [`OnnxError::Malformed`], [`OnnxError::TooComplex`], [`OnnxError::ExternalData`].
pub(super) fn survey(file: &[u8]) -> Result<Survey<'_>, OnnxError> {
    let mut walk = Walk {
        survey: Survey {
            graph: &[],
            weight_bytes: 0,
            nodes: 0,
            nested_nodes: 0,
            unseeded_random: None,
        },
        graphs: 0,
        messages: 0,
        fields: 0,
    };
    walk.message(Kind::Model, file, 0)?;
    match walk.graphs {
        1 => Ok(walk.survey),
        0 => Err(OnnxError::malformed("it contains no graph")),
        _ => Err(OnnxError::malformed(
            "it contains more than one top-level graph",
        )),
    }
}

/// A field's value as the wire carries it.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field, such as a string or a message.
    pub fn bytes(self) -> Result<&'a [u8], OnnxError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(OnnxError::malformed(
                "a message or string field has another wire type",
            )),
        }
    }
}

/// Iterates over the fields of one message.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end of the message.
    pub fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, OnnxError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3)
            .ok()
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or_else(|| OnnxError::malformed("a field number is out of range"))?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = varint(&mut self.rest)?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => {
                return Err(OnnxError::malformed(
                    "a field has a wire type that ONNX does not use",
                ));
            }
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], OnnxError> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or_else(|| {
            OnnxError::malformed(format!(
                "a field of {len} bytes reaches past the end of its message, as in a truncated file"
            ))
        })?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Reads a base-128 varint of at most 64 bits.
fn varint(bytes: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else {
            return Err(OnnxError::malformed(
                "it ends inside a number, as a truncated file does",
            ));
        };
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(OnnxError::malformed("a number has more than 64 bits"))
}

/// The messages that parsers descend into.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    ElementType,
    MapType,
    Shape,
    Leaf,
}

/// The message type of a field, `None` for a scalar, a string, or what no parser reads.
fn child(kind: Kind, field: u32) -> Option<Kind> {
    Some(match (kind, field) {
        (Kind::Model, 7) => Kind::Graph,
        (Kind::Model, 8 | 14) => Kind::Leaf,
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, 5) => Kind::Tensor,
        (Kind::Graph, 11..=13) => Kind::ValueInfo,
        (Kind::Graph, 15) => Kind::SparseTensor,
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::Attribute, 5 | 10) => Kind::Tensor,
        (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Attribute, 14 | 15) => Kind::Type,
        (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
        (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
        (Kind::ValueInfo, 2) => Kind::Type,
        (Kind::Type, 1 | 8) => Kind::TensorType,
        (Kind::Type, 4 | 9) => Kind::ElementType,
        (Kind::Type, 5) => Kind::MapType,
        (Kind::ElementType, 1) | (Kind::MapType, 2) => Kind::Type,
        (Kind::TensorType, 2) => Kind::Shape,
        (Kind::Shape, 1) => Kind::Leaf,
        _ => return None,
    })
}

struct Walk<'a> {
    survey: Survey<'a>,
    graphs: u32,
    messages: u64,
    fields: u64,
}

impl<'a> Walk<'a> {
    fn message(&mut self, kind: Kind, body: &'a [u8], depth: u32) -> Result<(), OnnxError> {
        if depth > MAX_DEPTH {
            return Err(OnnxError::too_complex(
                "levels of nesting",
                MAX_DEPTH.into(),
            ));
        }
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(OnnxError::too_complex("messages", MAX_MESSAGES));
        }
        match kind {
            Kind::Tensor => self.tensor(body)?,
            Kind::Node => self.node(body)?,
            Kind::Graph if depth == 1 => {
                self.graphs += 1;
                self.survey.graph = body;
            }
            _ => {}
        }
        let mut fields = Fields::new(body);
        let mut nodes = 0;
        while let Some((number, value)) = fields.next()? {
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(OnnxError::too_complex("fields", MAX_FIELDS));
            }
            if let Some(kind) = child(kind, number) {
                nodes += u64::from(kind == Kind::Node);
                self.message(kind, value.bytes()?, depth + 1)?;
            }
        }
        if depth > 1 {
            self.survey.nested_nodes = self.survey.nested_nodes.max(nodes);
        }
        Ok(())
    }

    /// Checks a constant: where its data is, and that its size is sane.
    fn tensor(&mut self, body: &'a [u8]) -> Result<(), OnnxError> {
        let (mut name, mut data_type, mut external) = (&[][..], 0, false);
        let mut elements = 1u64;
        let mut dim = |value: u64| {
            // A negative dimension is a huge number here and refused by the bound.
            elements = elements
                .checked_mul(value)
                .filter(|&elements| elements.max(value) <= MAX_ELEMENTS)
                .ok_or_else(|| OnnxError::malformed("a constant has an impossible size"))?;
            Ok::<(), OnnxError>(())
        };
        let mut fields = Fields::new(body);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Varint(value)) => dim(value)?,
                (1, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        dim(varint(&mut packed)?)?;
                    }
                }
                (2, Value::Varint(value)) => data_type = value,
                (8, Value::Bytes(value)) => name = value,
                (13, _) => external = true,
                (14, Value::Varint(value)) => external |= value != 0,
                _ => {}
            }
        }
        if external {
            return Err(OnnxError::ExternalData {
                tensor: printable(name),
            });
        }
        // 2 and 3 are the 8-bit integers; all else is widened or narrowed to four bytes by rten.
        let size = if matches!(data_type, 2 | 3) { 1 } else { 4 };
        self.survey.weight_bytes = self
            .survey
            .weight_bytes
            .saturating_add(elements.saturating_mul(size));
        Ok(())
    }

    /// Counts an operator and notes one that draws random numbers.
    fn node(&mut self, body: &'a [u8]) -> Result<(), OnnxError> {
        self.survey.nodes += 1;
        if self.survey.nodes > MAX_NODES {
            return Err(OnnxError::too_complex("operators", MAX_NODES));
        }
        let (mut op, mut domain, mut inputs, mut seeded) = (&[][..], &[][..], 0u32, false);
        let mut fields = Fields::new(body);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(name)) => {
                    // Trailing optional inputs are given as empty names.
                    inputs = inputs.saturating_add(u32::from(!name.is_empty()));
                }
                (4, Value::Bytes(value)) => op = value,
                (7, Value::Bytes(value)) => domain = value,
                (5, Value::Bytes(attribute)) => {
                    let mut fields = Fields::new(attribute);
                    while let Some((number, value)) = fields.next()? {
                        seeded |= matches!((number, value), (1, Value::Bytes(b"seed")));
                    }
                }
                _ => {}
            }
        }
        let random = match op {
            b"RandomNormal" | b"RandomNormalLike" | b"RandomUniform" | b"RandomUniformLike"
            | b"Multinomial" | b"Bernoulli" => true,
            // The third input switches training on, which is when numbers are drawn.
            b"Dropout" => inputs >= 3,
            _ => false,
        };
        if random && !seeded && matches!(domain, b"" | b"ai.onnx") {
            self.survey.unseeded_random = Some(printable(op));
        }
        Ok(())
    }
}

/// A name out of the file, fit for a message: at most 64 characters, no control characters.
pub(super) fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name.get(..256).unwrap_or(name))
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(64)
        .collect()
}
