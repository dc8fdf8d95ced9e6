//! Watches a run: passes output and log on as they come, shows progress, listens for Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adit_runtime::state::Events;
use anyhow::Context as _;

use crate::error::Exit;
use crate::ui::{ProgressLine, TerminalFilter, Ui};

/// Whether Ctrl-C was pressed.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first Ctrl-C is only noted, so that the run can end in order; the second
    /// one ends this process at once, and with it the worker.
    ///
    /// # Errors
    ///
    /// When the system refuses the handler.
    pub fn install() -> anyhow::Result<Interrupt> {
        let happened = Arc::new(AtomicBool::new(false));
        let handler = happened.clone();
        ctrlc::set_handler(move || {
            if handler.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted.code());
            }
        })
        .context("Ctrl-C cannot be listened for")?;
        Ok(Interrupt(happened))
    }

    /// Whether it was pressed.
    pub fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The observer of a run.
pub struct Watch {
    ui: Ui,
    interrupt: Interrupt,
    progress: ProgressLine,
    output: Option<TerminalFilter>,
    log: Option<TerminalFilter>,
    failed: Option<anyhow::Error>,
}

impl Watch {
    /// An observer that prints as `ui` says.
    pub fn new(ui: Ui, interrupt: &Interrupt) -> Watch {
        let filter = |terminal: bool| terminal.then(TerminalFilter::default);
        Watch {
            ui,
            interrupt: interrupt.clone(),
            progress: ProgressLine::new(ui.shows_progress()),
            output: filter(std::io::stdout().is_terminal()),
            log: filter(std::io::stderr().is_terminal()),
            failed: None,
        }
    }

    /// After the run: whether its output could be written to stdout.
    ///
    /// # Errors
    ///
    /// The first failure to write it.
    pub fn finish(mut self, output: &[u8]) -> anyhow::Result<()> {
        self.progress.clear();
        let ragged = output.last().is_some_and(|byte| *byte != b'\n');
        if ragged && self.output.is_some() && !self.ui.json {
            // What follows on the terminal begins a line of its own.
            crate::ui::to_stderr("\n");
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Events for Watch {
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        self.progress.show(done, total, note);
    }

    fn output(&mut self, chunk: &[u8]) {
        if self.ui.json || self.failed.is_some() {
            return;
        }
        self.progress.clear();
        let written = match &mut self.output {
            Some(filter) => self.ui.bytes(&filter.filter(chunk)),
            None => self.ui.bytes(chunk),
        };
        self.failed = written.err();
    }

    fn log(&mut self, chunk: &[u8]) {
        // As JSON, the log is a part of the object.
        if self.ui.json || self.ui.quiet {
            return;
        }
        self.progress.clear();
        let shown = match &mut self.log {
            Some(filter) => filter.filter(chunk),
            None => chunk.to_vec(),
        };
        crate::ui::bytes_to_stderr(&shown);
    }

    fn cancelled(&self) -> bool {
        self.interrupt.happened()
    }
}
