;; `wasi:cli/run` in which `run` is no function but another interface.
(component
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $inner (export "run" (func $run)))
  (instance $cli (export "run" (instance $inner)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
