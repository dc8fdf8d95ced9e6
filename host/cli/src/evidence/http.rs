//! A coordinator as evidence, over HTTP. Nothing needs a token: what is asked for is public.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/network` | the network file, CBOR |
//! | `GET /log/checkpoint`, `/log/cosigned`, `/log/tile/...` | files of the log |
//! | `POST /v1/blobs/batch` with JSON `{hashes}` | a CBOR array of `[hash, bytes or null]`, which may end early |
//! | `GET /v1/blobs/HASH` | a blob |
//! | `GET /v1/receipts/ID` | JSON: where it is in the log, and its opening if it is disclosed |

use std::io;
use std::path::Path;

use adit_net::http::client::{Answer, Call, Client, ClientConfig, ClientError, Sink};
use adit_net::tls::Roots;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::hash::Hasher;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::note;
use adit_protocol::log::tile::{Level, Tile};
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt};
use adit_protocol::signed::Signed;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::writer::BlobWriter;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use url::Url;

use super::{BLOB_BYTES_MAX, Evidence, EvidenceError};

/// Longest file of a log.
const TILE_BYTES_MAX: usize = 256 * (2 + 65_535);
/// Longest answer with a batch of blobs.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most hashes of one request.
const ASKED_MAX: usize = 512;
/// Longest answer about a receipt.
const RECEIPT_JSON_MAX: usize = 256 * 1024;
/// The time for a large answer, in milliseconds.
const LONG_MS: u64 = 120_000;

/// A coordinator.
pub struct Http {
    client: Client,
    runtime: Runtime,
}

/// What a coordinator says of a receipt; nothing of it is checked yet.
#[derive(Debug)]
pub struct Located {
    /// The receipt.
    pub receipt: Receipt,
    /// Its leaf.
    pub leaf: u64,
    /// The hashes behind its commitments, if they are disclosed.
    pub opening: Option<ReceiptOpening>,
}

impl Http {
    /// The coordinator at an address. `ca` is a file with certificates to trust beside the system's.
    ///
    /// # Errors
    /// [`ClientError`], if the address or the file cannot be used.
    pub fn new(url: Url, ca: Option<&Path>) -> Result<Http, ClientError> {
        let mut config = ClientConfig::new(url);
        if let Some(ca) = ca {
            config.roots = Roots::system().and_file(ca)?;
        }
        Ok(Http {
            client: Client::new(config)?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    /// A receipt by its id.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn locate(&self, id: &Hash) -> Result<Located, EvidenceError> {
        let what = format!("the receipt {id}");
        let call = self
            .client
            .get(&format!("/v1/receipts/{id}"))
            .answer_bytes_max(RECEIPT_JSON_MAX);
        let answer = self.send(call, &what)?;
        let json: ReceiptJson = answer.json().map_err(|error| failed(&what, &error))?;
        json.located(id)
            .map_err(|why| EvidenceError::damaged(what, why))
    }

    fn send(&self, call: Call, what: &str) -> Result<Answer, EvidenceError> {
        self.runtime
            .block_on(call.send())
            .map_err(|error| failed(what, &error))
    }

    fn get(&self, path: &str, max: usize, what: &str) -> Result<Vec<u8>, EvidenceError> {
        let call = self.client.get(path).answer_bytes_max(max);
        Ok(self.send(call, what)?.bytes.to_vec())
    }

    /// What of the first of these hashes is there: at least the first one.
    fn batch(&self, hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, EvidenceError> {
        let what = "blobs";
        let call = self
            .client
            .post("/v1/blobs/batch")
            .json(&serde_json::json!({ "hashes": hashes }))
            .idempotent()
            .timeout_ms(LONG_MS)
            .answer_bytes_max(BATCH_BYTES_MAX);
        let answer = self.send(call, what)?;
        let found =
            parse_batch(&answer.bytes, hashes).map_err(|why| EvidenceError::damaged(what, why))?;
        match found.is_empty() {
            true => Err(EvidenceError::damaged(what, "the answer has none")),
            false => Ok(found),
        }
    }
}

/// Why a request failed: what is not there, what is damaged, what could not be asked for.
fn failed(what: &str, error: &ClientError) -> EvidenceError {
    match error {
        error if is_missing(error) => EvidenceError::Missing {
            what: what.to_owned(),
        },
        ClientError::Malformed { .. } | ClientError::Mismatch { .. } => {
            EvidenceError::damaged(what, error)
        }
        error => EvidenceError::unreachable(what, error),
    }
}

fn is_missing(error: &ClientError) -> bool {
    error
        .problem()
        .is_some_and(|problem| matches!(problem.status, 404 | 410))
}

fn is_withheld(error: &ClientError) -> bool {
    error.code() == Code::NotDisclosed
        || error
            .problem()
            .is_some_and(|problem| matches!(problem.status, 401 | 403))
}

/// The bytes for each hash of a batch's answer, which has them in the order asked for, and may end
/// early.
fn parse_batch(bytes: &[u8], hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, String> {
    let pairs: Vec<(Hash, Option<minicbor::bytes::ByteVec>)> =
        minicbor::decode(bytes).map_err(|error| error.to_string())?;
    let asked = hashes.get(..pairs.len());
    if !asked.is_some_and(|asked| pairs.iter().map(|(hash, _)| hash).eq(asked)) {
        return Err("it has other hashes than were asked for".to_owned());
    }
    Ok(pairs
        .into_iter()
        .map(|(_, bytes)| bytes.map(Vec::from))
        .collect())
}

/// The answer of `GET /v1/receipts/ID`. Fields that are not needed here are not read.
#[derive(Deserialize)]
struct ReceiptJson {
    leaf: u64,
    /// The 520 bytes, `0x` and digits.
    bytes: String,
    opening: Option<OpeningJson>,
}

#[derive(Deserialize)]
struct OpeningJson {
    input: String,
    output: String,
    transcript: String,
}

impl ReceiptJson {
    fn located(self, id: &Hash) -> Result<Located, String> {
        let bytes: [u8; RECEIPT_LEN] =
            crate::text::unhex(&self.bytes).ok_or("its bytes are not 520 in hexadecimal digits")?;
        let receipt = Receipt::from_bytes(&bytes).map_err(|error| error.to_string())?;
        if receipt.id() != *id {
            return Err(format!("it is the receipt {}", receipt.id()));
        }
        let hash = |text: &str| text.parse::<Hash>().map_err(|error| error.to_string());
        let opening = |opening: OpeningJson| {
            Ok::<_, String>(ReceiptOpening {
                input: hash(&opening.input)?,
                output: hash(&opening.output)?,
                transcript: hash(&opening.transcript)?,
            })
        };
        Ok(Located {
            receipt,
            leaf: self.leaf,
            opening: self.opening.map(opening).transpose()?,
        })
    }
}

impl Evidence for Http {
    fn source(&self) -> String {
        let base = self.client.base();
        base.as_str().trim_end_matches('/').to_owned()
    }

    fn network(&self) -> Result<Vec<u8>, EvidenceError> {
        self.get("/v1/network", NetworkFile::MAX_LEN, "the network file")
    }

    fn membership(&self, hash: &Hash) -> Result<Option<Vec<u8>>, EvidenceError> {
        let path = format!("/v1/memberships/{hash}");
        let what = format!("the membership {hash}");
        match self.get(&path, Signed::<Membership>::MAX_LEN, &what) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(EvidenceError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EvidenceError> {
        let newest = self.get("/log/checkpoint", note::MAX_LEN, "the checkpoint")?;
        // The same checkpoint with the signatures of witnesses, if they have seen it already.
        let cosigned = self.get("/log/cosigned", note::MAX_LEN, "the cosigned checkpoint");
        let says = |bytes: &[u8]| {
            let signed = SignedCheckpoint::parse(bytes).ok();
            signed.map(|signed| signed.unverified().clone())
        };
        Ok(match cosigned {
            Ok(cosigned) if says(&cosigned).is_some() && says(&cosigned) == says(&newest) => {
                cosigned
            }
            _ => newest,
        })
    }

    fn tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, EvidenceError> {
        self.runtime.block_on(async {
            let mut fetching = JoinSet::new();
            for (at, tile) in tiles.iter().enumerate() {
                let (client, tile) = (self.client.clone(), *tile);
                fetching.spawn(async move { (at, fetch(&client, tile).await) });
            }
            let mut files = vec![Vec::new(); tiles.len()];
            while let Some(fetched) = fetching.join_next().await {
                let (at, bytes) =
                    fetched.map_err(|error| EvidenceError::unreachable("the log", error))?;
                if let Some(file) = files.get_mut(at) {
                    *file = bytes?;
                }
            }
            Ok(files)
        })
    }

    fn blobs(&self, hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, EvidenceError> {
        let mut found = Vec::with_capacity(hashes.len());
        while let Some(rest) = hashes.get(found.len()..).filter(|rest| !rest.is_empty()) {
            let some = rest.get(..ASKED_MAX).unwrap_or(rest);
            found.extend(self.batch(some)?);
        }
        Ok(found)
    }

    fn save(&self, hash: &Hash, into: &BlobStore) -> Result<bool, EvidenceError> {
        let what = format!("the blob {hash}");
        let mut sink = StoreSink::new(hash, into)
            .map_err(|error| EvidenceError::unreachable(what.as_str(), error))?;
        let call = self.client.get(&format!("/v1/blobs/{hash}"));
        let downloaded = call.download(&mut sink, hash, BLOB_BYTES_MAX);
        match self.runtime.block_on(downloaded) {
            Ok(_) => {}
            Err(error) if is_missing(&error) || is_withheld(&error) => return Ok(false),
            Err(ClientError::Mismatch { .. }) => return Ok(false),
            Err(error) => return Err(failed(&what, &error)),
        }
        sink.writer
            .finish()
            .map_err(|error| EvidenceError::unreachable(what, error))?;
        Ok(true)
    }

    fn opening(&self, receipt: &Hash) -> Result<Option<ReceiptOpening>, EvidenceError> {
        match self.locate(receipt) {
            Ok(located) => Ok(located.opening),
            Err(EvidenceError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A file of the log; where the partial one is gone, the full one.
async fn fetch(client: &Client, tile: Tile) -> Result<Vec<u8>, EvidenceError> {
    let max = match tile.level() {
        Level::Entries => TILE_BYTES_MAX,
        Level::Hashes(_) => 256 * 32,
    };
    let get = async |tile: Tile| {
        let call = client.get(&format!("/log/{tile}")).answer_bytes_max(max);
        call.send().await.map(|answer| answer.bytes.to_vec())
    };
    match get(tile).await {
        Err(error) if is_missing(&error) && !tile.is_full() => match tile.full() {
            Some(full) => get(full).await,
            None => Err(error),
        },
        other => other,
    }
    .map_err(|error| failed(&tile.to_string(), &error))
}

/// A download into a store.
struct StoreSink<'a> {
    store: &'a BlobStore,
    expected: Hash,
    writer: BlobWriter,
    hasher: Hasher,
}

impl<'a> StoreSink<'a> {
    fn new(expected: &Hash, store: &'a BlobStore) -> Result<StoreSink<'a>, StoreError> {
        Ok(StoreSink {
            store,
            expected: *expected,
            writer: store.writer(expected, BLOB_BYTES_MAX)?,
            hasher: Hasher::new(),
        })
    }
}

impl Sink for StoreSink<'_> {
    fn len(&self) -> u64 {
        self.hasher.count()
    }

    fn hash(&self) -> Hash {
        self.hasher.finalize()
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(bytes).map_err(io::Error::other)?;
        self.hasher.update(bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.writer = self
            .store
            .writer(&self.expected, BLOB_BYTES_MAX)
            .map_err(io::Error::other)?;
        self.hasher = Hasher::new();
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_must_answer_what_was_asked() {
        let hashes = [Hash::of(b"a"), Hash::of(b"b")];
        let answer = |pairs: &[(Hash, Option<&minicbor::bytes::ByteSlice>)]| {
            let mut bytes = Vec::new();
            minicbor::encode(pairs, &mut bytes).unwrap();
            bytes
        };
        let a: &[u8] = b"a";
        let good = answer(&[(hashes[0], Some(a.into())), (hashes[1], None)]);
        let parsed = parse_batch(&good, &hashes).unwrap();
        assert_eq!(parsed, [Some(b"a".to_vec()), None]);
        assert!(parse_batch(&good, &hashes[..1]).is_err());
        let early = answer(&[(hashes[0], Some(a.into()))]);
        assert_eq!(parse_batch(&early, &hashes).unwrap().len(), 1);
        assert!(parse_batch(&good[..good.len() - 1], &hashes).is_err());
        assert!(parse_batch(&answer(&[(hashes[1], None), (hashes[0], None)]), &hashes).is_err());
        // A length that there cannot be.
        assert!(
            parse_batch(
                &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                &hashes
            )
            .is_err()
        );
    }
}
