//! Inputs that are made by this program: what no compiler would make, and what is too large or too
//! odd to be kept as a file.
//!
//! Everything is a function of its parameters and of the guest or model that it is made from.

use std::io::Write;

use serde::Deserialize;

use crate::error::Error;
use crate::input::beginning;
use crate::places::Places;

mod onnx;
pub mod wasm;

/// Longest guest or model that something is made from, in bytes.
const SOURCE_BYTES_MAX: u64 = 64 << 20;

/// Defines an enum whose variants are named in the data files by the key `made`, with a list of
/// those names: a test demands a case for each.
macro_rules! made {
    ($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $tag:literal {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        })*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(tag = "made", deny_unknown_fields)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $tag)] $variant { $($(#[$field_doc])* $field: $type,)* },)*
        }

        impl $name {
            /// The names of all kinds.
            pub const NAMES: &[&str] = &[$($tag),*];

            /// The name of its kind.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $tag,)*
                }
            }
        }
    };
}

made! {
    /// A component, or a file that is none.
    Component {
        /// A guest that would run, were it not for a section of zeros behind it that makes it
        /// this large.
        HugeComponent = "huge-component" {
            /// The guest.
            of: String,
            /// Size of the file in MiB.
            mebibytes: u32,
        }
        /// A small valid component that the compiler needs very much time and memory for: each
        /// of its nested loops changes all of its local variables, so that a compiler that works
        /// on values in place of variables has `locals` times `loops` of them to place.
        SlowToCompile = "slow-to-compile" {
            /// Local variables of its one function; WebAssembly engines take at most 50,000.
            locals: u32,
            /// Loops, one inside the other.
            loops: u32,
        }
        /// A shell script.
        NotWasm = "not-wasm" {}
        /// A core module, which is valid, and no component.
        CoreModule = "core-module" {}
        /// The beginning of a guest.
        Truncated = "truncated" {
            /// The guest.
            of: String,
            /// How much of it, in thousandths.
            permille: u32,
        }
        /// A guest in which some bits have other values.
        BitFlipped = "bit-flipped" {
            /// The guest.
            of: String,
            /// Seed of the places.
            seed: u64,
            /// How many bits.
            flips: u32,
        }
    }
}

made! {
    /// A model file, or a file that is none.
    ///
    /// The models take `x`, two of f32, and give `y`, f32.
    Model {
        /// A small model that counts to 2^63 - 1.
        OnnxEndless = "onnx-endless" {}
        /// A small model that asks for 100 GB of memory at once.
        Onnx100Gb = "onnx-100gb" {}
        /// Bytes by chance, behind a beginning as ONNX files have it.
        OnnxGarbage = "onnx-garbage" {
            /// Seed of the bytes.
            seed: u64,
            /// How many.
            bytes: u32,
        }
        /// The beginning of a model.
        TruncatedModel = "truncated-model" {
            /// The model, by its path below the folder of models.
            of: String,
            /// How much of it, in thousandths.
            permille: u32,
        }
    }
}

impl Component {
    /// Writes the file.
    ///
    /// # Errors
    ///
    /// [`Error`] if what it is made from is not there, or it cannot be written.
    pub fn write(&self, places: &Places, to: &mut dyn Write) -> Result<(), Error> {
        let guest = |of: &str| beginning(&places.guest(of)?, SOURCE_BYTES_MAX);
        let written = |result: std::io::Result<()>| result.map_err(Error::io(self.name()));
        match self {
            Component::HugeComponent { of, mebibytes } => {
                let guest = guest(of)?;
                written(wasm::padded(&guest, u64::from(*mebibytes) << 20, to))
            }
            Component::SlowToCompile { locals, loops } => {
                written(to.write_all(&wasm::slow_to_compile(*locals, *loops)))
            }
            Component::NotWasm {} => written(to.write_all(b"#!/bin/sh\necho no\n")),
            Component::CoreModule {} => written(to.write_all(&wasm::MODULE_HEADER)),
            Component::Truncated { of, permille } => {
                let guest = guest(of)?;
                written(to.write_all(part(&guest, *permille)))
            }
            Component::BitFlipped { of, seed, flips } => {
                let mut guest = guest(of)?;
                let mut numbers = Numbers(*seed);
                for _ in 0..*flips {
                    let bit = numbers.below(guest.len().saturating_mul(8));
                    if let Some(byte) = guest.get_mut(bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                written(to.write_all(&guest))
            }
        }
    }
}

impl Model {
    /// Writes the file.
    ///
    /// # Errors
    ///
    /// As for [`Component::write`].
    pub fn write(&self, places: &Places, to: &mut dyn Write) -> Result<(), Error> {
        let bytes = match self {
            Model::OnnxEndless {} => onnx::endless(),
            Model::Onnx100Gb {} => onnx::hundred_gigabytes(),
            Model::OnnxGarbage { seed, bytes } => {
                let mut numbers = Numbers(*seed);
                let mut garbage = onnx::BEGINNING.to_vec();
                garbage.extend((0..*bytes).map(|_| numbers.next().to_le_bytes()[0]));
                garbage
            }
            Model::TruncatedModel { of, permille } => {
                let model = beginning(&places.model(of)?, SOURCE_BYTES_MAX)?;
                part(&model, *permille).to_vec()
            }
        };
        to.write_all(&bytes).map_err(Error::io(self.name()))
    }
}

/// So many thousandths of `bytes` from the start.
fn part(bytes: &[u8], permille: u32) -> &[u8] {
    let len = (bytes.len() as u64).saturating_mul(u64::from(permille.min(1000))) / 1000;
    let len = usize::try_from(len).unwrap_or(bytes.len());
    bytes.get(..len).unwrap_or(bytes)
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a few
/// numbers that are the same for ever, whatever a library does.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        // The first outputs for the seed 1234567, as published with many implementations.
        let mut numbers = Numbers(1_234_567);
        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn parts_are_thousandths() {
        let bytes = [0; 2000];
        assert_eq!(part(&bytes, 0).len(), 0);
        assert_eq!(part(&bytes, 500).len(), 1000);
        assert_eq!(part(&bytes, 999).len(), 1998);
        assert_eq!(part(&bytes, 5000).len(), 2000);
    }

    #[test]
    fn names_are_those_that_the_data_files_use() {
        let made: Component = toml::from_str("made = \"not-wasm\"").unwrap();
        assert_eq!(made.name(), "not-wasm");
        for name in Component::NAMES {
            let error = toml::from_str::<Component>(&format!("made = \"{name}\"\nx = 1"));
            assert!(!error.unwrap_err().to_string().contains("unknown variant"));
        }
        assert!(toml::from_str::<Model>("made = \"not-wasm\"").is_err());
    }
}
