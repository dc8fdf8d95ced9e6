//! The example `ocr` with its two models: a page that is drawn here is read to the letter, and the
//! reading is replayed.
//!
//! `cargo xtask setup` fetches the models. Without them a test says so and ends, unless the
//! environment has `CI` set.

use std::path::{Path, PathBuf};

use crate::receipts::checks;
use crate::support::{Home, Said, guest};

#[path = "../../../../examples/ocr/src/tests/page.rs"]
pub mod page;

/// The options that name both models, or nothing where they need not be there.
fn models() -> Option<[String; 2]> {
    // The program lies in <target>/<profile>.
    let program = Path::new(env!("CARGO_BIN_EXE_adit"));
    let models = program.ancestors().nth(2).unwrap().join("models/ppocr");
    let files = ["det", "rec"].map(|name| models.join(format!("{name}.onnx")));
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        let hint = "not there; hint: cargo xtask setup fetches it";
        let missing = missing.display();
        assert!(std::env::var_os("CI").is_none(), "{missing}: {hint}");
        eprintln!("skipped: {missing}: {hint}");
        return None;
    }
    let option = |name, file: &PathBuf| format!("{name}={}", file.display());
    Some([option("det", &files[0]), option("rec", &files[1])])
}

/// `adit run` of the example on an image, with these arguments for the task.
fn read(home: &Home, models: &[String; 2], image: &[u8], args: &[&str]) -> Said {
    let image = home.file("page.png", image);
    let guest = guest("ocr.wasm");
    let mut all = vec!["run", guest.to_str().unwrap()];
    for model in models {
        all.extend(["--model", model.as_str()]);
    }
    all.extend(["--input", image.to_str().unwrap(), "--"]);
    all.extend(args);
    home.adit(&all)
}

#[test]
fn a_page_is_read_to_the_letter_and_the_reading_is_replayed() {
    let Some(models) = models() else {
        return;
    };
    let home = Home::new();
    let (image, text) = page::sample();
    let said = read(&home, &models, &image, &[]).exits(0);
    assert_eq!(said.text(), text);
    // One inference finds eleven pieces, one reads each.
    assert!(said.stderr.contains("12 inferences"), "{}", said.stderr);

    let replay = |more: &[&str]| {
        let args = [&["--json", "receipt", "replay", "last"], more].concat();
        checks(&home.adit(&args).exits(0).json())
    };
    let without_model = replay(&[]);
    for name in ["status", "output", "fuel", "peak memory", "transcript"] {
        let passed = format!("2 {name}: passed");
        assert!(without_model.contains(&passed), "{without_model:?}");
    }
    let computed = replay(&["--inference", "all"]);
    let passed = "3 inference: passed".to_owned();
    assert!(computed.contains(&passed), "{computed:?}");
}

#[test]
fn boxes_are_around_the_pieces_of_a_page() {
    let Some(models) = models() else {
        return;
    };
    let home = Home::new();
    let (image, text) = page::sample();
    let rows = read(&home, &models, &image, &["--boxes"]).exits(0).text();
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for row in rows.lines() {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[line, left, top, right, bottom, confidence, text] = columns.as_slice() else {
            panic!("{row:?} does not have 7 columns");
        };
        let line: usize = line.parse().unwrap();
        if line > lines.len() {
            lines.push(Vec::new());
        }
        assert_eq!(line, lines.len(), "{rows}");
        lines[line - 1].push(text);
        let confidence: f32 = confidence.parse().unwrap();
        assert!((0.9..=1.0).contains(&confidence), "{row}");
        let [left, top, right, bottom]: [usize; 4] =
            [left, top, right, bottom].map(|side| side.parse().unwrap());
        // Where the letters were drawn, at most some pixels around them.
        assert!(
            (50..500).contains(&left) && left < right && right <= 800,
            "{row}"
        );
        assert!((15..45).contains(&(bottom - top)), "{row}");
    }
    let lines: Vec<String> = lines.iter().map(|line| line.join(" ")).collect();
    assert_eq!(lines, text.lines().collect::<Vec<_>>());
}

#[test]
fn what_is_no_image_is_a_task_error_that_says_what_to_do() {
    let Some(models) = models() else {
        return;
    };
    let home = Home::new();
    let cut = &page::sample().0[..1000];
    for (image, words) in [(&b"%PDF-1.7"[..], "neither as a PNG"), (cut, "PNG image")] {
        let said = read(&home, &models, image, &[]).exits(1);
        said.explains(&["task-error", words]);
    }
}
