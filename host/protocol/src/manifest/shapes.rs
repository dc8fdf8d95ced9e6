//! Checking the tensors of a call against a manifest.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Dim, ModelManifest, TensorSpec};
use crate::tensor::{DType, data_len};

/// Why tensors do not fit a model. A guest sees wasi-nn's `invalid-argument` for each of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InputError {
    /// The model has no tensor of this name.
    #[error("the model has no tensor `{name}`; hint: `inspect` the manifest for the names")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The same name was given twice.
    #[error("the tensor `{name}` is given twice; hint: give each input once")]
    Repeated {
        /// The name.
        name: String,
    },
    /// An input of the model was not given.
    #[error("the input `{name}` is missing; hint: a model takes all its inputs in each call")]
    Missing {
        /// The name.
        name: String,
    },
    /// The elements are of another type.
    #[error("the tensor `{name}` is {found}, the model has {expected}; hint: convert it first")]
    WrongType {
        /// The tensor.
        name: String,
        /// The manifest's type.
        expected: DType,
        /// The type given.
        found: DType,
    },
    /// The shape does not fit.
    #[error(
        "the tensor `{name}` has the dimensions {found:?}, the model has [{expected}]; hint: reshape or pad it"
    )]
    WrongShape {
        /// The tensor.
        name: String,
        /// The manifest's dimensions, as text.
        expected: String,
        /// The dimensions given.
        found: Vec<u32>,
    },
    /// A named dimension has two sizes.
    #[error(
        "the dimension `{symbol}` is {found} in the tensor `{name}` but {bound} elsewhere; hint: it has one size in a call"
    )]
    SymbolConflict {
        /// The tensor in which the conflict shows.
        name: String,
        /// The named dimension.
        symbol: String,
        /// Its size so far.
        bound: u32,
        /// Its size here.
        found: u32,
    },
    /// The data is not as long as type and dimensions say, or too long to count (`None`).
    #[error(
        "the tensor `{name}` has {found} bytes where its type and dimensions ask for {expected:?}; hint: rows of different lengths must be padded"
    )]
    WrongLength {
        /// The tensor.
        name: String,
        /// Bytes that type and dimensions ask for.
        expected: Option<u64>,
        /// Bytes given.
        found: u64,
    },
}

/// Name, type, dimensions and length of the data in bytes.
type Given<'a> = (&'a str, DType, &'a [u32], usize);

impl ModelManifest {
    /// Checks the inputs of a call: each input of the manifest exactly once, in any order, of its
    /// type and shape, with as much data as they say. `[1]` stands for a scalar. Returns the sizes
    /// of the named dimensions, for [`ModelManifest::check_output`].
    ///
    /// # Errors
    /// [`InputError`] for the first input that does not fit.
    pub fn check_inputs(&self, inputs: &[Given<'_>]) -> Result<BTreeMap<String, u32>, InputError> {
        let mut bindings = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for given in inputs {
            let spec = find(&self.inputs, given.0)?;
            if !seen.insert(given.0) {
                return Err(InputError::Repeated {
                    name: given.0.to_owned(),
                });
            }
            check(spec, given, &mut bindings)?;
        }
        match self
            .inputs
            .iter()
            .find(|spec| !seen.contains(spec.name.as_str()))
        {
            Some(spec) => Err(InputError::Missing {
                name: spec.name.clone(),
            }),
            None => Ok(bindings),
        }
    }

    /// Checks one output by the same rules, with the dimensions that the inputs bound. A named
    /// dimension that no input has may be of any size.
    ///
    /// # Errors
    /// [`InputError`] if the output does not fit.
    pub fn check_output(
        &self,
        name: &str,
        dtype: DType,
        dims: &[u32],
        len: usize,
        bindings: &BTreeMap<String, u32>,
    ) -> Result<(), InputError> {
        let spec = find(&self.outputs, name)?;
        check(spec, &(name, dtype, dims, len), &mut bindings.clone())
    }
}

fn find<'a>(specs: &'a [TensorSpec], name: &str) -> Result<&'a TensorSpec, InputError> {
    specs
        .iter()
        .find(|spec| spec.name == name)
        .ok_or_else(|| InputError::Unknown {
            name: name.to_owned(),
        })
}

fn check(
    spec: &TensorSpec,
    &(_, dtype, dims, len): &Given<'_>,
    bindings: &mut BTreeMap<String, u32>,
) -> Result<(), InputError> {
    let name = || spec.name.clone();
    if dtype != spec.dtype {
        return Err(InputError::WrongType {
            name: name(),
            expected: spec.dtype,
            found: dtype,
        });
    }
    let wrong_shape = || InputError::WrongShape {
        name: name(),
        expected: spec
            .dims
            .iter()
            .map(Dim::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        found: dims.to_vec(),
    };
    let scalar = spec.dims.is_empty() && dims == [1];
    if dims.len() != spec.dims.len() && !scalar {
        return Err(wrong_shape());
    }
    for (dim, &found) in spec.dims.iter().zip(dims) {
        match dim {
            Dim::Fixed(size) if *size != found => return Err(wrong_shape()),
            Dim::Fixed(_) => {}
            Dim::Symbol(symbol) if symbol.is_empty() => {}
            Dim::Symbol(symbol) => {
                let bound = *bindings.entry(symbol.clone()).or_insert(found);
                if bound != found {
                    let symbol = symbol.clone();
                    return Err(InputError::SymbolConflict {
                        name: name(),
                        symbol,
                        bound,
                        found,
                    });
                }
            }
        }
    }
    let expected = data_len(dtype, dims);
    if expected != Some(len as u64) {
        return Err(InputError::WrongLength {
            name: name(),
            expected,
            found: len as u64,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{CostFunction, Encoding};
    use super::*;
    use crate::cbor::SortedMap;
    use crate::tolerance::Tolerance;

    fn spec(name: &str, dtype: DType, dims: &[Dim]) -> TensorSpec {
        TensorSpec {
            name: name.into(),
            dtype,
            dims: dims.to_vec(),
        }
    }

    fn symbol(name: &str) -> Dim {
        Dim::Symbol(name.into())
    }

    /// The shape of an embedding model with an extra scalar.
    fn manifest() -> ModelManifest {
        ModelManifest {
            encoding: Encoding::Onnx,
            files: SortedMap::new(),
            licence: "Apache-2.0".into(),
            inputs: vec![
                spec("ids", DType::I64, &[symbol("b"), symbol("s")]),
                spec("mask", DType::I64, &[symbol("b"), symbol("s")]),
                spec("rate", DType::I64, &[]),
            ],
            outputs: vec![
                spec(
                    "hidden",
                    DType::Fp32,
                    &[symbol("b"), symbol("s"), Dim::Fixed(4)],
                ),
                spec("found", DType::Fp32, &[symbol(""), symbol("")]),
            ],
            cost: CostFunction {
                base: 10,
                per_input_element: 3,
            },
            tolerance: Tolerance::Exact,
            memory_bytes: 0,
        }
    }

    const IDS: Given<'static> = ("ids", DType::I64, &[2, 3], 48);
    const MASK: Given<'static> = ("mask", DType::I64, &[2, 3], 48);
    const RATE: Given<'static> = ("rate", DType::I64, &[1], 8);

    #[test]
    fn fitting_inputs_bind_their_symbols() {
        let bound = manifest().check_inputs(&[MASK, RATE, IDS]).unwrap();
        assert_eq!(bound, BTreeMap::from([("b".into(), 2), ("s".into(), 3)]));
        // A scalar may also be given without dimensions.
        assert!(
            manifest()
                .check_inputs(&[MASK, ("rate", DType::I64, &[], 8), IDS])
                .is_ok()
        );
    }

    #[test]
    fn each_way_not_to_fit_has_its_error() {
        let m = manifest();
        let unknown = m.check_inputs(&[("x", DType::U8, &[], 1)]);
        assert!(matches!(unknown, Err(InputError::Unknown { name }) if name == "x"));
        assert_eq!(
            m.check_inputs(&[IDS, IDS]),
            Err(InputError::Repeated { name: "ids".into() })
        );
        assert_eq!(
            m.check_inputs(&[IDS, RATE]),
            Err(InputError::Missing {
                name: "mask".into()
            })
        );
        let of_type = m.check_inputs(&[("ids", DType::I32, &[2, 3], 24)]);
        assert!(matches!(of_type, Err(InputError::WrongType { .. })));
        let rank = m.check_inputs(&[("ids", DType::I64, &[6], 48)]);
        assert!(matches!(rank, Err(InputError::WrongShape { .. })));
        let scalar = m.check_inputs(&[("rate", DType::I64, &[2], 16)]);
        assert!(matches!(scalar, Err(InputError::WrongShape { .. })));
        assert_eq!(
            m.check_inputs(&[IDS, ("mask", DType::I64, &[2, 4], 64)]),
            Err(InputError::SymbolConflict {
                name: "mask".into(),
                symbol: "s".into(),
                bound: 3,
                found: 4
            })
        );
        assert_eq!(
            m.check_inputs(&[("ids", DType::I64, &[2, 3], 40)]),
            Err(InputError::WrongLength {
                name: "ids".into(),
                expected: Some(48),
                found: 40
            })
        );
        let huge = m.check_inputs(&[("ids", DType::I64, &[u32::MAX, u32::MAX], 8)]);
        assert!(matches!(
            huge,
            Err(InputError::WrongLength { expected: None, .. })
        ));
    }

    #[test]
    fn outputs_use_the_bindings_of_the_inputs() {
        let m = manifest();
        let bound = m.check_inputs(&[IDS, MASK, RATE]).unwrap();
        assert_eq!(
            m.check_output("hidden", DType::Fp32, &[2, 3, 4], 96, &bound),
            Ok(())
        );
        let other = m.check_output("hidden", DType::Fp32, &[2, 5, 4], 160, &bound);
        assert!(matches!(other, Err(InputError::SymbolConflict { .. })));
        let fixed = m.check_output("hidden", DType::Fp32, &[2, 3, 5], 120, &bound);
        assert!(matches!(fixed, Err(InputError::WrongShape { .. })));
        // Two unknown dimensions are not equal to each other.
        assert_eq!(
            m.check_output("found", DType::Fp32, &[7, 9], 252, &bound),
            Ok(())
        );
    }

    #[test]
    fn cost_counts_elements_and_saturates() {
        let m = manifest();
        assert_eq!(m.nn_units([&[2, 3][..], &[2, 3], &[]]), 10 + 3 * 13);
        assert_eq!(m.nn_units([&[u32::MAX; 8][..]]), u64::MAX);
        assert_eq!(m.nn_units([]), 10);
    }
}
