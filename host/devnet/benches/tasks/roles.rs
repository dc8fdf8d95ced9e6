//! The two nodes, each in a process of its own: this program, started with `--role=`.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use adit_devnet::devnet::start_coordinator;
use adit_devnet::faults::Faults;
use adit_devnet::folder::Folder;
use adit_devnet::keys;
use adit_devnet::miners::{Common, DevMiner, view};
use adit_devnet::network::{Member, bring_up_to_date};
use adit_net::{Clock as _, SystemClock};
use tokio::sync::watch;

/// The only miner.
pub fn member() -> Member {
    Member {
        node: keys::miner(0).expect("a key"),
        fault: None,
    }
}

/// Becomes a node. It says where it is on a line of stdout, and ends in order at the end of stdin.
pub fn run(role: &str, args: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        match (role, args) {
            ("--role=coordinator", [folder]) => coordinator(Path::new(folder)).await,
            ("--role=miner", [folder, url]) => miner(Path::new(folder), url).await,
            _ => panic!("no such role: {role} {args:?}"),
        }
    });
}

/// Returns at the end of stdin: whoever started this process is done, or has died.
async fn end_of_input() {
    let read = tokio::task::spawn_blocking(|| {
        let mut nothing = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut nothing);
    });
    read.await.expect("a thread");
}

async fn coordinator(root: &Path) {
    let folder = Folder::take(root).expect("the folder");
    let program = std::env::current_exe().expect("this program");
    let path = folder.path("network");
    let now_ms = SystemClock.now_ms();
    bring_up_to_date(&path, "http://127.0.0.1:1", &[member()], &[], now_ms).expect("a network");
    let running = start_coordinator(&folder, None, None, &program)
        .await
        .expect("a coordinator");
    bring_up_to_date(&path, &running.url(), &[member()], &[], now_ms).expect("a network");
    running.reload().expect("the network");
    println!("{}", running.url());
    end_of_input().await;
    running.drain(Duration::from_secs(5)).await;
}

async fn miner(root: &Path, url: &str) {
    let path = root.join("network");
    let file =
        bring_up_to_date(&path, url, &[member()], &[], SystemClock.now_ms()).expect("a network");
    let (_sender, network) = watch::channel(view(&file).expect("a network"));
    let processors = std::thread::available_parallelism().map_or(2, |n| n.get());
    let common = Common {
        url: url.to_owned(),
        network,
        program: std::env::current_exe().expect("this program"),
        slots: u32::try_from(processors.clamp(2, 8)).expect("a few"),
        threads: 1,
        faults: Faults::default(),
    };
    let folder = root.join("miner-0");
    let miner = DevMiner::start(&common, 0, &member().node, None, &folder)
        .await
        .expect("a miner");
    println!("{url}");
    end_of_input().await;
    miner.stop(Duration::from_secs(1)).await;
}
