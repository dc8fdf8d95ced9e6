//! Follows a task to its end: by the coordinator's stream of events, and where that breaks off by
//! asking again and again.

use std::io::IsTerminal as _;

use adit_net::http::client::ClientError;
use adit_protocol::Hash;
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Exit;
use crate::remote::api::Api;
use crate::remote::check::refuted;
use crate::remote::wire::{Reason, Seen, Task, TaskEvent, TaskState};
use crate::text::one_line;
use crate::ui::{ProgressLine, TerminalFilter, Ui};

/// Streams of events that are begun for one task, one after the other.
const STREAMS_MAX: u32 = 10;

/// What is shown of a task's output while it runs, before anyone has confirmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Nothing.
    Nothing,
    /// Chunks, as they come.
    Chunks,
}

/// Follows one task.
pub struct Follow {
    ui: Ui,
    show: Show,
    progress: ProgressLine,
    filter: Option<TerminalFilter>,
    /// What was printed of the output, as the task emitted it.
    printed: Vec<u8>,
    /// The attempt that it is from.
    attempt: u32,
    /// Bytes that came of the attempt.
    arrived: usize,
    /// Events were lost, or an attempt emitted something else than the one before: no more is printed.
    stopped: bool,
    said: Option<(TaskState, Option<Reason>)>,
}

impl Follow {
    /// Follows a task, which was not asked for yet.
    pub fn new(ui: Ui, show: Show) -> Follow {
        let terminal = std::io::stdout().is_terminal();
        Follow {
            ui,
            show: if ui.json { Show::Nothing } else { show },
            progress: ProgressLine::new(ui.shows_progress()),
            filter: terminal.then(TerminalFilter::default),
            printed: Vec::new(),
            attempt: 0,
            arrived: 0,
            stopped: false,
            said: None,
        }
    }

    /// Returns once the task has ended.
    ///
    /// # Errors
    ///
    /// When the coordinator cannot be asked, or stdout cannot be written.
    pub async fn until_the_end(&mut self, api: &Api, task: &Hash) -> anyhow::Result<Seen<Task>> {
        let what = || format!("the task {task} cannot be followed");
        // Without events there is still the answer to wait for.
        let mut last_id = None;
        for _ in 0..STREAMS_MAX {
            if self.stream(api, task, &mut last_id).await? {
                break;
            }
        }
        loop {
            let seen = match api.wait(task).await {
                Err(error) if transient(&error) => {
                    self.ui.detail(format!("asking again: {error}"));
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
                seen => seen.with_context(what)?,
            };
            let view = &seen.view;
            self.said(view.state, view.reason.clone());
            if view.state.is_final() {
                self.progress.clear();
                return Ok(seen);
            }
            if let Some(progress) = &view.progress {
                self.progress
                    .show(progress.done, progress.total, &progress.note);
            }
        }
    }

    /// Takes events until there are no more. Whether no other stream is to be tried.
    async fn stream(
        &mut self,
        api: &Api,
        task: &Hash,
        last_id: &mut Option<String>,
    ) -> anyhow::Result<bool> {
        let Ok(mut events) = api.events(task, last_id.as_deref()).await else {
            return Ok(true);
        };
        loop {
            match events.next().await {
                Ok(Some(event)) => {
                    *last_id = event.id.or(last_id.take());
                    // What a newer coordinator may send besides is passed over.
                    if let Ok(event) = serde_json::from_str(&event.data)
                        && self.event(event)?
                    {
                        return Ok(true);
                    }
                }
                Ok(None) => return Ok(true),
                Err(error) => {
                    self.ui
                        .detail(format!("the stream of events broke off: {error}"));
                    return Ok(false);
                }
            }
        }
    }

    /// Takes an event; whether the task has ended by it.
    fn event(&mut self, event: TaskEvent) -> anyhow::Result<bool> {
        match event {
            TaskEvent::State { state, reason } => {
                self.said(state, reason);
                return Ok(state.is_final());
            }
            TaskEvent::Progress { progress } => {
                self.progress
                    .show(progress.done, progress.total, &progress.note);
            }
            TaskEvent::Chunk { attempt, chunk } => {
                if let Ok(chunk) = STANDARD.decode(chunk) {
                    self.chunk(attempt, &chunk)?;
                }
            }
            TaskEvent::Lost => self.stopped = true,
            TaskEvent::Unknown => {}
        }
        Ok(false)
    }

    /// Why a task waits, once for each reason.
    fn said(&mut self, state: TaskState, reason: Option<Reason>) {
        let said = Some((state, reason));
        if self.said == said {
            return;
        }
        if let Some((TaskState::Waiting, Some(reason))) = &said {
            self.progress.clear();
            self.ui.note(format!(
                "waiting: {} ({})",
                one_line(&reason.detail),
                one_line(&reason.code)
            ));
        }
        self.said = said;
    }

    /// Prints what is new. A task gives the same output each time, so a later attempt repeats what
    /// an earlier one emitted; what it says again is compared and not printed.
    fn chunk(&mut self, attempt: u32, chunk: &[u8]) -> anyhow::Result<()> {
        if self.show == Show::Nothing || self.stopped {
            return Ok(());
        }
        if attempt != self.attempt {
            self.attempt = attempt;
            self.arrived = 0;
        }
        let known = self.printed.get(self.arrived..).unwrap_or_default();
        let again = known.len().min(chunk.len());
        let (repeated, new) = chunk.split_at_checked(again).unwrap_or((chunk, &[]));
        if known.get(..again) != Some(repeated) {
            self.stopped = true;
            return Ok(());
        }
        self.arrived = self.arrived.saturating_add(chunk.len());
        self.print(new)
    }

    fn print(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.printed.extend_from_slice(bytes);
        self.progress.clear();
        match &mut self.filter {
            Some(filter) => self.ui.bytes(&filter.filter(bytes)),
            None => self.ui.bytes(bytes),
        }
    }

    /// Prints what is left of an output that was checked.
    ///
    /// # Errors
    ///
    /// When what was printed before is not how it begins, or stdout cannot be written.
    pub fn finish(mut self, output: &[u8]) -> anyhow::Result<()> {
        self.progress.clear();
        if self.ui.json {
            return Ok(());
        }
        let Some(rest) = output.strip_prefix(self.printed.as_slice()) else {
            return refuted(
                "the result is another one than what was shown while the task ran, which a miner emitted and nobody confirmed",
            )
            .hint("use what `adit task result` gives, which is checked")
            .exit(Exit::Diverged)
            .into_err();
        };
        let terminal = self.filter.is_some();
        self.print(rest)?;
        if terminal && output.last().is_some_and(|byte| *byte != b'\n') {
            // What follows on the terminal begins a line of its own.
            crate::ui::to_stderr("\n");
        }
        Ok(())
    }
}

/// Whether the coordinator may answer in a moment: it is restarted, or a connection broke.
fn transient(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { unsent, .. } => !unsent,
        ClientError::Timeout { .. } => true,
        ClientError::Refused { problem, .. } => problem.retryable,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow() -> Follow {
        let ui = Ui {
            json: false,
            quiet: true,
            verbose: false,
        };
        Follow::new(ui, Show::Chunks)
    }

    #[test]
    fn a_second_attempt_goes_on_where_the_first_one_ended() {
        let mut follow = follow();
        follow.chunk(0, b"\n").unwrap();
        follow.chunk(0, b"\n\n").unwrap();
        follow.chunk(1, b"\n\n").unwrap();
        follow.chunk(1, b"\n\n").unwrap();
        assert_eq!(follow.printed, b"\n\n\n\n");
        assert!(!follow.stopped);
        follow.finish(b"\n\n\n\n\n").unwrap();
    }

    #[test]
    fn an_attempt_that_says_something_else_is_not_printed() {
        let mut follow = follow();
        follow.chunk(0, b"\n\n").unwrap();
        follow.chunk(1, b"\nx").unwrap();
        follow.chunk(1, b"y").unwrap();
        assert_eq!(follow.printed, b"\n\n");
        assert!(follow.finish(b"\nxy").is_err());
    }
}
