//! Every behaviour, and the choice among them.

mod abuse;
mod bombs;
mod mistakes;
mod models;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "task",
    generate_all,
});

use wasi::nn::errors::Error;

struct Infer;
export!(Infer);

/// What a behaviour gives: the output, or the task's error.
type Outcome = Result<Vec<u8>, TaskError>;

/// A behaviour, given its line of the input and all that follows.
type Behaviour = fn(&Order<'_>) -> Outcome;

/// Every behaviour by its name.
const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("argument-order", models::argument_order),
    ("borrowed", abuse::borrowed),
    ("churn", bombs::churn),
    ("compute-again", bombs::compute_again),
    ("consumed", abuse::consumed),
    ("contexts", bombs::contexts),
    ("denormals", models::denormals),
    ("dimensions", mistakes::dimensions),
    ("dropped", abuse::dropped),
    ("emit", bombs::emit_bytes),
    ("emit-and-fail", bombs::emit_and_fail),
    ("emit-nothing", bombs::emit_nothing),
    ("encodings", mistakes::encodings),
    ("errors", mistakes::errors),
    ("fail-at-length", bombs::fail_at_length),
    ("flipped", mistakes::flipped),
    ("floats", models::between_inferences),
    ("graph-gone", models::graph_gone),
    ("hold", bombs::hold),
    ("hold-errors", bombs::hold_errors),
    ("interleaved", models::interleaved),
    ("invented", abuse::invented),
    ("load-again", bombs::load_again),
    ("load-parts", bombs::load_parts),
    ("names", mistakes::names),
    ("many-dimensions", bombs::many_dimensions),
    ("many-inputs", bombs::many_inputs),
    ("own-model", models::own_model),
    ("print", bombs::print),
    ("progress", bombs::progress_notes),
    ("read-back", mistakes::read_back),
    ("read-again", bombs::read_again),
    ("return", bombs::returned),
    ("shapes", mistakes::shapes),
    ("speech", models::speech),
    ("truncated", mistakes::truncated),
    ("twice", abuse::twice),
];

/// The first line of the input, split at spaces, and the bytes after it.
struct Order<'a> {
    words: Vec<&'a str>,
    rest: &'a [u8],
}

impl<'a> Order<'a> {
    fn word(&self, at: usize) -> &'a str {
        self.words.get(at).copied().unwrap_or_default()
    }

    /// The word at this place as a number; 0 where there is none. The name is word 0.
    fn number(&self, at: usize) -> usize {
        self.word(at).parse().unwrap_or(0)
    }
}

impl Guest for Infer {
    fn run(input: Vec<u8>) -> Outcome {
        let end = input
            .iter()
            .position(|b| *b == b'\n')
            .unwrap_or(input.len());
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        let order = Order {
            words: line.split(' ').collect(),
            rest: input.get(end + 1..).unwrap_or_default(),
        };
        let name = order.word(0);
        if name == "list" {
            let names = BEHAVIOURS.iter().map(|(name, _)| format!("{name}\n"));
            return Ok(names.collect::<String>().into_bytes());
        }
        match BEHAVIOURS.iter().find(|(known, _)| *known == name) {
            Some((_, behave)) => behave(&order),
            None => Err(TaskError {
                code: 1,
                message: format!("unknown behaviour {name:?}"),
            }),
        }
    }
}

fn failed(error: Error) -> TaskError {
    TaskError {
        code: error.code() as u32,
        message: error.data(),
    }
}

/// What a call said, for a line of output.
fn said<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(e) => format!("{} {}", e.code() as u32, e.data()),
    }
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
