;; A component whose inner component calls back into it: the component model forbids that.
(component
  (core module $back (func (export "back")))
  (core instance $back (instantiate $back))
  (func $back (canon lift (core func $back "back")))
  (component $inner
    (import "back" (func $back))
    (core func $back-lowered (canon lower (func $back)))
    (core module $m
      (import "" "back" (func $back))
      (func (export "call") (call $back)))
    (core instance $i (instantiate $m (with "" (instance (export "back" (func $back-lowered))))))
    (func (export "call") (canon lift (core func $i "call"))))
  (instance $inner (instantiate $inner (with "back" (func $back))))
  (core func $call (canon lower (func $inner "call")))
  (core module $m
    (import "" "call" (func $call))
    (func (export "run") (result i32) (call $call) (i32.const 0)))
  (core instance $i (instantiate $m (with "" (instance (export "call" (func $call))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
