//! Where the library `libonnxruntime` is, what version it has, and which build it is.
//!
//! Whoever runs Adit installs it, most easily as a Python package, since every vendor's build is
//! one. It is looked for in this order; the first place that names one decides, and a place that
//! names something that is no library is an error, never a reason to go on to the next:
//!
//! 1. what the user gave on the command line,
//! 2. the environment variable `ADIT_ONNXRUNTIME`,
//! 3. the configuration file,
//! 4. an installed Python package `onnxruntime`, in any of its variants.

use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_protocol::Hash;

use super::provider::Provider;
use crate::nn::backend::BackendError;

/// The environment variable that names the library, or a folder that has it.
pub const VARIABLE: &str = "ADIT_ONNXRUNTIME";

/// The oldest minor version of release 1 whose interface has what is used here.
const OLDEST: u32 = 24;

/// Why no library could be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// A place was named, and there is no library.
    #[error(
        "{place} names {path}, where there is no ONNX Runtime library; hint: name the file libonnxruntime.so, or the folder of the installed Python package"
    )]
    NotThere {
        /// What named it.
        place: &'static str,
        /// What it named.
        path: String,
    },
    /// No place was named, and no Python package has one.
    #[error(
        "ONNX Runtime was not found: no installed Python package has it, and neither --onnxruntime nor {VARIABLE} nor the configuration names it; hint: pip install onnxruntime-webgpu (a GPU of any vendor), onnxruntime-gpu (NVIDIA, with CUDA) or onnxruntime (processors), or name the library with --onnxruntime"
    )]
    NotFound,
}

/// What named the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The library's file.
    pub library: PathBuf,
    /// What led to it, for people.
    pub by: &'static str,
}

/// Places to look at, in the order of the module's text.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// From the command line.
    pub argument: Option<PathBuf>,
    /// The value of [`VARIABLE`].
    pub variable: Option<OsString>,
    /// From the configuration.
    pub configured: Option<PathBuf>,
    /// Folders of Python packages; see [`python_folders`].
    pub packages: Vec<PathBuf>,
}

impl Search {
    /// Finds the library.
    ///
    /// # Errors
    ///
    /// [`LibraryError`].
    pub fn find(&self) -> Result<Found, LibraryError> {
        let variable = self.variable.as_ref().filter(|value| !value.is_empty());
        let named = [
            ("--onnxruntime", self.argument.clone()),
            (VARIABLE, variable.map(PathBuf::from)),
            ("the configuration", self.configured.clone()),
        ];
        for (place, path) in named {
            if let Some(path) = path {
                return match within(&path) {
                    Some(library) => Ok(Found { library, by: place }),
                    None => Err(LibraryError::NotThere {
                        place,
                        path: path.display().to_string(),
                    }),
                };
            }
        }
        let packaged = self
            .packages
            .iter()
            .find_map(|folder| in_folder(&folder.join("onnxruntime/capi")));
        packaged
            .map(|library| Found {
                library,
                by: "an installed Python package",
            })
            .ok_or(LibraryError::NotFound)
    }
}

/// The library that a path means: itself, or one in that folder, or in a package below it.
fn within(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return fs::canonicalize(path).ok();
    }
    ["", "capi", "onnxruntime/capi", "lib"]
        .iter()
        .find_map(|below| in_folder(&path.join(below)))
}

/// The library in a folder: the one with the longest name, which has the version in it.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        is_library(&name).then_some(name)
    });
    let name = names.max_by_key(|name| (name.len(), name.clone()))?;
    fs::canonicalize(folder.join(name)).ok()
}

/// Whether a file name is that of the library: `libonnxruntime.so`, with or without a version,
/// `libonnxruntime.VERSION.dylib` or `onnxruntime.dll`.
fn is_library(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    name == "onnxruntime.dll"
        || name == "libonnxruntime.so"
        || name.starts_with("libonnxruntime.so.")
        || name.starts_with("libonnxruntime.") && name.ends_with(".dylib")
}

/// The folders in which the `python3` on the path has its packages; none if there is no Python.
pub fn python_folders() -> Vec<PathBuf> {
    // Isolated, so that no file of the working folder is run in place of Python's own; but with
    // the user's packages, where pip puts things by default.
    const ASK: &str = "import site, sysconfig\n\
        folders = [sysconfig.get_path(kind) for kind in ('purelib', 'platlib')]\n\
        folders += site.getsitepackages() + [site.getusersitepackages()]\n\
        print('\\n'.join(dict.fromkeys(folders)))";
    let asked = Command::new("python3")
        .args(["-I", "-c", ASK])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match asked {
        Ok(answer) if answer.status.success() => String::from_utf8_lossy(&answer.stdout)
            .lines()
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute())
            .collect(),
        _ => Vec::new(),
    }
}

/// Folders with libraries that the library itself loads: those that NVIDIA's Python packages
/// bring, beside the package that has the library. A worker's loader looks there.
pub fn companions(library: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = library.parent().map(Path::to_owned).into_iter().collect();
    // onnxruntime/capi/libonnxruntime.so, below the folder of all packages.
    let packages = library.ancestors().nth(3);
    let nvidia = packages.and_then(|packages| fs::read_dir(packages.join("nvidia")).ok());
    let mut brought: Vec<PathBuf> = nvidia
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("lib")))
        .filter(|folder| folder.is_dir())
        .collect();
    brought.sort();
    folders.append(&mut brought);
    if let Some(tensorrt) = packages.map(|packages| packages.join("tensorrt_libs"))
        && tensorrt.is_dir()
    {
        folders.push(tensorrt);
    }
    folders
}

/// The version that the library states.
///
/// # Errors
///
/// [`BackendError::Unavailable`] if it is no ONNX Runtime, or too old.
pub(crate) fn version(library: &Path) -> Result<String, BackendError> {
    let unusable = |why: String| {
        BackendError::unavailable(format!(
            "the library {} cannot be used: {why}",
            library.display()
        ))
    };
    // SAFETY: loading a library runs its code, which is what the user named it for.
    let loaded =
        unsafe { libloading::Library::new(library) }.map_err(|e| unusable(e.to_string()))?;
    type Base = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    // SAFETY: the symbol has this type in every release of ONNX Runtime.
    let base = unsafe { loaded.get::<Base>(b"OrtGetApiBase\0") }
        .map_err(|_| unusable("it is not ONNX Runtime".to_owned()))?;
    // SAFETY: it takes nothing and returns a pointer to a constant of the library, or null.
    let base = unsafe { base().as_ref() }.ok_or_else(|| unusable("it is not usable".to_owned()))?;
    // SAFETY: the function returns a constant text of the library, which is still loaded.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    let version = version.to_string_lossy().into_owned();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(1), Some(minor)) if minor >= OLDEST => Ok(version),
        _ => Err(unusable(format!(
            "its version is {version}, and 1.{OLDEST} or a later 1.x is needed; hint: pip install --upgrade the package"
        ))),
    }
}

/// The hash of the bytes of the library, and of the provider's own library where it is one apart:
/// two builds of one version are two environments.
///
/// # Errors
///
/// [`BackendError::Failed`] if a file cannot be read.
pub(crate) fn build_hash(library: &Path, provider: Provider) -> Result<String, BackendError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |path: &Path| {
        fs::File::open(path)
            .and_then(|file| hasher.update_reader(file).map(|_| ()))
            .map_err(|error| {
                BackendError::failed(format!("{} cannot be read: {error}", path.display()))
            })
    };
    add(library)?;
    let apart = match provider {
        Provider::Cuda | Provider::TensorRt => Some("cuda"),
        Provider::OpenVino | Provider::OpenVinoGpu => Some("openvino"),
        Provider::MiGraphX => Some("migraphx"),
        Provider::Cpu | Provider::CoreMl | Provider::DirectMl | Provider::WebGpu => None,
    };
    let folder = library.parent().unwrap_or(Path::new("."));
    let apart = apart.map(|name| folder.join(format!("libonnxruntime_providers_{name}.so")));
    if let Some(apart) = apart.filter(|path| path.is_file()) {
        add(&apart)?;
    }
    Ok(Hash::from_bytes(*hasher.finalize().as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not a library").unwrap();
        fs::canonicalize(path).unwrap()
    }

    #[test]
    fn the_first_place_that_names_something_decides() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let packaged = touch(&root.join("site/onnxruntime/capi/libonnxruntime.so.1.31.1"));
        touch(&root.join("site/onnxruntime/capi/libonnxruntime_providers_shared.so"));
        let other = touch(&root.join("other/lib/libonnxruntime.so"));
        let mut search = Search {
            packages: vec![root.join("empty"), root.join("site")],
            ..Search::default()
        };
        assert_eq!(search.find().unwrap().library, packaged);
        search.configured = Some(root.join("other"));
        assert_eq!(search.find().unwrap().library, other);
        search.variable = Some(packaged.clone().into());
        assert_eq!(search.find().unwrap().by, VARIABLE);
        search.argument = Some(root.join("nothing"));
        // A named place is not passed over for the next.
        assert!(matches!(
            search.find(),
            Err(LibraryError::NotThere {
                place: "--onnxruntime",
                ..
            })
        ));
        assert_eq!(Search::default().find(), Err(LibraryError::NotFound));
    }

    #[test]
    fn what_is_no_library_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = touch(&folder.path().join("libonnxruntime.so"));
        let error = version(&path).unwrap_err().to_string();
        assert!(error.contains("libonnxruntime.so"), "{error}");
    }

    #[test]
    fn names_of_the_library() {
        for name in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.27.0",
            "libonnxruntime.1.27.0.dylib",
            "onnxruntime.dll",
        ] {
            assert!(is_library(OsStr::new(name)), "{name}");
        }
        for name in [
            "libonnxruntime_providers_cuda.so",
            "onnxruntime_pybind11_state.so",
            "libonnxruntime.a",
        ] {
            assert!(!is_library(OsStr::new(name)), "{name}");
        }
    }
}
