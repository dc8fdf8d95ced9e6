//! What a kind of vector is made of, and the index that tells strangers about it.

use serde_json::{Map, Value, json};

/// Files of one format, good and bad.
pub struct Kind {
    /// The folder.
    pub name: &'static str,
    /// What follows the dot in the names of the files.
    pub extension: &'static str,
    /// What the files are, for the reader of the index.
    pub about: &'static str,
    pub good: Vec<Good>,
    pub bad: Vec<Bad>,
    /// Reads a file, with what else its reader is given, and returns all that it says.
    pub check: fn(&[u8], &Value) -> Result<Value, Refusal>,
    /// Error types by name, and the names of their variants.
    pub errors: &'static [(&'static str, &'static [&'static str])],
}

/// A file that must be accepted.
pub struct Good {
    pub name: String,
    pub bytes: Vec<u8>,
    /// What a reader needs besides the file, as a password; null for nothing.
    pub given: Value,
    /// What the file was made from, and so must decode to.
    pub value: Value,
}

/// A file with one failure.
pub struct Bad {
    pub name: String,
    pub bytes: Vec<u8>,
    /// As [`Good::given`].
    pub given: Value,
    pub refusal: Refusal,
    /// One sentence for people.
    pub why: String,
}

/// Why a file is refused, in a form that other languages can compare: a variant of our error types
/// in kebab case, and the numbers and names in it.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub error: &'static str,
    pub detail: Value,
}

impl Refusal {
    pub fn new(error: &'static str) -> Refusal {
        Refusal {
            error,
            detail: Value::Null,
        }
    }
}

/// Names the variants of an error type, and lists the names under the second identifier. A variant
/// that is added to the type does not compile here until it has a name, and fails a test until it
/// has a vector.
macro_rules! names {
    ($type:ty, $list:ident: $($pattern:pat => $name:literal $detail:tt)*) => {
        pub const $list: &[&str] = &[$($name),*];

        impl From<$type> for crate::vectors::kind::Refusal {
            fn from(error: $type) -> Self {
                match error {
                    $($pattern => crate::vectors::kind::Refusal {
                        error: $name,
                        detail: serde_json::json!($detail),
                    },)*
                }
            }
        }
    };
}
pub(crate) use names;

impl Good {
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>, value: Value) -> Good {
        Good {
            name: name.into(),
            bytes: bytes.into(),
            given: Value::Null,
            value,
        }
    }

    pub fn given(self, given: Value) -> Good {
        Good { given, ..self }
    }
}

impl Bad {
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>, error: impl Into<Refusal>, why: &str) -> Bad {
        Bad {
            name: name.into(),
            bytes: bytes.into(),
            given: Value::Null,
            refusal: error.into(),
            why: why.into(),
        }
    }

    pub fn given(self, given: Value) -> Bad {
        Bad { given, ..self }
    }
}

impl Kind {
    /// The index and every file, by path.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let (mut good, mut bad) = (Map::new(), Map::new());
        let mut files = Vec::new();
        let mut file =
            |side: &str, index: &mut Map<_, _>, name: &str, bytes: &[u8], entry: Value| {
                let name = format!("{name}.{}", self.extension);
                files.push((format!("{}/{side}/{name}", self.name), bytes.to_vec()));
                assert!(index.insert(name.clone(), entry).is_none(), "{name} twice");
            };
        for vector in &self.good {
            let entry = json!({ "given": vector.given, "value": vector.value });
            file("good", &mut good, &vector.name, &vector.bytes, entry);
        }
        for vector in &self.bad {
            let Refusal { error, detail } = &vector.refusal;
            let entry = json!({
                "given": vector.given, "error": error, "detail": detail, "why": vector.why,
            });
            file("bad", &mut bad, &vector.name, &vector.bytes, entry);
        }
        let index = json!({ "kind": self.name, "about": self.about, "good": good, "bad": bad });
        let mut text = serde_json::to_vec_pretty(&portable(index)).unwrap();
        text.push(b'\n');
        files.push((format!("{}/index.json", self.name), text));
        files
    }
}

/// `value` as the index has it: integers that not every JSON reader has whole as decimal strings,
/// and keys in order whatever `serde_json` was built with.
pub fn portable(value: Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|n| n >= 1 << 53) => {
            Value::String(number.to_string())
        }
        Value::Array(list) => list.into_iter().map(portable).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries
                .into_iter()
                .map(|(key, value)| (key, portable(value)))
                .collect()
        }
        other => other,
    }
}

/// A file of JSON.
pub fn json_file(value: Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(&portable(value)).unwrap();
    text.push(b'\n');
    text
}

pub fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("a vector in JSON is JSON")
}

/// A text in a JSON vector.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// Bytes in a JSON vector.
pub fn bytes(value: &Value, key: &str) -> Vec<u8> {
    let digits = text(value, key)
        .strip_prefix("0x")
        .expect("bytes begin with 0x");
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Bytes in a JSON vector, of a length that its format fixes.
pub fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    bytes(value, key)
        .try_into()
        .expect("the bytes have their length")
}

/// Bytes as they stand in JSON.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}
