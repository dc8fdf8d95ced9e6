;; A result that is not as it should be. The length of the input chooses: 0 a good one, 1 a list
;; behind the end of memory, 2 a list of 4 GiB, 3 a result area that is not aligned, 4 a result
;; area behind the end of memory, 5 a case that the result does not have, 6 an error whose
;; message is no UTF-8, 7 an error whose message is a surrogate, 8 a list that is all of memory,
;; 9 an error whose message is behind the end of memory.
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 0x100) "\00\00\00\00\00\02\00\00\05\00\00\00")
    (data (i32.const 0x110) "\00\00\00\00\ff\ff\00\00\02\00\00\00")
    (data (i32.const 0x120) "\00\00\00\00\00\00\00\00\ff\ff\ff\ff")
    (data (i32.const 0x150) "\07\00\00\00\00\02\00\00\05\00\00\00")
    (data (i32.const 0x160) "\01\00\00\00\09\00\00\00\08\02\00\00\02\00\00\00")
    (data (i32.const 0x170) "\01\00\00\00\09\00\00\00\0c\02\00\00\03\00\00\00")
    (data (i32.const 0x180) "\00\00\00\00\00\00\00\00\00\00\01\00")
    (data (i32.const 0x190) "\01\00\00\00\09\00\00\00\ff\ff\ff\ff\02\00\00\00")
    (data (i32.const 0x200) "hello\00\00\00\c3\28\00\00\ed\a0\80")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0x1000))
    (func (export "run") (param $at i32) (param $len i32) (result i32)
      (if (i32.eq (local.get $len) (i32.const 3)) (then (return (i32.const 0x101))))
      (if (i32.eq (local.get $len) (i32.const 4)) (then (return (i32.const 0xfffc))))
      (i32.add (i32.const 0x100) (i32.mul (local.get $len) (i32.const 16)))))
  (core instance $i (instantiate $m))
  (type $error (record (field "code" u32) (field "message" string)))
  (export $task-error "task-error" (type $error))
  (func (export "run") (param "input" (list u8)) (result (result (list u8) (error $task-error)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))
