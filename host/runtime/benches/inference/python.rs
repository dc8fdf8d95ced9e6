//! The Python package of the same library, in a process of its own that computes when asked.
//!
//! `inference.py` is given the model and the inputs as files, so that it computes the same, and
//! says how long so many inferences took: the same turns as those of the other ways.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::case::{Case, Named};
use crate::setting::{Setting, THREADS};
use crate::ways::Way;

/// Names the folder of Python packages that has NumPy, which `cargo xtask bench` fills.
const PACKAGES: &str = "ADIT_BENCH_PYTHON";

/// The script, started.
pub struct Python {
    child: Child,
    // Closed when the value is dropped, which ends the script.
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _files: tempfile::TempDir,
}

impl Python {
    /// Starts the script on a case.
    ///
    /// # Errors
    ///
    /// A sentence if Python or its packages are not there.
    pub fn start(setting: &Setting, case: &Arc<Case>) -> Result<Self, String> {
        let packages = std::env::var_os(PACKAGES)
            .ok_or_else(|| format!("{PACKAGES} is not set; cargo xtask bench does that"))?;
        let library = setting
            .package_folder()
            .ok_or("the library is of no Python package")?;
        let files = tempfile::tempdir().map_err(|e| e.to_string())?;
        write(files.path(), setting, case).map_err(|e| e.to_string())?;
        let path =
            std::env::join_paths([library.as_os_str(), &packages]).map_err(|e| e.to_string())?;
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/benches/inference/inference.py"
        );
        let mut child = Command::new("python3")
            .arg(script)
            .arg(files.path())
            .env("PYTHONPATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("python3: {e}"))?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("python3 has no pipes".to_owned());
        };
        let mut python = Self {
            child,
            ask: Some(ask),
            answers: BufReader::new(answers),
            _files: files,
        };
        let said = python.answer();
        match said.strip_prefix("ready ") {
            Some(version) => println!("python: onnxruntime {version}"),
            None => return Err(format!("the script ended: {said}")),
        }
        Ok(python)
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a pipe");
        line.trim_end().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.ask = None;
        // What it ends with is of no interest any more.
        let _ = self.child.wait();
    }
}

impl Way for Python {
    fn name(&self) -> String {
        "python".to_owned()
    }

    fn run(&mut self, inferences: u64) -> Duration {
        let ask = self.ask.as_mut().expect("still open");
        writeln!(ask, "{inferences}").expect("a pipe");
        let answer = self.answer();
        Duration::from_nanos(answer.parse().expect("nanoseconds"))
    }
}

/// The model, the inputs and what is expected, for the script.
fn write(folder: &std::path::Path, setting: &Setting, case: &Case) -> std::io::Result<()> {
    std::fs::write(folder.join("model.onnx"), &case.file)?;
    let mut count = 0;
    let mut put = |tensors: &Named| -> std::io::Result<Vec<serde_json::Value>> {
        let mut listed = Vec::new();
        for (name, tensor) in tensors {
            let file = format!("{count}.bin");
            count += 1;
            std::fs::write(folder.join(&file), tensor.bytes())?;
            listed.push(json!({
                "name": name,
                "type": tensor.dtype().to_string(),
                "dims": tensor.dims(),
                "file": file,
            }));
        }
        Ok(listed)
    };
    let mut computations = Vec::new();
    for (inputs, outputs) in case.inputs.iter().zip(&case.outputs) {
        computations.push(json!({ "inputs": put(inputs)?, "outputs": put(outputs)? }));
    }
    let told = json!({
        "provider": setting.provider.library_name(),
        "options": setting.provider.settings(THREADS),
        "threads": THREADS,
        "exact": !setting.provider.is_gpu(),
        "computations": computations,
    });
    std::fs::write(folder.join("case.json"), told.to_string())
}
