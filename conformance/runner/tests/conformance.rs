//! The suite against this workspace's own `adit`, which `cargo xtask setup` builds.

use adit_conformance::Error;
use adit_conformance::places::{Places, target_of_test};
use adit_conformance::trials::{Options, THREADS, trials};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let trials = options()
        .and_then(|options| trials(&options))
        .unwrap_or_else(|error| {
            // As a test that fails, so that it is counted.
            let failed = move || Err(error.to_string().into());
            vec![Trial::test("the suite can be run", failed)]
        });
    libtest_mimic::run(&arguments, trials).exit();
}

fn options() -> Result<Options, Error> {
    let target = target_of_test()?;
    let adit = format!("adit{}", std::env::consts::EXE_SUFFIX);
    let adit = target.join("release").join(adit);
    if !adit.is_file() {
        return Err(Error::Missing {
            path: adit,
            hint: "cargo xtask setup builds it",
        });
    }
    Ok(Options::new(adit, Places::of_target(&target)))
}
