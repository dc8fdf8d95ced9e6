;; Grows a table by ten elements at a time until it is refused, then returns normally.
(component
  (core module $m
    (table $t 0 funcref)
    (func (export "run") (result i32)
      (loop $more
        (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 10)) (i32.const -1))))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
