;; An allocator that answers the host as it should not. The length of the input chooses: 1 an
;; address behind the end of memory, 2 the largest address, 3 a trap, 4 never an answer, 5 a call
;; to the host, which may not be left through at that point.
(component
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "" "now" (func $now (result i64)))
    (memory (export "memory") 1)
    (func (export "realloc") (param $old i32) (param i32) (param i32) (param $size i32) (result i32)
      (if (i32.eq (local.get $size) (i32.const 1)) (then (return (i32.const 65536))))
      (if (i32.eq (local.get $size) (i32.const 2)) (then (return (i32.const -1))))
      (if (i32.eq (local.get $size) (i32.const 3)) (then (unreachable)))
      (if (i32.eq (local.get $size) (i32.const 4)) (then (loop $on (br $on))))
      (if (i32.eq (local.get $size) (i32.const 5)) (then (drop (call $now))))
      (i32.const 0))
    (func (export "run") (param i32 i32) (result i32)
      ;; ok of an empty list, at 16.
      (i32.const 16)))
  (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
  (type $error (record (field "code" u32) (field "message" string)))
  (export $task-error "task-error" (type $error))
  (func (export "run") (param "input" (list u8)) (result (result (list u8) (error $task-error)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))
