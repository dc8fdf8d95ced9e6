//! `adit miner status`, `explain`, `pause`, `resume`, `drain`: questions to the running miner.

use std::str::FromStr as _;
use std::time::Duration;

use adit_miner::control::{self, ControlError, Request};
use adit_protocol::codes::Code;
use anyhow::Context as _;
use serde_json::{Value, json};

use super::setup;
use crate::amounts::now_ns;
use crate::error::{Exit, Failure};
use crate::state::State;
use crate::text::{count, micros, one_line, size, tokens};
use crate::ui::Ui;

/// Asks the miner of the state folder.
///
/// # Errors
/// When none runs, or it refuses.
pub fn ask(state: &State, request: &Request) -> anyhow::Result<Value> {
    let folder = setup::folder(state)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    runtime
        .block_on(control::ask(&folder, request))
        .map_err(|error| refused(&error).into())
}

fn refused(error: &ControlError) -> Failure {
    let code = match error {
        ControlError::Refused { code, .. } => Code::from_str(code).unwrap_or(Code::BadAnswer),
        ControlError::Answer(_) => Code::BadAnswer,
        _ => Code::Unreachable,
    };
    Failure::new(code, "the miner could not be asked")
        .because(error)
        .or_hint("see `adit miner status`")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Whether a miner runs with this state folder.
///
/// # Errors
/// When there is no state folder.
pub fn is_running(state: &State) -> anyhow::Result<bool> {
    Ok(std::os::unix::net::UnixStream::connect(control::path(&setup::folder(state)?)).is_ok())
}

/// A time since then, for people.
fn since(ms: u64) -> String {
    let now_ms = now_ns() / 1_000_000;
    let past = Duration::from_secs(now_ms.saturating_sub(ms) / 1000);
    humantime::format_duration(past).to_string()
}

fn stake(value: &Value) -> String {
    text(value, "stake")
        .parse()
        .map_or_else(|_| "none".to_owned(), |amount: u128| tokens(amount))
}

/// `adit miner status`.
pub fn status(ui: &Ui, state: &State) -> anyhow::Result<Exit> {
    let status = ask(state, &Request::Status)?;
    if ui.json {
        ui.object(&status)?;
        return Ok(Exit::Ok);
    }
    ui.line(format!(
        "{} for {}, node {}",
        text(&status, "mode"),
        since(number(&status, "started_ms")),
        text(&status, "node")
    ))?;
    ui.line(format!(
        "network {} ({}), membership {}, stake {}",
        one_line(text(&status, "network_name")),
        text(&status, "network"),
        number(&status, "membership"),
        stake(&status),
    ))?;
    if let Some(why) = status.get("journal_failing").and_then(Value::as_str) {
        ui.line(format!("THE JOURNAL CANNOT BE WRITTEN: {}", one_line(why)))?;
    }
    for device in list(&status, "devices") {
        let mut words = vec![format!(
            "{} of {}",
            number(device, "busy"),
            count(number(device, "slots"), "slot")
        )];
        words.extend(flag(device, "paused").then(|| "paused".to_owned()));
        words.extend(flag(device, "hot").then(|| "too hot".to_owned()));
        let celsius = device.get("temperature_c").and_then(Value::as_u64);
        words.extend(celsius.map(|celsius| format!("{celsius} C")));
        ui.line(format!(
            "device {:<12} {}",
            one_line(text(device, "name")),
            words.join(", ")
        ))?;
    }
    for coordinator in list(&status, "coordinators") {
        let held = coordinator.get("held").unwrap_or(&Value::Null);
        let receipts = coordinator.get("receipts").unwrap_or(&Value::Null);
        ui.line(format!(
            "coordinator {} {}",
            text(coordinator, "node")
                .chars()
                .take(12)
                .collect::<String>(),
            one_line(text(coordinator, "url"))
        ))?;
        ui.line(format!(
            "  held      {} running, {} waiting, {} fetching, {} to be acknowledged",
            number(held, "running"),
            number(held, "waiting"),
            number(held, "fetching"),
            number(held, "recorded"),
        ))?;
        ui.line(format!(
            "  receipts  {} acknowledged, {} refused, {} not answered yet",
            number(receipts, "acknowledged"),
            number(receipts, "refused"),
            number(receipts, "signed") + number(receipts, "begun"),
        ))?;
        let round_trip = coordinator.get("round_trip_us").and_then(Value::as_u64);
        ui.line(format!(
            "  share     {:.1}% by its stake of {}; round trip {}",
            number(coordinator, "share_ppm") as f64 / 10_000.0,
            stake(coordinator),
            round_trip.map_or_else(|| "not measured".to_owned(), micros),
        ))?;
        if let Some(idle) = coordinator.get("idle").filter(|idle| !idle.is_null()) {
            ui.line(format!(
                "  idle      {} for {}",
                text(idle, "code"),
                since(number(idle, "since_ms"))
            ))?;
        }
        if let Some(error) = coordinator.get("last_error").and_then(Value::as_str) {
            ui.line(format!("  last error: {}", one_line(error)))?;
        }
        if number(coordinator, "refused_work") > 0 {
            ui.line(format!(
                "  not taken {}, the last because {}",
                count(number(coordinator, "refused_work"), "thing"),
                one_line(text(coordinator, "last_refusal"))
            ))?;
        }
    }
    let cache = status.get("cache").unwrap_or(&Value::Null);
    ui.line(format!(
        "cache {} of {}",
        size(number(cache, "bytes")),
        size(number(cache, "limit_bytes"))
    ))?;
    Ok(Exit::Ok)
}

/// `adit miner explain`.
pub fn explain(ui: &Ui, state: &State) -> anyhow::Result<Exit> {
    let status = ask(state, &Request::Status)?;
    let mut reasons = Vec::new();
    for coordinator in list(&status, "coordinators") {
        let idle = coordinator.get("idle").filter(|idle| !idle.is_null());
        let code = idle.and_then(|idle| Code::from_str(text(idle, "code")).ok());
        let held = coordinator.get("held").unwrap_or(&Value::Null);
        reasons.push(json!({
            "coordinator": text(coordinator, "node"),
            "url": text(coordinator, "url"),
            "running": number(held, "running"),
            "idle": idle,
            "summary": code.map(|code| code.summary()),
            "explanation": code.map(|code| code.explain()),
            "retryable": code.map(|code| code.retryable()),
            "share_ppm": number(coordinator, "share_ppm"),
        }));
    }
    if ui.json {
        ui.object(&json!({
            "mode": text(&status, "mode"),
            "stake": status.get("stake"),
            "journal_failing": status.get("journal_failing"),
            "coordinators": reasons,
        }))?;
        return Ok(Exit::Ok);
    }
    if reasons.is_empty() {
        ui.line("the membership has no coordinator that this miner works for; see `coordinators` in miner.toml")?;
    }
    for reason in &reasons {
        let name: String = text(reason, "coordinator").chars().take(12).collect();
        let place = format!("{name} {}", one_line(text(reason, "url")));
        match reason.get("idle").filter(|idle| !idle.is_null()) {
            None if number(reason, "running") > 0 => {
                let running = count(number(reason, "running"), "run");
                ui.line(format!("{place}: at work, {running}"))?;
            }
            None => ui.line(format!("{place}: about to begin"))?,
            Some(idle) => {
                ui.line(format!(
                    "{place}: {} since {}",
                    text(idle, "code"),
                    since(number(idle, "since_ms"))
                ))?;
                ui.line(format!("  here: {}", one_line(text(idle, "detail"))))?;
                ui.line(format!("  {}", text(reason, "explanation")))?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// `adit miner pause` and `resume`.
pub fn pause(ui: &Ui, state: &State, device: Option<&str>, paused: bool) -> anyhow::Result<Exit> {
    let device = device.map(str::to_owned);
    let request = match paused {
        true => Request::Pause { device },
        false => Request::Resume { device },
    };
    let answer = ask(state, &request)?;
    if ui.json {
        ui.object(&answer)?;
    } else {
        let which = match answer.get("device").and_then(Value::as_str) {
            Some(device) => format!("the device {}", one_line(device)),
            None => "every device".to_owned(),
        };
        ui.line(match paused {
            true => format!("{which} is paused; what runs goes on"),
            false => format!("{which} takes runs again"),
        })?;
    }
    Ok(Exit::Ok)
}

/// `adit miner drain`.
pub fn drain(ui: &Ui, state: &State, no_wait: bool) -> anyhow::Result<Exit> {
    ask(state, &Request::Drain)?;
    let mut ended = false;
    if !no_wait {
        ui.note("the miner finishes what it holds");
        while !ended {
            std::thread::sleep(Duration::from_millis(200));
            // Its socket is closed at the end.
            ended = !is_running(state)?;
        }
    }
    if ui.json {
        ui.object(&json!({ "draining": true, "ended": ended }))?;
    } else {
        ui.line(match ended {
            true => "the miner has ended",
            false => "the miner finishes what it holds, and ends then",
        })?;
    }
    Ok(Exit::Ok)
}
