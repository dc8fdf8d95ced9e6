//! What a case gives to the implementation: components, inputs and models, from files or made.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::made;
use crate::places::Places;

/// A component: `"behave"`, `{ wat = "guests/wat/x.wat" }` or `{ made = "not-wasm" }`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Guest {
    /// The guest of this folder below `conformance/guests`, built by cargo.
    Package(String),
    /// WebAssembly text, by its path below `conformance`.
    Wat(String),
    /// Made by this program.
    Made(made::Component),
}

/// A model: `"silero/model.onnx"`, `{ file = "models/x.onnx" }` or `{ made = "onnx-endless" }`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Model {
    /// A model that set-up has fetched, by its path below `<target>/models`.
    Fetched(String),
    /// A file, by its path below `conformance`.
    File(String),
    /// Made by this program.
    Made(made::Model),
}

/// An input: its parts one after the other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Input(pub Vec<Part>);

/// One part of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A text.
    Text(String),
    /// `{ file = "models/x.onnx" }`: a file, by its path below `conformance`.
    File(String),
    /// `{ model = "silero/model.onnx" }`: a model that set-up has fetched.
    Model(String),
    /// `{ hex = "00ff" }`: these bytes.
    Hex(Vec<u8>),
    /// `{ repeat = "ab", times = 1000 }`: a text many times.
    Repeat(String, u64),
    /// `{ made = "onnx-endless" }`: a model made by this program.
    Made(made::Model),
}

/// The keys of a table, one of which says what kind of thing it is.
fn kind(value: &toml::Value) -> Option<&'static str> {
    let table = value.as_table()?;
    ["wat", "file", "model", "hex", "repeat", "made"]
        .into_iter()
        .find(|key| table.contains_key(*key))
}

fn read<T: serde::de::DeserializeOwned>(value: toml::Value) -> Result<T, String> {
    value.try_into().map_err(|error| error.to_string())
}

/// The one value of a table with one key.
fn only(value: &toml::Value, key: &str) -> Result<String, String> {
    let table = value.as_table().filter(|table| table.len() == 1);
    table
        .and_then(|table| table.get(key)?.as_str())
        .map(str::to_owned)
        .ok_or_else(|| format!("`{key}` is a text and stands alone"))
}

impl TryFrom<toml::Value> for Guest {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Guest, String> {
        match (&value, kind(&value)) {
            (toml::Value::String(name), _) => Ok(Guest::Package(name.clone())),
            (_, Some("wat")) => only(&value, "wat").map(Guest::Wat),
            (_, Some("made")) => read(value).map(Guest::Made),
            _ => Err("a guest is a text, { wat = .. } or { made = .. }".to_owned()),
        }
    }
}

impl TryFrom<toml::Value> for Model {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Model, String> {
        match (&value, kind(&value)) {
            (toml::Value::String(path), _) => Ok(Model::Fetched(path.clone())),
            (_, Some("file")) => only(&value, "file").map(Model::File),
            (_, Some("made")) => read(value).map(Model::Made),
            _ => Err("a model is a text, { file = .. } or { made = .. }".to_owned()),
        }
    }
}

impl TryFrom<toml::Value> for Input {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Input, String> {
        let parts = match value {
            toml::Value::Array(parts) => parts,
            one => vec![one],
        };
        let parts: Result<_, _> = parts.into_iter().map(Part::try_from).collect();
        Ok(Input(parts?))
    }
}

impl TryFrom<toml::Value> for Part {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Part, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Repeat {
            repeat: String,
            times: u64,
        }
        match (&value, kind(&value)) {
            (toml::Value::String(text), _) => Ok(Part::Text(text.clone())),
            (_, Some("file")) => only(&value, "file").map(Part::File),
            (_, Some("model")) => only(&value, "model").map(Part::Model),
            (_, Some("hex")) => unhex(&only(&value, "hex")?).map(Part::Hex),
            (_, Some("repeat")) => {
                read::<Repeat>(value).map(|repeat| Part::Repeat(repeat.repeat, repeat.times))
            }
            (_, Some("made")) => read(value).map(Part::Made),
            _ => Err(
                "an input is a text, { file = .. }, { model = .. }, { hex = .. }, \
                      { repeat = .., times = .. }, { made = .. }, or a list of these"
                    .to_owned(),
            ),
        }
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    digits
        .filter(|digits| digits.len() % 2 == 0)
        .map(|digits| digits.chunks(2).map(|two| (two[0] << 4) | two[1]).collect())
        .ok_or_else(|| "`hex` has two hexadecimal digits for each byte".to_owned())
}

impl Guest {
    /// Writes the component.
    ///
    /// # Errors
    ///
    /// [`Error`] if what it is made of is not there, or it cannot be written.
    pub fn write(&self, places: &Places, to: &mut dyn Write) -> Result<(), Error> {
        match self {
            Guest::Package(name) => copy(&places.guest(name)?, to),
            Guest::Wat(path) => {
                let path = places.suite_file(path)?;
                let wasm = wat::parse_file(&path).map_err(|error| Error::Wat {
                    why: error.to_string(),
                })?;
                to.write_all(&wasm).map_err(Error::io(path))
            }
            Guest::Made(made) => made.write(places, to),
        }
    }
}

impl Model {
    /// Writes the model file.
    ///
    /// # Errors
    ///
    /// As for [`Guest::write`].
    pub fn write(&self, places: &Places, to: &mut dyn Write) -> Result<(), Error> {
        match self {
            Model::Fetched(path) => copy(&places.model(path)?, to),
            Model::File(path) => copy(&places.suite_file(path)?, to),
            Model::Made(made) => made.write(places, to),
        }
    }
}

impl Input {
    /// Writes the input.
    ///
    /// # Errors
    ///
    /// As for [`Guest::write`].
    pub fn write(&self, places: &Places, to: &mut dyn Write) -> Result<(), Error> {
        let written = |result: std::io::Result<()>| result.map_err(Error::io("the input"));
        for part in &self.0 {
            match part {
                Part::Text(text) => written(to.write_all(text.as_bytes()))?,
                Part::File(path) => copy(&places.suite_file(path)?, to)?,
                Part::Model(path) => copy(&places.model(path)?, to)?,
                Part::Hex(bytes) => written(to.write_all(bytes))?,
                Part::Repeat(text, times) => {
                    for _ in 0..*times {
                        written(to.write_all(text.as_bytes()))?;
                    }
                }
                Part::Made(made) => made.write(places, to)?,
            }
        }
        Ok(())
    }
}

/// Copies a file piece by piece: what this program holds in memory would be counted as memory of
/// the processes that it starts.
fn copy(path: &Path, to: &mut dyn Write) -> Result<(), Error> {
    let mut from = std::fs::File::open(path).map_err(Error::io(path))?;
    std::io::copy(&mut from, to).map_err(Error::io(path))?;
    Ok(())
}

/// At most `max` bytes of a file's beginning.
pub(crate) fn beginning(path: &Path, max: u64) -> Result<Vec<u8>, Error> {
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut bytes = Vec::new();
    file.take(max)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    Ok(bytes)
}

/// Writes what `write` writes to a new file, and returns its path.
pub(crate) fn to_file(
    path: PathBuf,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let file = std::fs::File::create_new(&path).map_err(Error::io(&path))?;
    let mut file = std::io::BufWriter::new(file);
    write(&mut file)?;
    file.flush().map_err(Error::io(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        input: Input,
    }

    fn input(text: &str) -> Result<Vec<u8>, String> {
        let holder: Holder =
            toml::from_str(&format!("input = {text}")).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let places = Places::of_target(Path::new("nowhere"));
        holder
            .input
            .write(&places, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn an_input_is_its_parts_one_after_the_other() {
        assert_eq!(input("\"a\"").unwrap(), b"a");
        assert_eq!(input("{ hex = \"00fF\" }").unwrap(), [0, 255]);
        assert_eq!(input("{ repeat = \"ab\", times = 3 }").unwrap(), b"ababab");
        let parts = "[\"x\\n\", { hex = \"01\" }, { repeat = \"y\", times = 2 }]";
        assert_eq!(input(parts).unwrap(), b"x\n\x01yy");
        assert_eq!(input("[]").unwrap(), b"");
    }

    #[test]
    fn what_is_no_input_is_refused_with_its_reason() {
        for (text, word) in [
            ("5", "an input is"),
            ("{ text = \"a\" }", "an input is"),
            ("{ hex = \"0\" }", "two hexadecimal digits"),
            ("{ hex = \"00\", times = 2 }", "stands alone"),
            ("{ repeat = \"a\" }", "times"),
            ("{ made = \"onnx-nothing\" }", "onnx-endless"),
            ("{ model = \"absent.onnx\" }", "cargo xtask setup"),
        ] {
            let error = input(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
