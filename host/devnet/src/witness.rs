//! The witness of a development network, which has its coordinator's checkpoints cosigned, and knows
//! when the folder of that one alone was put back to an earlier time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_net::SystemClock;
use adit_net::db::Db;
use adit_net::http::server::{Limits, Listen, ListenError, Server};
use adit_net::log::witness::{MIGRATION, Witness, WitnessOptions, router};
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::membership::WitnessMember;
use tokio_util::sync::CancellationToken;

use crate::devnet::DevError;
use crate::folder::{Folder, make, port_of, write};
use crate::keys;

/// Its name in its cosignatures.
pub(crate) const NAME: &str = "adit-dev/witness";
/// The file of the address where it listened last.
const ADDRESS: &str = "witness-address";
/// How long requests have to end when it is ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// A witness that listens on this machine.
pub(crate) struct DevWitness {
    witness: Arc<Witness>,
    server: Server,
}

impl DevWitness {
    /// Starts it, where it was the last time if that port is free. It watches nothing yet.
    ///
    /// # Errors
    /// [`DevError`].
    pub async fn start(folder: &Folder) -> Result<DevWitness, DevError> {
        let state = folder.path("witness");
        make(&state)?;
        let options = WitnessOptions {
            name: NAME.parse().map_err(|error| DevError::Folder {
                path: state.clone(),
                why: format!("the witness's name: {error}"),
            })?,
            key: Keypair::from_uri(keys::WITNESS)?,
            logs: Vec::new(),
            clock: Arc::new(SystemClock),
        };
        let db = Db::open(&state.join("witness.db"), &[MIGRATION])?;
        let witness = Arc::new(Witness::new(db, options));
        let before = folder.text(ADDRESS);
        let last = before.as_deref().and_then(port_of);
        let server = match listen(&witness, last.unwrap_or(0)).await {
            Err(_) if last.is_some() => listen(&witness, 0).await?,
            started => started?,
        };
        let url = server.url();
        if before.as_deref() != Some(url.as_str()) {
            write(&folder.path(ADDRESS), url.as_bytes(), 0o644)?;
        }
        Ok(DevWitness { witness, server })
    }

    /// What the network file says of it.
    pub fn member(&self) -> WitnessMember {
        let key = self.witness.note_key();
        WitnessMember {
            name: key.name().to_string(),
            cosign: key.key().to_bytes(),
            url: self.server.url(),
        }
    }

    /// From now on it watches the log of the coordinator of the network with this genesis.
    ///
    /// # Errors
    /// [`DevError::Key`], which cannot be.
    pub fn watch(&self, genesis: &Hash) -> Result<(), DevError> {
        let node = Keypair::from_uri(keys::COORDINATOR)?.public();
        let log = Keypair::from_uri(keys::COORDINATOR_LOG)?.public();
        self.witness
            .set_logs(vec![Origin::new(genesis, &node).key(&log)]);
        Ok(())
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.shutdown(PATIENCE).await;
    }
}

async fn listen(witness: &Arc<Witness>, port: u16) -> Result<Server, ListenError> {
    let listen = Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let routes = router(Arc::clone(witness));
    Server::start(listen, Limits::default(), routes, CancellationToken::new()).await
}
