//! What a registry is started with.

use std::path::PathBuf;
use std::sync::Arc;

use adit_ledger::LedgerGenesis;
use adit_net::Clock;
use adit_net::http::server::{Limits, Listen};
use adit_net::tls::Roots;
use adit_protocol::keys::Keypair;
use adit_protocol::log::key::NoteKey;
use adit_protocol::network::genesis::Genesis;
use url::Url;

use crate::settling::settler::SettlerOptions;

/// A witness of the registry's log.
#[derive(Clone, Debug)]
pub struct LogWitness {
    /// The key of its cosignatures.
    pub key: NoteKey,
    /// Where it is asked.
    pub url: Url,
    /// Who may vouch for its certificate.
    pub roots: Roots,
}

/// What a registry is started with.
#[derive(Clone)]
pub struct Options {
    /// The folder for database, log and network file.
    pub state: PathBuf,
    /// The file that always holds the newest network file.
    pub network_file: PathBuf,
    /// The network's genesis document, which names the ledger's.
    pub genesis: Genesis,
    /// The ledger's genesis document.
    pub ledger: LedgerGenesis,
    /// Signs memberships.
    pub authority: Keypair,
    /// Signs the checkpoints of the log and nothing else.
    pub log: Keypair,
    /// Where to listen.
    pub listen: Listen,
    /// Bounds of the server.
    pub limits: Limits,
    /// The time of day, which blocks take theirs from.
    pub clock: Arc<dyn Clock>,
    /// The checker that runs beside it, if one does: it closes and settles epochs.
    pub settler: Option<SettlerOptions>,
    /// Those who cosign the checkpoints of the log.
    pub witnesses: Vec<LogWitness>,
}
