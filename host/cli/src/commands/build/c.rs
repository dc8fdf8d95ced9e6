//! A project in C to a component, by clang and a C library for WASI.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use adit_runtime::admission::COMPONENT_BYTES_MAX;
use anyhow::Context as _;
use wasm_encoder::{CustomSection, Section as _};

use super::{adapt, tool};
use crate::error::Failure;
use crate::input::read_file;
use crate::project::contract::{COMPONENT_TYPE, COMPONENT_TYPE_SECTION, FOLDER};
use crate::state::write_file;
use crate::ui::Ui;

/// The folder with the sources.
const SOURCES: &str = "src";

const HINT: &str = "Debian: apt install clang lld wasi-libc libclang-rt-dev-wasm32; elsewhere: \
    install the wasi-sdk and set WASI_SDK_PATH to its folder";

/// Builds the project in `folder`, an absolute path, into `out`.
pub fn build(ui: &Ui, folder: &Path, out: &Path) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    collect(folder, Path::new(SOURCES), &mut sources)
        .with_context(|| format!("the folder {SOURCES} of the project could not be read"))?;
    if sources.is_empty() {
        return Failure::argument("the project has no task")
            .why(format!("there is no .c file in {SOURCES}"))
            .hint("define exports_task_run there; `adit new --lang c` has one")
            .into_err();
    }
    // Its place in the command line decides where a function is in the module.
    sources.sort();

    let module = out.with_extension("core.wasm");
    tool::make_room(&module).with_context(|| format!("{} is in the way", module.display()))?;
    let mut command = clang(folder);
    command.args(["-O2", "-Wall", "-I", SOURCES, "-I", &format!("{FOLDER}/c")]);
    // As Rust has it: a stack that overflows meets the end of memory, and not the program's data.
    command.args([
        "-Wl,--stack-first",
        "-Wl,-z,stack-size=1048576",
        "-Wl,--strip-debug",
    ]);
    command.args(&sources).arg(format!("{FOLDER}/c/task.c"));
    command.arg("-o").arg(&module);
    let missing = || tool::missing("clang", "it is neither in PATH nor in WASI_SDK_PATH", HINT);
    tool::run(ui, &mut command, missing, || {
        if works(folder) {
            Failure::argument("the project could not be built").hint("fix what it says")
        } else {
            Failure::argument("the C library for WASI, or clang's support for it, is not complete")
                .hint(HINT)
        }
    })?;

    let mut bytes = read_file(&module, COMPONENT_BYTES_MAX, "the linked module")?;
    // The linker has dropped what it does not know; the adapter asks for it.
    CustomSection {
        name: COMPONENT_TYPE_SECTION.into(),
        data: COMPONENT_TYPE.into(),
    }
    .append_to(&mut bytes);
    let component = adapt::adapt(&module, bytes)?;
    write_file(out, &component, 0o644)
}

/// clang, told to make a library that keeps its state between calls.
fn clang(folder: &Path) -> Command {
    let program = match std::env::var_os("WASI_SDK_PATH") {
        Some(sdk) => PathBuf::from(sdk).join("bin/clang"),
        None => "clang".into(),
    };
    let mut command = tool::command(program, folder);
    command.args(["--target=wasm32-wasi", "-mexec-model=reactor"]);
    command
}

/// Whether a program of one line can be built: if not, the sources are not at fault.
fn works(folder: &Path) -> bool {
    let probe = folder.join("target/adit/probe.c");
    let built = fs::write(&probe, "#include <stdlib.h>\n").and_then(|()| {
        let mut command = clang(folder);
        command
            .arg(&probe)
            .arg("-o")
            .arg(probe.with_extension("wasm"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).status()
    });
    for left in [&probe, &probe.with_extension("wasm")] {
        // What cannot be removed is in a folder of what can be made again.
        let _ = fs::remove_file(left);
    }
    built.is_ok_and(|status| status.success())
}

/// Adds the `.c` files below `inside`, relative to the project.
fn collect(folder: &Path, inside: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(inside))? {
        let entry = entry?;
        let path = inside.join(entry.file_name());
        // Links to folders are not followed: they may lead round in a circle.
        if entry.file_type()?.is_dir() {
            collect(folder, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    Ok(())
}
