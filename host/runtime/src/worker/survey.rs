//! What a library of ONNX Runtime has, found out in a process of its own: loading a library runs
//! its code, and one that crashes must not take its asker along.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minicbor::{Decode, Encode};
use rustix::process::Pid;

use super::WorkerError;
use super::channel::Channel;
use super::child::{command, ended_as};
use super::device::DeviceChoice;
use super::limits::Limits;
use super::messages::{self, FromWorker};
use super::process::{ENVIRONMENT, prepare};
use crate::nn::onnxruntime::provider::Provider;
use crate::nn::onnxruntime::{self, OrtDevice, library};

/// How long a library may take to load.
const TIME: Duration = Duration::from_secs(60);
/// Bytes of private memory that loading may take.
const MEMORY_BYTES: u64 = 4 << 30;

/// What a library has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Survey {
    /// The version that it states.
    #[n(0)]
    pub version: String,
    /// Its execution providers, by the library's own names.
    #[n(1)]
    pub library_names: Vec<String>,
}

impl Survey {
    /// The execution providers that it has, of those that Adit can use, in the order of preference.
    pub fn providers(&self) -> impl Iterator<Item = Provider> {
        Provider::ALL.into_iter().filter(|provider| {
            self.library_names
                .iter()
                .any(|name| name == provider.library_name())
        })
    }
}

/// Loads a library in a child process of `program` and asks what it has.
///
/// # Errors
///
/// A sentence: the library's own, or how the child ended.
pub fn survey(program: &Path, library: &Path) -> Result<Survey, String> {
    let path = library
        .to_str()
        .ok_or("the library's path is not UTF-8; hint: move the library")?;
    let (here, there) = Channel::pair().map_err(|e| e.to_string())?;
    let args = [std::process::id().to_string(), path.to_owned()];
    let environment = of(library).environment();
    let mut child = command(
        program,
        "survey",
        &args,
        &ENVIRONMENT,
        &environment,
        there.into_fd(),
    )
    .spawn()
    .map_err(|e| format!("{}: {e}", program.display()))?;
    let (_sender, mut receiver) = here.split();
    let answer = receiver
        .set_timeout(Some(TIME))
        .and_then(|()| receiver.recv())
        .map_err(|e| e.to_string());
    let _ = child.kill();
    let status = child.wait();
    let frame = answer.map_err(|why| {
        let ended = status.map_or_else(|e| e.to_string(), ended_as);
        format!("loading the library {path} failed: {why}; {ended}")
    })?;
    match messages::read(&frame.payload) {
        Ok(FromWorker::Surveyed(survey)) => Ok(survey),
        Ok(FromWorker::NotReady(why)) => Err(why),
        Ok(_) => Err("the child did not answer as it should".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// The child.
pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let [supervisor, path] = args else {
        return Err(WorkerError::Arguments);
    };
    let pid: i32 = supervisor.parse().map_err(|_| WorkerError::Arguments)?;
    let library = PathBuf::from(path);
    let variables: Vec<&str> = ENVIRONMENT
        .iter()
        .map(|(name, _)| *name)
        .chain(of(&library).variables().iter().copied())
        .collect();
    let limits = Limits::worker(MEMORY_BYTES);
    let channel = prepare(&limits, &variables, Pid::from_raw(pid))?;
    let (mut sender, _receiver) = channel.split();
    let found = library::version(&library).and_then(|version| {
        let _environment = onnxruntime::environment(&library)?;
        Ok(Survey {
            version,
            library_names: onnxruntime::available()?,
        })
    });
    let message = match found {
        Ok(survey) => FromWorker::Surveyed(survey),
        Err(error) => FromWorker::NotReady(error.to_string()),
    };
    let payload = minicbor::to_vec(&message).map_err(|e| WorkerError::Message(e.to_string()))?;
    Ok(sender.send(&payload, &[])?)
}

/// A device of the library, for the variables that its processes are given.
fn of(library: &Path) -> DeviceChoice {
    DeviceChoice::OnnxRuntime(OrtDevice {
        provider: Provider::Cpu,
        index: 0,
        library: library.to_owned(),
        memory_bytes: None,
        fallback: true,
    })
}
