;; Asks for more table elements for ever, though it is refused.
(component
  (core module $m
    (table $t 0 funcref)
    (func (export "run") (result i32)
      (loop $more
        (drop (table.grow $t (ref.null func) (i32.const 0x7fffffff)))
        (br $more))
      (unreachable)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
