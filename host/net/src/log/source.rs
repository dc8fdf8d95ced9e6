//! Where the files of a log are read from: a server, a folder, or files at hand. Nothing of what
//! comes is to be believed; [`LogReader`](super::LogReader) checks it.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;

use adit_protocol::log::note;
use adit_protocol::log::tile::Tile;
use thiserror::Error;

use super::disk::read_bounded;
use super::edge::bytes_max;
use crate::blocking;
use crate::http::client::{Client, ClientError};

/// Why a file of a log could not be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The source does not have it.
    #[error(
        "{place} has no {file}; hint: is it the address or folder of a log, and is the log that large?"
    )]
    Missing {
        /// The source.
        place: String,
        /// The file, by its path in the log.
        file: String,
    },
    /// The server could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file could not be read.
    #[error("{} cannot be read: {source}; hint: does it belong to another user?", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Where the files of a log are read from. Answers must be bounded: by
/// [`note::MAX_LEN`] for checkpoints, by what a tile can have for tiles.
pub trait TileSource: Send + Sync {
    /// A checkpoint by the name of its file: [`CHECKPOINT`](super::CHECKPOINT) or
    /// [`COSIGNED`](super::COSIGNED).
    fn note(&self, name: &str) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;

    /// A tile, in exactly this width.
    fn tile(&self, tile: Tile) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
}

/// A server; its client's base is the address of the log, as `https://host/log`.
impl TileSource for Client {
    async fn note(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        fetch(self, name.to_owned(), note::MAX_LEN).await
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        fetch(self, tile.to_string(), bytes_max(tile.level())).await
    }
}

async fn fetch(client: &Client, file: String, max: usize) -> Result<Vec<u8>, SourceError> {
    let call = client.get(&format!("/{file}")).answer_bytes_max(max);
    match call.send().await {
        Ok(answer) => Ok(answer.bytes.to_vec()),
        Err(ClientError::Refused { problem, .. }) if problem.status == 404 => {
            Err(SourceError::Missing {
                place: client.base().to_string(),
                file,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// A folder, as a log's own or a mirror's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSource(pub PathBuf);

impl FolderSource {
    async fn read(&self, file: String, max: usize) -> Result<Vec<u8>, SourceError> {
        let path = self.0.join(&file);
        let read = {
            let path = path.clone();
            blocking(move || read_bounded(&path, max))
        };
        match read.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(SourceError::Missing {
                    place: self.0.display().to_string(),
                    file,
                })
            }
            Ok(Err(source)) => Err(SourceError::Io { path, source }),
            Err(error) => Err(SourceError::Io {
                path,
                source: io::Error::other(error),
            }),
        }
    }
}

impl TileSource for FolderSource {
    async fn note(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        self.read(name.to_owned(), note::MAX_LEN).await
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        self.read(tile.to_string(), bytes_max(tile.level())).await
    }
}

/// Files at hand by their paths in the log, as an audit takes them along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesSource(pub BTreeMap<String, Vec<u8>>);

impl FilesSource {
    fn get(&self, file: String) -> Result<Vec<u8>, SourceError> {
        let bytes = self.0.get(&file).cloned();
        bytes.ok_or_else(|| SourceError::Missing {
            place: "the bundle".to_owned(),
            file,
        })
    }
}

impl TileSource for FilesSource {
    async fn note(&self, name: &str) -> Result<Vec<u8>, SourceError> {
        self.get(name.to_owned())
    }

    async fn tile(&self, tile: Tile) -> Result<Vec<u8>, SourceError> {
        self.get(tile.to_string())
    }
}

/// A tile as `source` has it: in place of a partial one that is missing, what the full one begins
/// with.
pub(super) async fn fetch_tile(
    source: &impl TileSource,
    tile: Tile,
) -> Result<Vec<u8>, SourceError> {
    match source.tile(tile).await {
        Err(SourceError::Missing { place, file }) if !tile.is_full() => match tile.full() {
            Some(full) => match source.tile(full).await {
                Ok(bytes) => Ok(super::scrub::cut(tile, bytes)),
                Err(SourceError::Missing { .. }) => Err(SourceError::Missing { place, file }),
                Err(error) => Err(error),
            },
            None => Err(SourceError::Missing { place, file }),
        },
        other => other,
    }
}
