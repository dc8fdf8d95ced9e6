;; Fills the same 16 MiB for ever: each byte of a bulk operation has its price.
(component
  (core module $m
    (memory 256)
    (func (export "run") (result i32)
      (loop $more
        (memory.fill (i32.const 0) (i32.const 85) (i32.const 0x1000000))
        (br $more))
      (unreachable)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
