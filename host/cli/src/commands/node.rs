//! `adit node`: the nodes of a network, and changing one's own.

use adit_ledger::Action;
use adit_protocol::Amount;
use anyhow::Context as _;
use serde_json::{Value, json};

use super::register::{ProfileArgs, possession};
use crate::amounts;
use crate::error::Exit;
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::{Node, Nodes};
use crate::ledger::{RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

/// The subcommands of `adit node`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the nodes of a network
    List {
        /// Only those of a role
        #[arg(long, value_name = "ROLE", value_parser = ["miner", "coordinator", "checker"])]
        role: Option<String>,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show a node, by any of its keys
    Show {
        /// Its key: an address, 0x and digits, or a key file
        #[arg(value_name = "NODE")]
        node: String,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Change what is said of a node: all of it is replaced, another commission counts from the next
    /// epoch on
    Update {
        /// The key that it was registered with
        #[arg(value_name = "NODE")]
        node: String,
        #[command(flatten)]
        profile: ProfileArgs,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Give a node other keys from the next epoch on
    ///
    /// A coordinator begins another log with them, in a state folder of its own that `adit coordinator
    /// init` makes. Let it run with its former keys until their last epoch is settled, as `adit registry
    /// show` says; then start it with the new ones. The registry's checker keeps a copy of the former
    /// log for auditors.
    RotateKey {
        /// The key that it was registered with
        #[arg(value_name = "NODE")]
        node: String,
        /// Its new node key: a key file
        #[arg(long, value_name = "KEY")]
        new_node: String,
        /// Its new log key or cosigning key
        #[arg(long, value_name = "KEY")]
        new_log: Option<String>,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// End a node's part; its votes are taken back with `adit stake remove --from`
    Deregister {
        /// The key that it was registered with
        #[arg(value_name = "NODE")]
        node: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Let a node take part again that was jailed, when its time is over
    Unjail {
        /// The key that it was registered with
        #[arg(value_name = "NODE")]
        node: String,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Put free tokens into a coordinator's escrow, of which its tasks are paid
    Deposit {
        /// The coordinator
        #[arg(value_name = "NODE")]
        node: String,
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Take tokens out of a coordinator's escrow, after the unbonding time
    Withdraw {
        /// The coordinator
        #[arg(value_name = "NODE")]
        node: String,
        /// How many tokens
        #[arg(value_name = "TOKENS", value_parser = amounts::tokens)]
        amount: u128,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// `adit node ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let done = match command {
        Command::List { role, registry } => block_on(list(ui, role.as_deref(), registry)),
        Command::Show { node, registry } => block_on(show(ui, state, node, registry)),
        Command::Update {
            node,
            profile,
            sign,
        } => {
            return sign.run(ui, state, |context| {
                Ok(Action::Update {
                    node: key(state, &context.ledger.genesis, node, "node key")?,
                    profile: profile.profile(),
                })
            });
        }
        Command::RotateKey {
            node,
            new_node,
            new_log,
            sign,
        } => {
            return sign.run(ui, state, |context| {
                let (keys, proof) = possession(ui, state, context, new_node, new_log.as_deref())?;
                let node = key(state, &context.ledger.genesis, node, "node key")?;
                Ok(Action::RotateKey { node, keys, proof })
            });
        }
        Command::Deregister { node, sign } => {
            return sign.run(ui, state, |context| {
                let node = key(state, &context.ledger.genesis, node, "node key")?;
                Ok(Action::Deregister { node })
            });
        }
        Command::Unjail { node, sign } => {
            return sign.run(ui, state, |context| {
                let node = key(state, &context.ledger.genesis, node, "node key")?;
                Ok(Action::Unjail { node })
            });
        }
        Command::Deposit { node, amount, sign } => {
            return sign.run(ui, state, |context| {
                Ok(Action::Deposit {
                    node: key(state, &context.ledger.genesis, node, "node key")?,
                    amount: Amount::from_units(*amount),
                })
            });
        }
        Command::Withdraw { node, amount, sign } => {
            return sign.run(ui, state, |context| {
                Ok(Action::Withdraw {
                    node: key(state, &context.ledger.genesis, node, "node key")?,
                    amount: Amount::from_units(*amount),
                })
            });
        }
    };
    Ok(done?.unwrap_or_else(|exit| exit))
}

async fn list(ui: &Ui, role: Option<&str>, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let mut after: Option<String> = None;
    let mut all = Vec::new();
    loop {
        let mut parameters = Vec::new();
        parameters.extend(role.map(|role| ("role", role.to_owned())));
        parameters.extend(after.take().map(|after| ("after", after)));
        let page: Value = ledger
            .get_with("/v1/nodes", &parameters)
            .await
            .context("the nodes are not known")?;
        if ui.json {
            all.extend(page["items"].as_array().cloned().unwrap_or_default());
        }
        let page: Nodes =
            serde_json::from_value(page).context("the registry's answer cannot be read")?;
        if !ui.json {
            for node in &page.items {
                line(ui, node)?;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if ui.json {
        ui.object(&json!({ "items": all }))?;
    }
    Ok(Exit::Ok)
}

fn line(ui: &Ui, node: &Node) -> anyhow::Result<()> {
    ui.line(format!(
        "{:<11} {} stake {:>12} {:<9} {}",
        one_line(&node.role),
        one_line(&node.address),
        node.stake,
        standing(node),
        one_line(node.profile.introduction.as_deref().unwrap_or_default()),
    ))
}

/// Whether a node takes part, in a word.
fn standing(node: &Node) -> &'static str {
    match (node.active, node.leaving, node.eligible) {
        _ if node.jailed.is_some() => "jailed",
        (true, true, _) => "leaving",
        (true, ..) => "active",
        (false, true, _) => "left",
        (false, false, true) => "next",
        (false, false, false) => "too-small",
    }
}

async fn show(ui: &Ui, state: &State, node: &str, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let key = key(state, &ledger.genesis, node, "node key")?;
    let path = format!("/v1/nodes/{key}");
    let node = ledger.ask(ui, &path, &[], "the node is not known");
    let Some::<Node>(node) = node.await? else {
        return Ok(Exit::Ok);
    };
    let why = match standing(&node) {
        "jailed" => "jailed: it was punished, and gets no work",
        "active" => "active: it takes part in this epoch",
        "leaving" => "leaving: it takes part until the end of this epoch",
        "left" => "left: it takes no part any more",
        "next" => "next: it takes part from the next epoch on",
        _ => "too-small: its stake is below the least of its role",
    };
    let text = |text: &Option<String>| text.as_deref().map_or("none".to_owned(), one_line);
    ui.line(format!("node          {}", one_line(&node.address)))?;
    ui.line(format!("role          {}", one_line(&node.role)))?;
    ui.line(format!("standing      {why}"))?;
    if let Some(jailed) = &node.jailed {
        ui.line(format!(
            "jailed        {}; `adit node unjail` works from epoch {} on",
            one_line(&jailed.misdeed),
            jailed.until_epoch
        ))?;
    }
    ui.line(format!("operator      {}", one_line(&node.operator)))?;
    ui.line(format!("stake         {}", node.stake))?;
    if node.role == "coordinator" {
        ui.line(format!("escrow        {}", node.escrow))?;
    }
    let commission = adit_ledger::transaction::Percent(node.profile.commission_ppm);
    ui.line(format!("commission    {commission}"))?;
    ui.line(format!("url           {}", text(&node.profile.url)))?;
    ui.line(format!("region        {}", text(&node.profile.region)))?;
    ui.line(format!(
        "introduction  {}",
        text(&node.profile.introduction)
    ))?;
    Ok(Exit::Ok)
}
