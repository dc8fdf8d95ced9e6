//! Text to token ids, by the model's own tokenizer.

use adit_sdk::{Error, Result};

/// How many tokens of a sentence the model reads, the two special ones among them: the length
/// that its `tokenizer.json` states.
pub const TOKENS_MAX: usize = 128;

/// MiniLM's `tokenizer.json`, or a compile error that says how to get it.
static TOKENIZER: &[u8] = include!(concat!(env!("OUT_DIR"), "/tokenizer.rs"));

/// The tokenizer of a model.
pub struct Tokenizer(tokenizers::Tokenizer);

/// The tokens of a sentence.
pub struct Tokens {
    /// Their ids, from `[CLS]` to `[SEP]`, at most [`TOKENS_MAX`].
    pub ids: Vec<i64>,
    /// Whether the sentence has more, which the model does not see.
    pub truncated: bool,
}

impl Tokenizer {
    /// That of MiniLM, which is compiled in.
    ///
    /// # Errors
    ///
    /// When the file is not what crate `tokenizers` reads.
    pub fn minilm() -> Result<Self> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(TOKENIZER).map_err(failed)?;
        // The file asks for padding to 128 tokens. A lone sentence needs none, and every token of
        // padding would cost the model as much as a word.
        tokenizer.with_padding(None);
        let truncation = tokenizers::TruncationParams {
            max_length: TOKENS_MAX,
            ..Default::default()
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(failed)?;
        Ok(Self(tokenizer))
    }

    /// The tokens of a sentence.
    ///
    /// # Errors
    ///
    /// When the tokenizer refuses the text, which MiniLM's does not.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encoding = self.0.encode_fast(text, true).map_err(failed)?;
        Ok(Tokens {
            ids: encoding.get_ids().iter().map(|&id| id.into()).collect(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::new(
        Error::FAILED,
        format!("MiniLM's tokenizer failed: {error}; hint: was its tokenizer.json replaced?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected ids come from Python's `tokenizers` 0.22 with the same file.
    #[test]
    fn ids_are_those_of_the_reference_implementation() {
        let tokenizer = Tokenizer::minilm().unwrap();
        let ids = |text| tokenizer.encode(text).unwrap().ids;
        assert_eq!(ids("Hello, world!"), [101, 7592, 1010, 2088, 999, 102]);
        assert_eq!(
            ids("Crème brûlée"),
            [101, 13675, 21382, 7987, 9307, 2063, 102]
        );
        assert_eq!(
            ids("東京 is unaffable 🦀"),
            [101, 1879, 1755, 2003, 14477, 20961, 3468, 100, 102]
        );
        assert_eq!(ids(""), [101, 102]);
    }

    #[test]
    fn a_long_sentence_is_cut_and_says_so() {
        let tokenizer = Tokenizer::minilm().unwrap();
        let exact = tokenizer.encode(&"word ".repeat(TOKENS_MAX - 2)).unwrap();
        assert_eq!((exact.ids.len(), exact.truncated), (TOKENS_MAX, false));
        let longer = tokenizer.encode(&"word ".repeat(TOKENS_MAX - 1)).unwrap();
        assert_eq!((longer.ids.len(), longer.truncated), (TOKENS_MAX, true));
        assert_eq!(longer.ids.last(), Some(&102));
    }
}
