//! The lines of proposals, and of votes on them.

use std::fmt::{self, Display};
use std::str::FromStr;

use adit_protocol::Hash;

use super::action::Action;
use super::lines::{Lines, Reader};
use super::settling::{ascending, each, field, fields};
use super::text_error::TextError;
use super::values::Sentence;
use crate::setting::Setting;
use crate::state::Spend;

/// Most parameters that a proposal changes.
const SETTINGS_MAX: usize = 32;
/// Most accounts that it gives something of the treasury.
const SPENDS_MAX: usize = 8;

struct SpendLine(Spend);

impl Display for SpendLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.account, self.0.amount)
    }
}

impl FromStr for SpendLine {
    type Err = String;

    fn from_str(text: &str) -> Result<SpendLine, String> {
        let [account, amount] = fields(text, "address and amount")?;
        Ok(SpendLine(Spend {
            account: field(&account)?,
            amount: field(&amount)?,
        }))
    }
}

pub(super) fn write_proposal(
    lines: &mut Lines,
    title: &str,
    settings: &[Setting],
    spends: &[Spend],
) {
    lines.field("title", title);
    for setting in settings {
        lines.field("set", setting);
    }
    for spend in spends {
        lines.field("spend", SpendLine(*spend));
    }
}

pub(super) fn read_proposal(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let title = reader.field::<Sentence>("title")?.0;
    let settings: Vec<Setting> = each(reader, "set", SETTINGS_MAX)?;
    ascending("set", &settings, Setting::to_string)?;
    let again = |(a, b): (&Setting, &Setting)| a.name() == b.name() && !a.is_of_engine();
    if settings.iter().zip(settings.iter().skip(1)).any(again) {
        return Err(TextError::Value {
            name: "set",
            why: "each parameter is set once".to_owned(),
        });
    }
    let spends = each::<SpendLine>(reader, "spend", SPENDS_MAX)?;
    let spends = spends.into_iter().map(|line| line.0).collect();
    Ok(Action::Propose {
        title,
        settings,
        spends,
    })
}

pub(super) fn write_ballot(lines: &mut Lines, proposal: &Hash, yes: bool) {
    lines.field("proposal", proposal);
    lines.field("choice", if yes { "yes" } else { "no" });
}

pub(super) fn read_ballot(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    Ok(Action::Ballot {
        proposal: reader.field("proposal")?,
        yes: match reader.text("choice")? {
            "yes" => true,
            "no" => false,
            _ => {
                return Err(TextError::Value {
                    name: "choice",
                    why: "write yes or no".to_owned(),
                });
            }
        },
    })
}
