//! The same for a program that reads it, and that looks at the processes meanwhile: a JSON object on
//! each line, as `host/xtask/peers/measure.py` prints them for other systems.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Asked;
use crate::load::{Load, Measured};
use crate::processes::Pair;

/// Measures with the first of the numbers in flight, and also at the first of the rates.
pub async fn bench(asked: &Asked) {
    let seconds = Duration::from_secs(asked.seconds);
    let flight = *asked.flight.first().expect("a number in flight");
    let pair = Pair::start(asked.folder.as_deref()).await;
    let load = Load::prepare(&pair).await;
    load.closed(flight, Duration::from_secs(2)).await;
    load.closed(1, Duration::from_millis(500)).await;
    let versions = json!({ "adit": env!("CARGO_PKG_VERSION") });
    tell(&json!({ "event": "ready", "versions": versions }));

    begin("low");
    end("low", &load.closed(1, seconds).await);
    begin("saturation");
    let best = load.closed(flight, seconds).await;
    end("saturation", &best);
    begin("half");
    end("half", &load.open(best.rate() / 2.0, seconds).await);
    if let Some(&rate) = asked.rates.first() {
        begin("same");
        end("same", &load.open(rate as f64, seconds).await);
    }

    let outputs = load.check_outputs().await;
    tell(&json!({ "event": "checked", "outputs": outputs }));
    pair.end().await;
}

fn begin(phase: &str) {
    tell(&json!({ "event": "begin", "phase": phase }));
}

fn end(phase: &str, measured: &Measured) {
    tell(&json!({
        "event": "end",
        "phase": phase,
        "count": measured.count(),
        "seconds": measured.seconds(),
        "p50_ms": measured.quantile_ms(0.5),
        "p99_ms": measured.quantile_ms(0.99),
    }));
}

fn tell(line: &Value) {
    println!("{line}");
}
