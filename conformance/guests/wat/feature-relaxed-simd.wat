;; Relaxed vector operations, whose results differ between machines.
(component
  (core module $m
    (func (param v128 v128) (result v128)
      (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
