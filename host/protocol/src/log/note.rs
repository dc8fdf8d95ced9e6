//! Signed notes: a text, a blank line, and a line for each signature (C2SP `signed-note`).
//!
//! ```text
//! adit/0011223344556677/aabb…/blake3
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — adit/0011223344556677/aabb…/blake3 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO…
//! ```
//!
//! This module splits notes and puts them together. What is signed depends on the kind of the key,
//! so [`checkpoint`](super::checkpoint) checks signatures.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::key::{KeyId, KeyName, NameError, NoteKey};

/// Bytes of the largest note.
pub const MAX_LEN: usize = 64 * 1024;
/// The most signatures of a note.
pub const SIGNATURES_MAX: usize = 64;
/// What a line with a signature begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// A line with a signature. Its text form is that line, with the newline at its end when written and
/// without when read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whose key signed, as the line says.
    pub name: KeyName,
    /// Which key.
    pub id: KeyId,
    /// The signature, in whatever form such a key gives it; not empty.
    pub signature: Vec<u8>,
}

/// Why a line is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LineError {
    /// It is not dash, name and base64 with spaces between.
    #[error(
        "it is not `\u{2014} NAME BASE64`; hint: the line begins with an em dash, not with a hyphen"
    )]
    Form,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What follows the name is no base64, or is so short that nothing follows the key's id.
    #[error(
        "what follows the name is not the base64 of an id and a signature; hint: was it cut off?"
    )]
    Signature,
}

impl FromStr for NoteSignature {
    type Err = LineError;

    fn from_str(line: &str) -> Result<NoteSignature, LineError> {
        let rest = line.strip_prefix(DASH).ok_or(LineError::Form)?;
        let (name, base64) = rest.split_once(' ').ok_or(LineError::Form)?;
        let name = name.parse()?;
        let bytes = super::from_base64(base64).ok_or(LineError::Signature)?;
        match bytes.split_first_chunk::<4>() {
            Some((id, signature)) if !signature.is_empty() => Ok(NoteSignature {
                name,
                id: KeyId(*id),
                signature: signature.to_vec(),
            }),
            _ => Err(LineError::Signature),
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.0, &self.signature[..]].concat();
        writeln!(f, "{DASH}{} {}", self.name, super::to_base64(bytes))
    }
}

/// A text with one signature or more. Nothing is known to be true of the text: signatures are
/// checked elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why bytes are no note, or a note cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is longer than [`MAX_LEN`].
    #[error("the note has {found} bytes, more than 65536; hint: it is something else, or stuffed")]
    Length {
        /// Its bytes.
        found: usize,
    },
    /// It is not UTF-8.
    #[error(
        "the note is not UTF-8 from byte {position} on; hint: it is something else, or altered"
    )]
    Utf8 {
        /// Offset of the first bad byte.
        position: usize,
    },
    /// There is a control character other than a newline.
    #[error(
        "byte {position} of the note is a control character; hint: lines end with a newline alone, not with a carriage return before it"
    )]
    Control {
        /// Offset of the first one.
        position: usize,
    },
    /// The text does not end with a newline.
    #[error("the text of the note does not end with a newline; hint: add one")]
    Text,
    /// No lines follow a blank line, or the last is not complete.
    #[error(
        "the note has no blank line with complete lines of signatures after it; hint: it was not signed, or cut off"
    )]
    Unsigned,
    /// There are more signatures than [`SIGNATURES_MAX`].
    #[error("the note has more than 64 signatures; hint: leave out those that nobody asks for")]
    Signatures,
    /// A line after the blank one is no signature.
    #[error("line {line} of the note's signatures is none: {error}")]
    Line {
        /// Which line after the blank one, from 1.
        line: usize,
        /// Why it is none.
        error: LineError,
    },
}

impl Note {
    /// A note of a text, which must end with a newline, and its first signature.
    ///
    /// # Errors
    /// [`NoteError`], but not [`NoteError::Utf8`] or [`NoteError::Line`].
    pub fn new(text: String, signature: NoteSignature) -> Result<Note, NoteError> {
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        no_control(&text)?;
        let mut note = Note {
            text,
            signatures: vec![],
        };
        note.add(signature)?;
        Ok(note)
    }

    /// Reads a note, whoever signed it.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        let text = utf8(bytes)?;
        // The last blank line is the one: the text may have some of its own.
        let (before, lines) = text.rsplit_once("\n\n").ok_or(NoteError::Unsigned)?;
        Ok(Note {
            text: format!("{before}\n"),
            signatures: parse_lines(lines)?,
        })
    }

    /// The text, with the newline at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every line with a signature, known or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The signatures that say they are of this key. One of them may be, or none: anyone can write
    /// such a line.
    pub fn signatures_of<'a>(&'a self, key: &'a NoteKey) -> impl Iterator<Item = &'a [u8]> {
        self.signatures
            .iter()
            .filter(|line| line.id == key.id() && line.name == *key.name())
            .map(|line| &line.signature[..])
    }

    /// Adds a signature, in place of those that say they are of the same key.
    ///
    /// # Errors
    /// [`NoteError::Signatures`] or [`NoteError::Length`] if there is no room for it, and then nothing
    /// is changed.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let same = |line: &&NoteSignature| line.id == signature.id && line.name == signature.name;
        let mut signatures: Vec<_> = (self.signatures.iter())
            .filter(|line| !same(line))
            .cloned()
            .collect();
        signatures.push(signature);
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Signatures);
        }
        let text = self.text.clone();
        let note = Note { text, signatures };
        let found = note.to_string().len();
        if found > MAX_LEN {
            return Err(NoteError::Length { found });
        }
        *self = note;
        Ok(())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

/// Reads lines with signatures alone, as a witness answers them.
///
/// # Errors
/// [`NoteError`], but not [`NoteError::Text`].
pub fn parse_signatures(bytes: &[u8]) -> Result<Vec<NoteSignature>, NoteError> {
    parse_lines(utf8(bytes)?)
}

fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Unsigned)?;
    let mut signatures = Vec::new();
    for (at, line) in lines.split('\n').enumerate() {
        if at == SIGNATURES_MAX {
            return Err(NoteError::Signatures);
        }
        let line = line.parse().map_err(|error| NoteError::Line {
            line: at + 1,
            error,
        })?;
        signatures.push(line);
    }
    Ok(signatures)
}

fn utf8(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_LEN {
        return Err(NoteError::Length { found: bytes.len() });
    }
    let text = str::from_utf8(bytes).map_err(|error| NoteError::Utf8 {
        position: error.valid_up_to(),
    })?;
    no_control(text)?;
    Ok(text)
}

fn no_control(text: &str) -> Result<(), NoteError> {
    match text.bytes().position(|byte| byte < b' ' && byte != b'\n') {
        Some(position) => Err(NoteError::Control { position }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyKind;
    use super::*;
    use crate::keys::Keypair;

    fn line(name: &str, id: u8, signature: &[u8]) -> NoteSignature {
        NoteSignature {
            name: name.parse().unwrap(),
            id: KeyId([id; 4]),
            signature: signature.to_vec(),
        }
    }

    const NOTE: &str = "first\n\nsecond\n\n\u{2014} a AQEBAXNpZw==\n\u{2014} b/c AgICAg==\n";

    #[test]
    fn notes_round_trip() {
        let two = NOTE.replace("AgICAg==", "AgICAng=");
        let note = Note::parse(two.as_bytes()).unwrap();
        assert_eq!(note.text(), "first\n\nsecond\n");
        assert_eq!(
            note.signatures(),
            [line("a", 1, b"sig"), line("b/c", 2, b"x")]
        );
        assert_eq!(note.to_string(), two);
        let mut made = Note::new(note.text().to_owned(), line("a", 1, b"sig")).unwrap();
        made.add(line("b/c", 2, b"x")).unwrap();
        assert_eq!(made, note);
        // A text that ends with a blank line of its own.
        let blank = format!("{}\n\u{2014} a AQEBAXNpZw==\n", "x\n\n");
        let note = Note::parse(blank.as_bytes()).unwrap();
        assert_eq!(note.text(), "x\n\n");
        assert_eq!(note.to_string(), blank);
    }

    #[test]
    fn other_bytes_are_refused() {
        use LineError as L;
        let line_1 = |error| NoteError::Line { line: 1, error };
        let line_2 = |error| NoteError::Line { line: 2, error };
        let sixty_five = format!("x\n\n{}", line("a", 1, b"s").to_string().repeat(65));
        let replaced = |from: &str, to: &str| NOTE.replace(from, to);
        for (text, error) in [
            (String::new(), NoteError::Unsigned),
            ("text\n".into(), NoteError::Unsigned),
            ("text\n\n".into(), NoteError::Unsigned),
            (NOTE.trim_end().into(), NoteError::Unsigned),
            (format!("{NOTE}\n"), NoteError::Unsigned),
            (
                replaced("second", "sec\tond"),
                NoteError::Control { position: 10 },
            ),
            (
                replaced("first\n", "first\r\n"),
                NoteError::Control { position: 5 },
            ),
            // The signature of the second line is only an id.
            (NOTE.into(), line_2(L::Signature)),
            (
                replaced("AQEBAXNpZw==", "AQEBAXNpZw="),
                line_1(L::Signature),
            ),
            (
                replaced("AQEBAXNpZw==", "AQEB*XNpZw=="),
                line_1(L::Signature),
            ),
            (
                replaced("AQEBAXNpZw==", "AQEBAXNpZx=="),
                line_1(L::Signature),
            ),
            (
                replaced("AQEBAXNpZw==", "AQEBAXNpZw== "),
                line_1(L::Signature),
            ),
            (replaced("\u{2014} a", "- a"), line_1(L::Form)),
            (replaced("\u{2014} a", "\u{2014}a"), line_1(L::Form)),
            (replaced(" AQEBAXNpZw==", ""), line_1(L::Form)),
            (
                replaced("\u{2014} a", "\u{2014} "),
                line_1(L::Name(NameError::Empty)),
            ),
            (
                replaced("\u{2014} a", "\u{2014} a+b"),
                line_1(L::Name(NameError::Character { position: 1 })),
            ),
            (sixty_five, NoteError::Signatures),
        ] {
            assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        let position = 3;
        assert_eq!(Note::parse(b"abc\xff\n"), Err(NoteError::Utf8 { position }));
        let found = MAX_LEN + 1;
        assert_eq!(
            Note::parse(&vec![b'a'; found]),
            Err(NoteError::Length { found })
        );
    }

    #[test]
    fn what_makes_no_note() {
        let signature = || line("a", 1, b"s");
        let new = |text: &str| Note::new(text.to_owned(), signature());
        assert_eq!(new(""), Err(NoteError::Text));
        assert_eq!(new("text"), Err(NoteError::Text));
        let position = 1;
        assert_eq!(new("a\u{1}\n"), Err(NoteError::Control { position }));
        assert!(matches!(
            new(&"a\n".repeat(MAX_LEN / 2)),
            Err(NoteError::Length { .. })
        ));
    }

    #[test]
    fn a_key_has_one_line() {
        let mut note = Note::new("x\n".into(), line("a", 1, b"s")).unwrap();
        note.add(line("a", 1, b"newer")).unwrap();
        assert_eq!(note.signatures(), [line("a", 1, b"newer")]);
        note.add(line("a", 2, b"s")).unwrap();
        note.add(line("b", 1, b"s")).unwrap();
        assert_eq!(note.signatures().len(), 3);
        for id in 3..=63 {
            note.add(line("a", id, b"s")).unwrap();
        }
        let before = note.clone();
        assert_eq!(note.add(line("a", 64, b"s")), Err(NoteError::Signatures));
        let long = line("b", 1, &[0; MAX_LEN]);
        assert!(matches!(note.add(long), Err(NoteError::Length { .. })));
        assert_eq!(note, before);
        assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note));
    }

    #[test]
    fn lines_are_found_by_name_and_id() {
        let public = Keypair::from_seed([1; 32]).public();
        let key = NoteKey::new("a".parse().unwrap(), KeyKind::Mirror, public);
        let of = |name: &str, id, signature: &[u8]| NoteSignature {
            id,
            ..line(name, 0, signature)
        };
        let lines = [
            of("b", key.id(), b"other name"),
            of("a", key.id(), b"one"),
            of("a", KeyId([0; 4]), b"other id"),
            of("a", key.id(), b"two"),
        ];
        let text = format!("x\n\n{}", lines.map(|line| line.to_string()).concat());
        let note = Note::parse(text.as_bytes()).unwrap();
        let found: Vec<&[u8]> = note.signatures_of(&key).collect();
        assert_eq!(found, [b"one", b"two"]);
    }

    #[test]
    fn lines_alone() {
        let lines = [line("a", 1, b"s"), line("b", 2, b"t")];
        let text = format!("{}{}", lines[0], lines[1]);
        assert_eq!(parse_signatures(text.as_bytes()), Ok(lines.to_vec()));
        assert_eq!(parse_signatures(b""), Err(NoteError::Unsigned));
        let error = LineError::Form;
        assert_eq!(
            parse_signatures(b"\n"),
            Err(NoteError::Line { line: 1, error })
        );
    }
}
