//! Every behaviour, and the choice among them.

mod bombs;
mod chance;
mod compute;
mod floats;
mod simd;
mod time;
mod world;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package conformance:behave;
        /// What the standard library does not show of its imports.
        world raw {
            import wasi:cli/environment@0.2.12;
            import wasi:cli/stdin@0.2.12;
            import wasi:cli/stdout@0.2.12;
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:clocks/wall-clock@0.2.12;
            import wasi:io/poll@0.2.12;
            import wasi:io/streams@0.2.12;
            import wasi:random/insecure@0.2.12;
            import wasi:random/insecure-seed@0.2.12;
            import wasi:random/random@0.2.12;
        }
    ",
    world: "conformance:behave/raw",
    generate_all,
});

/// A behaviour, given the arguments after its name.
type Behaviour = fn(&Args);

/// Every behaviour by its name.
const BEHAVIOURS: &[(&str, Behaviour)] = &[
    ("args", world::args),
    ("arguments-again", bombs::arguments_again),
    ("burn-then-trap", compute::burn_then_trap),
    ("clock", time::clock),
    ("clocks", time::clocks),
    ("count", compute::count),
    ("divide", compute::divide),
    ("echo", world::echo),
    ("exit", compute::exit),
    ("files", world::files),
    ("float", floats::float),
    ("float-many", floats::many),
    ("leak", bombs::leak),
    ("loop", compute::endless),
    ("memory", bombs::memory),
    ("panic", compute::panic),
    ("poll-ahead", time::poll_ahead),
    ("poll-for-ever", time::poll_for_ever),
    ("poll-many", time::poll_many),
    ("poll-nothing", time::poll_nothing),
    ("pollables", bombs::pollables),
    ("random", chance::random),
    ("random-bomb", bombs::random),
    ("random-kinds", chance::kinds),
    ("read-ahead", world::read_ahead),
    ("recurse", compute::recurse),
    ("recurse-wide", compute::recurse_wide),
    ("simd", simd::simd),
    ("sleep", time::sleep),
    ("sleep-ns", time::sleep_ns),
    ("sockets", world::sockets),
    ("spin", time::spin),
    ("splice", world::splice),
    ("stderr", bombs::stderr),
    ("stdin-for-ever", time::stdin_for_ever),
    ("stdout", bombs::stdout),
    ("streams", bombs::streams),
    ("threads", world::threads),
    ("world", world::world),
    ("write-at-once", bombs::write_at_once),
    ("write-zeroes", bombs::write_zeroes),
];

/// The arguments after the name of the behaviour.
struct Args(Vec<String>);

impl Args {
    /// The argument at this place as a number; 0 where there is none.
    fn number(&self, at: usize) -> u64 {
        self.0.get(at).and_then(|a| a.parse().ok()).unwrap_or(0)
    }
}

/// Behave as the first argument says.
pub fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let args = Args(args.collect());
    if name == "list" {
        for (name, _) in BEHAVIOURS {
            println!("{name}");
        }
        return;
    }
    match BEHAVIOURS.iter().find(|(known, _)| *known == name) {
        Some((_, behave)) => behave(&args),
        None => {
            eprintln!("unknown behaviour {name:?}");
            std::process::exit(2);
        }
    }
}
