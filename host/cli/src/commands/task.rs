//! `adit task`: have tasks run by a network, and see what becomes of them.

use adit_protocol::Hash;
use anyhow::Context as _;
use serde_json::json;

use crate::error::{Exit, Failure};
use crate::remote::api::Api;
use crate::remote::wire::TaskSummary;
use crate::remote::{Remote, RemoteArgs, block_on};
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

mod explain;
mod follow;
mod list;
mod outcome;
mod show;
mod submit;

pub use submit::send;

/// Digits that the beginning of an id must have.
const DIGITS_MIN: usize = 4;
/// How many of the newest tasks are looked at for a beginning.
const SEARCH: u32 = 1000;

/// The subcommands of `adit task`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Send a task to a coordinator, wait for its result, and check it
    ///
    /// In place of a file, the component may be named as the network's registry knows it: acme/count,
    /// or acme/count@1.2.0.
    Submit(Box<submit::Args>),
    /// List the tasks of this client, the newest first
    List(list::Args),
    /// Show a task: where it is, who has it, what came of it
    Show(Named),
    /// Wait for the end of a task; ends as it does
    Wait(WaitArgs),
    /// Get the result of a task, and check it
    Result(outcome::Args),
    /// Show what a task wrote to stderr, by the miner whose result was accepted
    Logs(Named),
    /// End a task whose result nobody wants any more
    Cancel(Named),
    /// Say why a task is where it is, and who could be drawn for it
    Explain(explain::Args),
}

/// A task of a coordinator.
#[derive(clap::Args)]
pub struct Named {
    /// The task's id, its first digits, or `last`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Options of `adit task wait`.
#[derive(clap::Args)]
pub struct WaitArgs {
    #[command(flatten)]
    named: Named,
    /// Wait no longer than this
    #[arg(long, value_name = "TIME", value_parser = crate::amounts::duration)]
    timeout: Option<std::time::Duration>,
}

/// `adit task ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Submit(args) => submit::command(ui, state, args),
        Command::List(args) => list::command(ui, state, args),
        Command::Show(named) => with(ui, state, named, async |remote, task| {
            show::command(ui, &remote.api, &task).await
        }),
        Command::Wait(args) => with(ui, state, &args.named, async |remote, task| {
            wait(ui, &remote.api, &task, args.timeout).await
        }),
        Command::Result(args) => with(ui, state, args.named(), async |remote, task| {
            outcome::command(ui, state, remote, &task, args).await
        }),
        Command::Logs(named) => with(ui, state, named, async |remote, task| {
            logs(ui, &remote.api, &task).await
        }),
        Command::Cancel(named) => with(ui, state, named, async |remote, task| {
            cancel(ui, &remote.api, &task).await
        }),
        Command::Explain(args) => with(ui, state, args.named(), async |remote, task| {
            explain::command(ui, state, remote, &task, args).await
        }),
    }
}

/// Does something with a task of a coordinator.
fn with(
    ui: &Ui,
    state: &State,
    named: &Named,
    then: impl AsyncFnOnce(&Remote, Hash) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let remote = named.remote.remote(ui, state)?;
    let done = block_on(async {
        let task = find(&remote.api, &named.id).await?;
        then(&remote, task).await
    })?;
    Ok(done.unwrap_or_else(|interrupted| interrupted))
}

/// The task that a text names. Only part of an id, and `last`, are looked up.
async fn find(api: &Api, text: &str) -> anyhow::Result<Hash> {
    let digits = text.strip_prefix("blake3:").unwrap_or(text);
    if let Ok(hash) = format!("blake3:{digits}").parse() {
        return Ok(hash);
    }
    let what = || format!("there is no task `{}`", one_line(text));
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let beginning = (DIGITS_MIN..64).contains(&digits.len()) && digits.chars().all(is_hex);
    if text != "last" && !beginning {
        return Failure::argument(what())
            .why("an id is `blake3:` and 64 of the digits 0-9 and a-f")
            .hint("give the id, at least its first four digits, or `last`; see `adit task list`")
            .into_err();
    }
    let size = if beginning { SEARCH } else { 1 };
    let page = api.tasks(None, size, None).await.with_context(what)?;
    let mut found = Vec::new();
    for item in page.items {
        let task: TaskSummary =
            serde_json::from_value(item).context("the coordinator's list of tasks is not one")?;
        if !beginning || task.task.to_hex().starts_with(digits) {
            found.push(task.task);
        }
    }
    match found[..] {
        [task] => Ok(task),
        [] if !beginning => Failure::argument("there is no task yet")
            .why("the coordinator has none of this client")
            .hint("submit one with `adit task submit`, or give the token that submitted it")
            .into_err(),
        [] => Failure::argument(what())
            .why(format!(
                "none of the {SEARCH} newest tasks of this client begins so"
            ))
            .hint("give the whole id; see `adit task list`")
            .into_err(),
        _ => Failure::argument(format!("`{}` names {} tasks", one_line(text), found.len()))
            .why("their ids begin with the same digits")
            .hint("give more of the digits")
            .into_err(),
    }
}

/// `adit task wait ID`.
async fn wait(
    ui: &Ui,
    api: &Api,
    task: &Hash,
    timeout: Option<std::time::Duration>,
) -> anyhow::Result<Exit> {
    let mut follow = follow::Follow::new(*ui, follow::Show::Nothing);
    let end = follow.until_the_end(api, task);
    let ended = match timeout {
        None => end.await?,
        Some(timeout) => match tokio::time::timeout(timeout, end).await {
            Ok(ended) => ended?,
            Err(_) => {
                let failed = Failure::new(
                    adit_protocol::Code::Timeout,
                    format!("the task {task} has not ended"),
                );
                return failed
                    .why(format!("it did not within {} ms", timeout.as_millis()))
                    .hint("wait longer; `adit task explain` says why it is where it is")
                    .into_err();
            }
        },
    };
    show::print(ui, &ended)?;
    outcome::exit(&ended.view, None)
}

/// `adit task logs ID`.
async fn logs(ui: &Ui, api: &Api, task: &Hash) -> anyhow::Result<Exit> {
    let seen = api.task(task).await.context("the task cannot be shown")?;
    let attempts = seen.view.assignments.iter().rev();
    let receipt = (seen.view.result.as_ref().map(|result| result.receipt)).or_else(|| {
        attempts
            .filter_map(|a| a.receipt.as_ref())
            .map(|r| r.receipt)
            .next()
    });
    let Some(receipt) = receipt else {
        return Failure::argument(format!("there is no log of the task {task}"))
            .why(format!(
                "it is {}, and no miner has reported",
                seen.view.state.name()
            ))
            .hint("wait for it with `adit task wait`")
            .into_err();
    };
    let log = match api.log(&receipt).await {
        // A run that has left nothing on stderr.
        Err(error) if error.code() == adit_protocol::Code::NotFound => Vec::new(),
        log => log.context("the log cannot be shown")?,
    };
    ui.note(format!(
        "by the miner of the receipt {receipt}, whose word it is"
    ));
    match ui.json {
        true => ui.object(&json!({
            "task": task,
            "receipt": receipt,
            "log": String::from_utf8_lossy(&log),
        }))?,
        false => ui.foreign(&log)?,
    }
    Ok(Exit::Ok)
}

/// `adit task cancel ID`.
async fn cancel(ui: &Ui, api: &Api, task: &Hash) -> anyhow::Result<Exit> {
    let seen = api
        .cancel(task)
        .await
        .context("the task cannot be cancelled")?;
    show::print(ui, &seen)?;
    Ok(Exit::Ok)
}
