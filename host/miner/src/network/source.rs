//! Where the network file comes from, and the newest that is known.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use adit_net::Clock;
use adit_net::http::client::{Client, ClientConfig, ClientError, Retry};
use adit_net::tls::Roots;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::membership::NetworkFile;
use tokio::sync::watch;
use url::Url;

use super::{NetworkView, ViewError};
use crate::config::NetworkSource;

/// How often a newer membership is looked for.
const REFRESH: Duration = Duration::from_secs(60);

/// Why there is no network file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// An address did not answer with one.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file cannot be read or written.
    #[error("{}: {source}; hint: check the path and who may read it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What came is not taken.
    #[error(transparent)]
    View(#[from] ViewError),
    /// None of several could be used.
    #[error("no network file could be had: {0}")]
    All(String),
}

/// A network file, not verified.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What the server's clock showed, in milliseconds since 1970, to the second; of an address
    /// only, if it said so.
    pub date_ms: Option<u64>,
}

/// Gets the network file from a source. Nothing of it is checked but its length.
///
/// # Errors
/// [`SourceError`].
pub async fn fetch(source: &NetworkSource, roots: &Roots) -> Result<Fetched, SourceError> {
    match source {
        NetworkSource::File(path) => Ok(Fetched {
            bytes: read(path)?,
            date_ms: None,
        }),
        NetworkSource::Url(text) => {
            let unusable = |why| ClientError::Base {
                url: crate::text::tame(text),
                why,
            };
            let url = Url::parse(text).map_err(|_| unusable("it is no address"))?;
            let mut base = url.clone();
            base.set_path("/");
            base.set_query(None);
            let client = Client::new(ClientConfig {
                roots: roots.clone(),
                retry: Retry::NEVER,
                answer_bytes_max: NetworkFile::MAX_LEN,
                ..ClientConfig::new(base)
            })?;
            let answer = client.get(url.path()).send().await?;
            let date = answer.headers.get(http::header::DATE);
            let date = date
                .and_then(|date| date.to_str().ok())
                .and_then(|date| httpdate::parse_http_date(date).ok())
                .and_then(|date| date.duration_since(UNIX_EPOCH).ok());
            Ok(Fetched {
                bytes: answer.bytes.to_vec(),
                date_ms: date.and_then(|since| u64::try_from(since.as_millis()).ok()),
            })
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    use std::io::Read as _;
    let failed = |source| SourceError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let max = NetworkFile::MAX_LEN as u64;
    std::fs::File::open(path)
        .map_err(failed)?
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Keeps the newest network file that is known, on disk and for the sessions. It never goes back to
/// an older membership, whoever offers one.
pub struct Keeper {
    path: PathBuf,
    sources: Vec<NetworkSource>,
    roots: Roots,
    expected: Option<Hash>,
    view: watch::Sender<Arc<NetworkView>>,
}

impl Keeper {
    /// The file in a miner's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("network.cbor")
    }

    /// Starts with the file in the folder, and with a newer one if a source has it.
    ///
    /// # Errors
    /// [`SourceError`], if there is none in the folder and no source has one.
    pub async fn open(
        folder: &Path,
        sources: Vec<NetworkSource>,
        roots: Roots,
        expected: Option<Hash>,
    ) -> Result<Keeper, SourceError> {
        let path = Keeper::path(folder);
        let known = match path.exists() {
            true => Some(NetworkView::read(&read(&path)?, expected.as_ref())?),
            false => None,
        };
        let newest = newest(&sources, &roots, expected.as_ref(), known.as_ref()).await;
        let view = match (newest, known) {
            (Ok((view, bytes)), _) => {
                write(&path, &bytes)?;
                view
            }
            // It may have been signed long ago, but by the authority.
            (Err(error), Some(known)) => {
                tracing::warn!(%error, version = known.membership().version, "the membership that was known last is used");
                known
            }
            (Err(error), None) => return Err(error),
        };
        Ok(Keeper {
            path,
            sources,
            roots,
            expected,
            view: watch::Sender::new(Arc::new(view)),
        })
    }

    /// For [`crate::miner::Parts`].
    pub fn watch(&self) -> super::NetworkWatch {
        self.view.subscribe()
    }

    /// What is known now.
    pub fn view(&self) -> Arc<NetworkView> {
        self.view.borrow().clone()
    }

    /// Looks for a newer membership once. Returns whether there was one.
    ///
    /// # Errors
    /// [`SourceError`]; what is known stays.
    pub async fn refresh(&self) -> Result<bool, SourceError> {
        let known = self.view();
        let expected = self.expected.as_ref();
        let (view, bytes) = newest(&self.sources, &self.roots, expected, Some(&known)).await?;
        if view.membership().version == known.membership().version {
            return Ok(false);
        }
        write(&self.path, &bytes)?;
        tracing::info!(version = view.membership().version, "a newer membership");
        self.view.send_replace(Arc::new(view));
        Ok(true)
    }

    /// Looks for newer memberships for ever.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(REFRESH).await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "no newer membership could be had");
            }
        }
    }
}

/// The file of the first source that has one which may take the place of `known`.
async fn newest(
    sources: &[NetworkSource],
    roots: &Roots,
    expected: Option<&Hash>,
    known: Option<&NetworkView>,
) -> Result<(NetworkView, Vec<u8>), SourceError> {
    let mut why = Vec::new();
    for source in sources {
        let tried = async {
            let fetched = fetch(source, roots).await?;
            let view = NetworkView::read(&fetched.bytes, expected)?;
            if let Some(known) = known {
                known.accepts(&view)?;
            }
            Ok::<_, SourceError>((view, fetched.bytes))
        };
        match tried.await {
            Ok(found) => return Ok(found),
            Err(error) if sources.len() == 1 => return Err(error),
            Err(error) => why.push(format!("{source}: {error}")),
        }
    }
    Err(SourceError::All(why.join("; ")))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let failed = |source| SourceError::File {
        path: path.to_owned(),
        source,
    };
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(failed)
}

/// How much a server's clock is ahead of this machine's, in milliseconds, by its `date`, which is in
/// whole seconds.
pub fn skew_ms(date_ms: u64, clock: &dyn Clock) -> i64 {
    let theirs = i64::try_from(date_ms).unwrap_or(i64::MAX);
    let ours = i64::try_from(clock.now_ms()).unwrap_or(i64::MAX);
    theirs.saturating_add(500).saturating_sub(ours)
}
