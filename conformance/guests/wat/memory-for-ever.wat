;; Asks for one page for ever, and gets it until it is refused: a refusal has its price, too.
(component
  (core module $m
    (memory 0)
    (func (export "run") (result i32)
      (loop $more
        (drop (memory.grow (i32.const 1)))
        (br $more))
      (unreachable)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
