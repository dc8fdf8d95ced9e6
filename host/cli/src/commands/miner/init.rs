//! `adit miner init`: a node key, the network, a configuration, and what is still needed.

use std::path::{Path, PathBuf};

use adit_miner::config::NetworkSource;
use adit_miner::network::{self, Keeper, NetworkView, SourceError};
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::keys::ss58;
use anyhow::Context as _;
use serde_json::{Value, json};

use super::{node_key, setup};
use crate::error::{Exit, Failure};
use crate::state::{State, write_file};
use crate::text::{hex, one_line, tokens};
use crate::ui::Ui;

/// Options of `adit miner init`.
#[derive(clap::Args)]
pub struct Args {
    /// The network: the address of one of its coordinators, as https://host:port, or a network file
    #[arg(long, value_name = "URL|FILE")]
    network: String,
    /// Take the node key from this file instead of making a new one: its seed as 0x and 64 digits,
    /// or a secret phrase or URI, on the first line
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A certificate authority to trust beside those of the system, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// `adit miner init`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let config_path = setup::config_path(state)?;
    if config_path.exists() {
        return Failure::argument("there is a miner in this state folder already")
            .why(format!("{} exists", config_path.display()))
            .hint("change that file; or make another miner with --state DIR, or move the file away")
            .into_err();
    }
    // Before anything is written.
    let source = NetworkSource::parse(&args.network).map_err(|why| {
        Failure::argument("the network cannot be used")
            .why(why)
            .hint("give https://host:port of a coordinator, or a file")
    })?;
    let source = match source {
        NetworkSource::File(path) => NetworkSource::File(
            std::path::absolute(&path).with_context(|| path.display().to_string())?,
        ),
        url => url,
    };
    let ca = args.ca.as_ref().map(std::path::absolute).transpose()?;
    let roots = setup::roots(ca.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let fetched = runtime
        .block_on(network::fetch(&source, &roots))
        .map_err(|error| unusable(&error))?;
    let view = NetworkView::read(&fetched.bytes, None)
        .map_err(|error| unusable(&SourceError::from(error)))?;

    let key = node_key::make(state, args.key.as_deref(), view.genesis().development)?;
    let node = key.public();
    let folder = setup::folder(state)?;
    crate::state::private_folder(&folder)
        .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    write_file(&Keeper::path(&folder), &fetched.bytes, 0o600)?;
    let unit_path = folder.join("adit-miner.service");
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    write_file(&unit_path, unit(&program, state.root()?).as_bytes(), 0o644)?;
    // Last: with it there is a miner.
    let text = configuration(&source, &view, ca.as_deref());
    write_file(&config_path, text.as_bytes(), 0o600)?;

    let engine = adit_runtime::engine_document::engine_document().hash();
    let needed = needed(&view, &node.to_bytes(), &engine);
    let address = ss58::encode(&node, ss58::GENERIC_PREFIX);
    if ui.json {
        ui.object(&json!({
            "node": hex(&node.to_bytes()),
            "address": address,
            "network": view.genesis_hash(),
            "network_name": view.genesis().name,
            "membership": view.membership().version,
            "coordinators": view.membership().coordinators.len(),
            "config": config_path,
            "unit": unit_path,
            "needed": needed.iter().map(Needed::as_json).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    ui.line(format!("node key       {}", hex(&node.to_bytes())))?;
    ui.line(format!("               {address}"))?;
    ui.line(format!(
        "network        {} ({}), {} coordinators",
        one_line(&view.genesis().name),
        view.genesis_hash(),
        view.membership().coordinators.len()
    ))?;
    ui.line(format!("configuration  {}", config_path.display()))?;
    ui.line(format!("systemd unit   {}", unit_path.display()))?;
    if needed.is_empty() {
        ui.line("all that a miner needs is there: start it with `adit miner run`")?;
    } else {
        ui.line("still needed before this miner is drawn:")?;
        for needed in &needed {
            ui.line(format!("  - {}: {}", needed.what, needed.how))?;
        }
        ui.line("`adit miner doctor` checks it again")?;
    }
    Ok(Exit::Ok)
}

/// The failure of a network file that cannot be had or used.
pub fn unusable(error: &SourceError) -> Failure {
    let code = match error {
        SourceError::Client(error) => error.code(),
        SourceError::File { .. } => Code::InvalidArgument,
        SourceError::View(_) => Code::BadSignature,
        _ => Code::Unreachable,
    };
    let exit = match error {
        SourceError::View(_) => Exit::Signature,
        _ => Exit::Fixable,
    };
    Failure::new(code, "the network file cannot be used")
        .exit(exit)
        .because(error)
        .or_hint("is it the address of a coordinator, as https://host:port?")
}

/// Something that is lacking.
pub struct Needed {
    code: Code,
    what: String,
    how: String,
}

impl Needed {
    fn as_json(&self) -> Value {
        json!({ "code": self.code, "what": self.what, "how": self.how })
    }
}

/// What this miner lacks to be drawn, by the membership.
fn needed(view: &NetworkView, node: &[u8; 32], engine: &adit_protocol::Hash) -> Vec<Needed> {
    let mut all = Vec::new();
    let least = tokens(view.genesis().miner_stake_min);
    match view.obstacle(node, engine) {
        None => {}
        Some((code @ Code::NotRegistered, what)) => all.push(Needed {
            code,
            what,
            how: match view.genesis().ledger {
                Some(_) => format!(
                    "register it from an account with a stake of {least} tokens at least: `adit register miner`; it takes part from the next epoch on"
                ),
                None => format!(
                    "the network's authority has to add the node key with a stake of {least} tokens at least: `adit network add-miner`"
                ),
            },
        }),
        Some((code @ Code::BelowMinimumStake, _)) => {
            let has = view.miner(node).map_or(0, |miner| miner.stake);
            all.push(Needed {
                code,
                what: format!("the stake is {} tokens", tokens(has)),
                how: format!("it must be {least} tokens at least: `adit stake`"),
            });
        }
        Some((code @ Code::StaleEngine, what)) => all.push(Needed {
            code,
            what,
            how: "install the release that the network uses".to_owned(),
        }),
        Some((code, what)) => all.push(Needed {
            code,
            how: format!("see `adit explain {code}`"),
            what,
        }),
    }
    if view.membership().coordinators.is_empty() {
        all.push(Needed {
            code: Code::NoTasks,
            what: "the network has no coordinator".to_owned(),
            how: "wait until one registers".to_owned(),
        });
    }
    all
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The configuration file, with what can be changed in comments.
fn configuration(source: &NetworkSource, view: &NetworkView, ca: Option<&Path>) -> String {
    let mut sources = vec![source.to_string()];
    if matches!(source, NetworkSource::Url(_)) {
        // Any of them can say what the membership is.
        let urls = view.membership().coordinators.iter().take(8);
        let urls = urls.filter_map(|member| match NetworkSource::parse(&member.url) {
            Ok(url @ NetworkSource::Url(_)) => Some(url.to_string()),
            _ => None,
        });
        sources.extend(urls);
    }
    let mut seen = std::collections::HashSet::new();
    sources.retain(|source| seen.insert(source.clone()));
    let sources: Vec<String> = sources.iter().map(|source| quoted(source)).collect();
    let ca = match ca {
        Some(path) => format!("tls-ca = {}", quoted(&path.to_string_lossy())),
        None => "# tls-ca = \"ca.pem\"".to_owned(),
    };
    format!(
        r#"# Made by `adit miner init`. Restart the miner after a change.

# Where the newest membership comes from: the first that answers is used.
network = [{}]
# The network that this miner is in: {}.
genesis = "{}"
# A certificate authority to trust beside those of the system, PEM.
{ca}
# Node keys of the coordinators to work for; all of the membership if it is left out.
# coordinators = ["0x..."]

# Assignments of one coordinator that are held beyond those that run.
# queue-depth = 64
# Most bytes of components, inputs and models on disk.
# cache-size = "20GiB"
# How long what belongs to settled receipts is kept.
# keep = "1h"
# How long a run may go on after SIGTERM.
# stop-grace = "30s"
# Where metrics are served, on this machine only.
# metrics = "127.0.0.1:9465"
# How log lines are written: text or json.
# log = "text"

[[device]]
name = "cpu"
# Runs at one time; as many as there are processors if it is left out.
# slots = {}
# memory = "8GiB"

# Another one: see `adit doctor` for the devices of this machine.
# [[device]]
# name = "gpu0"
# device = "cuda"
# index = 0
# slots = 2
# device-memory = "12GiB"
# hottest-c = 85
"#,
        sources.join(", "),
        one_line(&view.genesis().name),
        view.genesis_hash(),
        setup::processors(),
    )
}

/// A systemd unit for the user who has made the state folder.
fn unit(program: &Path, root: &Path) -> String {
    // In a unit, % begins a specifier, and $ a variable.
    let quote = |path: &Path| {
        let text = path.to_string_lossy();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", text.replace('%', "%%").replace('$', "$$"))
    };
    format!(
        r#"# Made by `adit miner init`. As this user:
#   systemctl --user link {root}/miner/adit-miner.service && systemctl --user enable --now adit-miner
# and `loginctl enable-linger` so that it runs while you are logged out.
[Unit]
Description=Adit miner
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={} miner run --state {}
Restart=on-failure
RestartSec=5
# It finishes what it has begun, and hands it in.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=120
LimitNOFILE=65536

[Install]
WantedBy=default.target
"#,
        quote(program),
        quote(root),
        root = root.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_unit_mean_themselves() {
        let unit = unit(Path::new("/opt/a b/adit"), Path::new("/home/100%/$x\""));
        let line = unit.lines().find(|line| line.starts_with("ExecStart="));
        assert_eq!(
            line,
            Some(r#"ExecStart="/opt/a b/adit" miner run --state "/home/100%%/$$x\"""#)
        );
    }
}
