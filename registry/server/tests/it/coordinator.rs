//! A coordinator as far as settling sees one: keys, a log of its own on disk, and a server of it that
//! can go away.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_ledger::late::LateReceipt;
use adit_ledger::registration::NodeKeys;
use adit_ledger::{Action, Key};
use adit_net::db::Db;
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::log::{Check, Log, LogOptions};
use adit_protocol::log::origin::Origin;
use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Amount, Document as _, Hash};
use rand_core::OsRng;
use tokio_util::sync::CancellationToken;

#[path = "../../src/settling/extract/made.rs"]
mod made;

pub use made::verdict;

use super::support::{genesis, key, keypair};

/// A log that grows.
pub struct Written {
    node: u8,
    folder: tempfile::TempDir,
    db: Db,
    log: Log,
}

impl Written {
    /// Of the coordinator with the node key `node`; the next number is its log key.
    pub fn new(node: u8) -> Written {
        let folder = tempfile::tempdir().unwrap();
        let mut db = Db::open(&folder.path().join("node.db"), &[Log::MIGRATION]).unwrap();
        let origin = Origin::new(&genesis().hash(), &keypair(node).public());
        let options = LogOptions {
            folder: folder.path().join("log"),
            origin: origin.name(),
            key: keypair(node + 1),
            witnesses: Vec::new(),
            check: Check::All,
        };
        let log = Log::open(&mut db, options).unwrap();
        let mut written = Written {
            node,
            folder,
            db,
            log,
        };
        written.write(&[]);
        written
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub fn size(&self) -> u64 {
        self.log.size()
    }

    /// Writes entries, and a checkpoint of them.
    pub fn write(&mut self, entries: &[Entry]) {
        let transaction = self.db.connection().transaction().unwrap();
        for entry in entries {
            self.log.append(&transaction, &entry.encode()).unwrap();
        }
        transaction.commit().unwrap();
        self.log.committed();
        while self.log.integrate(&mut self.db, 1).unwrap().is_some() {}
    }

    /// A task of its number, drawn in an epoch for a miner at a price in tokens: its assignment and
    /// the receipt.
    pub fn task(&self, number: u64, epoch: u64, miner: u8, price: u64) -> (Entry, Receipt) {
        let task = Hash::of(&[&[self.node][..], &number.to_le_bytes()].concat());
        let terms = Terms {
            price: Amount::tokens(price),
            attempt_fee: Amount::ZERO,
            replicas: 1,
        };
        let assignment = Assignment {
            coordinator: *key(self.node).as_bytes(),
            miner: *key(miner).as_bytes(),
            ..made::assignment(genesis().hash(), task, epoch, terms)
        };
        let signed = assignment.sign(&keypair(self.node), &mut OsRng);
        let body = made::body(&assignment, number, 1_000_000_000_000);
        let mut receipt = body.sign(&keypair(miner), &mut OsRng);
        receipt.countersign(&keypair(self.node), &mut OsRng);
        (Entry::Assignment(signed), receipt)
    }

    /// Has a task done and accepted.
    pub fn work(&mut self, number: u64, epoch: u64, miner: u8, price: u64) {
        let (drawn, receipt) = self.task(number, epoch, miner, price);
        let verdict = verdict(&receipt, Decision::Accepted);
        self.write(&[drawn, Entry::Receipt(Box::new(receipt)), verdict]);
    }
}

/// The claim that a coordinator's log lacks a receipt.
pub fn late(coordinator: u8, drawn: &Entry, receipt: &Receipt) -> Action {
    let Entry::Assignment(signed) = drawn else {
        panic!("a receipt is that of an assignment");
    };
    Action::LateReceipt(Box::new(LateReceipt {
        coordinator: named(coordinator),
        receipt: receipt.to_bytes(),
        assignment: signed.unverified().unwrap().to_cbor(),
        assignment_signature: *signed.signature(),
    }))
}

/// An address at which a log is served, or not.
pub struct Place {
    address: SocketAddr,
    server: Option<Server>,
}

impl Place {
    pub async fn of(folder: &Path) -> Place {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = serve(folder, address).await.unwrap();
        Place {
            address: server.address(),
            server: Some(server),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody answers there any more.
    pub async fn hide(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown(Duration::ZERO).await;
        }
    }

    /// A log is served there again, or another one.
    pub async fn show(&mut self, folder: &Path) {
        self.hide().await;
        for _ in 0..100 {
            if let Some(server) = serve(folder, self.address).await {
                self.server = Some(server);
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} stays taken", self.address);
    }
}

async fn serve(folder: &Path, address: SocketAddr) -> Option<Server> {
    let router = axum::Router::new().nest("/log", adit_net::log::router(folder.to_owned()));
    let token = CancellationToken::new();
    let started = Server::start(Listen::plain(address), Limits::default(), router, token);
    started.await.ok()
}

/// The keys of a coordinator or a checker.
pub fn keys(node: u8) -> NodeKeys {
    NodeKeys {
        node: key(node),
        log: Some(key(node + 1)),
    }
}

/// By which key a coordinator is named.
pub fn named(node: u8) -> Key {
    key(node)
}
