;; Arguments to the host that are not as they should be. The length of the input chooses the chunk
;; that is emitted or the note of a progress report: 0 a good one, 1 a chunk behind the end of
;; memory, 2 a chunk of 4 GiB, 3 a note that is no UTF-8, 4 a note that is a surrogate, 5 a note
;; that is cut off in a character, 6 a note of 4 GiB, 7 a chunk that is all of memory.
(component
  (import "adit:task/host@0.1.0" (instance $host
    (export "emit" (func (param "chunk" (list u8))))
    (export "progress" (func (param "done" u64) (param "total" u64) (param "note" string)))))
  (core module $memory (memory (export "memory") 1)
    (data (i32.const 0x100) "good\00\00\00\00\c3\28\00\00\ed\a0\80\00\e2\82"))
  (core instance $memory (instantiate $memory))
  (core func $emit (canon lower (func $host "emit") (memory (core memory $memory "memory"))))
  (core func $progress (canon lower (func $host "progress") (memory (core memory $memory "memory"))))
  (core module $m
    (import "" "memory" (memory 1))
    (import "" "emit" (func $emit (param i32 i32)))
    (import "" "progress" (func $progress (param i64 i64 i32 i32)))
    (func $note (param i32 i32)
      (call $progress (i64.const 1) (i64.const 2) (local.get 0) (local.get 1)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0x1000))
    (func (export "run") (param $at i32) (param $len i32) (result i32)
      (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 (local.get $len)))
        (call $emit (i32.const 0x100) (i32.const 4))
        (call $note (i32.const 0x100) (i32.const 4))
        (return (i32.const 0x200)))
        (call $emit (i32.const 0xffff) (i32.const 2)) (return (i32.const 0x200)))
        (call $emit (i32.const 0) (i32.const -1)) (return (i32.const 0x200)))
        (call $note (i32.const 0x108) (i32.const 2)) (return (i32.const 0x200)))
        (call $note (i32.const 0x10c) (i32.const 3)) (return (i32.const 0x200)))
        (call $note (i32.const 0x110) (i32.const 2)) (return (i32.const 0x200)))
        (call $note (i32.const 0) (i32.const -1)) (return (i32.const 0x200)))
      (call $emit (i32.const 0) (i32.const 0x10000))
      (i32.const 0x200)))
  (core instance $i (instantiate $m (with "" (instance
    (export "memory" (memory $memory "memory"))
    (export "emit" (func $emit)) (export "progress" (func $progress))))))
  (type $error (record (field "code" u32) (field "message" string)))
  (export $task-error "task-error" (type $error))
  (func (export "run") (param "input" (list u8)) (result (result (list u8) (error $task-error)))
    (canon lift (core func $i "run") (memory (core memory $memory "memory"))
      (realloc (core func $i "realloc")))))
