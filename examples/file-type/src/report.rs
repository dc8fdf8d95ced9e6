//! The output: a table for people, or lines of JSON for programs.

use std::fmt::Write as _;

use adit_sdk::{Error, Result};
use serde::Serialize;

use crate::files::File;
use crate::labels::Verdict;

/// Longer names lose their begin in the table, so that one of them does not spread it out.
const NAME_WIDTH_MAX: usize = 48;

/// One file and what it was found to be.
pub struct Row {
    name: String,
    bytes: usize,
    verdict: Verdict,
}

/// A row as `--json` writes it.
#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    bytes: usize,
    label: &'a str,
    description: &'a str,
    group: &'a str,
    mime: &'a str,
    score: f32,
    /// What the model said before thresholds, or null where a rule decided.
    model_label: Option<&'a str>,
}

impl Row {
    /// The row of a file.
    pub fn new(file: &File<'_>, verdict: Verdict) -> Self {
        Self {
            name: file.name.clone(),
            bytes: file.content.len(),
            verdict,
        }
    }

    /// Appends the row as one line of JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be expressed, which no field of it causes.
    pub fn write_json(&self, lines: &mut String) -> Result<()> {
        let label = &self.verdict.label;
        let row = JsonRow {
            name: &self.name,
            bytes: self.bytes,
            label: label.name,
            description: label.description,
            group: label.group,
            mime: label.mime,
            score: self.verdict.score,
            model_label: self.verdict.model_label,
        };
        let line = serde_json::to_string(&row).map_err(|error| Error::new(Error::OUTPUT, error))?;
        lines.push_str(&line);
        lines.push('\n');
        Ok(())
    }
}

/// The table of all files, with a last line that counts them.
pub fn table(rows: &[Row], skipped: usize) -> String {
    let names: Vec<String> = rows.iter().map(|row| shown(&row.name)).collect();
    let width = |texts: &mut dyn Iterator<Item = &str>, title: &str| {
        let widest = texts.map(|text| text.chars().count()).max().unwrap_or(0);
        widest.max(title.len())
    };
    let name_width = width(&mut names.iter().map(String::as_str), "name");
    let type_width = width(&mut rows.iter().map(|row| row.verdict.label.name), "type");

    let mut table = format!(
        "{:name_width$}  {:type_width$}  score  description\n",
        "name", "type"
    );
    for (name, row) in names.iter().zip(rows) {
        let label = &row.verdict.label;
        // Writing to a `String` does not fail.
        let _ = writeln!(
            table,
            "{name:name_width$}  {:type_width$}  {:.3}  {}",
            label.name, row.verdict.score, label.description
        );
    }
    let plural = if rows.len() == 1 { "" } else { "s" };
    let _ = write!(table, "\n{} file{plural}", rows.len());
    if skipped > 0 {
        let _ = write!(
            table,
            ", and {skipped} skipped that are links, devices or sparse"
        );
    }
    table.push('\n');
    table
}

/// A name as the table shows it. A name comes from the archive and goes to a terminal, so control
/// characters, which could steer it, are escaped, and so are the ones that reverse its direction.
fn shown(name: &str) -> String {
    let mut safe = String::new();
    for character in name.chars() {
        let steers = character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    let length = safe.chars().count();
    if length <= NAME_WIDTH_MAX {
        return safe;
    }
    // The end of a path tells more than its begin.
    let kept = safe.chars().skip(length - NAME_WIDTH_MAX + 1);
    std::iter::once('…').chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    fn row(name: &str, label: &str) -> Row {
        let file = File {
            name: name.into(),
            content: b"12",
        };
        Row::new(&file, Labels::magika().unwrap().ruled(label).unwrap())
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let table = table(&[row("größe.txt", "txt"), row("a", "empty")], 0);
        let expected = "name       type   score  description\n\
                        größe.txt  txt    1.000  Generic text document\n\
                        a          empty  1.000  Empty file\n\
                        \n\
                        2 files\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn names_cannot_steer_the_terminal_or_spread_the_table() {
        assert_eq!(shown("a\u{1b}[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
        let long = shown(&("x/".repeat(100) + "end.txt"));
        assert_eq!(long.chars().count(), NAME_WIDTH_MAX);
        assert!(
            long.starts_with('…') && long.ends_with("/end.txt"),
            "{long}"
        );
    }

    #[test]
    fn a_line_of_json_holds_every_field() {
        let mut lines = String::new();
        row("a\n", "empty").write_json(&mut lines).unwrap();
        let expected = concat!(
            r#"{"name":"a\n","bytes":2,"label":"empty","description":"Empty file","#,
            r#""group":"inode","mime":"inode/x-empty","score":1.0,"model_label":null}"#,
            "\n"
        );
        assert_eq!(lines, expected);
    }
}
