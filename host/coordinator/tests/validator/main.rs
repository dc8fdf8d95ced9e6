//! Validators of apps, in the real sandbox. This program is its own worker, which is why it has a
//! main function.

#[allow(dead_code)]
#[path = "../it/support.rs"]
mod support;

use adit_coordinator::options::Bounds;
use adit_coordinator::tokens::Quota;
use adit_protocol::Hash;
use serde_json::{Value, json};

use support::{Net, ok, pause, put};

/// A component of the world `task` whose function has this body. Its parameters are address and
/// length of the input; it leaves a result at address 0: case, then address and length of bytes.
fn component(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
  (import "adit:task/types@0.1.0" (instance $types
    (type $record (record (field "code" u32) (field "message" string)))
    (export "task-error" (type (eq $record)))))
  (alias export $types "task-error" (type $error))
  (core module $module
    (memory (export "memory") 64)
    (global $top (mut i32) (i32.const 4096))
    (data (i32.const 64) "ok")
    (data (i32.const 96) "not what I expected")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (func (export "run") (param $at i32) (param $len i32) (result i32)
      (local $end i32)
      {body}))
  (core instance $instance (instantiate $module))
  (func $run (param "input" (list u8)) (result (result (list u8) (error $error)))
    (canon lift (core func $instance "run")
      (memory $instance "memory") (realloc (func $instance "realloc"))))
  (export "run" (func $run)))"#
    );
    wat::parse_str(text).unwrap()
}

/// Accepts an input that has the base64 of `HELLO` in it: `SEVM` and `TE8=`.
const EXPECTS_HELLO: &str = r#"
      (local.set $end (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 8)))
      (i32.store (i32.const 4) (i32.const 96))
      (i32.store (i32.const 8) (i32.const 19))
      (loop $next
        (if (i32.and
              (i32.eq (i32.load (local.get $at)) (i32.const 0x4d564553))
              (i32.eq (i32.load (i32.add (local.get $at) (i32.const 4))) (i32.const 0x3d384554)))
          (then
            (i32.store (i32.const 4) (i32.const 64))
            (i32.store (i32.const 8) (i32.const 2))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.le_u (local.get $at) (local.get $end))))
      (i32.const 0)"#;

/// What became of the receipt of a task whose miner answers `output`.
async fn decision(
    net: &Net,
    miner: &mut support::Miner,
    validator: &[u8],
    output: &[u8],
) -> (Value, Value) {
    put(&net.client(), validator).await.unwrap();
    // Inputs differ, so that no task is another again.
    let fields = json!({
        "input": { "text": format!("{:?} {output:?}", Hash::of(validator)) },
        "validator": Hash::of(validator).to_string(),
        "verification": { "replicas": 1 },
    });
    let id = net.submit(fields).await;
    let work = miner.work().await;
    let item = miner.run(&work, output);
    let (receipt, _) = miner.deliver(item).await;
    let path = format!("/v1/receipts/{}", receipt.id());
    for _ in 0..300 {
        let view = ok(net.client().get(&path)).await;
        if !view["decision"].is_null() {
            let task = ok(net.client().get(&format!("/v1/tasks/{id}"))).await;
            return (view["decision"].clone(), task);
        }
        pause().await;
    }
    panic!("nothing was decided");
}

async fn run() {
    let program = std::env::current_exe().unwrap();
    let net = Net::build(Quota::default(), Bounds::default(), Some(program)).await;
    let mut miner = net.miner(0).await;
    let hello = component(EXPECTS_HELLO);
    let (decided, task) = decision(&net, &mut miner, &hello, b"HELLO").await;
    assert_eq!(decided, "accepted");
    assert_eq!(task["state"], "completed");

    let (decided, task) = decision(&net, &mut miner, &hello, b"WRONG").await;
    assert_eq!(decided, "refused-by-validator");
    assert!(task["result"].is_null(), "{task}");

    let traps = component("(unreachable)");
    let (decided, _) = decision(&net, &mut miner, &traps, b"HELLO").await;
    assert_eq!(decided, "refused-by-validator");
}

fn main() {
    if let Some(code) = adit_runtime::worker::main_if_worker(std::env::args_os().skip(1)) {
        std::process::exit(code);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run());
    println!("validators are asked, and their answers count");
}
