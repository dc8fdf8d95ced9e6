//! Writes HTML such that a text from outside cannot become markup: only texts of the program itself,
//! which live as long as it does, go in as they are.

use std::fmt::Write as _;

use crate::text::{one_line, printable};

/// A page in the making.
pub struct Html(String);

impl Html {
    /// An empty one.
    pub fn new() -> Html {
        Html(String::new())
    }

    /// Markup of the program.
    pub fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Any text, on one line, within an element or a quoted attribute.
    pub fn text(&mut self, text: &str) -> &mut Html {
        self.escaped(&one_line(text));
        self
    }

    /// Any text, whose line breaks stay.
    pub fn lines(&mut self, text: &str) -> &mut Html {
        self.escaped(&printable(text));
        self
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Html {
        let _ = write!(self.0, "{number}");
        self
    }

    /// A coordinate or length with one digit after the point.
    pub fn length(&mut self, length: f64) -> &mut Html {
        // What is no number has no place in an attribute.
        let length = if length.is_finite() { length } else { 0.0 };
        let _ = write!(self.0, "{length:.1}");
        self
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        let mut html = Html::new();
        html.raw("<b title=\"")
            .text("\"><script>'&\n\u{202e}\u{1b}")
            .raw("\">")
            .lines("a\nb<")
            .length(f64::NAN)
            .raw("</b>");
        assert_eq!(
            html.finish(),
            "<b title=\"&quot;&gt;&lt;script&gt;&#39;&amp; \u{fffd}\u{fffd}\">a\nb&lt;0.0</b>"
        );
    }
}
