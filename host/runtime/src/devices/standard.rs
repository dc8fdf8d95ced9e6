//! Models that everyone has, because they are made here: for comparing devices and for measuring
//! them where no other model is at hand. Their bytes, and so their manifests' hashes, are the same
//! on every machine.

use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};
use adit_protocol::onnx::testing::{
    constant, info, int_attribute, ints_attribute, model, node, symbolic,
};
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};

use crate::store::StoreError;
use crate::store::blobs::BlobStore;

/// A model and its name.
pub struct StandardModel {
    /// Its name, as hardware records have it.
    pub name: &'static str,
    /// The ONNX file.
    pub file: Vec<u8>,
}

impl StandardModel {
    /// Puts the file into a store and makes its manifest.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn store(&self, blobs: &BlobStore) -> Result<ModelManifest, StoreError> {
        blobs.put(&self.file)?;
        Ok(self.manifest())
    }

    /// Its manifest.
    pub fn manifest(&self) -> ModelManifest {
        let name = format!("{}.onnx", self.name);
        match manifest_from_onnx(&self.file, &name, &OnnxLimits::default()) {
            Ok(manifest) => manifest,
            Err(error) => unreachable!("the standard model {name} is not valid: {error}"),
        }
    }
}

/// The models whose throughput a hardware record states, and by which a device is checked that has
/// no model yet: one for each of the shapes that most models are made of.
pub fn models() -> [StandardModel; 3] {
    [convolutions(), attention(), perceptron()]
}

/// Two convolutions and a classifier, on an image of any size.
fn convolutions() -> StandardModel {
    let mut made = Made::new(1);
    made.weight("w1", &[16, 3, 3, 3], 0.3);
    made.weight("w2", &[32, 16, 3, 3], 0.1);
    made.weight("w3", &[32, 10], 0.3);
    made.convolution("x", "w1", "c1");
    made.node("Relu", &["c1"], "r1");
    made.convolution("r1", "w2", "c2");
    made.node("Relu", &["c2"], "r2");
    made.node("GlobalAveragePool", &["r2"], "p");
    made.node("Flatten", &["p"], "f");
    made.node("MatMul", &["f", "w3"], "m");
    made.node("Softmax", &["m"], "y");
    let mut image = symbolic("x", data_type::FLOAT, &["n", "c", "h", "w"]);
    fix(&mut image, 1, 3);
    let mut classes = symbolic("y", data_type::FLOAT, &["n", "k"]);
    fix(&mut classes, 1, 10);
    made.finish("conv", vec![image], vec![classes])
}

/// One block of a transformer with a single head, on a sequence of any length.
fn attention() -> StandardModel {
    let mut made = Made::new(2);
    for name in ["wq", "wk", "wv", "wo"] {
        made.weight(name, &[128, 128], 0.12);
    }
    made.weight("u1", &[128, 512], 0.12);
    made.weight("u2", &[512, 128], 0.06);
    made.constant("scale", &[1], &[0.088_388_35]);
    made.node("MatMul", &["x", "wq"], "q");
    made.node("MatMul", &["x", "wk"], "k");
    made.node("MatMul", &["x", "wv"], "v");
    made.node("Transpose", &["k"], "kt");
    made.node("MatMul", &["q", "kt"], "s");
    made.node("Mul", &["s", "scale"], "ss");
    made.node("Softmax", &["ss"], "a");
    made.node("MatMul", &["a", "v"], "av");
    made.node("MatMul", &["av", "wo"], "o");
    made.node("Add", &["x", "o"], "h");
    made.node("MatMul", &["h", "u1"], "up");
    made.node("Relu", &["up"], "act");
    made.node("MatMul", &["act", "u2"], "down");
    made.node("Add", &["h", "down"], "y");
    let tensor = |name| {
        let mut tensor = symbolic(name, data_type::FLOAT, &["s", "d"]);
        fix(&mut tensor, 1, 128);
        tensor
    };
    made.finish("attention", vec![tensor("x")], vec![tensor("y")])
}

/// Three dense layers on a single vector: hardly any work, so that the time is that of a call.
fn perceptron() -> StandardModel {
    let mut made = Made::new(3);
    made.weight("w1", &[64, 128], 0.2);
    made.weight("w2", &[128, 128], 0.1);
    made.weight("w3", &[128, 8], 0.2);
    made.node("MatMul", &["x", "w1"], "a");
    made.node("Relu", &["a"], "b");
    made.node("MatMul", &["b", "w2"], "c");
    made.node("Relu", &["c"], "d");
    made.node("MatMul", &["d", "w3"], "y");
    let input = info("x", data_type::FLOAT, Some(&[1, 64]));
    let output = info("y", data_type::FLOAT, Some(&[1, 8]));
    made.finish("dense", vec![input], vec![output])
}

/// Products of square matrices that [`products`] makes one after the other.
pub const PRODUCTS: u64 = 8;

/// A matrix multiplied with itself [`PRODUCTS`] times, in 32-bit floats or in 16-bit ones. It takes
/// `x` f32[n, n] and gives f32[1]: 2 n^3 operations for each product and no traffic to speak of.
pub fn products(half: bool) -> StandardModel {
    let mut made = Made::new(4);
    let mut held = "x".to_owned();
    if half {
        made.cast("x", "x16", data_type::FLOAT16);
        held = "x16".to_owned();
    }
    let factor = held.clone();
    for product in 0..PRODUCTS {
        let next = format!("p{product}");
        made.node("MatMul", &[&held, &factor], &next);
        held = next;
    }
    if half {
        made.cast(&held, "p32", data_type::FLOAT);
        held = "p32".to_owned();
    }
    made.maximum(&held, "y");
    let input = symbolic("x", data_type::FLOAT, &["n", "n"]);
    let output = info("y", data_type::FLOAT, Some(&[1, 1]));
    let name = if half {
        "products-fp16"
    } else {
        "products-fp32"
    };
    made.finish(name, vec![input], vec![output])
}

/// Passes over memory that [`passes`] makes one after the other.
pub const PASSES: u64 = 8;

/// A row of numbers spread to `rows` rows and negated [`PASSES`] times: each pass reads and writes
/// all of it, and hardly computes. It takes `x` f32[1, m] and gives f32[1].
pub fn passes(rows: u32) -> StandardModel {
    let mut made = Made::new(5);
    made.constant("spread", &[i64::from(rows), 1], &vec![1.0; rows as usize]);
    made.node("Mul", &["x", "spread"], "s");
    let mut held = "s".to_owned();
    for pass in 0..PASSES {
        let next = format!("n{pass}");
        // Two in turn, since a library may leave out a pair of negations.
        made.node(if pass % 2 == 0 { "Neg" } else { "Abs" }, &[&held], &next);
        held = next;
    }
    made.maximum(&held, "y");
    let input = symbolic("x", data_type::FLOAT, &["one", "m"]);
    let output = info("y", data_type::FLOAT, Some(&[1, 1]));
    made.finish("passes", vec![input], vec![output])
}

/// A graph in the making.
struct Made {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    state: u32,
}

impl Made {
    fn new(seed: u32) -> Self {
        Self {
            nodes: Vec::new(),
            constants: Vec::new(),
            state: seed,
        }
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str) {
        self.nodes.push(node(op, inputs, &[output]));
    }

    /// With all that a library may want to be told, though it is what goes without saying.
    fn convolution(&mut self, input: &str, weight: &str, output: &str) {
        let mut convolution = node("Conv", &[input, weight], &[output]);
        convolution.attribute.extend([
            ints_attribute("dilations", &[1, 1]),
            ints_attribute("kernel_shape", &[3, 3]),
            ints_attribute("pads", &[0, 0, 0, 0]),
            ints_attribute("strides", &[1, 1]),
        ]);
        self.nodes.push(convolution);
    }

    fn cast(&mut self, input: &str, output: &str, to: i32) {
        let mut cast = node("Cast", &[input], &[output]);
        cast.attribute.push(int_attribute("to", i64::from(to)));
        self.nodes.push(cast);
    }

    /// The largest element, as [1, 1].
    fn maximum(&mut self, input: &str, output: &str) {
        self.node("ReduceMax", &[input], output);
    }

    fn constant(&mut self, name: &str, dims: &[i64], values: &[f32]) {
        self.constants.push(constant(name, dims, values));
    }

    /// A constant of numbers from -`size` to `size`, from a linear congruential generator.
    fn weight(&mut self, name: &str, dims: &[i64], size: f32) {
        let count: i64 = dims.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| {
                self.state = self
                    .state
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                ((self.state >> 8) as f32 / (1 << 23) as f32 - 1.0) * size
            })
            .collect();
        self.constant(name, dims, &values);
    }

    fn finish(
        self,
        name: &'static str,
        input: Vec<ValueInfoProto>,
        output: Vec<ValueInfoProto>,
    ) -> StandardModel {
        let file = model(GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants,
            input,
            output,
        });
        StandardModel { name, file }
    }
}

/// Makes one dimension of a declared tensor a number.
fn fix(value: &mut ValueInfoProto, place: usize, size: i64) {
    let shape = value
        .r#type
        .as_mut()
        .and_then(|t| t.tensor_type.as_mut())
        .and_then(|t| t.shape.as_mut());
    if let Some(dim) = shape.and_then(|shape| shape.dim.get_mut(place)) {
        dim.dim_value = Some(size);
        dim.dim_param = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::cbor::Document as _;

    #[test]
    fn the_models_are_the_same_everywhere() {
        let all = models();
        let made = all
            .iter()
            .map(|model| format!("{} {}", model.name, model.manifest().hash()));
        let made: Vec<_> = made.collect();
        // These names are in signed records: a change of a model is a new name.
        assert_eq!(made, PINNED, "{made:#?}");
        for model in [products(false), products(true), passes(4)] {
            assert_eq!(model.manifest().inputs.len(), 1);
        }
    }

    const PINNED: [&str; 3] = [
        "conv blake3:0ebc532e7e9451c8ab27b5d35988e5cb3052b2f41822b64432d07955cd3cc43f",
        "attention blake3:f134c2cb5a8e3c15bae6b09240d0b560a642dd4eb7b2609e2487d5d9f6d8d2a2",
        "dense blake3:61924cbc78221008e7c839d4052706cc35adbc32f52373211ee719d5850c6dbd",
    ];
}
