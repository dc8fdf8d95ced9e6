//! `adit gov`: proposals on a network's parameters and treasury, and votes on them.

use adit_ledger::Action;
use adit_ledger::setting::Setting;
use adit_ledger::state::Spend;
use adit_protocol::{Amount, Hash};

use crate::error::{Exit, Failure};
use crate::ledger::submit::SignArgs;
use crate::ledger::wire::Proposal;
use crate::ledger::{RegistryArgs, key};
use crate::remote::block_on;
use crate::state::State;
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

/// The subcommands of `adit gov`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List proposals that are voted on, or were accepted and wait
    List {
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Show a proposal
    Show {
        /// Its id, as `adit gov list` shows it
        #[arg(value_name = "ID")]
        id: Hash,
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Propose to change parameters, or to spend of the treasury. A deposit is put down, which is lost
    /// if too few vote
    Propose {
        /// What it is about, for people
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// A parameter and what it is to be, as `rewards.emission=500`; may be repeated. `adit registry
        /// show` lists the parameters
        #[arg(long = "set", value_name = "NAME=VALUE")]
        settings: Vec<String>,
        /// Tokens of the treasury for an account; may be repeated
        #[arg(long = "spend", value_name = "KEY=TOKENS")]
        spends: Vec<String>,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Vote on a proposal, with the stake that the account had when its epoch began
    Vote {
        /// Its id
        #[arg(value_name = "ID")]
        id: Hash,
        /// Whether for it
        #[arg(value_enum, value_name = "CHOICE")]
        choice: Choice,
        #[command(flatten)]
        sign: SignArgs,
    },
}

/// For or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// For it
    Yes,
    /// Against it
    No,
}

/// `adit gov ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let done = match command {
        Command::Propose {
            title,
            settings,
            spends,
            sign,
        } => {
            return sign.run(ui, state, |context| {
                let settings = settings.iter().map(|text| setting(text));
                let genesis = &context.ledger.genesis;
                let spends = spends.iter().map(|text| spend(state, genesis, text));
                Ok(Action::Propose {
                    title: title.clone(),
                    settings: settings.collect::<anyhow::Result<_>>()?,
                    spends: spends.collect::<anyhow::Result<_>>()?,
                })
            });
        }
        Command::Vote { id, choice, sign } => {
            return sign.run(ui, state, |_| {
                Ok(Action::Ballot {
                    proposal: *id,
                    yes: *choice == Choice::Yes,
                })
            });
        }
        Command::List { registry } => block_on(list(ui, registry)),
        Command::Show { id, registry } => block_on(show(ui, id, registry)),
    };
    Ok(done?.unwrap_or_else(|exit| exit))
}

fn setting(text: &str) -> anyhow::Result<Setting> {
    let spaced = text.replacen('=', " ", 1);
    spaced.parse::<Setting>().map_err(|error| {
        Failure::argument(format!("`{}` sets no parameter", one_line(text)))
            .why(error)
            .hint("write it as NAME=VALUE, as rewards.emission=500; `adit registry show --json` has all names")
            .into()
    })
}

fn spend(
    state: &State,
    genesis: &adit_protocol::network::genesis::Genesis,
    text: &str,
) -> anyhow::Result<Spend> {
    let parts = text.rsplit_once('=');
    let amount = parts.and_then(|(_, amount)| amount.parse::<Amount>().ok());
    let (Some((account, _)), Some(amount)) = (parts, amount) else {
        return Failure::argument(format!("`{}` spends nothing", one_line(text)))
            .why("it is not an account and a number of tokens")
            .hint("write it as KEY=TOKENS")
            .into_err();
    };
    Ok(Spend {
        account: key(state, genesis, account, "address")?,
        amount,
    })
}

async fn list(ui: &Ui, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let all = ledger.ask(ui, "/v1/proposals", &[], "what is voted on is not known");
    let Some::<Vec<Proposal>>(all) = all.await? else {
        return Ok(Exit::Ok);
    };
    for one in &all {
        ui.line(format!(
            "{}  {}  yes {} no {}  {}",
            one_line(&one.id),
            until(one),
            one.yes,
            one.no,
            one_line(&one.title)
        ))?;
    }
    if all.is_empty() {
        ui.note("nothing is voted on");
    }
    Ok(Exit::Ok)
}

async fn show(ui: &Ui, id: &Hash, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let ledger = registry.connect(ui).await?;
    let path = format!("/v1/proposals/{id}");
    let one = ledger.ask(ui, &path, &[], "the proposal is not known");
    let Some::<Proposal>(one) = one.await? else {
        return Ok(Exit::Ok);
    };
    ui.line(format!("proposal  {}", one_line(&one.id)))?;
    ui.line(format!("title     {}", one_line(&one.title)))?;
    ui.line(format!("by        {}", one_line(&one.proposer)))?;
    for setting in &one.settings {
        ui.line(format!("sets      {}", one_line(setting)))?;
    }
    for spend in &one.spends {
        ui.line(format!(
            "spends    {} for {}",
            spend.amount,
            one_line(&spend.account)
        ))?;
    }
    ui.line(format!("yes       {}", one.yes))?;
    ui.line(format!("no        {}", one.no))?;
    ui.line(format!(
        "of        {} staked in epoch {}",
        one.staked, one.epoch
    ))?;
    ui.line(format!("state     {}", until(&one)))?;
    Ok(Exit::Ok)
}

/// What comes next, and when.
fn until(one: &Proposal) -> String {
    let at = date_ms(one.next_ms);
    match one.effect_epoch {
        Some(epoch) => format!("accepted, takes effect with epoch {epoch} ({at})"),
        None => format!("counted with epoch {} ({at})", one.until_epoch),
    }
}
