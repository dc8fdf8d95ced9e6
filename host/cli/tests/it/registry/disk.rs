//! A registry whose disk has little room left: it says so, takes nothing, and goes on answering what it
//! knows; once there is room it goes on by itself.

use adit_protocol::{Code, Hash};

use super::wallet::{client, next_number, send};
use crate::cluster::free_port;
use crate::ledger::init;
use crate::network_support::Node;
use crate::support::Home;
use crate::syscalls::disk::SmallDisk;

#[test]
fn a_registry_whose_disk_is_full_refuses_and_answers_on() {
    let home = Home::new();
    let made = init(&home, &["--development", "--allocate", "//Alice=1000"]);
    let genesis: Hash = made["network"].as_str().unwrap().parse().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let run = ["registry", "run", "--listen", &listen];
    let mut first = Node::start(home.command(&run));
    first.line();
    assert_eq!(first.end(), Some(0));
    let folder = home.state().join("registry");
    let Some(disk) = SmallDisk::mount(&folder, 96) else {
        return;
    };
    let mut inside = disk.inside();
    let command = home.command(&run);
    inside.arg(command.get_program()).args(command.get_args());
    inside.current_dir(home.dir.path());
    let mut node = Node::start(inside);
    node.line();
    let client = client(&format!("http://{listen}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(send(&client, genesis, 0)).unwrap();

    disk.fill(1024);
    let refused = runtime.block_on(send(&client, genesis, 1)).unwrap_err();
    assert_eq!(refused.code(), Code::DiskFull, "{refused}");
    assert!(refused.to_string().contains("bytes free"), "{refused}");
    // What it knows it tells; who balances load is told to look elsewhere.
    assert_eq!(runtime.block_on(next_number(&client)).unwrap(), 1);
    for path in [
        "/v1/ledger",
        "/v1/nodes",
        "/log/checkpoint",
        "/livez",
        "/metrics",
    ] {
        runtime.block_on(client.get(path).send()).unwrap();
    }
    let ready = runtime.block_on(client.get("/readyz").send()).unwrap_err();
    assert!(ready.to_string().contains("little room"), "{ready}");

    let filler = folder.join("filler");
    disk.run(&["rm", filler.to_str().unwrap()]);
    // Epochs of a second went by meanwhile: it comes to the present at once.
    node.until("it goes on", || {
        let sent = runtime.block_on(send(&client, genesis, 1));
        sent.ok()
    });
    runtime.block_on(client.get("/readyz").send()).unwrap();
    let said = node.said();
    assert!(said.contains("little room on the disk"), "{said}");
    let pid = rustix::process::Pid::from_raw(i32::try_from(node.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(node.wait().code(), Some(0));
    disk.leave();
    home.adit(&["registry", "fsck"]).exits(0);
}
