//! Inputs for a model of which nothing is known but its manifest.
//!
//! They are the same on every machine: BLAKE3's output stream from the manifest's hash and the
//! number of the case. Floats are uniform in [-1, 1); integers are those of a byte, or 0 and 1 for
//! models that take no others, as booleans and masks. That is enough to see whether a device
//! computes what the reference does; it says nothing about a model's use.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::{Dim, ModelManifest};
use adit_protocol::tensor::{DType, data_len};
use half::{bf16, f16};

use crate::nn::tensor::Tensor;

/// Sizes that are tried for dimensions which the manifest leaves open, until the reference takes
/// one: convolutional networks want multiples of 32, others a certain window.
pub const SIZES: &[u32] = &[64, 32, 1, 128, 576, 512, 2048];

/// How many different integers are tried, in this order.
pub const INTEGERS: &[u32] = &[256, 2];

/// Most bytes of one input; a manifest may ask for any size.
const BYTES_MAX: u64 = 256 << 20;

/// Inputs of a model, in the manifest's order. The first dimension of an input, if it is open, is
/// 1: it is the batch of nearly every model. All other open dimensions are `size`. Integers are
/// below `integers`.
pub fn make(
    manifest: &ModelManifest,
    size: u32,
    integers: u32,
    case: u64,
) -> Vec<(String, Tensor)> {
    let mut stream = Stream::new(manifest, case);
    let mut named: BTreeMap<&str, u32> = BTreeMap::new();
    let mut inputs = Vec::with_capacity(manifest.inputs.len());
    for spec in &manifest.inputs {
        let mut dims: Vec<u32> = Vec::with_capacity(spec.dims.len());
        for (place, dim) in spec.dims.iter().enumerate() {
            let chosen = if place == 0 && spec.dims.len() > 1 {
                1
            } else {
                size
            };
            dims.push(match dim {
                Dim::Fixed(fixed) => *fixed,
                Dim::Symbol(name) if name.is_empty() => chosen,
                Dim::Symbol(name) => *named.entry(name).or_insert(chosen),
            });
        }
        if dims.is_empty() {
            // As a guest sees a scalar.
            dims.push(1);
        }
        if data_len(spec.dtype, &dims).is_none_or(|len| len > BYTES_MAX) {
            // Too large to be worth it; the reference refuses the call, and says so.
            continue;
        }
        let count = dims.iter().map(|dim| *dim as usize).product();
        if let Some(tensor) = stream.tensor(spec.dtype, dims, count, integers) {
            inputs.push((spec.name.clone(), tensor));
        }
    }
    inputs
}

/// Numbers from BLAKE3's extendable output.
struct Stream(blake3::OutputReader);

impl Stream {
    fn new(manifest: &ModelManifest, case: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("adit device check v1");
        hasher.update(manifest.hash().as_bytes());
        hasher.update(&case.to_le_bytes());
        Self(hasher.finalize_xof())
    }

    fn tensor(
        &mut self,
        dtype: DType,
        dims: Vec<u32>,
        count: usize,
        integers: u32,
    ) -> Option<Tensor> {
        let mut bits = vec![0u8; count.saturating_mul(4)];
        self.0.fill(&mut bits);
        let words = bits
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        // 24 bits are exact in a 32-bit float.
        let float = |word: u32| (word >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let bytes: Vec<u8> = match dtype {
            DType::Fp32 => words.flat_map(|w| float(w).to_le_bytes()).collect(),
            DType::Fp64 => words
                .flat_map(|w| f64::from(float(w)).to_le_bytes())
                .collect(),
            DType::Fp16 => words
                .flat_map(|w| f16::from_f32(float(w)).to_le_bytes())
                .collect(),
            DType::Bf16 => words
                .flat_map(|w| bf16::from_f32(float(w)).to_le_bytes())
                .collect(),
            DType::I32 => words
                .flat_map(|w| ((w % integers) as i32).to_le_bytes())
                .collect(),
            DType::I64 => words
                .flat_map(|w| i64::from(w % integers).to_le_bytes())
                .collect(),
            DType::U8 => words.map(|w| (w % integers) as u8).collect(),
        };
        Tensor::new(dtype, dims, bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::onnx::testing::add_model;
    use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};

    #[test]
    fn inputs_fit_the_manifest_and_are_the_same_each_time() {
        let manifest = manifest_from_onnx(&add_model(), "m.onnx", &OnnxLimits::default()).unwrap();
        let made = make(&manifest, 64, 256, 0);
        // `n` is the first dimension of both, and the same.
        assert!(made.iter().all(|(_, t)| t.dims() == [1, 3]), "{made:?}");
        assert_eq!(made, make(&manifest, 64, 256, 0));
        assert_ne!(made, make(&manifest, 64, 256, 1));
        let shapes: Vec<_> = made
            .iter()
            .map(|(n, t)| (n.as_str(), t.dtype(), t.dims(), t.bytes().len()))
            .collect();
        manifest.check_inputs(&shapes).unwrap();
        let values = made[0].1.as_f32().unwrap();
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
    }
}
