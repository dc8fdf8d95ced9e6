//! `adit explain`: what a code means and what to do about it.

use adit_protocol::codes::Code;
use serde_json::json;

use crate::error::{Exit, Failure};
use crate::text::one_line;
use crate::ui::Ui;

/// Options of `adit explain`.
#[derive(clap::Args)]
pub struct Args {
    /// The code, as `out-of-fuel`; all are listed without one
    code: Option<String>,
}

/// `adit explain [CODE]`.
pub fn command(ui: &Ui, args: &Args) -> anyhow::Result<Exit> {
    let Some(text) = &args.code else {
        return list(ui);
    };
    let code: Code = text.parse().map_err(|error| {
        Failure::argument(format!("`{}` cannot be explained", one_line(text)))
            .because(error)
            .hint("`adit explain` lists all codes")
    })?;
    if ui.json {
        ui.object(&as_json(code))?;
    } else {
        let again = if code.retryable() {
            "The same may succeed later or elsewhere, unchanged."
        } else {
            "Trying again unchanged gives the same."
        };
        ui.line(format!(
            "{code}: {}\n\n{}\n\n{again}",
            code.summary(),
            wrapped(code.explain())
        ))?;
    }
    Ok(Exit::Ok)
}

fn list(ui: &Ui) -> anyhow::Result<Exit> {
    if ui.json {
        let codes: Vec<_> = Code::ALL.iter().map(|code| as_json(*code)).collect();
        ui.object(&json!({ "codes": codes }))?;
    } else {
        for code in Code::ALL {
            ui.line(format!("{:<20} {}", code.as_str(), code.summary()))?;
        }
    }
    Ok(Exit::Ok)
}

fn as_json(code: Code) -> serde_json::Value {
    json!({
        "code": code,
        "summary": code.summary(),
        "explain": code.explain(),
        "retryable": code.retryable(),
    })
}

/// Breaks a text into lines of at most 80 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
                continue;
            }
            if line.len().saturating_add(word.len()) < 80 {
                line.push(' ');
                line.push_str(word);
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    lines.join("\n")
}
