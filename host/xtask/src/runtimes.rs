//! The builds of ONNX Runtime that the inference tests load: each is an installed Python package,
//! as a user has it, in a folder of its own below `target/runtimes`.
//!
//! Nothing of Python is run. The libraries do not depend on it, so the wheel of one version of
//! Python is taken whatever version is here: everyone tests with the same bytes.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, PIP_HINT, Result};
use crate::fetch::{self, Scratch};
use crate::project::{self, Project};

/// A package that carries the library.
#[derive(Debug)]
pub struct Runtime {
    /// The package's name, which is the folder's as well.
    pub name: &'static str,
    pub version: &'static str,
    /// One for each kind of machine that the tests can run on and that the package is built for.
    wheels: &'static [Wheel],
}

/// A file of a package.
#[derive(Debug)]
struct Wheel {
    /// As [`std::env::consts::ARCH`] says it.
    arch: &'static str,
    /// SHA-256 in hexadecimal, which pip checks.
    sha256: &'static str,
}

/// What `cargo xtask setup` installs. The versions and hashes belong together.
pub const RUNTIMES: &[Runtime] = &[
    // For the CPU, and the newest.
    Runtime {
        name: "onnxruntime",
        version: "1.31.1",
        wheels: &[
            Wheel {
                arch: "x86_64",
                sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
            },
            Wheel {
                arch: "aarch64",
                sha256: "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
            },
        ],
    },
    // For any GPU that Vulkan knows, among them the one in software.
    WEBGPU,
    // For Intel's devices, the CPU among them. It brings the libraries of OpenVINO.
    Runtime {
        name: "onnxruntime-openvino",
        version: "1.24.1",
        wheels: &[Wheel {
            arch: "x86_64",
            sha256: "3007c803634cc69c6d52af1dea7ce729d9bb62b9a11070fd2f959119199007a8",
        }],
    },
];

/// For any GPU.
pub const WEBGPU: Runtime = Runtime {
    name: "onnxruntime-webgpu",
    version: "1.27.0",
    wheels: &[Wheel {
        arch: "x86_64",
        sha256: "142eb8bdb803c58117bf64164d201f43180bc87229cac14b590aa4ea79e0f70b",
    }],
};

/// For NVIDIA's GPUs, with CUDA 13. Too large for every set-up: only a bundle can have it.
pub const CUDA: Runtime = Runtime {
    name: "onnxruntime-gpu",
    version: "1.31.1",
    wheels: &[Wheel {
        arch: "x86_64",
        sha256: "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    }],
};

/// The version of Python whose wheels the hashes are of.
const PYTHON: &str = "3.11";

/// Written into a folder with the rest; what it says is in there.
pub const STAMP: &str = "installed.txt";

impl Runtime {
    /// Where it is installed.
    pub fn folder(&self, project: &Project) -> PathBuf {
        project.runtimes().join(self.name)
    }

    /// Where in its folder the libraries are.
    pub fn libraries() -> &'static str {
        "onnxruntime/capi"
    }

    /// The file name of the library proper.
    pub fn library(&self) -> String {
        format!("libonnxruntime.so.{}", self.version)
    }

    fn wheel(&self, os: &str, arch: &str) -> Option<&Wheel> {
        let mut wheels = self.wheels.iter();
        wheels.find(|wheel| os == "linux" && wheel.arch == arch)
    }

    /// Installs it unless it is there already. `true` if it had to be fetched.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] where there is no pip, or no build for this machine.
    pub fn install(&self, project: &Project) -> Result<bool> {
        let cannot = |why: String, hint| Error::NoRuntime {
            name: self.name,
            why,
            hint,
        };
        let wheel = self.wheel(OS, ARCH).ok_or_else(|| {
            cannot(
                format!("version {} is not known for {OS} on {ARCH}", self.version),
                "its tests run on Linux, on x86-64",
            )
        })?;
        let folder = self.folder(project);
        let wanted = format!(
            "{}=={} --hash=sha256:{}\n",
            self.name, self.version, wheel.sha256
        );
        if fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == wanted) {
            return Ok(false);
        }
        if !fetch::pip_works() {
            return Err(cannot(
                "python3 with pip was not found".to_owned(),
                PIP_HINT,
            ));
        }
        let scratch = Scratch::new(&project.target)?;
        let made = scratch.0.join(self.name);
        fs::create_dir_all(&made).map_err(Error::io("create", &made))?;
        // pip takes a hash from a file only. The same text tells later what is installed.
        let requirements = made.join(STAMP);
        fs::write(&requirements, wanted).map_err(Error::io("write", &requirements))?;
        let mut pip = fetch::python(["-m", "pip", "install", "--quiet", "--no-deps"]);
        pip.args(["--disable-pip-version-check", "--only-binary", ":all:"]);
        // Not compiled: that would be for another Python than this one.
        pip.args(["--root-user-action", "ignore", "--no-compile"]);
        pip.args(["--implementation", "cp", "--python-version", PYTHON]);
        pip.args(["--platform", &format!("manylinux_2_28_{}", wheel.arch)]);
        pip.arg("--require-hashes").arg("-r").arg(&requirements);
        pip.arg("--target").arg(&made);
        project::run(&mut pip)?;
        let library = made.join(Runtime::libraries()).join(self.library());
        if !library.is_file() {
            return Err(Error::Answer {
                command: project::shown(&pip),
                why: format!("it left no {}", self.library()),
            });
        }
        put_in_place(&made, &folder)?;
        Ok(true)
    }
}

/// Installs what is missing. What cannot be had is left out with a hint, and the tests leave it
/// out as well.
///
/// # Errors
///
/// The same is an error where the environment has `CI` set.
pub fn install(project: &Project) -> Result<()> {
    for runtime in RUNTIMES {
        let Some(fetched) = or_leave_out(runtime.install(project))? else {
            continue;
        };
        eprintln!(
            "    {:<22} {:>5.1} MB  {}{}",
            runtime.name,
            size(&runtime.folder(project))? as f64 / 1e6,
            runtime.version,
            if fetched { "" } else { " (already here)" },
        );
    }
    Ok(())
}

/// Makes of a runtime that cannot be had a message, except under `CI`: a run that leaves tests out
/// would be green for the wrong reason.
pub fn or_leave_out<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Err(Error::NoRuntime { name, why, hint }) if std::env::var_os("CI").is_none() => {
            eprintln!("    {name}: skipped, {why}");
            eprintln!("    hint: {hint}");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Renames a folder that is whole to where it belongs: an interrupted fetch leaves nothing there.
pub fn put_in_place(made: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    }
    let above = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(Error::io("create", above))?;
    fs::rename(made, folder).map_err(Error::io("write", folder))
}

/// Bytes of all files in a folder.
pub fn size(folder: &Path) -> Result<u64> {
    let mut total = 0u64;
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let about = entry.metadata().map_err(Error::io("read", &entry.path()))?;
        let bytes = match about.is_dir() {
            true => size(&entry.path())?,
            false => about.len(),
        };
        total = total.saturating_add(bytes);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_folder_and_whole_hashes_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for runtime in RUNTIMES.iter().chain([&CUDA]) {
            assert!(seen.insert(runtime.name), "{} twice", runtime.name);
            for wheel in runtime.wheels {
                let hash = wheel.sha256;
                assert!(hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_hexdigit()));
                assert!(seen.insert(hash), "{}: {hash} twice", runtime.name);
            }
        }
    }

    #[test]
    fn a_wheel_is_for_one_system_and_processor() {
        assert!(WEBGPU.wheel("linux", "x86_64").is_some());
        assert!(WEBGPU.wheel("linux", "aarch64").is_none());
        assert!(WEBGPU.wheel("macos", "x86_64").is_none());
        assert!(RUNTIMES[0].wheel("linux", "aarch64").is_some());
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let at = tempfile::tempdir().unwrap();
        let (made, folder) = (at.path().join("made"), at.path().join("deep/folder"));
        for text in ["one", "three"] {
            fs::create_dir_all(made.join("in")).unwrap();
            fs::write(made.join("in").join(text), text).unwrap();
            put_in_place(&made, &folder).unwrap();
            assert!(!made.exists());
        }
        assert!(!folder.join("in/one").exists());
        assert_eq!(size(&folder).unwrap(), 5);
    }
}
