;; A start function that never ends: it runs while the instance is made, before the entry point.
(component
  (core module $m
    (func $start (loop $on (br $on)))
    (start $start)
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
