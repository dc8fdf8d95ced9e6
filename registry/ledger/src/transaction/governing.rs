//! The lines of proposals, and of votes on them.

use adit_protocol::Hash;

use super::action::Action;
use super::lines::{Lines, Reader, parse};
use super::text_error::TextError;
use super::values::Sentence;
use crate::setting::Setting;
use crate::state::Spend;

/// Most parameters that a proposal changes.
const SETTINGS_MAX: usize = 32;
/// Most accounts that it gives something of the treasury.
const SPENDS_MAX: usize = 8;

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
    for Spend { account, amount } in spends {
        lines.field("spend", format_args!("{account} {amount}"));
    }
}

pub(super) fn read_proposal(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let title = reader.field::<Sentence>("title")?.0;
    let (mut settings, mut spends) = (Vec::<Setting>::new(), Vec::new());
    let mut last = "";
    while settings.len() < SETTINGS_MAX
        && let Some(text) = reader.optional_text("set")?
    {
        let setting: Setting = parse("set", text)?;
        let again = settings
            .last()
            .is_some_and(|last| last.name() == setting.name());
        if last >= text || (again && !setting.is_of_engine()) {
            return Err(TextError::Value {
                name: "set",
                why: "parameters must be in the order of their letters, each once".to_owned(),
            });
        }
        settings.push(setting);
        last = text;
    }
    while spends.len() < SPENDS_MAX
        && let Some(text) = reader.optional_text("spend")?
    {
        let (account, amount) = text.split_once(' ').ok_or_else(|| TextError::Value {
            name: "spend",
            why: "write an address, a space and an amount".to_owned(),
        })?;
        spends.push(Spend {
            account: parse("spend", account)?,
            amount: parse("spend", amount)?,
        });
    }
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
