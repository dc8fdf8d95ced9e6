;; The standard component of `adit bench`: computes until its fuel is used up. Its mix is that of
;; ordinary compiled code, about a third each of integers, floats and memory. Its bytes are part of
;; what a hardware record claims: a change makes rates that cannot be compared with earlier ones.
(component
  (core module $m
    (memory 16)
    (func (export "run") (result i32)
      (local $i i32)
      (local $h i32)
      (local $x f64)
      (local.set $h (i32.const 0x811c9dc5))
      (local.set $x (f64.const 0.5))
      (loop $again
        ;; A hash over memory (1 MiB, so that it stays in the second cache).
        (local.set $h
          (i32.mul
            (i32.xor
              (local.get $h)
              (i32.load (i32.and (local.get $i) (i32.const 0xffffc))))
            (i32.const 0x01000193)))
        (i32.store
          (i32.and (i32.add (local.get $i) (i32.const 64)) (i32.const 0xffffc))
          (local.get $h))
        ;; A logistic map.
        (local.set $x
          (f64.mul
            (f64.mul (f64.const 3.9) (local.get $x))
            (f64.sub (f64.const 1) (local.get $x))))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br $again))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
