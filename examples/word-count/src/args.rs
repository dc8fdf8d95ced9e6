//! The command line.

use std::fmt;

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// How many of the most frequent words to list.
    pub top: usize,
}

/// Why the arguments are wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum ArgsError {
    /// There is no such argument.
    Unknown(String),
    /// `--top` stands last.
    MissingNumber,
    /// What follows `--top` is no number that fits.
    NotANumber(String),
}

impl Args {
    /// Reads the arguments, without the program's name: `[--top N]`.
    ///
    /// # Errors
    ///
    /// The first argument that is not understood.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, ArgsError> {
        let mut parsed = Self { top: 10 };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let number = match arg.as_str() {
                "--top" => args.next().ok_or(ArgsError::MissingNumber)?,
                other => match other.strip_prefix("--top=") {
                    Some(number) => number.to_string(),
                    None => return Err(ArgsError::Unknown(arg)),
                },
            };
            parsed.top = number.parse().map_err(|_| ArgsError::NotANumber(number))?;
        }
        Ok(parsed)
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(arg) => write!(formatter, "unknown argument {arg:?}")?,
            Self::MissingNumber => formatter.write_str("`--top` needs a number after it")?,
            Self::NotANumber(text) => write!(
                formatter,
                "`--top` needs a number from 0 to {}, not {text:?}",
                usize::MAX
            )?,
        }
        formatter.write_str("; hint: usage is `word-count [--top N]`, 10 words by default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<usize, ArgsError> {
        Args::parse(args.iter().map(ToString::to_string)).map(|args| args.top)
    }

    #[test]
    fn both_spellings_and_the_default() {
        assert_eq!(parse(&[]), Ok(10));
        assert_eq!(parse(&["--top", "3"]), Ok(3));
        assert_eq!(parse(&["--top=0"]), Ok(0));
    }

    #[test]
    fn bad_arguments_are_named() {
        assert_eq!(parse(&["--tip"]), Err(ArgsError::Unknown("--tip".into())));
        assert_eq!(parse(&["--top"]), Err(ArgsError::MissingNumber));
        let error = parse(&["--top", "-1"]).unwrap_err();
        assert!(error.to_string().contains("not \"-1\"; hint"), "{error}");
    }
}
