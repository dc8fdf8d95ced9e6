;; Makes resources of its own for ever. The host holds a table entry for each.
(component
  (core module $dtor (func (export "drop") (param i32)))
  (core instance $dtor (instantiate $dtor))
  (type $r (resource (rep i32) (dtor (core func $dtor "drop"))))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "run") (result i32)
      (loop $more (drop (call $new (i32.const 7))) (br $more))
      (unreachable)))
  (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
