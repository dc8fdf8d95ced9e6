//! `adit component`: the component index of a network.

use adit_ledger::Action;
use adit_ledger::index::{ComponentName, Scope, Version, world_name};
use anyhow::Context as _;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::error::Exit;
use crate::ledger::components::{Component, Components, Published, Versions, Wanted, path};
use crate::ledger::submit::SignArgs;
use crate::ledger::{RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::{count, date_ms, one_line};
use crate::ui::Ui;

/// The subcommands of `adit component`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List components, those alone that have a text in their name or description if one is given
    List {
        /// What to search for
        #[arg(value_name = "TEXT")]
        text: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show a component with its versions; with a version, all that was published as it
    Show {
        /// The component
        #[arg(value_name = "NAME[@VERSION]")]
        name: Wanted,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Mark a version as one that should not be used. It stays, and who names it can use it
    Yank {
        /// The version
        #[arg(value_name = "NAME@VERSION", value_parser = Wanted::with_version)]
        name: (ComponentName, Version),
        /// Take the mark back
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Give a name to another account, with all names below it
    Transfer {
        /// The name, or the part before the slash
        #[arg(value_name = "NAME")]
        scope: Scope,
        /// To whom: an address, 0x and digits, or a key file
        #[arg(value_name = "KEY")]
        to: String,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// `adit component ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let done = match command {
        Command::Yank { name, undo, sign } => {
            let (name, version) = name.clone();
            return sign.run(ui, state, |_| {
                Ok(Action::Yank {
                    name,
                    version,
                    yanked: !undo,
                })
            });
        }
        Command::Transfer { scope, to, sign } => {
            return sign.run(ui, state, |context| {
                Ok(Action::TransferName {
                    scope: scope.clone(),
                    to: key(state, &context.ledger.genesis, to, "address")?,
                })
            });
        }
        Command::List { text, registry } => block_on(list(ui, text.as_deref(), registry)),
        Command::Show { name, registry } => block_on(show(ui, name, registry)),
    };
    Ok(done?.unwrap_or_else(|exit| exit))
}

async fn list(ui: &Ui, text: Option<&str>, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let what = "the components are not known";
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut parameters = Vec::new();
        parameters.extend(text.map(|text| ("q", text.to_owned())));
        parameters.extend(after.clone().map(|name| ("after", name)));
        let page: Value = ledger
            .get_with("/v1/components", &parameters)
            .await
            .context(what)?;
        let read = Components::deserialize(&page).context(what)?;
        match ui.json {
            true => all.extend(page["items"].as_array().cloned().into_iter().flatten()),
            false => read.items.iter().try_for_each(|item| line(ui, item))?,
        }
        match read.next {
            // Names ascend, so that it ends.
            Some(next) if after.as_ref().is_none_or(|last| *last < next) => after = Some(next),
            _ => break,
        }
    }
    if ui.json {
        ui.object(&json!({ "items": all }))?;
    }
    Ok(Exit::Ok)
}

fn line(ui: &Ui, item: &Component) -> anyhow::Result<()> {
    let name = one_line(&item.name);
    match &item.latest {
        None => ui.line(format!("{name:<32} (all versions are yanked)")),
        Some(latest) => ui.line(format!(
            "{name:<32} {:<12} {}",
            one_line(&latest.version),
            one_line(latest.description.as_deref().unwrap_or_default())
        )),
    }?;
    Ok(())
}

async fn show(ui: &Ui, wanted: &Wanted, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let what = || format!("the component {wanted} is not known");
    let mut at = path(&wanted.name);
    if let Some(version) = &wanted.version {
        at = format!("{at}/{version}");
    }
    let answer: Value = ledger.get(&at).await.with_context(what)?;
    if ui.json {
        ui.object(&answer)?;
        return Ok(Exit::Ok);
    }
    let malformed = "the registry's answer cannot be read";
    match wanted.version {
        None => versions(ui, &serde_json::from_value(answer).context(malformed)?),
        Some(_) => release(ui, &serde_json::from_value(answer).context(malformed)?),
    }
}

fn versions(ui: &Ui, of: &Versions) -> anyhow::Result<Exit> {
    ui.line(format!("component    {}", one_line(&of.name)))?;
    ui.line(format!("owner        {}", one_line(&of.owner)))?;
    if let Some(latest) = &of.latest {
        let version = one_line(&latest.version);
        ui.line(format!("latest       {version}"))?;
        if let Some(description) = &latest.description {
            ui.line(format!("description  {}", one_line(description)))?;
        }
    }
    for version in &of.items {
        let yanked = if version.yanked { "  yanked" } else { "" };
        ui.line(format!(
            "{:<12} {}  {}{yanked}",
            one_line(&version.version),
            one_line(&version.component),
            date_ms(version.published_ms)
        ))?;
    }
    ui.note(count(of.items.len() as u64, "version"));
    Ok(Exit::Ok)
}

fn release(ui: &Ui, of: &Published) -> anyhow::Result<Exit> {
    ui.line(format!("component    {} {}", of.name, of.version))?;
    ui.line(format!("hash         {}", of.component))?;
    ui.line(format!("world        {}", world_name(of.world)))?;
    for model in &of.models {
        ui.line(format!(
            "model        {} {}",
            one_line(&model.name),
            model.manifest
        ))?;
    }
    for (name, text) in [("description", &of.description), ("source", &of.source)] {
        if let Some(text) = text {
            ui.line(format!("{name:<12} {}", one_line(text)))?;
        }
    }
    ui.line(format!(
        "published    {} by {}",
        date_ms(of.published_ms),
        of.publisher
    ))?;
    ui.line(format!("transaction  {}", of.transaction))?;
    ui.line(format!("owner        {}", of.owner))?;
    if of.yanked {
        ui.line("yanked       its owner advises against it")?;
    }
    Ok(Exit::Ok)
}
