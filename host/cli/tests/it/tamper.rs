//! Compiled components are native code. What is not exactly what this program's own compiler made
//! for exactly this component is never executed, whoever put it there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use adit_protocol::Hash;
use adit_runtime::engine::{self, Target};

use crate::support::{Home, Said, files, guest};

/// Bytes before the code: its BLAKE3 hash under the folder's key.
const TAG: usize = 32;

/// A state folder with two programs in its cache, of which the outputs differ.
struct Scene {
    home: Home,
    /// The cached code of the guest that is run, and of the one that must never be.
    own: PathBuf,
    others: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let home = Home::new();
        let cached = || {
            let all = files(&home.state().join("code"));
            let code = |path: &PathBuf| path.extension().is_some_and(|e| e == "cwasm");
            all.into_iter().filter(code).collect::<Vec<_>>()
        };
        home.behave(&["--clock", "1"], &["args"]).exits(0);
        let own = cached().remove(0);
        let other = guest("word-count.wasm").display().to_string();
        let said = home.adit(&["run", &other, "--clock", "1"]).exits(0);
        assert!(said.text().contains("words"), "{}", said.text());
        let others = cached().into_iter().find(|path| *path != own).unwrap();
        Scene { home, own, others }
    }

    /// Runs the guest.
    fn run(&self) -> Said {
        self.home.behave(&["--clock", "1"], &["args"])
    }

    /// Runs the guest, whose output must be its own.
    #[track_caller]
    fn runs_as_itself(&self, what: &str) {
        let said = self.run();
        let (text, stderr) = (said.text(), &said.stderr);
        assert_eq!(said.code, Some(0), "{what}: {stderr}");
        assert_eq!(text, "[\"task\", \"args\"]\n", "{what}: {stderr}");
    }

    /// A file that holds `code` for the guest, authenticated under the key of a cache folder.
    fn forge(&self, code: &[u8], folder: &Path) -> Vec<u8> {
        let key = fs::read(folder.join("key")).unwrap().try_into().unwrap();
        let component = Hash::of(&fs::read(guest("guest-behave.wasm")).unwrap());
        let tag = blake3::Hasher::new_keyed(&key)
            .update(component.as_bytes())
            .update(&self.engine())
            .update(code)
            .finalize();
        [tag.as_bytes(), code].concat()
    }

    /// The compatibility hash of the engine, which is not printed anywhere: that of the engine which
    /// this test links, after a look at whether it is the program's.
    fn engine(&self) -> [u8; 32] {
        let compiler = engine::compiler(Target::Processor).unwrap();
        let engine = adit_runtime::store::code::compatibility(&compiler);
        let component = Hash::of(&fs::read(guest("guest-behave.wasm")).unwrap());
        let name = blake3::Hasher::new()
            .update(component.as_bytes())
            .update(&engine)
            .finalize()
            .to_hex();
        let own = self.own.file_stem().unwrap().to_str().unwrap();
        assert_eq!(own, name.as_str(), "the engine is the program's");
        engine
    }
}

/// Replaces a file as an attacker would: a new file under the old name.
fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("attack");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn changed_code_is_not_executed_wherever_it_is_changed() {
    let scene = Scene::new();
    let whole = fs::read(&scene.own).unwrap();
    let last = whole.len() - 1;
    // The tag, the header, and through the whole of the code.
    let offsets = [0, TAG - 1, TAG, TAG + 4, TAG + 16, TAG + 63, last];
    let offsets = offsets
        .into_iter()
        .chain((1..8).map(|part| last / 8 * part));
    for offset in offsets {
        let mut changed = whole.clone();
        changed[offset] ^= 0x01;
        put(&scene.own, &changed);
        scene.runs_as_itself(&format!("byte {offset}"));
        // It was made again, and is whole.
        assert_eq!(fs::read(&scene.own).unwrap(), whole, "byte {offset}");
    }
    for length in [0, 1, TAG, TAG + 1, whole.len() / 2, last] {
        put(&scene.own, &whole[..length]);
        scene.runs_as_itself(&format!("{length} bytes"));
    }
}

#[test]
fn code_of_another_component_key_or_maker_is_not_executed() {
    let scene = Scene::new();
    let others = fs::read(&scene.others).unwrap();
    let code = &others[TAG..];
    let own_folder = scene.own.parent().unwrap();

    // That the attack works: with the folder's key, the other component's code is executed in
    // this one's place. So each refusal below is the authentication's doing.
    put(&scene.own, &scene.forge(code, own_folder));
    let attacked = scene.run().exits(1).stderr;
    let others_words = "usage is `word-count";
    assert!(attacked.contains(others_words), "{attacked}");

    put(&scene.own, &others);
    scene.runs_as_itself("the file of another component");
    put(&scene.own, code);
    scene.runs_as_itself("as wasmtime itself writes it");
    put(&scene.own, &[&[0; TAG], code].concat());
    scene.runs_as_itself("with an empty tag");
    let hash = blake3::hash(code);
    put(&scene.own, &[hash.as_bytes(), code].concat());
    scene.runs_as_itself("with a hash that needs no key");

    // Under a key of before, and that of another state folder.
    let elsewhere = Home::new();
    elsewhere.behave(&[], &["args"]).exits(0);
    let forged = scene.forge(code, &elsewhere.state().join("code"));
    put(&scene.own, &forged);
    scene.runs_as_itself("under the key of another folder");
    let forged = scene.forge(code, own_folder);
    fs::remove_file(own_folder.join("key")).unwrap();
    put(&scene.own, &forged);
    scene.runs_as_itself("under a key that was lost");
    // Links to what was not authenticated under this name.
    fs::remove_file(&scene.own).unwrap();
    std::os::unix::fs::symlink(&scene.others, &scene.own).unwrap();
    scene.runs_as_itself("a link to the file of another component");
}

#[test]
fn code_of_another_engine_is_not_executed() {
    let scene = Scene::new();
    let folder = scene.own.parent().unwrap();
    // The same component, compiled for wasmtime's interpreter. It is authenticated under the right
    // key, as a release with a mistake could leave it, and refused by wasmtime when it is loaded.
    let wasm = fs::read(guest("guest-behave.wasm")).unwrap();
    let compiler = engine::compiler(Target::Interpreter).unwrap();
    let foreign = adit_runtime::admission::compile(&compiler, &wasm).unwrap();
    put(&scene.own, &scene.forge(&foreign, folder));
    let said = scene.home.behave(&["--clock", "1"], &["args"]);
    assert_ne!(said.code, Some(0), "{}", said.text());
    assert!(said.stdout.is_empty(), "{}", said.text());
    // Without the key it is made again, as everything else.
    put(&scene.own, &[&[7; TAG], &foreign[..]].concat());
    scene.runs_as_itself("of another engine");
}

#[test]
fn a_file_that_is_exchanged_all_the_time_is_executed_only_if_it_is_right() {
    let scene = Scene::new();
    let good = fs::read(&scene.own).unwrap();
    let others = fs::read(&scene.others).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for bytes in [&good, &others] {
                    put(&scene.own, bytes);
                    // Also in place, under a reader's feet.
                    let _ = fs::write(&scene.own, bytes);
                }
            }
        });
        let runs = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..12 {
                scene.runs_as_itself(&format!("run {number}"));
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = runs {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_cache_folder_that_others_can_write_to_is_refused() {
    let scene = Scene::new();
    let folder = scene.own.parent().unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(folder, mode(0o777)).unwrap();
    let said = scene.home.behave(&[], &["args"]).exits(1);
    said.explains(&[
        folder.to_str().unwrap(),
        "others may write to it",
        "chmod 700",
    ]);
    fs::set_permissions(folder, mode(0o700)).unwrap();
    scene.runs_as_itself("private again");
}
