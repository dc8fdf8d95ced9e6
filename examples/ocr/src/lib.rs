//! Reads the text on an image of a page, as an Adit task.
//!
//! Two models of PP-OCR work in turn: one finds where there is text, the other reads one piece of
//! it at a time. So this is the example of a task that decodes an image, calls several models,
//! and decides from the answers of one what to ask of the next. Everything between the two models
//! (image decoding, scaling, finding and ordering the pieces, decoding the characters) runs in the
//! sandbox; only tensors go to the host.
//!
//! # Input, arguments, output
//!
//! The input is a PNG or JPEG file, at most [`SIDE_MAX`] pixels wide and high and
//! [`PIXELS_MAX`] pixels in all. The run makes two files of the Python package
//! rapidocr-onnxruntime available: `ch_PP-OCRv4_det_infer.onnx` under the name `det`, and
//! `ch_PP-OCRv4_rec_infer.onnx`, which reads English and Chinese, under the name `rec`.
//!
//! ```text
//! adit run ocr.wasm --model det=det.onnx --model rec=rec.onnx --input page.png
//! ```
//!
//! The output has one line for each line of text, from the top of the page to its bottom, emitted
//! as soon as it is read. Pieces side by side make one line, from left to right, with a space in
//! between; so the columns of a newspaper come out interleaved.
//!
//! With the argument `--boxes` after `--` there is a line for each piece of text instead, with
//! these columns, separated by tabs: the number of the line of text, counted from 1; left, top,
//! right and bottom in pixels of the image, right and bottom exclusive; the confidence from 0 to
//! 1; the text.
//!
//! # What it does not read
//!
//! Text is sought in rectangles that are upright once the page was made level: a page that lies
//! askew by up to about eight degrees is made so, one that curves is not. Text that runs vertically
//! and pictures of street signs want rectangles at any angle, which PP-OCR has and this example
//! leaves out. To find text, the model sees a large page scaled down to 960 pixels; a piece of it
//! is read in the resolution of the image. The model that reads was taught mostly Chinese, and
//! leaves out a space between two words here and there.

#![warn(missing_docs)]

mod characters;
mod components;
mod decode;
mod detect;
mod error;
mod order;
mod page;
mod recognise;
mod report;
mod resize;
mod skew;

use adit_sdk::Error;

use detect::{Detector, Found};
use error::Failure;
use recognise::Recogniser;
use report::Report;

/// The most pixels on one side of an image.
pub const SIDE_MAX: usize = 10_000;
/// The most pixels of an image in all: an A4 page at 600 dots per inch has 34.8 million.
pub const PIXELS_MAX: usize = 36_000_000;

/// The task: an image in, one emitted line for each line of text.
///
/// # Errors
///
/// Codes from 16 on as in this crate's `Failure`: an argument or an image that it does not take,
/// or an answer that a model cannot have given. [`Error::INFERENCE`] when inference fails.
#[adit_sdk::task]
pub fn run(input: Vec<u8>) -> Result<(), Error> {
    let report = Report::new(parse_args(&adit_sdk::args())?);
    let page = decode::decode(&input)?;
    let recogniser = Recogniser::new()?;
    let Found { level, places } = Detector::new()?.find(&page)?;
    let total = places.len() as u64;
    let mut done = 0_u64;
    let mut written = 0_u64;
    for line in order::lines(places) {
        let mut pieces = Vec::with_capacity(line.len());
        for place in line {
            if let Some(reading) = recogniser.read(&level.cut(&page, place))? {
                let place = level.around(place, page.width(), page.height());
                pieces.push((place, reading));
            }
            done = done.saturating_add(1);
            adit_sdk::progress(done, total, "pieces of text");
        }
        // What looked like text to the one model and like none to the other makes no line.
        if !pieces.is_empty() {
            written = written.saturating_add(1);
            adit_sdk::emit(report.line(written, &pieces).as_bytes());
        }
    }
    Ok(())
}

/// Whether the boxes are asked for.
fn parse_args(args: &[String]) -> Result<bool, Failure> {
    match args {
        [] => Ok(false),
        [arg] if arg == "--boxes" => Ok(true),
        [arg, ..] => Err(Failure::UnknownArgument(arg.chars().take(64).collect())),
    }
}

#[cfg(test)]
mod tests;
