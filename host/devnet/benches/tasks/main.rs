//! From the submission of a task to its durable receipt, over loopback: one coordinator and one miner,
//! each a process of its own as in a real network, with its worker, and load from this process.
//!
//! - `saturation`: tasks a second with as many in flight as help.
//! - `low load`: one task at a time.
//! - `half load`: tasks come at half the rate of saturation, whether or not those before are done;
//!   times count from when a task was due.
//!
//! Each task is an own input to a component of 1 KB, run in the sandbox by one miner without
//! replication. An answer means that receipt, verdict and result are on disk (in the
//! coordinator's write-ahead log, flushed). Outputs of some are fetched and compared.
//!
//! Options: `--seconds N` for each measurement, `--flight N,N,...` for the numbers in flight to try,
//! `--folder DIR` for another disk than that of temporary files; `--rate N,N,...` for tasks that come
//! at these rates instead of all that; `--json` for what `cargo xtask bench net` reads.

mod json;
mod load;
mod processes;
mod roles;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use load::{Load, Measured};
use processes::Pair;
use usage::Usage;

/// What was asked for.
struct Asked {
    seconds: u64,
    flight: Vec<usize>,
    rates: Vec<usize>,
    folder: Option<PathBuf>,
    json: bool,
}

fn main() {
    if let Some(code) = adit_runtime::worker::main_if_worker(std::env::args_os().skip(1)) {
        std::process::exit(code);
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = &args[..]
        && role.starts_with("--role=")
    {
        roles::run(role, rest);
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let asked = asked(&args);
    match asked.json {
        true => runtime.block_on(json::bench(&asked)),
        false => runtime.block_on(bench(&asked)),
    }
}

fn asked(args: &[String]) -> Asked {
    let mut asked = Asked {
        seconds: 8,
        flight: vec![32, 128, 512],
        rates: Vec::new(),
        folder: None,
        json: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => asked.seconds = args.next().and_then(|n| n.parse().ok()).expect("N"),
            "--flight" => asked.flight = numbers(args.next()),
            "--rate" => asked.rates = numbers(args.next()),
            "--folder" => asked.folder = args.next().map(PathBuf::from),
            "--json" => asked.json = true,
            // What cargo and criterion's users pass.
            _ => {}
        }
    }
    asked
}

fn numbers(list: Option<&String>) -> Vec<usize> {
    let list = list.expect("N,N,...");
    let number = |n: &str| n.parse().expect("a number");
    list.split(',').map(number).collect()
}

async fn bench(asked: &Asked) {
    let seconds = Duration::from_secs(asked.seconds);
    let pair = Pair::start(asked.folder.as_deref()).await;
    let load = Load::prepare(&pair).await;
    // Compiled code, connections, caches of all kinds.
    load.closed(32, Duration::from_secs(2)).await;

    if !asked.rates.is_empty() {
        for &rate in &asked.rates {
            let before = Usage::of(&pair).await;
            let measured = load.open(rate as f64, seconds).await;
            let used = Usage::of(&pair).await.since(&before);
            println!("{rate} tasks/s: {measured}");
            println!("  {}", used.per_task(&measured));
        }
        return pair.end().await;
    }

    let low = load.closed(1, seconds).await;
    println!("low load, one at a time: {low}");

    let mut best: Option<Measured> = None;
    for in_flight in &asked.flight {
        let before = Usage::of(&pair).await;
        let measured = load.closed(*in_flight, seconds).await;
        let used = Usage::of(&pair).await.since(&before);
        println!("saturation, {in_flight} in flight: {measured}");
        println!("  {}", used.per_task(&measured));
        if best
            .as_ref()
            .is_none_or(|best| measured.rate() > best.rate())
        {
            best = Some(measured);
        }
    }
    let best = best.expect("a number in flight");

    let half = load.open(best.rate() / 2.0, seconds).await;
    println!("half load, {:.0} tasks/s: {half}", best.rate() / 2.0);
    println!(
        "result: {:.0} tasks/s at saturation; p50 {:.2} ms at low load, {:.2} ms at half load",
        best.rate(),
        low.quantile_ms(0.5),
        half.quantile_ms(0.5),
    );
    println!("{} outputs were compared", load.check_outputs().await);
    pair.end().await;
}
