;; Asks a known interface for a function that it does not have.
(component
  (import "wasi:cli/environment@0.2.6" (instance (export "set-environment" (func (param "name" string)))))
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
