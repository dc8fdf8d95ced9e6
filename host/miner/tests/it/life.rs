//! Pausing, draining, ending, starting again, and the control socket.

use std::time::Duration;

use adit_miner::control::{self, ControlError, Request};
use adit_miner::status::Mode;
use adit_protocol::Code;
use adit_protocol::status::Status;

use crate::support::{Net, is_chain, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_miner_asks_for_nothing_until_it_is_resumed() {
    let net = Net::new();
    let fake = net.fake();
    let (miner, executor) = net.start();
    until("it polls", || fake.state().polls > 0).await;
    assert!(miner.pause(Some("cpu"), true) && !miner.pause(Some("gpu"), true));
    tokio::time::sleep(Duration::from_millis(100)).await;
    fake.state().wants.clear();
    fake.give_many(5, &[]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(fake.state().wants.iter().all(|want| *want == 0));
    let idle = miner.status().await.coordinators[0].idle.clone().unwrap();
    assert_eq!((idle.code, executor.runs()), (Code::Paused, 0));
    assert!(miner.pause(None, false));
    until("it works again", || fake.state().receipts.len() == 5).await;
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_miner_finishes_and_leaves() {
    let mut net = Net::new();
    net.slots = 1;
    let fake = net.fake();
    let (miner, executor) = net.start();
    fake.give_many(4, &["sleep", "100"]);
    until("it has them all", || fake.state().open.len() == 4).await;
    miner.drain();
    let late = fake.give(&fake.order(9, &[]));
    tokio::time::timeout(Duration::from_secs(10), miner.ended())
        .await
        .unwrap();
    let state = fake.state();
    assert_eq!((state.receipts.len(), executor.runs()), (4, 4));
    let ok = |r: &adit_protocol::receipt::Receipt| r.body.status == Status::Ok;
    assert!(state.receipts.iter().all(ok));
    assert!(state.queue.iter().any(|w| w.assignment.body_hash() == late));
    drop(state);
    assert_eq!(miner.status().await.mode, Mode::Stopping);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_miner_hands_in_what_it_has_as_cancelled() {
    let mut net = Net::new();
    net.slots = 1;
    let fake = net.fake();
    let (miner, executor) = net.start();
    fake.give_many(3, &["sleep", "60000"]);
    until("one runs", || executor.runs() == 1).await;
    until("it has them all", || fake.state().open.len() == 3).await;
    miner.stop(Duration::from_millis(200)).await;
    let state = fake.state();
    assert_eq!((state.receipts.len(), executor.runs()), (3, 1));
    let cancelled = |r: &adit_protocol::receipt::Receipt| r.body.status == Status::Cancelled;
    assert!(state.receipts.iter().all(cancelled));
    is_chain(&state.receipts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_is_handed_in_after_a_restart() {
    let net = Net::new();
    let fake = net.fake();
    fake.give_many(12, &[]);
    fake.state().on_hand_in = Some(Box::new(|_, _| {
        Err(adit_miner::transport::ApiError::Unreachable(
            "the answer is lost".to_owned(),
        ))
    }));
    let (miner, executor) = net.start();
    until("all are run", || executor.runs() == 12).await;
    until("all have arrived", || fake.state().receipts.len() == 12).await;
    miner.abandon().await;
    let before = fake.state().receipts.clone();
    {
        // Of half of them the request was lost, and not the answer.
        let mut state = fake.state();
        state.on_hand_in = None;
        let lost = state.receipts.split_off(6);
        state.items.truncate(6);
        for receipt in lost {
            let again = state.open.get(&receipt.body.assignment);
            assert!(again.is_none());
        }
    }
    let (miner, executor) = net.start();
    until("all are there", || fake.state().receipts.len() == 12).await;
    is_chain(&fake.state().receipts);
    for (now, before) in fake.state().receipts.iter().zip(&before) {
        // The bytes of the first time, signature and all.
        assert_eq!(now.to_bytes()[..456], before.to_bytes()[..456]);
    }
    assert_eq!(executor.runs(), 0);
    for _ in 0..200 {
        if miner.status().await.coordinators[0].receipts.acknowledged == 12 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counts = miner.status().await.coordinators[0].receipts;
    assert_eq!((counts.acknowledged, counts.signed), (12, 0), "{counts:?}");
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_device_takes_nothing_until_it_has_cooled() {
    let mut net = Net::new();
    net.options.hottest_c = vec![Some(80)];
    let fake = net.fake();
    let (miner, executor) = net.start();
    *executor.temperature.lock().unwrap() = Some(85);
    let hot = async |wanted: bool| {
        for _ in 0..700 {
            if miner.status().await.devices[0].hot == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the device does not become {wanted}");
    };
    hot(true).await;
    fake.give(&fake.order(1, &[]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let status = miner.status().await;
    assert_eq!(
        status.coordinators[0].idle.as_ref().unwrap().code,
        Code::DeviceHot
    );
    assert_eq!(status.devices[0].temperature_c, Some(85));
    // Three degrees less are not enough, since it would heat up at once.
    *executor.temperature.lock().unwrap() = Some(70);
    hot(false).await;
    until("it works", || fake.state().receipts.len() == 1).await;
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_answers_one_line_and_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut net = Net::new();
    net.options.control = true;
    let folder = net.options.folder.clone();
    let refused = control::ask(&folder, &Request::Status).await;
    assert!(matches!(refused, Err(ControlError::NotRunning(_))));
    let (miner, _) = net.start();
    let path = control::path(&folder);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = control::ask(&folder, &Request::Status).await.unwrap();
    assert_eq!(status["mode"], "working");
    assert_eq!(status["devices"][0]["name"], "cpu");
    let pause = |device: Option<&str>| Request::Pause {
        device: device.map(str::to_owned),
    };
    control::ask(&folder, &pause(Some("cpu"))).await.unwrap();
    assert!(miner.status().await.devices[0].paused);
    match control::ask(&folder, &pause(Some("gpu"))).await {
        Err(ControlError::Refused { code, detail }) => {
            assert_eq!(code, "invalid-argument");
            assert!(detail.contains("cpu"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    for bad in [b"{}\n".to_vec(), b"what?\n".to_vec(), vec![b'x'; 100_000]] {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        // It may be closed before all of it is sent.
        let _ = stream.write_all(&bad).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(
            answer.is_empty() || answer.contains("invalid-request"),
            "{answer}"
        );
    }
    control::ask(&folder, &Request::Drain).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), miner.ended())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_miners_never_share_a_folder() {
    let net = Net::new();
    let (miner, _) = net.start();
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| net.start()));
    let why = *second.err().unwrap().downcast::<String>().unwrap();
    assert!(why.contains("InUse"), "{why}");
    miner.stop(Duration::ZERO).await;
    let (miner, _) = net.start();
    miner.stop(Duration::ZERO).await;
}
