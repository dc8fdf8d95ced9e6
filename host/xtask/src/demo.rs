//! `cargo xtask demo`: the whole promise, shown to someone who has never heard of it.
//!
//! It drives the `adit` binary as a user would and stops with an error if anything, the refusal
//! of the forgery included, does not come out as the text says.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};
use crate::fetch;
use crate::models::{MODELS, Model};
use crate::project::{self, Project};
use crate::samples::{self, Sample};
use crate::setup::{self, GUEST_TARGET};

/// A receipt's length, and where in it the fuel stands (a little-endian u64).
const RECEIPT_LENGTH: usize = 520;
const FUEL_OFFSET: usize = 48;

/// One thing the demo does.
struct Step {
    /// What the reader is about to see and why it matters.
    say: &'static str,
    act: Act,
}

enum Act {
    /// Types an `adit` command. `{name}` in an argument stands for one of [`Places`].
    Adit {
        args: &'static [&'static str],
        /// The exit code it must end with.
        exit: i32,
        /// What its output must contain, in any letter case.
        says: &'static [&'static str],
    },
    /// Like `Adit`, and every sample must be in the output with its right label.
    Classify { args: &'static [&'static str] },
    /// Deletes every copy of the model that the run kept.
    DropModel,
    /// Makes a copy of the receipt in which one bit of the fuel is flipped.
    Forge,
}

const STEPS: &[Step] = &[
    Step {
        say: "\
1. Run it in a sandbox

A WebAssembly component, examples/file-type, reads the folder and asks a neural network (magika, by
Google) what each file is. It looks at bytes, not at names: holiday.jpg and invoice.pdf are not what
they claim. The component sees no network, no disk and no clock of this machine, only its input and
the model it was given.",
        act: Act::Classify {
            args: &[
                "run",
                "{component}",
                "--input",
                "{files}",
                "--model",
                "magika={model}",
                "--receipt",
                "{receipt}",
                "--state",
                "{state}",
            ],
        },
    },
    Step {
        say: "\
2. The receipt

The run left 520 bytes, signed by the key of the machine that did it: which component, which input,
which output, which model calls (each as a hash), and how much work it was (fuel counts
instructions, the same number on every machine).",
        act: Act::Adit {
            args: &["receipt", "show", "{receipt}", "--state", "{state}"],
            exit: 0,
            says: &["fuel"],
        },
    },
    Step {
        say: "\
3. Verify it

Is the record well formed, and is the signature good? What cannot be checked is said, never passed
over: this run was local, so no coordinator has signed it.",
        act: Act::Adit {
            args: &["receipt", "verify", "{receipt}", "--state", "{state}"],
            exit: 0,
            says: &["passed", "not performed"],
        },
    },
    Step {
        say: "\
4. Replay it, bit for bit, without the model

A signature only says who claims it. So run the component again and compare. The neural network's
answers come from the recorded transcript: no model, no GPU. To make sure, the model goes first.",
        act: Act::DropModel,
    },
    Step {
        say: "",
        act: Act::Adit {
            args: &["receipt", "replay", "{receipt}", "--state", "{state}"],
            exit: 0,
            says: &["passed"],
        },
    },
    Step {
        say: "\
5. Forge it

Fuel is what gets paid, so a cheat would like more of it. Here is a copy of the receipt with a
single bit of its fuel flipped. It has to be refused, with the reason and with exit code 3.",
        act: Act::Forge,
    },
    Step {
        say: "",
        act: Act::Adit {
            args: &["receipt", "verify", "{forged}", "--state", "{state}"],
            exit: 3,
            says: &["signature", "failed"],
        },
    },
];

/// `cargo xtask demo`.
pub fn command() -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, true)?;
    let places = Places::fresh(&project)?;
    let samples = samples::write(&project, &places.files)?;

    println!(
        "\n\
Adit demo
=========

A computer you do not know did some work for you, and wants to be paid. Did it run your program,
unchanged, on your input? Adit runs the program in a sandbox and leaves a receipt that anyone can
check, later and elsewhere. The work here: tell what {} files are, gathered in
{} from this project and this machine.",
        samples.len(),
        project.shown(&places.files),
    );
    for step in STEPS {
        if !step.say.is_empty() {
            println!("\n\n{}", step.say);
        }
        println!();
        match step.act {
            Act::Adit { args, exit, says } => {
                let heard = adit(&project, &places, args, exit)?;
                expect(&heard, says)?;
            }
            Act::Classify { args } => {
                let heard = adit(&project, &places, args, 0)?;
                check_labels(&heard, &samples)?;
            }
            Act::DropModel => drop_model(&project, &places)?,
            Act::Forge => forge(&project, &places)?,
        }
    }
    println!(
        "\n\n\
The sandbox ran a real model, the receipt was verified, the replay was identical without the model,
and the forgery was refused. All of it is in {}.
Write a task of your own: README.md, or `{} new --help`.",
        project.shown(&places.folder),
        project.shown(&project.adit()),
    );
    Ok(())
}

/// The files that the demo's commands name.
struct Places {
    folder: PathBuf,
    files: PathBuf,
    state: PathBuf,
    receipt: PathBuf,
    forged: PathBuf,
    component: PathBuf,
    model: PathBuf,
}

impl Places {
    /// An empty demo folder below the target folder, without what an earlier demo left.
    fn fresh(project: &Project) -> Result<Places> {
        let folder = project.target.join("demo");
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("empty", &folder))?;
        }
        let files = folder.join("files");
        fs::create_dir_all(&files).map_err(Error::io("create", &files))?;
        Ok(Places {
            files,
            state: folder.join("state"),
            receipt: folder.join("receipt.adit"),
            forged: folder.join("forged.adit"),
            component: project
                .target
                .join(GUEST_TARGET)
                .join("release/file_type.wasm"),
            model: project.models().join(magika()?.path),
            folder,
        })
    }

    /// Replaces `{name}` in an argument.
    fn fill(&self, project: &Project, arg: &str) -> String {
        let named = [
            ("{files}", &self.files),
            ("{state}", &self.state),
            ("{receipt}", &self.receipt),
            ("{forged}", &self.forged),
            ("{component}", &self.component),
            ("{model}", &self.model),
        ];
        named.iter().fold(arg.to_owned(), |arg, (name, path)| {
            arg.replace(name, &project.shown(path))
        })
    }
}

/// Types a command, shows what it prints, checks how it ends, and returns all it said.
fn adit(project: &Project, places: &Places, args: &[&str], exit: i32) -> Result<String> {
    let program = project.adit();
    let args: Vec<_> = args.iter().map(|arg| places.fill(project, arg)).collect();
    println!("$ {}", typed(&project.shown(&program), &args));
    let mut command = Command::new(&program);
    // From the root, so that the relative paths shown above are the ones used.
    command.current_dir(&project.root).args(&args);
    command.stdin(Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .map_err(|error| project::start(&command, error))?;
    let heard = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    print!("{heard}");
    if status.code() != Some(exit) {
        let why = format!(
            "`{}` ended with {status}, not {exit}",
            project::shown(&command)
        );
        return Err(Error::Demo(why));
    }
    if exit != 0 {
        println!("(exit code {exit})");
    }
    Ok(heard)
}

/// A command line, broken before its options where it would be too long to read.
fn typed(program: &str, args: &[String]) -> String {
    let whole = format!("{program} {}", args.join(" "));
    if whole.len() <= 96 {
        return whole;
    }
    let mut line = program.to_owned();
    for arg in args {
        line.push_str(if arg.starts_with("--") {
            " \\\n    "
        } else {
            " "
        });
        line.push_str(arg);
    }
    line
}

fn expect(heard: &str, says: &[&str]) -> Result<()> {
    let heard = heard.to_lowercase();
    match says.iter().find(|word| !heard.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(Error::Demo(format!("the output does not say `{word}`"))),
    }
}

/// Every sample has a line with its name and one of its labels.
fn check_labels(heard: &str, samples: &[&Sample]) -> Result<()> {
    for sample in samples {
        let words = |line: &str| -> Vec<String> {
            let separate = |c: char| c.is_whitespace() || c == '|' || c == '/' || c == ',';
            line.split(separate).map(str::to_lowercase).collect()
        };
        let name = sample.name.to_lowercase();
        let Some(line) = heard.lines().map(words).find(|line| line.contains(&name)) else {
            return Err(Error::Demo(format!("the table lacks {}", sample.name)));
        };
        let labels = sample.labels;
        let right = labels
            .iter()
            .any(|label| line.iter().any(|word| word == label));
        if !right {
            let wanted = labels.join(" or ");
            let why = format!("{} was not recognised as {wanted}", sample.name);
            return Err(Error::Demo(why));
        }
    }
    Ok(())
}

/// Deletes what the run kept of the model, wherever in the state folder that is: found by hash,
/// so that this does not depend on how the folder is laid out.
fn drop_model(project: &Project, places: &Places) -> Result<()> {
    let model = magika()?;
    let mut copies = Vec::new();
    find_copies(&places.state, model, &mut copies)?;
    if copies.is_empty() {
        let why = "the state folder holds no copy of the model that could be deleted";
        return Err(Error::Demo(why.to_owned()));
    }
    for copy in copies {
        println!("$ rm {}", project.shown(&copy));
        fs::remove_file(&copy).map_err(Error::io("remove", &copy))?;
    }
    Ok(())
}

fn find_copies(folder: &Path, model: &Model, copies: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        let about = entry.metadata().map_err(Error::io("read", &path))?;
        if about.is_dir() {
            find_copies(&path, model, copies)?;
        } else if about.is_file()
            && about.len() == model.size
            && fetch::hash(&path)? == model.blake3
        {
            copies.push(path);
        }
    }
    Ok(())
}

fn forge(project: &Project, places: &Places) -> Result<()> {
    let read = Error::io("read", &places.receipt);
    let mut receipt = fs::read(&places.receipt).map_err(read)?;
    let (before, after) = forge_bytes(&mut receipt)
        .ok_or_else(|| Error::Demo("the receipt is not 520 bytes long".to_owned()))?;
    fs::write(&places.forged, &receipt).map_err(Error::io("write", &places.forged))?;
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or(OsStr::new("?"));
        name.to_string_lossy().into_owned()
    };
    println!(
        "{}: as {}, but fuel {after} instead of {before}",
        project.shown(&places.forged),
        name(&places.receipt),
    );
    Ok(())
}

/// Flips one bit of the fuel. Returns the fuel before and after, or `None` for no receipt.
fn forge_bytes(receipt: &mut [u8]) -> Option<(u64, u64)> {
    if receipt.len() != RECEIPT_LENGTH {
        return None;
    }
    let fuel = receipt.get_mut(FUEL_OFFSET..)?.first_chunk_mut::<8>()?;
    let before = u64::from_le_bytes(*fuel);
    // A high bit, so that the forgery is worth its while: about 10^12 of fuel.
    let after = before ^ 1 << 40;
    *fuel = after.to_le_bytes();
    Some((before, after))
}

fn magika() -> Result<&'static Model> {
    MODELS
        .iter()
        .find(|model| model.demo)
        .ok_or_else(|| Error::Demo("no model is marked for it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forgery_differs_in_one_bit_of_the_fuel() {
        let mut receipt = [0x5A; RECEIPT_LENGTH];
        let original = receipt;
        let (before, after) = forge_bytes(&mut receipt).unwrap();
        assert!(after > before);
        let flipped: u32 = (original.iter().zip(&receipt))
            .map(|(a, b)| (a ^ b).count_ones())
            .sum();
        assert_eq!(flipped, 1);
        assert_ne!(original[48..56], receipt[48..56]);
        assert_eq!(forge_bytes(&mut receipt[1..]), None);
    }

    #[test]
    fn a_wrong_or_missing_label_stops_the_demo() {
        let samples: Vec<_> = samples::SAMPLES
            .iter()
            .filter(|sample| sample.name == "mean.py")
            .collect();
        assert!(check_labels("mean.py  python  0.99\n", &samples).is_ok());
        assert!(check_labels("files/mean.py | Python | 99%\n", &samples).is_ok());
        assert!(check_labels("mean.py  pythonic  0.99\n", &samples).is_err());
        assert!(check_labels("mean.py  txt  0.99\n", &samples).is_err());
        assert!(check_labels("other.py  python  0.99\n", &samples).is_err());
    }

    #[test]
    fn words_are_expected_in_any_letter_case() {
        assert!(expect("Signature: PASSED", &["signature", "passed"]).is_ok());
        assert!(expect("Signature: PASSED", &["not performed"]).is_err());
    }

    #[test]
    fn long_commands_are_broken_before_options() {
        let args = ["run", "a", "--input", "b"].map(str::to_owned);
        assert_eq!(typed("adit", &args), "adit run a --input b");
        let long = ["run".to_owned(), "--input".to_owned(), "x".repeat(100)];
        assert!(typed("adit", &long).starts_with("adit run \\\n    --input x"));
    }

    #[test]
    fn copies_of_the_model_are_found_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("blobs/ab");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("cd"), "hello").unwrap();
        fs::write(deep.join("ef"), "hellO").unwrap();
        let model = Model {
            size: 5,
            blake3: "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
            ..*magika().unwrap()
        };
        let mut copies = Vec::new();
        find_copies(folder.path(), &model, &mut copies).unwrap();
        assert_eq!(copies, [deep.join("cd")]);
    }
}
