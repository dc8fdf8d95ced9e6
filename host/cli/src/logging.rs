//! What the nodes say while they run: lines on stderr, or JSON objects with `--json`.

use tracing_subscriber::EnvFilter;

use crate::ui::Ui;

/// The variable that chooses what is said, as `adit_coordinator=debug`.
const FILTER: &str = "ADIT_LOG";

/// What a node says without being asked.
const OF_A_NODE: &str = "warn,adit_coordinator=info,adit_miner=info";

/// Starts it, for a node. A filter that cannot be read is passed over, with a warning.
pub fn start(ui: &Ui) {
    start_with(ui, OF_A_NODE);
}

/// Starts it, with what is said unless more or less was asked for.
pub fn start_with(ui: &Ui, usual: &str) {
    let usual = match (ui.quiet, ui.verbose) {
        (true, _) => "error",
        (_, true) => "info,adit_coordinator=debug,adit_miner=debug,adit_net=debug",
        _ => usual,
    };
    let filter = match std::env::var(FILTER) {
        Ok(text) => EnvFilter::try_new(&text).unwrap_or_else(|error| {
            ui.note(format!("warning: {FILTER} is passed over: {error}"));
            EnvFilter::new(usual)
        }),
        Err(_) => EnvFilter::new(usual),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    // A second start in one process has no effect: the first one stays.
    let _ = match ui.json {
        true => builder.json().try_init(),
        false => builder.with_ansi(false).try_init(),
    };
}
