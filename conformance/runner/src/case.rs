//! The data files: what each guest is given, and exactly what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::amounts::{Bytes, Fuel, Span};
use crate::error::Error;
use crate::input::{Guest, Input, Model};

/// What the clock of a guest shows at its start unless the case says otherwise, in seconds since
/// 1970: 2023-11-14T22:13:20Z.
pub const CLOCK_S: u64 = 1_700_000_000;

/// All cases of a folder of data files.
#[derive(Debug)]
pub struct Suite {
    /// The cases, by file and in the order of each file.
    pub cases: Vec<Case>,
    /// The engine id that the figures belong to, as `blake3:<hex>`, if the folder names one.
    pub engine: Option<String>,
}

/// One run of a guest and what must come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name, in kebab case and unique over all files.
    pub name: String,
    /// One sentence: what the guest tries, and what holds it.
    pub why: String,
    /// The component.
    pub guest: Guest,
    /// Arguments of the guest.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its input.
    #[serde(default)]
    pub input: Input,
    /// Models that it may load, by name.
    #[serde(default)]
    pub models: BTreeMap<String, Model>,
    /// Seed of its random numbers.
    #[serde(default)]
    pub seed: u64,
    /// What its clock shows at the start, in seconds since 1970.
    #[serde(default = "default_clock")]
    pub clock: u64,
    /// Its limits.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the run ends its worker process: an inference that does not stop at the deadline,
    /// or takes all memory, can be ended in no other way.
    #[serde(default)]
    pub ends_worker: bool,
    /// What must come of it.
    pub expect: Expect,
    /// What the host may spend on it.
    pub bound: Bound,
    /// What must come of a replay.
    #[serde(default)]
    pub replay: Replay,
    /// The file that it is in.
    #[serde(skip)]
    pub file: PathBuf,
}

/// Limits of a run.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Fuel.
    pub fuel: Fuel,
    /// Memory of the guest.
    pub memory: Bytes,
    /// Output, and of it what is emitted; the implementation's default unless given.
    pub output: Option<Bytes>,
    /// Wall-clock time.
    pub deadline: Span,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: Fuel(2_000_000_000),
            memory: Bytes(256 << 20),
            output: None,
            deadline: Span(Duration::from_secs(60)),
        }
    }
}

/// The exact outcome: either that of a receipt, or the code of an error that leaves none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Name of the status.
    pub status: Option<String>,
    /// Fuel used. May be left out where the status is not attestable: it differs from run to run.
    pub fuel: Option<u64>,
    /// Peak memory in bytes; as for `fuel`.
    pub peak_memory: Option<u64>,
    /// Work units of inference.
    #[serde(default)]
    pub nn_units: u64,
    /// Computations that the guest asked for.
    pub computations: Option<u64>,
    /// The output; as for `fuel`.
    pub output: Option<Output>,
    /// Number of the guest's own error.
    pub task_error: Option<u32>,
    /// Code of the error, where there is no receipt.
    pub code: Option<String>,
}

/// An expected output.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Output {
    /// This text.
    Text {
        /// The text.
        text: String,
    },
    /// This many bytes with this hash.
    Hash {
        /// BLAKE3 of the output, 64 hexadecimal digits.
        blake3: String,
        /// Its length in bytes.
        bytes: u64,
    },
    /// This many bytes, which are the same on one machine only.
    Varies {
        /// Length in bytes.
        bytes: u64,
        /// Why another machine may give others, as with a model's floating-point numbers.
        varies: String,
    },
}

impl Output {
    /// Hash as `blake3:<hex>` where it is fixed, and length in bytes.
    pub fn hash(&self) -> (Option<String>, u64) {
        match self {
            Output::Text { text } => {
                let hash = format!("blake3:{}", blake3::hash(text.as_bytes()));
                (Some(hash), text.len() as u64)
            }
            Output::Hash { blake3, bytes } => {
                let digits = blake3.strip_prefix("blake3:").unwrap_or(blake3);
                (Some(format!("blake3:{digits}")), *bytes)
            }
            Output::Varies { bytes, .. } => (None, *bytes),
        }
    }

    /// Whether an output with this hash and length is the expected one.
    pub fn admits(&self, hash: &str, bytes: u64) -> bool {
        let (wanted, len) = self.hash();
        len == bytes && wanted.is_none_or(|wanted| wanted == hash)
    }
}

/// What the host may spend on one process of the implementation.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Most resident memory of any process of a run or replay.
    pub rss: Bytes,
    /// Most wall-clock seconds of a run.
    pub seconds: u64,
}

/// What must come of a replay of the receipt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// The verdict on the execution (level 2).
    pub expect: Verdict,
    /// Whether the interpreter replays it too.
    pub interpreter: bool,
    /// Why the interpreter does not.
    pub why_not: Option<String>,
}

impl Default for Replay {
    fn default() -> Replay {
        Replay {
            expect: Verdict::Identical,
            interpreter: true,
            why_not: None,
        }
    }
}

/// The verdict of a replay on the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything is as the receipt says.
    Identical,
    /// The outcome is not attestable, so there is nothing to compare.
    NotPerformed,
}

/// Statuses that every honest replay ends with too (protocol, "Outcome").
const ATTESTABLE: [&str; 6] = [
    "ok",
    "task-error",
    "trap",
    "out-of-fuel",
    "limit-exceeded",
    "invalid-component",
];
/// Statuses that depend on the machine.
const NOT_ATTESTABLE: [&str; 6] = [
    "stack-overflow",
    "deadline",
    "host-fault",
    "cancelled",
    "unavailable",
    "compile-limit",
];

/// Whether a status is attestable.
pub fn attestable(status: &str) -> bool {
    ATTESTABLE.contains(&status)
}

fn default_clock() -> u64 {
    CLOCK_S
}

impl Suite {
    /// Reads all `*.toml` of a folder, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] for a file that does not follow the format or a name that is used twice,
    /// [`Error::Io`] for one that cannot be read.
    pub fn load(folder: &Path) -> Result<Suite, Error> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
        }
        files.sort();
        let mut cases = Vec::new();
        let mut names = BTreeSet::new();
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
            for case in parse(&path, &text)? {
                if !names.insert(case.name.clone()) {
                    let why = format!("the name `{}` is used twice", case.name);
                    return Err(Error::Data { path, why });
                }
                cases.push(case);
            }
        }
        if cases.is_empty() {
            return Err(Error::Data {
                path: folder.to_owned(),
                why: "there is no case in it".to_owned(),
            });
        }
        let path = folder.join(ENGINE_FILE);
        let engine = match path.is_file() {
            true => Some(std::fs::read_to_string(&path).map_err(Error::io(&path))?),
            false => None,
        };
        Ok(Suite {
            cases,
            engine: engine.map(|engine| engine.trim().to_owned()),
        })
    }
}

/// The file beside the cases that names the engine their figures belong to.
pub const ENGINE_FILE: &str = "engine";

/// Reads one data file.
///
/// # Errors
///
/// [`Error::Data`].
pub fn parse(path: &Path, text: &str) -> Result<Vec<Case>, Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        case: Vec<Case>,
    }
    let data = |why: String| Error::Data {
        path: path.to_owned(),
        why,
    };
    let file: File = toml::from_str(text).map_err(|error| data(error.to_string()))?;
    let mut cases = file.case;
    for case in &mut cases {
        case.file = path.to_owned();
        if let Some(why) = case.mistake() {
            return Err(data(format!("the case `{}`: {why}", case.name)));
        }
    }
    Ok(cases)
}

impl Case {
    /// Whether it must leave a receipt.
    pub fn has_receipt(&self) -> bool {
        self.expect.status.is_some()
    }

    /// What the format demands beyond its types.
    fn mistake(&self) -> Option<String> {
        let kebab = |text: &str| {
            let mut chars = text.chars();
            chars.next().is_some_and(|c| c.is_ascii_lowercase())
                && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !kebab(&self.name) {
            return Some("a name is in kebab case".to_owned());
        }
        if self.why.trim().is_empty() {
            return Some("`why` says what the guest tries, and what holds it".to_owned());
        }
        let expect = &self.expect;
        match (&expect.status, &expect.code) {
            (Some(status), None) => self.mistake_with_status(status),
            (None, Some(_)) => {
                let more = expect.fuel.is_some()
                    || expect.peak_memory.is_some()
                    || expect.output.is_some()
                    || expect.task_error.is_some();
                more.then(|| "`code` is for what has no receipt, and so no figures".to_owned())
            }
            _ => Some("`expect` has either a `status` or a `code`".to_owned()),
        }
    }

    fn mistake_with_status(&self, status: &str) -> Option<String> {
        let expect = &self.expect;
        let attestable = attestable(status);
        if !attestable && !NOT_ATTESTABLE.contains(&status) {
            return Some(format!("there is no status `{status}`"));
        }
        let exact =
            expect.fuel.is_some() && expect.peak_memory.is_some() && expect.output.is_some();
        if attestable && !exact {
            return Some(format!(
                "`{status}` is attestable: its `fuel`, `peak_memory` and `output` are exact"
            ));
        }
        if expect.task_error.is_some() && status != "task-error" {
            return Some("only the status `task-error` has a `task_error`".to_owned());
        }
        match (attestable, self.replay.expect) {
            (true, Verdict::Identical) | (false, Verdict::NotPerformed) => {}
            (true, _) => return Some(format!("a replay of `{status}` must be identical")),
            (false, _) => {
                return Some(format!(
                    "`{status}` is not attestable: its replay is `expect = \"not-performed\"`"
                ));
            }
        }
        match (self.replay.interpreter, &self.replay.why_not) {
            (false, None) => Some("`interpreter = false` needs a `why_not`".to_owned()),
            (true, Some(_)) => Some("`why_not` is for `interpreter = false`".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
