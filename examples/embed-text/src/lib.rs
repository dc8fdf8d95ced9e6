//! Compares sentences by what they mean, with the sentence encoder MiniLM.
//!
//! The input is text with one sentence on each line. The output is a table of cosine
//! similarities, or, with the argument `--json`, a line of JSON with the vector of each sentence:
//!
//! ```text
//! $ adit run embed_text.wasm --model minilm=model.onnx --input sentences.txt
//!         1       2       3
//! 1   1.000   0.759  -0.012  A man is eating food.
//! 2   0.759   1.000  -0.028  Someone eats a meal.
//! 3  -0.012  -0.028   1.000  The stock market fell today.
//! ```
//!
//! The tokenizer runs in the task, from the model's own `tokenizer.json`; only the tensors go to
//! the host. A vector is the mean of the model's last hidden states over a sentence's tokens,
//! scaled to length 1, as the model's authors define it (sentence-transformers,
//! all-MiniLM-L6-v2), so that the product of two vectors is their cosine.

mod embed;
mod report;
mod tokens;

use adit_sdk::{Error, Result};

use embed::Encoder;
use report::Sentence;
use tokens::Tokenizer;

/// How many sentences one run takes: the table has a column for each.
pub const SENTENCES_MAX: usize = 256;
/// How long a line may be, in bytes: far more than the tokens that the model reads.
pub const LINE_BYTES_MAX: usize = 8192;

/// The code of the task's error for arguments that it does not know.
pub const CODE_ARGUMENT: u32 = 16;

/// Embeds every line that is not blank.
///
/// # Errors
///
/// [`CODE_ARGUMENT`]; `Error::INPUT` when there is no sentence, or more or longer ones than the
/// limits; `Error::INFERENCE` when the run lists no model `minilm` or one that answers otherwise.
#[adit_sdk::task]
pub fn run(input: String) -> Result<String> {
    let json = parse_args(&adit_sdk::args())?;
    let lines = sentences(&input)?;
    let tokenizer = Tokenizer::minilm()?;
    let encoder = Encoder::minilm()?;
    let mut sentences = Vec::with_capacity(lines.len());
    for (index, text) in lines.iter().enumerate() {
        let tokens = tokenizer.encode(text)?;
        // One sentence at a time: the model's activations are quantised by the largest of a whole
        // batch, so in company a sentence's vector would depend on its neighbours.
        let vector = encoder.embed(&tokens.ids)?;
        let sentence = Sentence::new(text, &tokens, vector);
        if json {
            adit_sdk::emit(sentence.json_line()?.as_bytes());
        }
        sentences.push(sentence);
        adit_sdk::progress(index as u64 + 1, lines.len() as u64, "sentences");
    }
    Ok(if json {
        String::new()
    } else {
        report::table(&sentences)
    })
}

/// The lines of the input that are not blank, without the white space around them.
fn sentences(input: &str) -> Result<Vec<&str>> {
    let refuse = |message: String| Err(Error::new(Error::INPUT, message));
    let mut sentences = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.len() > LINE_BYTES_MAX {
            return refuse(format!(
                "line {} has {} bytes, more than {LINE_BYTES_MAX}; hint: put one sentence on a line",
                index + 1,
                line.len()
            ));
        }
        if sentences.len() == SENTENCES_MAX {
            return refuse(format!(
                "the input has more than {SENTENCES_MAX} sentences; hint: split it"
            ));
        }
        sentences.push(line);
    }
    if sentences.is_empty() {
        return refuse("the input has no sentence; hint: send text, one sentence a line".into());
    }
    Ok(sentences)
}

fn parse_args(args: &[String]) -> Result<bool> {
    match args {
        [] => Ok(false),
        [arg] if arg == "--json" => Ok(true),
        other => Err(Error::new(
            CODE_ARGUMENT,
            format!("unknown arguments {other:?}; hint: the only argument is `--json`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_sdk::{Tensor, Tensors, testing};

    /// A model whose hidden state of a token is the unit vector of its id, so that the cosine of
    /// two sentences is that of their bags of words.
    fn register() {
        testing::model("minilm", |inputs| {
            let ids = inputs.get::<i64>("input_ids")?;
            for name in ["attention_mask", "token_type_ids"] {
                let other = inputs.get::<i64>(name)?;
                assert_eq!(other.dims(), ids.dims());
                let expected = i64::from(name == "attention_mask");
                assert!(other.data().iter().all(|&value| value == expected));
            }
            let mut states = vec![0.0_f32; ids.data().len() * 384];
            for (&id, state) in ids.data().iter().zip(states.chunks_mut(384)) {
                state[usize::try_from(id).unwrap() % 384] = 1.0;
            }
            let dims = [ids.dims()[0], ids.dims()[1], 384];
            Ok(Tensors::new().with("last_hidden_state", Tensor::new(&dims, states)?))
        });
    }

    #[test]
    fn sentences_that_share_words_are_closer() {
        register();
        let run = testing::run(run, "the red car\n\n  the red house \nmy dog\n");
        let output = String::from_utf8(run.output()).unwrap();
        let rows: Vec<Vec<&str>> = output
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows[0], ["1", "2", "3"]);
        // Of five tokens with the two special ones, four are shared: (5, 5 tokens) -> 0.8.
        assert_eq!(
            rows[1],
            ["1", "1.000", "0.800", "0.447", "the", "red", "car"]
        );
        assert_eq!(rows[2][1..4], ["0.800", "1.000", "0.447"]);
        let done: Vec<u64> = run.progress.iter().map(|progress| progress.done).collect();
        assert_eq!(done, [1, 2, 3]);
    }

    #[test]
    fn json_has_a_line_for_each_sentence_as_it_comes() {
        register();
        testing::set_args(["--json"]);
        let run = testing::run(run, "one\ntwo words\n");
        assert_eq!(run.emitted.len(), 2);
        assert_eq!(run.result, Ok(Vec::new()));
        let line: serde_json::Value = serde_json::from_slice(&run.emitted[1]).unwrap();
        assert_eq!(line["sentence"], "two words");
        assert_eq!(line["tokens"], 4);
        assert_eq!(line["truncated"], false);
        let vector = line["vector"].as_array().unwrap();
        assert_eq!(vector.len(), 384);
        let length: f64 = vector.iter().map(|v| v.as_f64().unwrap().powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }

    #[test]
    fn input_out_of_bounds_is_refused_with_its_place() {
        let code = |input: &[u8]| testing::run(run, input).result.unwrap_err().code;
        assert_eq!(code(b""), Error::INPUT);
        assert_eq!(code(b" \n\t\n"), Error::INPUT);
        assert_eq!(code(b"\xff"), Error::INPUT);
        let many = "x\n".repeat(SENTENCES_MAX + 1);
        assert_eq!(code(many.as_bytes()), Error::INPUT);
        let long = format!("ok\n{}", "y".repeat(LINE_BYTES_MAX + 1));
        let error = testing::run(run, long).result.unwrap_err();
        assert!(
            error.message.starts_with("line 2 has 8193 bytes"),
            "{error}"
        );
    }

    #[test]
    fn a_run_without_the_model_or_with_another_one_says_so() {
        let error = testing::run(run, "hello").result.unwrap_err();
        assert!(error.message.contains("--model minilm=FILE"), "{error}");
        testing::model("minilm", |_| {
            let states = Tensor::new(&[1, 3, 2], vec![0.0_f32; 6])?;
            Ok(Tensors::new().with("last_hidden_state", states))
        });
        let error = testing::run(run, "hello").result.unwrap_err();
        assert_eq!(error.code, Error::INFERENCE);
    }
}
