//! The lines of reports, accusations and verdicts.

use std::fmt::{self, Display};
use std::str::FromStr;

use super::action::Action;
use super::lines::{Lines, Percent, Reader};
use super::settling::{Attestation, read_attestations};
use super::text_error::TextError;
use super::values::Digits;
use crate::key::Key;
use crate::slashing::{Evidence, Misdeed};

struct Named(Misdeed);

impl Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Named, &'static str> {
        let mut all = Misdeed::ALL.into_iter();
        let found = all.find(|misdeed| misdeed.name() == text);
        found.map(Named).ok_or("there is no misdeed of this name")
    }
}

pub(super) fn write_report(lines: &mut Lines, node: &Key, evidence: &Evidence) {
    lines.field("node", node);
    lines.field("misdeed", Named(evidence.misdeed()));
    match evidence {
        Evidence::Equivocation { first, second } => {
            lines.field("first", Digits(*first));
            lines.field("second", Digits(*second));
        }
        Evidence::LogFork {
            key,
            size,
            first,
            second,
        } => {
            lines.field("key", key);
            lines.field("size", size);
            lines.field("first-root", first.0);
            lines.field("first-signature", Digits(first.1));
            lines.field("second-root", second.0);
            lines.field("second-signature", Digits(second.1));
        }
    }
}

pub(super) fn read_report(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let node = reader.field("node")?;
    let evidence = match reader.field::<Named>("misdeed")?.0 {
        Misdeed::Equivocation => Evidence::Equivocation {
            first: reader.field::<Digits<_>>("first")?.0,
            second: reader.field::<Digits<_>>("second")?.0,
        },
        Misdeed::LogFork => Evidence::LogFork {
            key: reader.field("key")?,
            size: reader.field("size")?,
            first: (
                reader.field("first-root")?,
                reader.field::<Digits>("first-signature")?.0,
            ),
            second: (
                reader.field("second-root")?,
                reader.field::<Digits>("second-signature")?.0,
            ),
        },
        _ => {
            return Err(TextError::Value {
                name: "misdeed",
                why: "only equivocation and log-fork are proven by a report; accuse for others"
                    .to_owned(),
            });
        }
    };
    Ok(Action::Report {
        node,
        evidence: Box::new(evidence),
    })
}

pub(super) fn write_accusation(
    lines: &mut Lines,
    node: &Key,
    misdeed: Misdeed,
    evidence: impl Display,
) {
    lines.field("node", node);
    lines.field("misdeed", Named(misdeed));
    lines.field("evidence", evidence);
}

pub(super) fn read_accusation(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let node = reader.field("node")?;
    let misdeed = reader.field::<Named>("misdeed")?.0;
    if misdeed.is_proven() {
        return Err(TextError::Value {
            name: "misdeed",
            why: "report it with what proves it; no verdict is needed".to_owned(),
        });
    }
    Ok(Action::Accuse {
        node,
        misdeed,
        evidence: reader.field("evidence")?,
    })
}

pub(super) fn write_verdict(
    lines: &mut Lines,
    report: impl Display,
    fraction_ppm: Option<u32>,
    attestations: &[Attestation],
) {
    lines.field("report", report);
    lines.field(
        "verdict",
        match fraction_ppm {
            Some(_) => "guilty",
            None => "not-guilty",
        },
    );
    lines.optional("fraction", fraction_ppm.map(Percent));
    for one in attestations {
        lines.field("attestation", one);
    }
}

pub(super) fn read_verdict(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let report = reader.field("report")?;
    let fraction_ppm = match reader.text("verdict")? {
        "guilty" => Some(reader.field::<Percent>("fraction")?.0),
        "not-guilty" => None,
        _ => {
            return Err(TextError::Value {
                name: "verdict",
                why: "write guilty or not-guilty".to_owned(),
            });
        }
    };
    Ok(Action::Verdict {
        report,
        fraction_ppm,
        attestations: read_attestations(reader)?,
    })
}
