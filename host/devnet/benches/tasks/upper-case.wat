;; Returns its input with the letters a to z as capitals: as little as a task can do. The result lies
;; at 0, the input from 64 on, where the host is told to put it.
(component
  (core module $m
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
    (func (export "run") (param $at i32) (param $len i32) (result i32)
      (local $n i32)
      (local $c i32)
      (loop $next
        (if (i32.lt_u (local.get $n) (local.get $len)) (then
          (local.set $c (i32.load8_u (i32.add (local.get $at) (local.get $n))))
          (if (i32.lt_u (i32.sub (local.get $c) (i32.const 97)) (i32.const 26)) (then
            (i32.store8 (i32.add (local.get $at) (local.get $n))
              (i32.sub (local.get $c) (i32.const 32)))))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br $next))))
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (local.get $at))
      (i32.store (i32.const 8) (local.get $len))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (type $error (record (field "code" u32) (field "message" string)))
  (export $task-error "task-error" (type $error))
  (func (export "run") (param "input" (list u8)) (result (result (list u8) (error $task-error)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))
