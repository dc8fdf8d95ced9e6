//! `adit network`: make, show and edit network files.
//!
//! A network file says what a network is (the genesis document) and who takes part in it (the
//! membership, which the network's authority signs). Nodes take it as it is: whoever edits it has
//! to have it signed again, with a higher version, and gives it to all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::signed::{Signable as _, Signed};
use rand_core::OsRng;

use crate::amounts;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::keyring::{self, PasswordFile};
use crate::state::{State, write_file};
use crate::ui::Ui;

mod edit;
mod new;
mod show;

/// The subcommands of `adit network`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a new network: its genesis document and a membership without nodes
    New {
        /// Where to write the network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Name of the network, for people
        #[arg(long)]
        name: String,
        /// Allow development keys, as //Alice, which everyone has. Never for a network with value
        #[arg(long)]
        development: bool,
        /// Length of an epoch
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = amounts::duration)]
        epoch: Duration,
        /// Least stake of a miner, in tokens
        #[arg(long, value_name = "TOKENS", default_value = "20000", value_parser = amounts::tokens)]
        miner_stake_min: u128,
        /// Least stake of a coordinator, in tokens
        #[arg(long, value_name = "TOKENS", default_value = "2000000", value_parser = amounts::tokens)]
        coordinator_stake_min: u128,
        /// Stake above this many times the least counts no more in draws
        #[arg(long, value_name = "N", default_value = "10")]
        saturation: u32,
        /// An engine whose results are paid; may be repeated [default: that of this program]
        #[arg(long, value_name = "HASH")]
        engine: Vec<Hash>,
        #[command(flatten)]
        authority: Authority,
    },
    /// Show what a network is and who takes part in it
    Show {
        /// The network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Add a miner, or change one
    AddMiner {
        /// The network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its node key: an address, 0x and digits, a key file, or //Name
        #[arg(long, value_name = "KEY")]
        node: String,
        /// Account of its operator, in the same forms [default: the node key]
        #[arg(long, value_name = "KEY")]
        account: Option<String>,
        /// Its stake, in tokens
        #[arg(long, value_name = "TOKENS", value_parser = amounts::tokens)]
        stake: u128,
        /// Who it is, for people
        #[arg(long, value_name = "TEXT", default_value = "")]
        introduction: String,
        /// Why it may not work at present; without this it may
        #[arg(long, value_name = "REASON")]
        jailed: Option<String>,
        #[command(flatten)]
        authority: OptionalAuthority,
    },
    /// Add a coordinator, or change one
    AddCoordinator {
        /// The network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its node key: an address, 0x and digits, a key file, or //Name
        #[arg(long, value_name = "KEY")]
        node: String,
        /// Its log key, which is another one
        #[arg(long, value_name = "KEY")]
        log: String,
        /// Account of its operator, in the same forms [default: the node key]
        #[arg(long, value_name = "KEY")]
        account: Option<String>,
        /// Its stake, in tokens
        #[arg(long, value_name = "TOKENS", value_parser = amounts::tokens)]
        stake: u128,
        /// Where it is reached, as https://host:port
        #[arg(long)]
        url: String,
        /// The region that it is in, as eu-central
        #[arg(long, default_value = "")]
        region: String,
        /// Who it is, for people
        #[arg(long, value_name = "TEXT", default_value = "")]
        introduction: String,
        #[command(flatten)]
        authority: OptionalAuthority,
    },
    /// Remove a miner or a coordinator
    Remove {
        /// The network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Its node key
        #[arg(long, value_name = "KEY")]
        node: String,
        #[command(flatten)]
        authority: OptionalAuthority,
    },
    /// Sign a network file that was edited without the authority's key
    Sign {
        /// The network file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        authority: Authority,
    },
}

/// Who signs.
#[derive(clap::Args)]
pub struct Authority {
    /// The authority's key: a key file, a keystore, `local`, //Name, or - for a secret URI on stdin
    #[arg(long, value_name = "KEY")]
    authority: String,
    #[command(flatten)]
    password: PasswordFile,
}

/// Who signs, if it is done at once.
#[derive(clap::Args)]
pub struct OptionalAuthority {
    /// Sign with the authority's key at once; without it, `adit network sign` has to follow
    #[arg(long, value_name = "KEY")]
    authority: Option<String>,
    #[command(flatten)]
    password: PasswordFile,
}

/// `adit network ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::New { .. } => new::command(ui, state, command),
        Command::Show { file } => show::command(ui, file),
        Command::AddMiner { .. } | Command::AddCoordinator { .. } | Command::Remove { .. } => {
            edit::command(ui, state, command)
        }
        Command::Sign { file, authority } => {
            let (network, membership) = read(file)?;
            let signed = sign(
                ui,
                state,
                network,
                &membership,
                &authority.authority,
                &authority.password,
            )?;
            write(file, &signed)?;
            report(ui, file, &membership, true)
        }
    }
}

/// A network file, and the membership in it with its signature not checked.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> anyhow::Result<(NetworkFile, Membership)> {
    let bytes = read_file(path, NetworkFile::MAX_LEN as u64, "the network file")?;
    let wrong = |error: adit_protocol::DecodeError| {
        Failure::new(
            Code::BadEncoding,
            format!("{} is no network file", path.display()),
        )
        .because(error)
        .exit(Exit::Signature)
    };
    let file = NetworkFile::from_cbor(&bytes).map_err(wrong)?;
    let membership = file.membership.unverified().map_err(wrong)?;
    Ok((file, membership))
}

fn write(path: &Path, file: &NetworkFile) -> anyhow::Result<()> {
    write_file(path, &file.to_cbor(), 0o644)
}

/// The file with a membership that nobody has signed yet: its signature is zero.
fn unsigned(file: NetworkFile, membership: &Membership) -> anyhow::Result<NetworkFile> {
    membership.check().map_err(refused)?;
    Ok(NetworkFile {
        membership: Signed::unsigned(membership),
        ..file
    })
}

/// The file with a membership that the authority signs.
fn sign(
    ui: &Ui,
    state: &State,
    file: NetworkFile,
    membership: &Membership,
    key: &str,
    password: &PasswordFile,
) -> anyhow::Result<NetworkFile> {
    membership.check().map_err(refused)?;
    let secret = keyring::secret(ui, state, key, Some(password))?;
    if secret.keypair.public().to_bytes() != file.genesis.authority {
        return Failure::new(Code::BadKey, "the network file was not signed")
            .why("the key is not that of the authority which the genesis document names")
            .hint("give the key that the network was made with")
            .into_err();
    }
    Ok(NetworkFile {
        membership: membership.sign(&secret.keypair, &mut OsRng),
        ..file
    })
}

fn refused(error: adit_protocol::cbor::Invalid) -> Failure {
    Failure::argument("the network file would not be valid")
        .why(format!("{}: {}", error.field, error.detail))
        .hint("see `adit network --help` for what each field may be")
}

/// What a command that wrote a network file prints.
fn report(ui: &Ui, file: &Path, membership: &Membership, signed: bool) -> anyhow::Result<Exit> {
    if ui.json {
        ui.object(&serde_json::json!({
            "file": file,
            "network": membership.genesis,
            "version": membership.version,
            "coordinators": membership.coordinators.len(),
            "miners": membership.miners.len(),
            "signed": signed,
        }))?;
    } else {
        ui.line(format!(
            "{}: version {}, {} coordinators, {} miners{}",
            file.display(),
            membership.version,
            membership.coordinators.len(),
            membership.miners.len(),
            if signed { "" } else { ", NOT SIGNED YET" },
        ))?;
    }
    if !signed {
        ui.note(format!(
            "no node accepts the file before the authority has signed it: adit network sign {} --authority KEY",
            file.display()
        ));
    }
    Ok(Exit::Ok)
}

/// A development key on a network that does not allow them.
fn development(what: &str) -> Failure {
    Failure::new(Code::BadKey, format!("the {what} is refused"))
        .why("it is a development key, which everyone has, and this network is not for development")
        .hint("make a key with `adit key new`, or a network with `adit network new --development`")
}
