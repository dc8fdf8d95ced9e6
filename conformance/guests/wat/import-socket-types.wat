;; Declares a socket interface in a way that its own WIT does not: the denial has no code to answer with.
(component
  (import "wasi:sockets/tcp@0.2.6" (instance (export "open" (func (result u32)))))
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
