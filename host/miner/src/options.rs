//! How a miner is set up.

use std::path::PathBuf;
use std::time::Duration;

use adit_protocol::keys::Keypair;

use crate::journal::NodeKey;

/// Set up by the configuration file, or by the program that a miner is part of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node key: signs receipts, acceptances and requests.
    pub key: Keypair,
    /// Folder for journal, cache and control socket.
    pub folder: PathBuf,
    /// Version of the program, as coordinators are told.
    pub software: String,
    /// The signed hardware record, encoded, if there is one.
    pub hardware: Option<Vec<u8>>,
    /// Node keys of the coordinators to work for; `None` for all of the membership.
    pub coordinators: Option<Vec<NodeKey>>,
    /// Assignments of one coordinator that are held beyond those that run.
    pub queue_depth: u32,
    /// How long the openings and blobs of settled receipts are kept.
    pub keep: Duration,
    /// Most time that a poll may wait for work.
    pub poll_wait: Duration,
    /// Of each device, the temperature in degrees Celsius from which on it takes no new run.
    pub hottest_c: Vec<Option<u32>>,
    /// Whether a control socket is made in the folder.
    pub control: bool,
}

impl Options {
    /// The usual options, with a node key and a folder.
    pub fn new(key: Keypair, folder: PathBuf) -> Options {
        Options {
            key,
            folder,
            software: concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned(),
            hardware: None,
            coordinators: None,
            queue_depth: 64,
            keep: Duration::from_secs(3600),
            poll_wait: Duration::from_secs(20),
            hottest_c: Vec::new(),
            control: false,
        }
    }
}
