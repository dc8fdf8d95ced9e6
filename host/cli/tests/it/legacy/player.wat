;; A program for WASI preview 1 that does to wasi-nn what its input says.
;;
;; The input is put into memory at 0x10000: the number of calls, then 24 bytes for each: which
;; function, and five arguments. A call's errno replaces the number of its function. The output is
;; the input as it is after all calls: what they wrote into it can be seen there.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "load"
    (func $load (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "load_by_name"
    (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context"
    (func $init_execution_context (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output"
    (func $get_output (param i32 i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 16)

  (func $call
    (param $function i32) (param $a i32) (param $b i32) (param $c i32) (param $d i32) (param $e i32)
    (result i32)
    (block $grow
      (block $get_output
        (block $compute
          (block $set_input
            (block $init_execution_context
              (block $load_by_name
                (block $load
                  (br_table $load $load_by_name $init_execution_context $set_input $compute
                    $get_output $grow
                    (local.get $function)))
                (return
                  (call $load (local.get $a) (local.get $b) (local.get $c) (local.get $d)
                    (local.get $e))))
              (return (call $load_by_name (local.get $a) (local.get $b) (local.get $c))))
            (return (call $init_execution_context (local.get $a) (local.get $b))))
          (return (call $set_input (local.get $a) (local.get $b) (local.get $c))))
        (return (call $compute (local.get $a))))
      (return
        (call $get_output (local.get $a) (local.get $b) (local.get $c) (local.get $d)
          (local.get $e))))
    ;; What an allocator of the program would do.
    (memory.grow (local.get $a)))

  (func (export "_start")
    (local $end i32) (local $left i32) (local $at i32)
    ;; At 0 is the list of one buffer, {address, bytes}, and at 8 the bytes that were moved.
    (local.set $end (i32.const 0x10000))
    (block $ended
      (loop $next
        (i32.store (i32.const 0) (local.get $end))
        (i32.store (i32.const 4) (i32.sub (i32.const 0x100000) (local.get $end)))
        (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
          (then (unreachable)))
        (br_if $ended (i32.eqz (i32.load (i32.const 8))))
        (local.set $end (i32.add (local.get $end) (i32.load (i32.const 8))))
        (br $next)))

    (local.set $left (i32.load (i32.const 0x10000)))
    (local.set $at (i32.const 0x10004))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i32.store (local.get $at)
          (call $call
            (i32.load (local.get $at))
            (i32.load offset=4 (local.get $at))
            (i32.load offset=8 (local.get $at))
            (i32.load offset=12 (local.get $at))
            (i32.load offset=16 (local.get $at))
            (i32.load offset=20 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 24)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))

    (local.set $at (i32.const 0x10000))
    (loop $next
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (i32.sub (local.get $end) (local.get $at)))
      (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
        (then (unreachable)))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))))
