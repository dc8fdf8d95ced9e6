;; Recurses without any stack of its own in linear memory: only the engine's stack ends it.
(component
  (core module $m
    (func $deeper (param i64) (result i64)
      (i64.add (local.get 0) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
    (func (export "run") (result i32)
      (drop (call $deeper (i64.const 0)))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
