//! `adit coordinator init`.

use std::path::{Path, PathBuf};

use adit_coordinator::tokens::TokenFile;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::keys::ss58;
use adit_protocol::network::membership::NetworkFile;
use anyhow::Context as _;
use rand_core::OsRng;
use serde_json::json;

use super::config::Config;
use super::{InitArgs, folder, refused};
use crate::amounts::now_ns;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::{State, key_file, make_key, private_folder, write_file};
use crate::text::{hex, one_line};
use crate::ui::Ui;

/// `adit coordinator init ...`.
pub fn command(ui: &Ui, state: &State, args: &InitArgs) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let config_path = folder.join("coordinator.toml");
    if config_path.exists() {
        return Failure::argument(format!(
            "there is a coordinator in {} already",
            folder.display()
        ))
        .why("its keys and tokens would be lost")
        .hint("run it with `adit coordinator run`, or choose another folder with --state")
        .into_err();
    }
    check(args)?;
    let network = args.network.as_deref().map(network).transpose()?;
    let config = Config {
        name: args.name.clone(),
        listen: Some(args.listen),
        public_url: args.public_url.clone(),
        network: None,
        region: args.region.clone(),
        tls_self_signed: args.tls_self_signed,
        tls_cert: args.tls_cert.as_deref().map(absolute).transpose()?,
        tls_key: args.tls_key.as_deref().map(absolute).transpose()?,
        insecure_listen: args.insecure_listen,
        ..Config::default()
    };
    let keys = folder.join("keys");
    private_folder(&keys).with_context(|| format!("{} could not be made", keys.display()))?;
    for name in ["node", "log"] {
        let path = keys.join(name);
        // What a first try that failed has left is used.
        if std::fs::symlink_metadata(&path).is_err() {
            make_key(&keys, &path)?;
        }
    }
    let node = key_file(&keys.join("node"))?.public();
    let log = key_file(&keys.join("log"))?.public();
    if let Some(network) = network {
        write_file(&folder.join("network"), &network, 0o644)?;
    }
    let tokens_path = folder.join("tokens.toml");
    let mut tokens = TokenFile::default();
    let (token, _) = tokens
        .add(&args.client, now_ns() / 1_000_000, &mut OsRng)
        .map_err(refused)?;
    tokens.save(&tokens_path).map_err(refused)?;
    let unit_path = folder.join("adit-coordinator.service");
    write_file(&unit_path, unit(state.root()?)?.as_bytes(), 0o644)?;
    let url = args.public_url.clone().unwrap_or_else(|| {
        let tls = args.tls_self_signed || args.tls_cert.is_some();
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}", args.listen)
    });
    // Last: it is what says that there is a coordinator.
    let text = toml::to_string(&config).context("the configuration could not be written")?;
    write_file(&config_path, text.as_bytes(), 0o600)?;

    if ui.json {
        ui.object(&json!({
            "folder": folder,
            "name": args.name,
            "node": hex(&node.to_bytes()),
            "log": hex(&log.to_bytes()),
            "url": url,
            "client": args.client,
            "token": token,
            "systemd_unit": unit_path,
        }))?;
    } else {
        ui.line(format!("folder    {}", folder.display()))?;
        ui.line(format!("node key  {}", hex(&node.to_bytes())))?;
        ui.line(format!(
            "address   {}",
            ss58::encode(&node, ss58::GENERIC_PREFIX)
        ))?;
        ui.line(format!("log key   {}", hex(&log.to_bytes())))?;
        ui.line(format!("url       {url}"))?;
        ui.line(format!("client    {}", one_line(&args.client)))?;
        ui.line(format!("token     {token}"))?;
    }
    ui.note("the token is shown this once; `adit coordinator token add` makes others");
    ui.note(format!(
        "register it with the network's authority: adit network add-coordinator FILE --node {} --log {} --url {url} --stake TOKENS",
        hex(&node.to_bytes()),
        hex(&log.to_bytes())
    ));
    if args.network.is_none() {
        ui.note(format!(
            "then put the network file at {}",
            folder.join("network").display()
        ));
    }
    ui.note(format!("a unit for systemd is in {}", unit_path.display()));
    Ok(Exit::Ok)
}

fn check(args: &InitArgs) -> anyhow::Result<()> {
    if args.name.is_empty() || args.name.len() > 64 || args.name.chars().any(char::is_control) {
        return Failure::argument("the coordinator cannot have this name")
            .why("a name has 1 to 64 bytes and no control characters")
            .hint("give another --name")
            .into_err();
    }
    let tls = args.tls_self_signed || args.tls_cert.is_some();
    if !args.listen.ip().is_loopback() && !tls && !args.insecure_listen {
        return Failure::new(Code::InsecureListen, "the coordinator was not set up")
            .why(format!(
                "listening on {} without TLS would send tokens and results in the clear",
                args.listen
            ))
            .hint("add --tls-self-signed, or --tls-cert and --tls-key; or --insecure-listen if a proxy on the way adds TLS")
            .into_err();
    }
    if let Some(url) = &args.public_url {
        let parsed = url::Url::parse(url);
        if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
        {
            return Failure::argument("the public address cannot be used")
                .why(format!("`{}` is no address of the web", one_line(url)))
                .hint("write it as https://host:port")
                .into_err();
        }
    }
    Ok(())
}

/// The bytes of a network file that its authority signed.
fn network(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = read_file(path, NetworkFile::MAX_LEN as u64, "the network file")?;
    let refused = |message: String| {
        Failure::new(
            Code::BadEncoding,
            format!("the network file {} cannot be used", path.display()),
        )
        .because(message)
        .exit(Exit::Signature)
    };
    NetworkFile::from_cbor(&bytes)
        .map_err(|error| refused(error.to_string()))?
        .verify()
        .map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no place", path.display()))
}

/// A unit for systemd. Nothing in it needs more rights than the state folder.
fn unit(root: &Path) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("this program cannot find its own file")?;
    let root = absolute(root)?;
    Ok(format!(
        "[Unit]\n\
         Description=Adit coordinator\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart=\"{}\" --state \"{}\" coordinator run\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         KillSignal=SIGTERM\n\
         TimeoutStopSec=90\n\
         Restart=on-failure\n\
         RestartSec=5\n\
         LimitNOFILE=65536\n\
         NoNewPrivileges=yes\n\
         ProtectSystem=strict\n\
         ReadWritePaths=\"{}\"\n\
         PrivateTmp=yes\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        program.display(),
        root.display(),
        root.display()
    ))
}
