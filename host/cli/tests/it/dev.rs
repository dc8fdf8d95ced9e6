//! `adit dev` and the commands of a client: a whole network on this machine, as its users meet it.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network_support::{Dev, Node};
use crate::support::{Home, ended, guest};

#[test]
fn a_task_comes_back_with_its_output_and_a_receipt_that_holds() {
    let dev = Dev::start(&[]);
    let component = guest("word-count.wasm");
    let text = dev.home.file("text", "one two two three three three\n");
    let submit = [
        "task",
        "submit",
        component.to_str().unwrap(),
        "-i",
        text.to_str().unwrap(),
    ];

    // The same bytes as on this machine.
    let local = dev.adit(&[
        "run",
        component.to_str().unwrap(),
        "-i",
        text.to_str().unwrap(),
    ]);
    let local = local.exits(0);
    let receipt = dev.home.path("receipt");
    let remote = dev.adit(&[&submit[..], &["--receipt", receipt.to_str().unwrap()]].concat());
    let remote = remote.exits(0);
    assert_eq!(remote.stdout, local.stdout);
    // It says where the task went, and what came of it.
    assert!(remote.stderr.contains(dev.url()), "{}", remote.stderr);
    assert!(
        remote.stderr.contains("the running `adit dev`"),
        "{}",
        remote.stderr
    );
    assert!(
        remote.stderr.contains("receipt blake3:"),
        "{}",
        remote.stderr
    );
    assert!(
        remote.stderr.contains("2 miners agree"),
        "{}",
        remote.stderr
    );
    assert_eq!(std::fs::read(&receipt).unwrap().len(), 520);
    dev.adit(&["receipt", "verify", receipt.to_str().unwrap()])
        .exits(0);

    // As JSON; and with the receipt, the state folder has what a replay takes.
    let ran = dev
        .adit(&[&["--json"], &submit[..]].concat())
        .exits(0)
        .json();
    assert_eq!(ran["status"], "ok");
    assert_eq!(
        ran["output"]["text"],
        String::from_utf8(local.stdout).unwrap()
    );
    assert_eq!(ran["agreed"], 2);
    let id = ran["receipt"].as_str().unwrap();
    dev.adit(&["receipt", "replay", id]).exits(0);

    let tasks = dev.adit(&["--json", "task", "list"]).exits(0).json();
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(tasks["tasks"][0]["task"], ran["task"]);
    let task = ran["task"].as_str().unwrap();
    let shown = dev.adit(&["task", "show", "last"]).exits(0).text();
    assert!(
        shown.contains(task) && shown.contains("completed: ok"),
        "{shown}"
    );
    // By its first digits.
    let again = dev.adit(&["task", "result", &task[..20]]).exits(0);
    assert_eq!(again.stdout, remote.stdout);
    assert_eq!(dev.node.end(), Some(0));
}

#[test]
fn draws_are_made_again_from_public_data() {
    let dev = Dev::start(&["--miners", "4"]);
    let task = dev
        .behave(&["--json", "--replicas", "3"], &["args"])
        .exits(0)
        .json();
    let id = task["task"].as_str().unwrap();
    let said = dev.adit(&["task", "explain", id]).exits(0).text();
    assert!(said.contains("state  completed: ok"), "{said}");
    assert_eq!(said.matches("draw   leaf").count(), 3, "{said}");
    let checked = dev.adit(&["--json", "task", "explain", id, "--verify"]);
    let checked = checked.exits(0).json();
    let checks = checked["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 3 * 5, "{checks:?}");
    for check in checks {
        assert_eq!(check["result"], "passed", "{check}");
    }
    // Three different miners.
    let mut miners: Vec<&str> = (checked["draws"].as_array().unwrap().iter())
        .map(|draw| draw["miner"].as_str().unwrap())
        .collect();
    miners.sort_unstable();
    miners.dedup();
    assert_eq!(miners.len(), 3);
}

#[test]
fn each_end_of_a_run_has_its_exit_code_and_its_log() {
    let dev = Dev::start(&["--miners", "2"]);
    for (options, args, status) in [
        (&[][..], &["exit", "3"][..], "task-error"),
        (&[], &["panic"], "trap"),
        (&["--fuel", "1M"], &["loop"], "out-of-fuel"),
        (
            &["--output-limit", "1KiB"],
            &["stdout", "5000"],
            "limit-exceeded",
        ),
    ] {
        dev.behave(options, args)
            .exits(1)
            .explains(&[status, "adit explain"]);
        dev.adit(&["task", "wait", "last"])
            .exits(1)
            .explains(&[status]);
        dev.adit(&["task", "result", "last"])
            .exits(1)
            .explains(&[status]);
    }
    dev.behave(&[], &["panic"]).exits(1);
    let log = dev.adit(&["task", "logs", "last"]).exits(0);
    assert!(log.text().contains("panicked"), "{}", log.text());
}

#[test]
fn what_cannot_be_is_said_at_once() {
    let dev = Dev::start(&["--miners", "1"]);
    let component = guest("guest-behave.wasm");
    let component = component.to_str().unwrap();
    let submit = |options: &[&str]| {
        let begun = Instant::now();
        let said = dev.adit(&[&["task", "submit", component], options].concat());
        assert!(begun.elapsed() < Duration::from_secs(30), "{options:?}");
        said.exits(1)
    };
    submit(&["--device", "gpuu"]).explains(&["gpu"]);
    submit(&["--quorum", "3"]).explains(&["--replicas"]);
    submit(&["--device", "gpu"]).explains(&["without a GPU", "--device"]);
    submit(&["--device-memory", "80GiB"]).explains(&["--queue"]);
    submit(&["--device", "cpu", "--device-memory", "1GiB"]).explains(&["memory of a GPU"]);
    submit(&["--to", "localhost:99"]).explains(&["http://localhost:99"]);
    submit(&["--to", "http://127.0.0.1:9"]).explains(&["127.0.0.1:9"]);
    // A file of another kind is a bad encoding.
    dev.adit(&["task", "submit", component, "--network", component])
        .exits(3)
        .explains(&["network file"]);
    dev.adit(&["task", "show", "blake3:zz"])
        .exits(1)
        .explains(&["adit task list"]);
    let unknown = format!("blake3:{}", "0".repeat(64));
    dev.adit(&["task", "show", &unknown])
        .exits(1)
        .explains(&["unknown-task"]);
    let token = dev.home.file("token", "adit_nobody's\n");
    let said = submit(&["--token-file", token.to_str().unwrap()]);
    said.explains(&["token"]);
    // Nothing of all that is left to wait.
    let left = dev
        .adit(&["--json", "task", "list", "--in", "running"])
        .exits(0)
        .json();
    assert_eq!(left["tasks"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_meant_for_dev_goes_nowhere_else() {
    let home = Home::new();
    let component = guest("guest-behave.wasm");
    let submit = ["task", "submit", component.to_str().unwrap()];
    let adit = |args: &[&str]| {
        let mut command = home.command(args);
        command
            .env_remove("ADIT_COORDINATOR")
            .env_remove("ADIT_TOKEN");
        ended(command).exits(1)
    };
    adit(&submit).explains(&["adit dev", "--to"]);
    // Not even where another one is configured.
    home.file(
        "state/config.toml",
        "coordinator = \"https://127.0.0.1:9\"\n",
    );
    adit(&[&submit[..], &["--to", "dev"]].concat()).explains(&["no `adit dev`"]);
    adit(&submit).explains(&["127.0.0.1:9"]);
    // A token is not sent where anyone could read it.
    home.file("token", "adit_secret\n");
    let far = ["--to", "http://192.0.2.1:1", "--token-file", "token"];
    adit(&[&submit[..], &far].concat()).explains(&["without TLS"]);
}

#[test]
fn a_task_can_be_left_alone_cancelled_and_sent_twice_in_one() {
    let dev = Dev::start(&["--miners", "2"]);
    let endless = ["--no-wait", "--fuel", "9999T", "--deadline", "600s"];
    let id = dev.behave(&endless, &["loop"]).exits(0).text();
    let id = id.trim();
    dev.adit(&["task", "wait", id, "--timeout", "100ms"])
        .exits(1)
        .explains(&["did not within 100 ms", "wait"]);
    dev.adit(&["task", "result", id])
        .exits(1)
        .explains(&["no result yet"]);
    let cancelled = dev.adit(&["task", "cancel", id]).exits(0).text();
    assert!(cancelled.contains("cancelled"), "{cancelled}");
    dev.adit(&["task", "wait", id])
        .exits(1)
        .explains(&["cancelled"]);
    dev.adit(&["task", "cancel", id])
        .exits(1)
        .explains(&["task-ended"]);

    let key = ["--no-wait", "--idempotency-key", "once"];
    let first = dev.behave(&key, &["args"]).exits(0).text();
    let second = dev.behave(&key, &["args"]).exits(0).text();
    assert_eq!(first, second);
    dev.behave(&key, &["args", "other"])
        .exits(1)
        .explains(&["idempotency-conflict"]);
}

#[test]
fn a_kill_in_the_midst_of_work_loses_nothing_that_was_acknowledged() {
    let mut dev = Dev::start(&[]);
    let url = dev.url().to_owned();
    let mut tasks: Vec<String> = Vec::new();
    for round in 0..3 {
        // Some are waited for, others are on their way when the power goes.
        let done = dev.behave(&["--json"], &["args", &format!("done-{round}")]);
        tasks.push(done.exits(0).json()["task"].as_str().unwrap().to_owned());
        for number in 0..8 {
            let name = format!("flying-{round}-{number}");
            let task = dev.behave(&["--no-wait"], &["args", &name]).exits(0).text();
            tasks.push(task.trim().to_owned());
        }
        dev = Dev::start_in(dev.kill(), &[]);
        assert_eq!(dev.url(), url, "clients find it where it was");
        for task in &tasks {
            let said = dev.adit(&["--json", "task", "result", task]);
            if said.code != Some(0) {
                dev.adit(&["task", "wait", task]).exits(0);
            }
        }
    }
    let list = dev
        .adit(&["--json", "task", "list", "-n", "100"])
        .exits(0)
        .json();
    let mut listed: Vec<&str> = (list["tasks"].as_array().unwrap().iter())
        .map(|task| task["task"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    tasks.sort_unstable();
    assert_eq!(listed, tasks);
    // Each has one result that holds, with its own output.
    for task in &tasks {
        let result = dev
            .adit(&["--json", "task", "result", task])
            .exits(0)
            .json();
        assert_eq!(result["task"], task.as_str());
        assert_eq!(result["status"], "ok");
        let explained = dev.adit(&["task", "explain", task, "--verify"]);
        assert!(
            matches!(explained.code, Some(0 | 6)),
            "{}",
            explained.text()
        );
    }
}

/// What was decided of each miner's receipts, by `adit task show`.
fn decisions(task: &Value) -> Vec<(String, String)> {
    (task["assignments"].as_array().unwrap().iter())
        .filter_map(|assignment| {
            let miner = assignment["miner"].as_str()?.to_owned();
            let decision = assignment["receipt"]["decision"].as_str()?.to_owned();
            Some((miner, decision))
        })
        .collect()
}

fn cheats(dev: &Dev) -> Vec<String> {
    (dev.ports["miners"].as_array().unwrap().iter())
        .filter(|miner| !miner["fault"].is_null())
        .map(|miner| miner["node"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn miners_with_wrong_results_are_outvoted_and_the_verdicts_say_so() {
    let dev = Dev::start(&["--faults", "seed=7,wrong-result=1"]);
    let cheats = cheats(&dev);
    assert_eq!(cheats.len(), 1);
    let mut outvoted = 0;
    for number in 0..100 {
        if number >= 12 && outvoted > 0 {
            break;
        }
        let word = format!("word-{number}");
        // With a quorum of two the cheat, started last, may be the third each time, and late.
        let options = ["--json", "--replicas", "3", "--quorum", "3"];
        let ran = dev.behave(&options, &["args", &word]).exits(0).json();
        // Never what the cheat says.
        assert!(
            ran["output"]["text"].as_str().unwrap().contains(&word),
            "{ran}"
        );
        for (miner, decision) in decisions(&dev.show(ran["task"].as_str().unwrap())) {
            let expected = match cheats.contains(&miner) {
                true => "outvoted",
                false => "accepted",
            };
            assert!(
                decision == expected || ["late", "task-cancelled"].contains(&decision.as_str()),
                "{miner}: {decision}"
            );
            outvoted += usize::from(decision == "outvoted");
        }
    }
    assert!(outvoted > 0, "three of four miners were drawn each time");
}

#[test]
fn work_gets_done_among_miners_of_all_kinds_over_a_bad_network() {
    let faults = "seed=7,host-fault=1,silent=1,late=1,equivocate=1,drop=0.02";
    let dev = Dev::start(&["--faults", faults]);
    assert_eq!(cheats(&dev).len(), 4);
    for number in 0..6 {
        let word = format!("word-{number}");
        let ran = dev
            .behave(
                &["--json", "--deadline", "2s", "--no-replication"],
                &["args", &word],
            )
            .exits(0)
            .json();
        assert!(
            ran["output"]["text"].as_str().unwrap().contains(&word),
            "{ran}"
        );
    }
}

#[test]
fn output_is_streamed_and_compared_with_the_result() {
    let dev = Dev::start(&["--miners", "2"]);
    let said = dev.behave(&["--stream"], &["stdout", "100000"]).exits(0);
    assert_eq!(said.stdout.len(), 100_000);
}

#[test]
fn ctrl_c_leaves_a_task_to_the_network() {
    let dev = Dev::start(&["--miners", "2"]);
    let guest = guest("guest-behave.wasm");
    let mut client = Node::start(dev.command(&[
        "task",
        "submit",
        guest.to_str().unwrap(),
        "--fuel",
        "9999T",
        "--deadline",
        "600s",
        "--",
        "loop",
    ]));
    let said = client.stderr();
    let task = client.until("the task", || {
        let said = said();
        let (_, task) = said.split_once("task blake3:")?;
        Some(format!("blake3:{}", task.get(..64)?))
    });
    assert_eq!(client.end(), Some(143));
    let shown = dev.show(&task);
    assert!(shown["ended_ms"].is_null(), "{shown}");
    dev.adit(&["task", "cancel", &task]).exits(0);
}

#[test]
fn a_second_network_is_another_one_and_a_folder_has_one_process() {
    let dev = Dev::start(&["--miners", "1"]);
    let folder = dev.home.path("net");
    let mut again = Command::new(env!("CARGO_BIN_EXE_adit"));
    again.arg("--state").arg(&folder).arg("dev");
    ended(again)
        .exits(1)
        .explains(&["in use by another process"]);
    let other = Dev::start(&["--miners", "1"]);
    assert_ne!(dev.url(), other.url());
    // Receipts and tasks of one are unknown to the other.
    let task = dev.behave(&["--json"], &["args"]).exits(0).json();
    let id = task["task"].as_str().unwrap();
    other
        .adit(&["task", "show", id])
        .exits(1)
        .explains(&["unknown-task"]);
    // A network file of one does not do for the other.
    let network = dev.ports["network"].as_str().unwrap();
    let said = other.adit(&["task", "result", "last", "--network", network]);
    assert!(matches!(said.code, Some(1 | 3)), "{}", said.stderr);
}

#[test]
fn a_coordinator_that_was_put_back_to_an_earlier_time_is_not_started_again() {
    let dev = Dev::start(&["--miners", "1"]);
    dev.behave(&[], &["args", "before"]).exits(0);
    assert_eq!(dev.node.end(), Some(0));
    let state = dev.home.path("net/dev/coordinator");
    let backup = dev.home.path("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
        assert!(copied.unwrap().success());
    };
    copy(&state, &backup);

    let mut dev = Dev::start_in(dev.home, &["--miners", "1"]);
    let said = dev.behave(&["--json"], &["args", "after"]).exits(0).json();
    let leaf = dev.show(said["task"].as_str().unwrap())["result"]["leaf"]
        .as_u64()
        .unwrap();
    // The witness has seen it.
    let url = dev.url().to_owned();
    let args = ["--json", "log", "checkpoint", &url, "--quorum", "1"];
    let size = dev.node.until("the checkpoint is cosigned", || {
        let said = ended(dev.home.command(&args));
        let size = (said.code == Some(0)).then(|| said.json()["size"].as_u64().unwrap())?;
        (size > leaf).then_some(size)
    });
    assert_eq!(dev.node.end(), Some(0));

    std::fs::remove_dir_all(&state).unwrap();
    copy(&backup, &state);
    let mut again = Command::new(env!("CARGO_BIN_EXE_adit"));
    again.arg("--state").arg(dev.home.path("net")).arg("dev");
    again.args(["--miners", "1"]);
    let said = ended(again).exits(1);
    said.explains(&["adit-dev/witness has cosigned", "backup"]);
    assert!(size > 0);
}
