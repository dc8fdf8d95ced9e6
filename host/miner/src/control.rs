//! The control socket: how `adit miner status` and the like reach a running miner.
//!
//! A Unix socket `control.sock` in the miner's folder, mode 0600. One request and one answer for
//! each connection, both one line of JSON:
//!
//! ```json
//! {"command": "status"}
//! {"command": "pause", "device": "cpu"}
//! ```
//!
//! The answer is `{"ok": ...}` or `{"error": {"code": ..., "detail": ...}}`.
//!
//! Trusted: whoever can open the socket is this user, or the administrator.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_protocol::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::miner::{Handle, StartError};

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Connections at one time.
const CONNECTIONS: usize = 16;
/// How long either side may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest path of a socket that every system takes, in bytes.
const PATH_BYTES_MAX: usize = 100;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What the miner is doing: a [`crate::status::Status`].
    Status,
    /// Takes no new runs on a device, or on none.
    Pause {
        /// Its name; all if it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// Takes runs again.
    Resume {
        /// Its name; all if it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// Finishes what is held, and ends.
    Drain,
}

/// Where the socket of a miner's folder is.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// Makes the socket, in place of one that a dead process has left.
pub(crate) fn listen(folder: &Path) -> Result<UnixListener, StartError> {
    let path = path(folder);
    let failed = |source: io::Error| StartError::System {
        what: "the control socket",
        source,
        hint: "the state folder must be on a local disk, and its path shorter than 100 bytes",
    };
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(failed(io::Error::other("its path is too long")));
    }
    // The journal's lock says that no other miner uses this folder.
    match std::fs::symlink_metadata(&path) {
        Ok(about) if about.file_type().is_socket() => {
            std::fs::remove_file(&path).map_err(failed)?;
        }
        Ok(_) => return Err(failed(io::Error::other("something else has its place"))),
        Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Answers requests until the miner ends.
pub(crate) async fn serve(listener: UnixListener, handle: Handle) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Closed never.
        let Ok(permit) = free.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let handle = handle.clone();
                tokio::spawn(async move {
                    let answered = tokio::time::timeout(TIMEOUT, answer(stream, &handle)).await;
                    if let Ok(Err(error)) = answered {
                        tracing::debug!(%error, "a request over the control socket failed");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket failed");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let mut line = Vec::new();
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX));
    read.read_until(b'\n', &mut line).await?;
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => execute(request, handle).await,
        Err(error) => refuse(Code::InvalidRequest, &format!("no request: {error}")),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await?;
    write.shutdown().await
}

fn refuse(code: Code, detail: &str) -> Value {
    json!({ "error": { "code": code, "detail": detail } })
}

async fn execute(request: Request, handle: &Handle) -> Value {
    let (device, paused) = match request {
        Request::Status => {
            return match serde_json::to_value(handle.status().await) {
                Ok(status) => json!({ "ok": status }),
                Err(error) => refuse(Code::Internal, &error.to_string()),
            };
        }
        Request::Drain => {
            handle.drain();
            return json!({ "ok": { "draining": true } });
        }
        Request::Pause { device } => (device, true),
        Request::Resume { device } => (device, false),
    };
    if handle.pause(device.as_deref(), paused) {
        return json!({ "ok": { "device": device, "paused": paused } });
    }
    let names = handle.device_names().join(", ");
    refuse(
        Code::InvalidArgument,
        &format!("there is no such device; the devices are: {names}"),
    )
}

/// Why a miner could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No miner listens.
    #[error("no miner runs with this state folder: {0}; hint: `adit miner run` starts it")]
    NotRunning(io::Error),
    /// The connection failed.
    #[error("the miner did not answer: {0}; hint: is it busy ending? try again")]
    Failed(io::Error),
    /// It answered with what is no answer.
    #[error("the miner's answer cannot be understood: {0}; hint: is it of another version?")]
    Answer(String),
    /// It refused.
    #[error("the miner refused: {detail}")]
    Refused {
        /// The code, as it wrote it.
        code: String,
        /// The particulars.
        detail: String,
    },
}

/// Asks the miner of a folder something.
///
/// # Errors
/// [`ControlError`].
pub async fn ask(folder: &Path, request: &Request) -> Result<Value, ControlError> {
    let exchange = async {
        let mut stream = UnixStream::connect(path(folder))
            .await
            .map_err(ControlError::NotRunning)?;
        let line = serde_json::to_string(request)
            .map_err(|error| ControlError::Answer(error.to_string()))?;
        let failed = ControlError::Failed;
        stream
            .write_all(format!("{line}\n").as_bytes())
            .await
            .map_err(failed)?;
        let mut bytes = Vec::new();
        let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await;
        read.map_err(failed)?;
        Ok::<Vec<u8>, ControlError>(bytes)
    };
    let timeout = || ControlError::Failed(io::ErrorKind::TimedOut.into());
    let bytes = tokio::time::timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| timeout())??;
    let mut answer: Value =
        serde_json::from_slice(&bytes).map_err(|error| ControlError::Answer(error.to_string()))?;
    if let Some(error) = answer.get("error") {
        let text = |name: &str| {
            let value = error.get(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        return Err(ControlError::Refused {
            code: text("code"),
            detail: text("detail"),
        });
    }
    match answer.get_mut("ok") {
        Some(ok) => Ok(ok.take()),
        None => Err(ControlError::Answer(
            "it has neither ok nor error".to_owned(),
        )),
    }
}
