//! A transaction: shown, confirmed, signed, handed in.

use std::io::{BufRead as _, IsTerminal as _};

use adit_ledger::{Action, Key, Transaction};
use adit_protocol::Amount;
use adit_protocol::keys::Keypair;
use anyhow::Context as _;
use rand_core::OsRng;
use serde_json::{Value, json};

use super::wire::{Account, Head};
use super::{Ledger, RegistryArgs, refuse_development};
use crate::amounts::{self, now_ns};
use crate::error::{Exit, Failure};
use crate::keyring::{self, PasswordFile};
use crate::remote::block_on;
use crate::state::State;
use crate::text::hex;
use crate::ui::{Ui, to_stderr};

/// How long a transaction is good, in milliseconds.
const EXPIRES_MS: u64 = 10 * 60_000;

/// Options of every transaction.
#[derive(clap::Args)]
#[command(next_help_heading = "Transaction")]
pub struct SignArgs {
    /// The account that signs and pays: a keystore file, `local`, a development key as //Alice, or -
    /// for a secret URI on stdin
    #[arg(long, value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub password: PasswordFile,
    /// What is burned for it, in tokens [default: the least that the network takes]
    #[arg(long, value_name = "TOKENS", value_parser = amounts::tokens)]
    pub fee: Option<u128>,
    /// Print the transaction and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send it without asking. On networks for development nothing is asked
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// What makes an action, knowing the network and who signs.
pub struct Context<'a> {
    /// The registry.
    pub ledger: &'a Ledger,
    /// The account.
    pub account: Key,
}

impl SignArgs {
    /// Has an action done.
    ///
    /// # Errors
    ///
    /// When the registry refuses it, or the user does.
    pub fn run(
        &self,
        ui: &Ui,
        state: &State,
        action: impl FnOnce(&Context<'_>) -> anyhow::Result<Action>,
    ) -> anyhow::Result<Exit> {
        self.run_with(ui, state, async |context: &Context<'_>| action(context))
    }

    /// The same for an action of which something must be asked first.
    ///
    /// # Errors
    ///
    /// When the registry refuses it, or the user does.
    pub fn run_with(
        &self,
        ui: &Ui,
        state: &State,
        action: impl AsyncFnOnce(&Context<'_>) -> anyhow::Result<Action>,
    ) -> anyhow::Result<Exit> {
        let secret = keyring::secret(ui, state, &self.key, Some(&self.password))?;
        let done = block_on(async {
            let ledger = self.registry.connect(ui).await?;
            if secret.development && !ledger.genesis.development {
                return refuse_development("account").into_err();
            }
            let account = Key::new(&secret.keypair.public());
            let context = Context {
                ledger: &ledger,
                account,
            };
            let action = action(&context).await?;
            self.submit(ui, &ledger, &secret.keypair, action).await
        })?;
        Ok(done.unwrap_or_else(|exit| exit))
    }

    async fn submit(
        &self,
        ui: &Ui,
        ledger: &Ledger,
        keypair: &Keypair,
        action: Action,
    ) -> anyhow::Result<Exit> {
        let key = Key::new(&keypair.public());
        let what = "the state of the ledger is not known";
        let account: Account = ledger
            .get(&format!("/v1/accounts/{key}"))
            .await
            .context(what)?;
        let head: Head = ledger.get("/v1/ledger").await.context(what)?;
        let fee = match (self.fee, &action) {
            (Some(fee), _) => Amount::from_units(fee),
            (None, Action::Faucet { .. }) => Amount::ZERO,
            (None, Action::Publish(publication)) => {
                let scope = publication.name.scope();
                ledger.publishing_fee(&scope).await.context(what)?
            }
            (None, _) => head.parameters.fee_min.0,
        };
        let now_ms = (now_ns() / 1_000_000).max(head.time_ms);
        let transaction = Transaction {
            genesis: ledger.genesis_hash,
            account: key,
            number: account.number,
            fee,
            expires_ms: now_ms.saturating_add(EXPIRES_MS) / 1000 * 1000,
            action,
        };
        let text = transaction.to_text();
        // What came from the command line was not checked as a transaction's fields are.
        if let Err(error) = Transaction::from_text(&text) {
            return Err(Failure::argument("there is no such transaction")
                .because(error)
                .into());
        }
        if self.dry_run {
            match ui.json {
                true => ui.object(&json!({ "text": text, "sent": false }))?,
                false => ui.line(&text)?,
            }
            ui.note("nothing was signed or sent");
            return Ok(Exit::Ok);
        }
        if !ledger.genesis.development && !self.yes {
            confirm(ui, &text)?;
        }
        let signed = transaction.sign(keypair, &mut OsRng);
        let body = json!({ "text": text, "signature": hex(signed.signature()) });
        let answer = (ledger.client.post("/v1/transactions").idempotent())
            .json(&body)
            .send()
            .await;
        let name = transaction.action.name();
        let answer: Value = answer
            .and_then(|answer| answer.json())
            .with_context(|| format!("the transaction ({name}) was not taken"))?;
        match ui.json {
            true => ui.object(&answer)?,
            false => {
                let field = |name: &str| match &answer[name] {
                    Value::String(text) => crate::text::one_line(text),
                    other => other.to_string(),
                };
                ui.line(format!("done         {name}"))?;
                ui.line(format!("transaction  {}", field("id")))?;
                ui.line(format!(
                    "block        {} (entry {} of the log)",
                    field("height"),
                    field("leaf")
                ))?;
                for event in answer["events"].as_array().into_iter().flatten() {
                    ui.line(format!("  {}", describe(event)))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

/// An event on a line, its amounts in tokens.
fn describe(event: &Value) -> String {
    let mut line = event["event"]
        .as_str()
        .map_or_else(String::new, crate::text::one_line);
    for (name, value) in event.as_object().into_iter().flatten() {
        let text = match (name.as_str(), value) {
            ("event", _) | (_, Value::Null) => continue,
            ("amount", Value::String(units)) => match units.parse() {
                Ok(units) => amounts::in_tokens(units),
                Err(_) => crate::text::one_line(units),
            },
            (_, Value::String(text)) => crate::text::one_line(text),
            (_, other) => other.to_string(),
        };
        line.push_str(&format!(" {}={text}", name.replace('_', "-")));
    }
    line
}

/// Shows what will be signed, and asks.
fn confirm(ui: &Ui, text: &str) -> anyhow::Result<()> {
    let refuse = |why: &str| Failure::argument("nothing was sent").why(why);
    if !std::io::stdin().is_terminal() || ui.json {
        return refuse("it moves tokens that have a value, and nobody can be asked here")
            .hint("look at it with --dry-run, then give --yes")
            .into_err();
    }
    to_stderr(&format!("{text}\n\nsign and send this? [y/N] "));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the answer could not be read")?;
    match matches!(line.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => refuse("it was not confirmed")
            .hint("answer y to send it")
            .into_err(),
    }
}
