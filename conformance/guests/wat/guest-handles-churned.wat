;; Makes and drops a resource of its own, again and again.
(component
  (core module $dtor (func (export "drop") (param i32)))
  (core instance $dtor (instantiate $dtor))
  (type $r (resource (rep i32) (dtor (core func $dtor "drop"))))
  (core func $new (canon resource.new $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "run") (result i32)
      (loop $more (call $drop (call $new (i32.const 7))) (br $more))
      (unreachable)))
  (core instance $i (instantiate $m (with "" (instance
    (export "new" (func $new)) (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
