//! Watches a run: passes output and log on as they come, shows progress, listens for Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use adit_runtime::state::Events;
use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;

use crate::error::Exit;
use crate::ui::{ProgressLine, TerminalFilter, Ui};

/// Whether this process was asked to end: by Ctrl-C, or by SIGTERM.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    happened: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// From now on the first such signal is only noted, so that the run can end in order; the
    /// second one ends this process at once, and with it the worker.
    ///
    /// # Errors
    ///
    /// When the system refuses the handler.
    pub fn install() -> anyhow::Result<Interrupt> {
        let interrupt = Interrupt::default();
        // The library changes what the system does before it knows what to do itself: a signal in
        // between would be lost, and the run go on.
        let _held = Held::new();
        for signal in [SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            let exit = Exit::Interrupted(signal).code();
            let Interrupt {
                happened,
                signal: which,
            } = interrupt.clone();
            let note = move || {
                if happened.swap(true, Ordering::SeqCst) {
                    low_level::exit(exit);
                }
                which.store(number, Ordering::SeqCst);
            };
            // SAFETY: the action may interrupt any code: it uses atomic variables and `_exit`, both
            // allowed in a signal handler, and it does not panic or allocate.
            unsafe { low_level::register(signal, note) }
                .context("Ctrl-C cannot be listened for")?;
        }
        Ok(interrupt)
    }

    /// The exit of a process that such a signal has ended, if there was one.
    pub fn happened(&self) -> Option<Exit> {
        let signal = i32::try_from(self.signal.load(Ordering::Relaxed)).unwrap_or_default();
        (self.happened.load(Ordering::Relaxed)).then_some(Exit::Interrupted(signal))
    }
}

/// While it lives, SIGINT and SIGTERM wait instead of being handled; for the whole process if this
/// is its only thread.
struct Held {
    before: libc::sigset_t,
}

impl Held {
    fn new() -> Self {
        // SAFETY: the three functions only write to these two live sets, of which each is set up
        // before it is read; a set of zeros is a valid value.
        unsafe {
            let mut held: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut held);
            for signal in [SIGINT, SIGTERM] {
                libc::sigaddset(&mut held, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &held, &mut before);
            Self { before }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: sets the mask that this thread had, from a live set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
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
        self.interrupt.happened().is_some()
    }
}
