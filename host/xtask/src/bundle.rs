//! `cargo xtask gpu-bundle`: what is needed to try `adit` on a machine that has a GPU and neither a
//! network nor a compiler, as one archive of a size that can be sent there.
//!
//! The folder runs by itself: `bundle.sh`, its `run.sh`, finds the machine's driver and libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::archive;
use crate::debian;
use crate::error::{Error, Result};
use crate::fetch::Scratch;
use crate::models::MODELS;
use crate::project::{self, Project, Target, step};
use crate::runtimes::{CUDA, Runtime, STAMP, WEBGPU};
use crate::setup::{self, GUEST_TARGET};
use crate::swiftshader;

/// What the folder is called, here and where the archives are unpacked.
const NAME: &str = "adit-gpu";
/// What the measurements need besides, in an archive of their own: more cannot travel in one go.
const BENCH: &str = "adit-gpu-bench";
const RUN: &str = include_str!("bundle.sh");

/// What can travel in one go, with the repository and some room beside it.
const ARCHIVE_BYTES_MAX: u64 = 60 << 20;
const PART_BYTES_MAX: u64 = 56 << 20;

/// Tests and benchmarks: the folder of the package, the kind and name of the target, the name in
/// the bundle.
const TESTS: &[(&str, &str, &str, &str)] = &[
    ("host/runtime", "test", "it", "tests-runtime"),
    ("host/cli", "test", "cli", "tests-cli"),
    ("host/runtime", "bench", "inference", BENCH_BINARY),
];
const BENCH_BINARY: &str = "bench-inference";
/// The model that only the benchmark computes.
const BENCH_MODEL: &str = "embed-text";

/// Packages of Debian with what NVIDIA's Vulkan driver loads where there is no display.
const EGL: &[debian::Wanted] = &[
    ("libegl1", &["libEGL.so.1"]),
    ("libglvnd0", &["libGLdispatch.so.0"]),
];

/// What of the CUDA package is taken: not TensorRT, which needs libraries that nobody has by chance.
const CUDA_LIBRARIES: &[&str] = &[
    "libonnxruntime_providers_shared.so",
    "libonnxruntime_providers_cuda.so",
];

/// `cargo xtask gpu-bundle [--cuda] [--out DIR]`. A line on stdout for each part and its size.
///
/// # Errors
///
/// [`Error::TooLarge`] if the archive is, which is there all the same, to be looked at.
pub fn command(cuda: bool, out: Option<&Path>) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    let out = match out {
        // As its user sees it, not as the commands that run in the workspace's root would.
        Some(out) => std::path::absolute(out).map_err(Error::io("find", out))?,
        None => project.target.join("gpu-bundle"),
    };
    let folder = out.join(NAME);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    step("binaries", || {
        let binaries = build(&project)?;
        place_binaries(&binaries, &folder.join("bin"))
    })?;
    step("models, guests and libraries", || fill(&project, &folder))?;
    let bench = out.join(BENCH);
    if bench.exists() {
        fs::remove_dir_all(&bench).map_err(Error::io("remove", &bench))?;
    }
    step("measurements", || fill_bench(&project, &folder, &bench))?;
    let archive = |folder: &Path, name: &str| -> Result<(PathBuf, u64)> {
        let file = out.join(format!("{name}.tar.xz"));
        let size = step("archive", || archive::pack(folder, &[NAME], &file))?;
        Ok((file, size))
    };
    let archives = [archive(&out, NAME)?, archive(&bench, BENCH)?];
    if cuda {
        step("CUDA libraries", || cuda_parts(&project, &out))?;
    }
    report(&folder)?;
    for (file, size) in &archives {
        println!("{}  {}", megabytes(*size), project.shown(file));
    }
    println!(
        "there: tar xf {NAME}.tar.xz && tar xf {BENCH}.tar.xz && {NAME}/run.sh (without xz: \
         python3 -m tarfile -e FILE)"
    );
    match archives
        .into_iter()
        .find(|(_, size)| *size > ARCHIVE_BYTES_MAX)
    {
        Some((file, size)) => Err(Error::TooLarge {
            file: project.shown(&file),
            size,
            size_max: ARCHIVE_BYTES_MAX,
        }),
        None => Ok(()),
    }
}

/// A binary, and its name in the bundle.
#[derive(Debug, PartialEq)]
struct Binary {
    name: String,
    path: PathBuf,
}

/// Builds the tests as `cargo xtask test` does, so that nothing is compiled twice, and the programs
/// that they start.
fn build(project: &Project) -> Result<Vec<Binary>> {
    let mut build = project.cargo();
    build.args(["test", "--release", "--workspace", "--no-run", "--quiet"]);
    // Features are decided by the packages that are selected; of their targets these will do.
    for (_, kind, target, _) in TESTS {
        build.args([&format!("--{kind}"), *target]);
    }
    build.arg("--message-format=json-render-diagnostics");
    let answer = project::output(&mut build)?;
    let found = binaries(&String::from_utf8_lossy(&answer), &project.root);
    let names = TESTS.iter().map(|(_, _, _, name)| *name).chain(["adit"]);
    for name in names {
        if !found.iter().any(|binary| binary.name == name) {
            return Err(Error::Answer {
                command: project::shown(&build),
                why: format!("it names no {name}"),
            });
        }
    }
    Ok(found)
}

/// Reads the binaries of the tested packages out of what cargo says that it built.
fn binaries(answer: &str, root: &Path) -> Vec<Binary> {
    #[derive(Deserialize)]
    struct Message {
        manifest_path: PathBuf,
        target: Target,
        executable: PathBuf,
    }

    let mut found = Vec::new();
    // Messages about anything but a binary lack a field.
    for message in (answer.lines()).filter_map(|line| serde_json::from_str::<Message>(line).ok()) {
        let Message {
            manifest_path,
            target,
            executable,
        } = message;
        let of_package = |folder: &str| manifest_path.parent() == Some(&root.join(folder));
        let is = |kind: &str| target.kind.iter().any(|known| known == kind);
        let name = if is("bin") && TESTS.iter().any(|(folder, ..)| of_package(folder)) {
            target.name.clone()
        } else if let Some((.., name)) = TESTS
            .iter()
            .find(|(folder, kind, name, _)| is(kind) && of_package(folder) && target.name == *name)
        {
            (*name).to_owned()
        } else {
            continue;
        };
        found.push(Binary {
            name,
            path: executable,
        });
    }
    found
}

/// Copies binaries, without their symbols: those are a quarter of them.
fn place_binaries(binaries: &[Binary], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    for Binary { name, path } in binaries {
        let place = folder.join(name);
        fs::copy(path, &place).map_err(Error::io("write", &place))?;
        project::run(Command::new("strip").arg(&place).stdin(Stdio::null()))?;
    }
    Ok(())
}

/// Everything but the binaries.
fn fill(project: &Project, folder: &Path) -> Result<()> {
    for model in MODELS.iter().filter(|model| model.example != BENCH_MODEL) {
        let from = project.models().join(model.path);
        place(&from, &folder.join("models").join(model.path))?;
    }
    let guests = project.target.join(GUEST_TARGET).join("release");
    for guest in fs::read_dir(&guests).map_err(Error::io("read", &guests))? {
        let guest = guest.map_err(Error::io("read", &guests))?.path();
        if let (Some("wasm"), Some(name)) = (
            guest.extension().and_then(|extension| extension.to_str()),
            guest.file_name(),
        ) {
            place(&guest, &folder.join("guests").join(name))?;
        }
    }
    // In the same folders as in the package, so that it is found in the same way.
    let libraries = Path::new(WEBGPU.name).join(Runtime::libraries());
    let library = libraries.join(WEBGPU.library());
    let to = folder.join("runtimes").join(&library);
    place(&project.runtimes().join(&library), &to)?;
    let loader = swiftshader::folder(project).join(swiftshader::LOADER);
    place(&loader, &folder.join(swiftshader::LOADER))?;

    egl(project, folder)?;
    let run = folder.join("run.sh");
    fs::write(&run, RUN).map_err(Error::io("write", &run))?;
    make_executable(&run)
}

/// Makes the folder beside the other one whose archive is unpacked over it.
fn fill_bench(project: &Project, folder: &Path, bench: &Path) -> Result<()> {
    let binary = folder.join("bin").join(BENCH_BINARY);
    place(&binary, &bench.join(NAME).join("bin").join(BENCH_BINARY))?;
    fs::remove_file(&binary).map_err(Error::io("remove", &binary))?;
    for model in MODELS.iter().filter(|model| model.example == BENCH_MODEL) {
        let from = project.models().join(model.path);
        place(&from, &bench.join(NAME).join("models").join(model.path))?;
    }
    Ok(())
}

/// Puts libraries beside the loader of Vulkan. A machine has them where a desktop runs.
fn egl(project: &Project, folder: &Path) -> Result<()> {
    let scratch = Scratch::new(&project.target)?;
    let cannot = |why: &str| Error::NoRuntime {
        name: "libegl1",
        why: why.to_owned(),
        hint: "a bundle is made on Debian, where apt-get and dpkg-deb work",
    };
    debian::take(EGL, &scratch.0, folder, &cannot)?;
    Ok(())
}

/// Copies a file to a folder that is made first.
fn place(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    // The original is named: `cargo xtask setup` may have left it out.
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    Ok(())
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::io("change", path))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

/// Makes the part files of the CUDA libraries, unless they are there already: that takes minutes.
/// `run.sh` unpacks them beside the other libraries.
fn cuda_parts(project: &Project, out: &Path) -> Result<()> {
    CUDA.install(project)?;
    let part = |number: usize| out.join(format!("cuda-part-{number:02}"));
    let list = out.join("cuda-parts.txt");
    let installed = CUDA.folder(project).join(STAMP);
    let wanted = fs::read_to_string(&installed).map_err(Error::io("read", &installed))?;
    let listed = fs::read_to_string(&list).unwrap_or_default();
    let whole = listed.strip_prefix(&wanted).is_some_and(|parts| {
        let line = |(number, line): (usize, &str)| {
            fs::metadata(part(number)).is_ok_and(|about| line == part_line(number, about.len()))
        };
        !parts.is_empty() && parts.lines().enumerate().all(line)
    });
    if !whole {
        let libraries = Path::new("runtimes")
            .join(CUDA.name)
            .join(Runtime::libraries());
        let mut members = vec![libraries.join(CUDA.library())];
        members.extend(CUDA_LIBRARIES.iter().map(|name| libraries.join(name)));
        archive::remove_parts(0, part)?;
        let parts = archive::pack_in_parts(&project.target, &members, PART_BYTES_MAX, part)?;
        let lines = (parts.iter().enumerate())
            .map(|(number, (_, size))| format!("{}\n", part_line(number, *size)));
        let text = wanted + &lines.collect::<String>();
        // Last, so that an interrupted packing is begun anew.
        fs::write(&list, text).map_err(Error::io("write", &list))?;
    }
    let text = fs::read_to_string(&list).map_err(Error::io("read", &list))?;
    print!("{text}");
    Ok(())
}

fn part_line(number: usize, size: u64) -> String {
    format!("{}  cuda-part-{number:02}  {size} bytes", megabytes(size))
}

/// The folder's parts and their sizes, as they are before compression.
fn report(folder: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let path = entry.path();
        let about = entry.metadata().map_err(Error::io("read", &path))?;
        let size = match about.is_dir() {
            true => crate::runtimes::size(&path)?,
            false => about.len(),
        };
        let name = entry.file_name();
        lines.push((name.to_string_lossy().into_owned(), size));
    }
    lines.sort();
    for (name, size) in lines {
        println!("{}  {NAME}/{name}", megabytes(size));
    }
    Ok(())
}

/// In the unit in which the bounds are.
fn megabytes(size: u64) -> String {
    format!("{:>6.1} MiB", size as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_those_of_the_tested_packages() {
        let artifact = |folder: &str, kind: &str, name: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/p/{folder}/Cargo.toml","target":{{"name":"{name}","kind":["{kind}"]}},"executable":{executable}}}"#
            )
        };
        let answer = [
            artifact("host/protocol", "lib", "adit_protocol", "null"),
            artifact("host/protocol", "test", "it", r#""/t/it-1""#),
            artifact("host/runtime", "bin", "adit-worker", r#""/t/adit-worker""#),
            artifact("host/runtime", "test", "it", r#""/t/it-2""#),
            artifact("host/runtime", "test", "other", r#""/t/other""#),
            artifact("host/runtime", "bench", "inference", r#""/t/inference-4""#),
            artifact("host/cli", "bin", "adit", r#""/t/adit""#),
            artifact("host/cli", "test", "cli", r#""/t/cli-3""#),
            artifact("host/xtask", "bin", "xtask", r#""/t/xtask""#),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "something else".to_owned(),
        ];
        let binary = |name: &str, path: &str| Binary {
            name: name.to_owned(),
            path: path.into(),
        };
        assert_eq!(
            binaries(&answer.join("\n"), Path::new("/p")),
            [
                binary("adit-worker", "/t/adit-worker"),
                binary("tests-runtime", "/t/it-2"),
                binary("bench-inference", "/t/inference-4"),
                binary("adit", "/t/adit"),
                binary("tests-cli", "/t/cli-3"),
            ]
        );
    }
}
