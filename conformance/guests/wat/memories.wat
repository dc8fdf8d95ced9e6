;; Eight memories, the most a component may define, each of which grows until it is refused: they
;; share one budget.
(component
  (core module $m
    (memory 1)
    (func (export "grow")
      (loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))))
  (core instance $a (instantiate $m))
  (core instance $b (instantiate $m))
  (core instance $c (instantiate $m))
  (core instance $d (instantiate $m))
  (core instance $e (instantiate $m))
  (core instance $f (instantiate $m))
  (core instance $g (instantiate $m))
  (core instance $h (instantiate $m))
  (core module $all
    (import "" "a" (func $a)) (import "" "b" (func $b)) (import "" "c" (func $c))
    (import "" "d" (func $d)) (import "" "e" (func $e)) (import "" "f" (func $f))
    (import "" "g" (func $g)) (import "" "h" (func $h))
    (func (export "run") (result i32)
      (call $a) (call $b) (call $c) (call $d) (call $e) (call $f) (call $g) (call $h)
      (i32.const 0)))
  (core instance $i (instantiate $all (with "" (instance
    (export "a" (func $a "grow")) (export "b" (func $b "grow")) (export "c" (func $c "grow"))
    (export "d" (func $d "grow")) (export "e" (func $e "grow")) (export "f" (func $f "grow"))
    (export "g" (func $g "grow")) (export "h" (func $h "grow"))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
