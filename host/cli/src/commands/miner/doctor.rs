//! `adit miner doctor`: each thing that a miner needs, whether it is there, and what to do if not.

use std::path::Path;

use adit_miner::config::{Config, NetworkSource};
use adit_miner::control::Request;
use adit_miner::journal::{Journal, Standing};
use adit_miner::miner::Miner;
use adit_miner::network::{self, Keeper, NetworkView, SourceError, skew_ms};
use adit_miner::transport::CoordinatorApi as _;
use adit_miner::transport::http::HttpApi;
use adit_net::SystemClock;
use adit_net::tls::Roots;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{Hello, OfferedDevice};
use adit_runtime::worker::messages::Hello as WorkerHello;
use adit_runtime::worker::self_test::self_test;
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{ask, init, node_key, setup};
use crate::device::in_words;
use crate::error::{Exit, Report};
use crate::state::State;
use crate::text::{hex, one_line, size};
use crate::ui::Ui;

/// How far the clocks may differ: a signed request is refused that seems to be ten seconds ahead.
const SKEW_MS_MAX: i64 = 5_000;
/// Free space that a miner needs beside its cache, in bytes.
const SPARE_BYTES: u64 = 1 << 30;

/// Options of `adit miner doctor`.
#[derive(clap::Args)]
pub struct Args {
    /// Say hello to each coordinator too, and compare the journal with what it has; it then counts
    /// this miner as active for half a minute
    #[arg(long)]
    greet: bool,
    /// Start no worker: leave the devices and the sandbox out
    #[arg(long)]
    quick: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Not checked, or worth knowing.
    Note,
    Bad,
}

struct Check {
    name: &'static str,
    verdict: Verdict,
    what: String,
    fix: String,
}

#[derive(Default)]
struct Findings(Vec<Check>);

impl Findings {
    fn add(&mut self, name: &'static str, verdict: Verdict, what: impl Into<String>, fix: &str) {
        self.0.push(Check {
            name,
            verdict,
            what: one_line(&what.into()),
            fix: one_line(fix),
        });
    }

    fn good(&mut self, name: &'static str, what: impl Into<String>) {
        self.add(name, Verdict::Good, what, "");
    }

    fn note(&mut self, name: &'static str, what: impl Into<String>) {
        self.add(name, Verdict::Note, what, "");
    }

    /// An error whose text may end with `; hint: ...`.
    fn bad(&mut self, name: &'static str, error: impl std::fmt::Display, fix: &str) {
        let text = error.to_string();
        match text.split_once("; hint: ") {
            Some((what, hint)) => self.add(name, Verdict::Bad, what, hint),
            None => self.add(name, Verdict::Bad, text, fix),
        }
    }

    fn failed(&mut self, name: &'static str, error: &anyhow::Error) {
        self.bad(name, Report::new(error).why(), "see `adit explain CODE`");
    }
}

/// `adit miner doctor`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let mut findings = Findings::default();
    let config = setup::config(state)?;
    findings.good(
        "configuration",
        format!("{}", setup::config_path(state)?.display()),
    );
    let key = match node_key::load(state) {
        Ok(key) => {
            findings.good("key", hex(&key.public().to_bytes()));
            Some(key)
        }
        Err(error) => {
            findings.failed("key", &error);
            None
        }
    };
    let running = ask::is_running(state)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let roots = match setup::roots(config.tls_ca.as_deref()) {
        Ok(roots) => roots,
        Err(error) => {
            findings.failed("tls", &error);
            Roots::system()
        }
    };
    let folder = setup::folder(state)?;
    let view = runtime.block_on(network(&mut findings, &config, &roots, &folder));
    if let (Some(view), Some(key)) = (&view, &key) {
        membership(&mut findings, &config, view, key);
    }
    disk(&mut findings, &config, &folder);
    let hellos = match args.quick {
        true => {
            findings.note("devices", "not looked at (--quick)");
            Vec::new()
        }
        false => {
            sandbox(&mut findings)?;
            devices(&mut findings, state, &config)
        }
    };
    match running {
        true => asked(&mut findings, state),
        false => {
            findings.note("running", "no miner runs with this state folder");
            let journal = key
                .as_ref()
                .and_then(|key| journal(&mut findings, &folder, key));
            if let (true, Some(key), Some(view), Some(mut journal)) =
                (args.greet, &key, &view, journal)
            {
                let greeting = Greeting {
                    config: &config,
                    view,
                    key,
                    roots: &roots,
                    hellos: &hellos,
                };
                runtime.block_on(greeting.all(&mut findings, &mut journal));
            }
        }
    }
    print(ui, &findings)
}

fn print(ui: &Ui, findings: &Findings) -> anyhow::Result<Exit> {
    let bad = findings.0.iter().any(|check| check.verdict == Verdict::Bad);
    if ui.json {
        let checks = findings.0.iter().map(|check| {
            json!({
                "name": check.name,
                "verdict": match check.verdict {
                    Verdict::Good => "good",
                    Verdict::Note => "note",
                    Verdict::Bad => "bad",
                },
                "what": check.what,
                "fix": (!check.fix.is_empty()).then_some(&check.fix),
            })
        });
        ui.object(&json!({ "ok": !bad, "checks": checks.collect::<Vec<_>>() }))?;
    } else {
        for check in &findings.0 {
            let mark = match check.verdict {
                Verdict::Good => "ok  ",
                Verdict::Note => "note",
                Verdict::Bad => "BAD ",
            };
            ui.line(format!("{mark} {:<14} {}", check.name, check.what))?;
            if !check.fix.is_empty() {
                ui.line(format!("     {:<14} fix: {}", "", check.fix))?;
            }
        }
    }
    Ok(if bad { Exit::Fixable } else { Exit::Ok })
}

/// Tries each source of the network file, and each coordinator. Returns the newest membership.
async fn network(
    findings: &mut Findings,
    config: &Config,
    roots: &Roots,
    folder: &Path,
) -> Option<NetworkView> {
    let expected = config.genesis.as_ref();
    let mut newest: Option<NetworkView> = None;
    let known = std::fs::read(Keeper::path(folder)).ok();
    if let Some(view) = known.and_then(|bytes| NetworkView::read(&bytes, expected).ok()) {
        newest = Some(view);
    }
    let mut reached = false;
    for source in &config.network {
        let checked = check_source(findings, source, roots).await;
        let view = checked
            .and_then(|bytes| NetworkView::read(&bytes, expected).map_err(SourceError::from));
        match view {
            Ok(view) => {
                let version = view.membership().version;
                let behind = newest
                    .as_ref()
                    .is_some_and(|known| known.accepts(&view).is_err());
                match behind {
                    true => findings.note("network", format!("{source}: version {version} of the membership, older than what is known")),
                    false => {
                        findings.good("network", format!("{source}: version {version} of the membership"));
                        newest = Some(view);
                    }
                }
                reached = true;
            }
            // One of several is enough.
            Err(error) if reached => findings.note("network", format!("{source}: {error}")),
            Err(error) => {
                let failure = init::unusable(&error);
                findings.bad("network", format!("{source}: {failure}"), "");
            }
        }
    }
    newest
}

/// Gets the network file from a source, and compares clocks on the way.
async fn check_source(
    findings: &mut Findings,
    source: &NetworkSource,
    roots: &Roots,
) -> Result<Vec<u8>, SourceError> {
    let fetched = network::fetch(source, roots).await?;
    if let Some(date_ms) = fetched.date_ms {
        let skew = skew_ms(date_ms, &SystemClock);
        let seconds = skew as f64 / 1000.0;
        match skew.abs() <= SKEW_MS_MAX {
            true => findings.good("clock", format!("within {:.0} s of {source}", seconds.abs().ceil())),
            false => findings.bad(
                "clock",
                format!("{source} is {seconds:+.0} s from this machine's clock"),
                "set the clock by NTP, as with `timedatectl set-ntp true`: signed requests are refused",
            ),
        }
    }
    Ok(fetched.bytes)
}

fn membership(findings: &mut Findings, config: &Config, view: &NetworkView, key: &Keypair) {
    let node = key.public().to_bytes();
    let engine = adit_runtime::engine_document::engine_document().hash();
    match view.obstacle(&node, &engine) {
        None => findings.good(
            "membership",
            format!(
                "a member of {} with a stake of {} tokens, engine active",
                one_line(&view.genesis().name),
                crate::text::tokens(view.miner(&node).map_or(0, |miner| miner.stake))
            ),
        ),
        Some((code, what)) => findings.bad(
            "membership",
            format!("{code}: {what}"),
            &format!("see `adit explain {code}`"),
        ),
    }
    let all = &view.membership().coordinators;
    let chosen = all.iter().filter(|member| {
        let chosen = &config.coordinators;
        chosen
            .as_ref()
            .is_none_or(|chosen| chosen.contains(&member.node))
    });
    match chosen.count() {
        0 => findings.bad(
            "coordinators",
            format!("none of the {} of the network", all.len()),
            "correct `coordinators` in miner.toml, or leave it out",
        ),
        number => findings.good("coordinators", format!("{number} of {}", all.len())),
    }
}

fn disk(findings: &mut Findings, config: &Config, folder: &Path) {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let Some(about) = there.and_then(|folder| rustix::fs::statvfs(folder).ok()) else {
        return findings.note("disk", "free space cannot be read");
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    // What the cache has already does not have to be free.
    let has = folder_bytes(&folder.join("blobs"));
    let needed = config
        .cache_size
        .saturating_sub(has)
        .saturating_add(SPARE_BYTES);
    let what = format!(
        "{} free; the cache may grow by {}",
        size(free),
        size(config.cache_size.saturating_sub(has))
    );
    match free >= needed {
        true => findings.good("disk", what),
        false => findings.bad(
            "disk",
            what,
            "free some space, or lower cache-size in miner.toml",
        ),
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let shelves = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = shelves.flat_map(|shelf| std::fs::read_dir(shelf.path()).into_iter().flatten());
    files
        .flatten()
        .filter_map(|file| file.metadata().ok())
        .map(|about| about.len())
        .sum()
}

fn sandbox(findings: &mut Findings) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    match self_test(&program) {
        Ok(attempts) if attempts.is_empty() => findings.note(
            "sandbox",
            "this system has no sandbox beyond WebAssembly's own that could be tried",
        ),
        Ok(attempts) => {
            let bad: Vec<String> = attempts
                .iter()
                .filter(|attempt| !attempt.good)
                .map(|attempt| format!("{}: {}", attempt.name, attempt.detail))
                .collect();
            match bad.is_empty() {
                true => findings.good(
                    "sandbox",
                    format!("holds: {} attempts from inside came out as they must", attempts.len()),
                ),
                false => findings.bad(
                    "sandbox",
                    bad.join("; "),
                    "use a kernel with Landlock and seccomp (Linux 5.13 or newer)",
                ),
            }
        }
        Err(why) => findings.bad(
            "sandbox",
            why,
            "use a kernel with Landlock and seccomp (Linux 5.13 or newer); in a container, allow both",
        ),
    }
    Ok(())
}

/// Starts a worker on each device, to see whether it computes.
fn devices(findings: &mut Findings, state: &State, config: &Config) -> Vec<WorkerHello> {
    let mut hellos = Vec::new();
    for device in &config.devices {
        let name = &device.name;
        let spec = match setup::device(state, device) {
            Ok(spec) => spec,
            Err(error) => {
                findings.bad(
                    "device",
                    format!("{name}: {}", Report::new(&error).why()),
                    "`adit doctor` says what is missing",
                );
                continue;
            }
        };
        match state.probe(&spec.choice, device.threads) {
            Ok(hello) => {
                let words = EnvironmentDocument::from_cbor(&hello.environment)
                    .map_or_else(|error| error.to_string(), |document| in_words(&document));
                findings.good("device", format!("{name}: {words}, {} slots", device.slots));
                hellos.push(hello);
            }
            Err(why) => findings.bad(
                "device",
                format!("{name}: {why}"),
                "`adit doctor` says what is missing",
            ),
        }
    }
    hellos
}

/// What the running miner says.
fn asked(findings: &mut Findings, state: &State) {
    let status = match ask::ask(state, &Request::Status) {
        Ok(status) => status,
        Err(error) => return findings.failed("running", &error),
    };
    match status.get("journal_failing").and_then(Value::as_str) {
        Some(why) => findings.bad("journal", why, "is the disk full?"),
        None => findings.good("journal", "in use by the miner that runs"),
    }
    let coordinators = status.get("coordinators").and_then(Value::as_array);
    for coordinator in coordinators.into_iter().flatten() {
        let url = coordinator
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let idle = coordinator.get("idle").filter(|idle| !idle.is_null());
        let text = |name: &str| {
            let value = idle.and_then(|idle| idle.get(name)).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let code = text("code").parse::<Code>().ok();
        let what = format!("{url}: {} {}", text("code"), text("detail"));
        match code {
            None => findings.good("running", format!("{url}: at work")),
            // The usual reasons, which pass by themselves.
            Some(code) if code.retryable() && code != Code::Unreachable => {
                findings.note("running", what);
            }
            Some(Code::Paused) => findings.note("running", what),
            Some(code) => findings.bad("running", what, &format!("see `adit explain {code}`")),
        }
    }
}

fn journal(findings: &mut Findings, folder: &Path, key: &Keypair) -> Option<Journal> {
    let path = Miner::journal_path(folder);
    if !path.exists() {
        findings.note("journal", "none yet: it is made when the miner first runs");
        return None;
    }
    let opened = Journal::open(&path, key.public().to_bytes(), u64::MAX);
    let read = opened.and_then(|mut journal| {
        let mut open = 0;
        let mut all = 0;
        for coordinator in journal.coordinators() {
            let [begun, signed, acknowledged, refused] = journal.counts(&coordinator)?;
            open += begun + signed;
            all += begun + signed + acknowledged + refused;
        }
        Ok((journal, all, open))
    });
    match read {
        Ok((journal, all, open)) => {
            findings.good(
                "journal",
                format!("{all} receipts, {open} of them not answered yet"),
            );
            Some(journal)
        }
        Err(error) => {
            findings.bad("journal", error, "see `adit explain journal-lost`");
            None
        }
    }
}

/// What is needed to greet coordinators.
struct Greeting<'a> {
    config: &'a Config,
    view: &'a NetworkView,
    key: &'a Keypair,
    roots: &'a Roots,
    hellos: &'a [WorkerHello],
}

impl Greeting<'_> {
    /// Says hello to each coordinator, and compares its answer with the journal.
    async fn all(&self, findings: &mut Findings, journal: &mut Journal) {
        if self.hellos.is_empty() {
            return findings.note("greeting", "there is no device to offer");
        }
        let hello = Hello {
            genesis: self.view.genesis_hash(),
            software: concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned(),
            engine: adit_runtime::engine_document::engine_document().hash(),
            devices: self
                .hellos
                .iter()
                .map(|hello| OfferedDevice {
                    environment: hello.environment.clone(),
                    gpu: hello.gpu,
                    memory_bytes: hello.device_memory_bytes,
                })
                .collect(),
            slots: 1,
            hardware: None,
        };
        for member in &self.view.membership().coordinators {
            let chosen = &self.config.coordinators;
            if chosen
                .as_ref()
                .is_some_and(|chosen| !chosen.contains(&member.node))
            {
                continue;
            }
            let url = &member.url;
            let clock = std::sync::Arc::new(SystemClock);
            let welcome = match HttpApi::new(url, self.key, self.roots.clone(), clock) {
                Ok(api) => api.hello(&hello).await,
                Err(error) => Err(error),
            };
            let welcome = match welcome {
                Ok(welcome) => welcome,
                Err(error) => {
                    findings.bad("greeting", format!("{url}: {error}"), "");
                    continue;
                }
            };
            match journal.standing(&member.node, welcome.last_seq, &welcome.last_receipt) {
                Ok(Standing::Agreed) => findings.good("greeting", format!("{url}: it and the journal agree")),
                Ok(Standing::Behind { has }) => findings.note(
                    "greeting",
                    format!("{url}: it has receipts up to {has}; the others are handed in when the miner runs"),
                ),
                Ok(lost) => findings.bad(
                    "greeting",
                    format!("{url}: {}: {lost:?}", Code::JournalLost),
                    "restore the newest journal, or make and register a new node key: see `adit explain journal-lost`",
                ),
                Err(error) => findings.bad("greeting", error, ""),
            }
        }
    }
}
