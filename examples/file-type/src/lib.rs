//! Tells the types of files with magika, the model that Google Drive and Gmail use for it.
//!
//! The input is a tar archive, or any other bytes, which count as one file. The output is a table
//! with a line for each file, or, with the argument `--json`, a line of JSON for each:
//!
//! ```text
//! $ tar c README.md logo.png | adit run file_type.wasm --model magika=model.onnx --input -
//! name       type      score  description
//! README.md  markdown  0.999  Markdown document
//! logo.png   png       1.000  PNG image
//!
//! 2 files
//! ```
//!
//! What the model sees of a file, and how its answer is read, is magika's own rule: see
//! [`features`] and [`labels`]. Files go through the model 32 at a time; each batch is reported as
//! progress, and with `--json` its lines are emitted as soon as they are known.
//!
//! `src/labels.txt` is data of google/magika, Apache-2.0.

pub mod features;
pub mod files;
pub mod labels;
mod report;

use adit_sdk::{Error, Model, Result, Session, Tensor};

use features::Features;
use files::File;
use labels::{Labels, Verdict};
use report::Row;

/// How many files go through the model at once.
pub const BATCH_FILES: usize = 32;

/// The code of the task's error for arguments that it does not know.
pub const CODE_ARGUMENT: u32 = 16;
/// The code of the task's error for an archive that is broken or has too many files.
pub const CODE_ARCHIVE: u32 = 17;

/// Classifies every file of the input.
///
/// # Errors
///
/// [`CODE_ARGUMENT`], [`CODE_ARCHIVE`], or `Error::INFERENCE` when the run lists no model called
/// `magika` or one that answers otherwise.
#[adit_sdk::task]
pub fn run(input: Vec<u8>) -> Result<String> {
    let json = parse_args(&adit_sdk::args())?;
    let labels = Labels::magika()?;
    let listing = files::list(&input).map_err(|error| Error::new(CODE_ARCHIVE, error))?;
    let total = listing.files.len();

    let mut model = Magika { session: None };
    let mut rows = Vec::new();
    let mut done = 0;
    for batch in listing.files.chunks(BATCH_FILES) {
        let verdicts = model.classify(batch, &labels)?;
        let batch_rows = batch
            .iter()
            .zip(verdicts)
            .map(|(file, verdict)| Row::new(file, verdict));
        if json {
            let mut lines = String::new();
            for row in batch_rows {
                row.write_json(&mut lines)?;
            }
            adit_sdk::emit(lines.as_bytes());
        } else {
            rows.extend(batch_rows);
        }
        done += batch.len();
        adit_sdk::progress(done as u64, total as u64, "files");
    }
    Ok(if json {
        String::new()
    } else {
        report::table(&rows, listing.skipped)
    })
}

/// The model, loaded when the first file needs it: an archive of empty files needs none.
struct Magika {
    session: Option<Session>,
}

impl Magika {
    /// One verdict for each file of a batch, by rule or by one inference for all others.
    fn classify(&mut self, batch: &[File<'_>], labels: &Labels) -> Result<Vec<Verdict>> {
        let mut windows = Vec::new();
        let mut rules = Vec::with_capacity(batch.len());
        for file in batch {
            match Features::extract(file.content) {
                Features::Model(features) => {
                    windows.extend(features);
                    rules.push(None);
                }
                Features::Rule(label) => rules.push(Some(label)),
            }
        }
        let scores = self.infer(windows, labels.outputs())?;
        let mut scores = scores.iter().flat_map(Tensor::rows);
        rules
            .into_iter()
            .map(|rule| match rule {
                Some(label) => labels.ruled(label),
                // A missing row, which `infer` rules out, would be refused as no scores.
                None => labels.judge(scores.next().unwrap_or_default()),
            })
            .collect()
    }

    /// The scores f32[n, outputs] for `windows`, n times [`features::FEATURES`] numbers.
    fn infer(&mut self, windows: Vec<i32>, outputs: usize) -> Result<Option<Tensor<f32>>> {
        let files = windows.len() / features::FEATURES;
        if files == 0 {
            return Ok(None);
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Model::named("magika")?.session()?),
        };
        let bytes = Tensor::new(&[files, features::FEATURES], windows)?;
        let scores = session.run(&[("bytes", &bytes)])?.get("target_label")?;
        Ok(Some(scores.with_shape(&[Some(files), Some(outputs)])?))
    }
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
    use adit_sdk::{Tensors, testing};

    /// A model that tells a file by its first byte: `z` is `zip` (212), any other `png`; and that
    /// refuses what the real one would.
    fn register(batches: &'static std::thread::LocalKey<std::cell::RefCell<Vec<usize>>>) {
        let labels = Labels::magika().unwrap();
        let png = (0..labels.outputs()).find(|&output| {
            let mut scores = vec![0.0; labels.outputs()];
            scores[output] = 1.0;
            labels.judge(&scores).unwrap().label.name == "png"
        });
        testing::model("magika", move |inputs| {
            let bytes = inputs.get::<i32>("bytes")?;
            let bytes = bytes.with_shape(&[None, Some(2048)])?;
            batches.with_borrow_mut(|batches| batches.push(bytes.dims()[0]));
            let mut scores = vec![0.0_f32; bytes.dims()[0] * 214];
            for (row, scores) in bytes.rows().zip(scores.chunks_mut(214)) {
                let zip = row[0] == i32::from(b'z');
                scores[if zip { 212 } else { png.unwrap() }] = 0.9;
            }
            let scores = Tensor::new(&[bytes.dims()[0], 214], scores)?;
            Ok(Tensors::new().with("target_label", scores))
        });
    }

    thread_local! {
        static BATCHES: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    #[test]
    fn files_go_through_the_model_in_batches_and_keep_their_order() {
        register(&BATCHES);
        let mut files: Vec<(String, Vec<u8>)> = (0..70)
            .map(|index| {
                let first = if index % 3 == 0 { b'z' } else { b'p' };
                (format!("f{index}"), vec![first; 20])
            })
            .collect();
        files[5].1.clear();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (&**n, &**c)).collect();
        let run = testing::run(run, files::tests::archive(&files));
        assert_eq!(BATCHES.take(), [31, 32, 6]);
        let done: Vec<u64> = run.progress.iter().map(|progress| progress.done).collect();
        assert_eq!(done, [32, 64, 70]);
        let output = String::from_utf8(run.output()).unwrap();
        let types: Vec<&str> = output
            .lines()
            .skip(1)
            .take(70)
            .map(|line| line.split_whitespace().nth(1).unwrap())
            .collect();
        for (index, found) in types.iter().enumerate() {
            let expected = match index {
                5 => "empty",
                _ if index % 3 == 0 => "zip",
                _ => "png",
            };
            assert_eq!(*found, expected, "file {index}");
        }
        assert!(output.ends_with("\n70 files\n"), "{output}");
    }

    #[test]
    fn json_lines_are_emitted_batch_by_batch() {
        register(&BATCHES);
        testing::set_args(["--json"]);
        let files = vec![("same", &b"zzzzzzzz"[..]); 33];
        let run = testing::run(run, files::tests::archive(&files));
        assert_eq!(run.result, Ok(Vec::new()));
        let lines: Vec<usize> = run
            .emitted
            .iter()
            .map(|chunk| chunk.iter().filter(|&&byte| byte == b'\n').count())
            .collect();
        assert_eq!(lines, [32, 1]);
    }

    #[test]
    fn a_single_file_needs_no_archive_and_a_rule_no_model() {
        let run = testing::run(run, b"hi");
        let output = String::from_utf8(run.output()).unwrap();
        assert!(output.contains("\n-     txt   1.000"), "{output}");
    }

    #[test]
    fn what_fails_is_named() {
        assert_eq!(
            testing::run(run, b"more than 8 bytes")
                .result
                .unwrap_err()
                .code,
            Error::INFERENCE
        );
        let archive = files::tests::archive(&[("a", &[7; 2000])]);
        assert_eq!(
            testing::run(run, &archive[..700]).result.unwrap_err().code,
            CODE_ARCHIVE
        );
        testing::set_args(["--jsn"]);
        let error = testing::run(run, b"").result.unwrap_err();
        assert_eq!(error.code, CODE_ARGUMENT);
    }
}
