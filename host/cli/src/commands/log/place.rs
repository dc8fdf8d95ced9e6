//! Which log the command line names, and whose word on it counts.

use std::path::{Path, PathBuf};

use adit_net::http::client::{Client, ClientConfig};
use adit_net::log::{CHECKPOINT, FolderSource, LogReader, SourceError, TileSource, Trust};
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::log::tile::Tile;
use adit_protocol::network::membership::{Membership, NetworkFile};
use anyhow::Context as _;
use url::Url;

use super::failure::of_read;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::remote::{discovery, roots, shown};
use crate::text::one_line;
use crate::ui::Ui;

/// What is given for the `adit dev` that this user runs.
const DEV: &str = "dev";
/// Where a coordinator has its log.
const LOG: &str = "log";

/// Options that name a log.
#[derive(clap::Args, Clone, Debug)]
pub struct LogArgs {
    /// Address of the coordinator, `dev` for the `adit dev` that runs here, or a folder with a log
    #[arg(value_name = "URL|dev|FOLDER")]
    source: String,
    /// The certificate authority of the coordinator's certificate, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// Options that say whose word counts.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TrustArgs {
    /// The log's verifier key, as NAME+ID+KEY
    #[arg(long, value_name = "KEY", conflicts_with = "network")]
    pub vkey: Option<String>,
    /// The network file that you have from elsewhere [default: what the coordinator says itself]
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// The verifier key of a witness; may be repeated [default: those of the network file]
    #[arg(long = "witness", value_name = "KEY")]
    pub witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned
    #[arg(long, value_name = "N", default_value = "0")]
    pub quorum: usize,
}

/// The trust in a log with the key `log`, whose checkpoints these witnesses must have cosigned.
///
/// # Errors
///
/// When there are not so many.
pub fn cosigned(log: NoteKey, witnesses: Vec<NoteKey>, quorum: usize) -> anyhow::Result<Trust> {
    if quorum > witnesses.len() {
        return Failure::argument("so many witnesses cannot have cosigned")
            .why(format!(
                "--quorum asks for {quorum}, and {} are known",
                witnesses.len()
            ))
            .hint("name them with --witness KEY, or by a network file that has them")
            .into_err();
    }
    Ok(Trust {
        log,
        witnesses,
        quorum,
    })
}

/// By what a log's key is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// It was given.
    Vkey,
    /// A network file was given, or is that of the running `adit dev`.
    NetworkFile,
    /// The coordinator has said so itself.
    Coordinator,
}

impl KnownBy {
    /// For JSON.
    pub fn word(self) -> &'static str {
        match self {
            KnownBy::Vkey => "vkey",
            KnownBy::NetworkFile => "network-file",
            KnownBy::Coordinator => "coordinator",
        }
    }
}

/// A server or a folder.
pub enum Place {
    /// A server, whose base is the log's address, with the address of the coordinator it is of.
    Server(Client, Client),
    /// A folder.
    Folder(FolderSource),
}

impl TileSource for Place {
    async fn note(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        match self {
            Place::Server(log, _) => log.note(name).await,
            Place::Folder(folder) => folder.note(name).await,
        }
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        match self {
            Place::Server(log, _) => log.tile(tile).await,
            Place::Folder(folder) => folder.tile(tile).await,
        }
    }
}

/// A log with whose word on it counts.
pub struct Named {
    /// Reads it.
    pub reader: LogReader<Place>,
    /// By what its key is known.
    pub known_by: KnownBy,
    /// Where it is, for people.
    pub shown: String,
}

impl LogArgs {
    /// Finds the log and the keys.
    ///
    /// # Errors
    ///
    /// When the place cannot be used, or nobody says whose the keys are.
    pub async fn find(&self, ui: &Ui) -> anyhow::Result<Named> {
        let dev = match self.source == DEV {
            false => None,
            true => Some(running()?),
        };
        let text = dev.as_ref().map_or(&self.source, |dev| &dev.url);
        let (place, shown) = self.place(text)?;
        let network = (self.trust.network.clone()).or(dev.map(|dev| dev.network));
        let (trust, known_by) = trust(&self.trust, &place, network.as_deref()).await?;
        if known_by == KnownBy::Coordinator {
            ui.note(format!(
                "note: the keys are those that {shown} says itself; --network FILE or --vkey KEY compares with what you have from elsewhere"
            ));
        }
        Ok(Named {
            reader: LogReader::new(place, trust),
            known_by,
            shown,
        })
    }

    fn place(&self, text: &str) -> anyhow::Result<(Place, String)> {
        if !text.contains("://") {
            let path = Path::new(text);
            if !path.is_dir() {
                return Failure::argument(format!("`{}` names no log", one_line(text)))
                    .why("it is no address and no folder")
                    .hint("give https://host:port, `dev`, or the folder of a log or a mirror")
                    .into_err();
            }
            let source = FolderSource(path.to_owned());
            return Ok((Place::Folder(source), path.display().to_string()));
        }
        let url = Url::parse(text).map_err(|error| {
            Failure::argument(format!("`{}` is no address", one_line(text)))
                .why(error.to_string())
                .hint("it looks like https://host:port")
        })?;
        let mut log = url.clone();
        if matches!(url.path(), "" | "/") {
            log.set_path(LOG);
        }
        let roots = roots(self.ca.as_deref())?;
        let client = |base: &Url| {
            let config = ClientConfig {
                roots: roots.clone(),
                ..ClientConfig::new(base.clone())
            };
            Client::new(config).context("the log cannot be asked")
        };
        Ok((Place::Server(client(&log)?, client(&url)?), shown(&log)))
    }
}

fn running() -> anyhow::Result<discovery::Ports> {
    match discovery::running()? {
        Some(dev) => Ok(dev),
        None => Failure::argument("there is no development network to ask")
            .why("`dev` means the `adit dev` of this user, and none runs")
            .hint("start one with `adit dev`, or give an address")
            .into_err(),
    }
}

/// Whose word counts on the log of a place. `network` is the network file.
async fn trust(
    args: &TrustArgs,
    place: &Place,
    network: Option<&Path>,
) -> anyhow::Result<(Trust, KnownBy)> {
    let (log, members, known_by) = match (&args.vkey, network, place) {
        (Some(vkey), ..) => (log_key(vkey)?, None, KnownBy::Vkey),
        (None, Some(path), _) => {
            let bytes = read_file(path, NetworkFile::MAX_LEN as u64, "the network file")?;
            let what = format!("the network file {} cannot be used", path.display());
            let membership = membership(&bytes, what)?;
            let key = key_of(place, &membership).await?;
            (key, Some(membership), KnownBy::NetworkFile)
        }
        (None, None, Place::Server(_, coordinator)) => {
            let what = format!("the keys of {} are not known", shown(coordinator.base()));
            let call = coordinator.get("/v1/network");
            let answer = call.answer_bytes_max(NetworkFile::MAX_LEN).send().await;
            let answer = answer.map_err(|error| {
                Failure::new(error.code(), what.clone())
                    .because(&error)
                    .exit(Exit::Unchecked)
            })?;
            let membership = membership(&answer.bytes, what)?;
            let key = key_of(place, &membership).await?;
            (key, Some(membership), KnownBy::Coordinator)
        }
        (None, None, Place::Folder(folder)) => {
            return Failure::argument(format!(
                "the log in {} cannot be checked",
                folder.0.display()
            ))
            .why("a folder does not say whose keys are right")
            .hint("give --network FILE or --vkey KEY")
            .into_err();
        }
    };
    let witnesses = match (args.witnesses.is_empty(), members) {
        (true, Some(members)) => of_members(&members),
        _ => witness_keys(&args.witnesses)?,
    };
    Ok((cosigned(log, witnesses, args.quorum)?, known_by))
}

fn membership(bytes: &[u8], what: String) -> anyhow::Result<Membership> {
    let bad = |code, error: &dyn std::fmt::Display| {
        Failure::new(code, what.clone())
            .because(error)
            .exit(Exit::Signature)
    };
    let file = NetworkFile::from_cbor(bytes).map_err(|error| bad(Code::BadEncoding, &error))?;
    let members = file.verify();
    Ok(members.map_err(|error| bad(Code::BadSignature, &error))?)
}

/// The key of the log that a place has, by the members of the network: the checkpoint says whose log
/// it is, and the network what that coordinator's key is.
async fn key_of(place: &Place, members: &Membership) -> anyhow::Result<NoteKey> {
    let what = "the log's checkpoint cannot be used";
    let bytes = place.note(CHECKPOINT).await;
    let bytes = bytes.map_err(|error| of_read(what, &error.into()))?;
    key_for(&bytes, members)
}

/// The key of the log of a checkpoint, by the members of the network.
///
/// # Errors
///
/// When the checkpoint is none, or of no coordinator of the network.
pub fn key_for(note: &[u8], members: &Membership) -> anyhow::Result<NoteKey> {
    let what = "the log's checkpoint cannot be used";
    let signed = SignedCheckpoint::parse(note).map_err(|error| of_read(what, &error.into()))?;
    let name = signed.unverified().origin.to_string();
    let stranger = |why: String| {
        Failure::new(Code::NotRegistered, "the log is not of this network")
            .why(why)
            .hint("is it the right address, and the right network file?")
            .exit(Exit::Signature)
    };
    let origin: Origin = name.parse().map_err(|error| stranger(format!("{error}")))?;
    let node = origin.coordinator.to_bytes();
    let member = members.coordinator(&node).ok_or_else(|| {
        stranger(format!(
            "its coordinator {} is no member",
            crate::text::hex(&node)
        ))
    })?;
    let log = PublicKey::from_bytes(&member.log)
        .map_err(|error| stranger(format!("its key is none: {error}")))?;
    let expected = Origin::new(&members.genesis, &origin.coordinator);
    match expected == origin {
        true => Ok(origin.key(&log)),
        false => Err(stranger(format!("its origin is {name}")).into()),
    }
}

/// The witnesses of a network.
pub fn of_members(members: &Membership) -> Vec<NoteKey> {
    let key = |member: &adit_protocol::network::membership::WitnessMember| {
        let name = member.name.parse().ok()?;
        let key = PublicKey::from_bytes(&member.cosign).ok()?;
        Some(NoteKey::new(name, KeyKind::Cosignature, key))
    };
    members.witnesses.iter().filter_map(key).collect()
}

/// A log's verifier key.
///
/// # Errors
///
/// When it is none, or a witness's.
pub fn log_key(text: &str) -> anyhow::Result<NoteKey> {
    let key = vkey(text)?;
    match key.kind() {
        KeyKind::Checkpoint => Ok(key),
        kind => wrong_kind(&key, kind),
    }
}

/// The verifier keys of witnesses.
///
/// # Errors
///
/// When one is none, or a log's.
pub fn witness_keys(texts: &[String]) -> anyhow::Result<Vec<NoteKey>> {
    let key = |text: &String| {
        let key = vkey(text)?;
        match key.kind() {
            KeyKind::Checkpoint => wrong_kind(&key, KeyKind::Checkpoint),
            _ => Ok(key),
        }
    };
    texts.iter().map(key).collect()
}

fn vkey(text: &str) -> anyhow::Result<NoteKey> {
    Ok(text.trim().parse().map_err(|error| {
        Failure::new(
            Code::BadKey,
            format!("`{}` is no verifier key", one_line(text)),
        )
        .because(error)
    })?)
}

fn wrong_kind(key: &NoteKey, kind: KeyKind) -> anyhow::Result<NoteKey> {
    Failure::new(
        Code::BadKey,
        format!("the key of {} is of no use here", key.name()),
    )
    .why(format!("it makes signatures of the kind {kind}"))
    .hint("--vkey takes a log's key, --witness a witness's or a mirror's")
    .into_err()
}
