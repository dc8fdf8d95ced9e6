;; A data segment that does not fit into the memory: a trap while the instance is made.
(component
  (core module $m
    (memory 1)
    (data (i32.const 65535) "ab")
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
