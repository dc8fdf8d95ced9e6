;; Fills and copies a table of 100,000 elements for ever: each element has its price.
(component
  (core module $m
    (table $t 100000 funcref)
    (func (export "run") (result i32)
      (loop $more
        (table.fill $t (i32.const 0) (ref.null func) (i32.const 100000))
        (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 99999))
        (br $more))
      (unreachable)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
