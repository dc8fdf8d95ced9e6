//! The arguments of the run.

use crate::error::Failure;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    /// Write JSON lines.
    pub(crate) json: bool,
    /// The probability from which on a window counts as speech, in 0.01..1.
    pub(crate) threshold: f64,
}

impl Options {
    /// Reads the arguments, without the program's name. A later `--threshold` replaces an earlier.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownArgument`], or [`Failure::Threshold`] for a number outside of its range.
    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let mut options = Self {
            json: false,
            threshold: 0.5,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = true,
                "--threshold" => options.threshold = threshold(args.next())?,
                other => match other.strip_prefix("--threshold=") {
                    Some(value) => options.threshold = threshold(Some(value))?,
                    None => return Err(Failure::UnknownArgument(shorten(other))),
                },
            }
        }
        Ok(options)
    }
}

fn threshold(value: Option<impl AsRef<str>>) -> Result<f64, Failure> {
    let Some(value) = value else {
        let given = "nothing follows it".to_string();
        return Err(Failure::Threshold { given });
    };
    let value = value.as_ref();
    // The lower bound is that of the threshold for silence, which may not be the higher of both.
    let parsed = value.parse().ok();
    parsed
        .filter(|number| (0.01..1.0).contains(number))
        .ok_or_else(|| Failure::Threshold {
            given: format!("got {:?}", shorten(value)),
        })
}

/// An argument may be long, and a message is for people.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, Failure> {
        Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_come_in_any_order_and_both_spellings() {
        let none = parse(&[]).unwrap();
        assert_eq!((none.json, none.threshold), (false, 0.5));
        let both = parse(&["--threshold", "0.75", "--json"]).unwrap();
        assert_eq!((both.json, both.threshold), (true, 0.75));
        assert_eq!(parse(&["--threshold=0.01"]).unwrap().threshold, 0.01);
    }

    #[test]
    fn a_threshold_is_a_probability() {
        for wrong in ["0", "1", "-1", "NaN", "inf", "half", "", "0.0099"] {
            let failure = parse(&["--threshold", wrong]).unwrap_err();
            assert!(matches!(failure, Failure::Threshold { .. }), "{wrong}");
        }
        let failure = parse(&["--threshold"]).unwrap_err();
        assert!(failure.to_string().contains("nothing follows"), "{failure}");
    }

    #[test]
    fn an_unknown_argument_is_named_but_not_at_any_length() {
        let long = "x".repeat(100_000);
        let failure = parse(&["--json", &long]).unwrap_err();
        assert_eq!(failure, Failure::UnknownArgument("x".repeat(64)));
    }
}
