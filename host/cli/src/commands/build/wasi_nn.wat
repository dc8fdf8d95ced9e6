;; The adapter of `wasi_ephemeral_nn`, the wasi-nn of WASI preview 1, to `wasi:nn`.
;;
;; A program that was written for the older interface imports the six functions that this module
;; exports. `wit-component` puts this module between the program and the host: a call of the
;; program becomes calls of `wasi:nn` in the canonical ABI of the component model.
;;
;; The older interface is the file wasi-nn.witx of wasmtime, whose numbers the crate `wasi-nn`
;; repeats: an errno of 0 is success, results go where a last pointer points, and graphs and
;; contexts are numbers that are never given back. What that interface keeps between calls and
;; `wasi:nn` does not, this module keeps:
;;
;; - The inputs of a context. They are copied by `set_input` and stay for all later computations,
;;   as they do in wasmtime, until they are set again. Each goes to the host under its index, in
;;   decimal, as its name.
;; - The outputs of a context. They stay resources of the host until the next `compute`;
;;   `get_output` has the host write them into the program's own buffer.
;;
;; Memory. An adapter works in the memory of the program and has no data of its own, so its state
;; lies in blocks that it gets by `memory.grow`. Allocators of C and Rust take pages where
;; `memory.grow` says they are, and do not mind what lies between. The program's `cabi_realloc` is
;; not used: it is not always there, cannot give memory back, and ends the program where this
;; module can answer `too_large`. A program can overwrite what is kept here, as it can its own
;; heap. That harms nobody else: this module has no rights but the program's, and the host checks
;; every handle and every range that it is given.
;;
;; Nothing here is trusted to be small. Lengths are added as 64-bit numbers, what does not fit
;; is answered with `too_large`, and a pointer that leaves the memory traps.
(module
  ;; -- The host -----------------------------------------------------------------------------------

  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.code"
    (func $error_code (param $error i32) (result i32)))
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[resource-drop]error"
    (func $error_drop (param $error i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
    (func $tensor_new
      (param $dims i32) (param $rank i32) (param $type i32) (param $data i32) (param $bytes i32)
      (result i32)))
  ;; Result: {list: i32, length: i32}.
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.dimensions"
    (func $tensor_dimensions (param $tensor i32) (param $result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.ty"
    (func $tensor_type (param $tensor i32) (result i32)))
  ;; Result: {list: i32, length: i32}.
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data"
    (func $tensor_data (param $tensor i32) (param $result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor"
    (func $tensor_drop (param $tensor i32)))
  ;; Results of these three: {failed: u8, at 4: the new resource or the error: i32}.
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load"
    (func $graph_load
      (param $parts i32) (param $count i32) (param $encoding i32) (param $target i32)
      (param $result i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
    (func $graph_load_by_name (param $name i32) (param $bytes i32) (param $result i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
    (func $graph_context (param $graph i32) (param $result i32)))
  ;; Result: {failed: u8, at 4: the list or the error: i32, at 8: the list's length: i32}.
  ;; Both lists are of {name: i32, its bytes: i32, tensor: i32}.
  (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
    (func $context_compute
      (param $context i32) (param $inputs i32) (param $count i32) (param $result i32)))

  (import "env" "memory" (memory 0))

  ;; -- State --------------------------------------------------------------------------------------

  ;; The blocks that were given back, each at its header, linked by their headers; 0 ends the list.
  (global $free (mut i32) (i32.const 0))
  ;; What is left of the pages that were grown last: from here to there.
  (global $rest (mut i32) (i32.const 0))
  (global $rest_end (mut i32) (i32.const 0))

  ;; A block of 40 bytes, or 0 before the first call:
  ;;    0  where the host writes results, 16 bytes
  ;;   16  the graphs, a vector of the host's handles
  ;;   28  the contexts, a vector of
  ;;           0  the host's handle
  ;;           4  the inputs, a vector of
  ;;                  0  index
  ;;                  4  where the index in decimal begins, from the begin of this element
  ;;                  8  the index in decimal, up to 10 digits that end before 18
  ;;                 20  type, in the numbers of `wasi:nn`
  ;;                 24  a block with the dimensions, u32 each, and then the data
  ;;                 28  number of dimensions
  ;;                 32  bytes of data; 36 in all
  ;;          16  whether there are outputs of a computation
  ;;          20  the host's list of them
  ;;          24  its length; 28 in all
  ;; A vector is {block: i32, length: i32, capacity: i32}, and all zero when empty.
  (global $root (mut i32) (i32.const 0))

  ;; While `get_output` waits for the host: the program's buffer, which the host is to fill.
  (global $filling (mut i32) (i32.const 0))
  (global $buffer (mut i32) (i32.const 0))
  (global $buffer_bytes (mut i32) (i32.const 0))

  ;; -- The functions of wasi_ephemeral_nn ---------------------------------------------------------

  ;; errno: 0 success, 1 invalid_argument, 2 invalid_encoding, 3 missing_memory, 4 busy,
  ;; 5 runtime_error, 6 unsupported_operation, 7 too_large, 8 not_found

  ;; A graph_builder_array is already what `wasi:nn` takes: a list of {pointer, bytes}.
  (func (export "load")
    (param $parts i32) (param $count i32) (param $encoding i32) (param $target i32)
    (param $out i32) (result i32)
    (local $slot i32)
    ;; Up to tensorflowlite (4) both number alike; then comes autodetect here, and ggml there.
    (if (i32.gt_u (local.get $encoding) (i32.const 5)) (then (return (i32.const 2))))
    (if (i32.eq (local.get $encoding) (i32.const 5))
      (then (local.set $encoding (i32.const 6))))
    ;; cpu, gpu and tpu are the same. The crate's AUTO (3), which leaves the choice to the host, is
    ;; in neither interface, and every host has a cpu.
    (if (i32.gt_u (local.get $target) (i32.const 3)) (then (return (i32.const 1))))
    (if (i32.eq (local.get $target) (i32.const 3)) (then (local.set $target (i32.const 0))))
    (if (i32.eqz (local.tee $slot (call $graph_slot))) (then (return (i32.const 7))))
    (call $graph_load
      (local.get $parts) (local.get $count) (local.get $encoding) (local.get $target)
      (global.get $root))
    (call $graph_loaded (local.get $slot) (local.get $out)))

  (func (export "load_by_name") (param $name i32) (param $bytes i32) (param $out i32) (result i32)
    (local $slot i32)
    (if (i32.eqz (local.tee $slot (call $graph_slot))) (then (return (i32.const 7))))
    (call $graph_load_by_name (local.get $name) (local.get $bytes) (global.get $root))
    (call $graph_loaded (local.get $slot) (local.get $out)))

  (func (export "init_execution_context") (param $graph i32) (param $out i32) (result i32)
    (local $slot i32)
    (if (i32.eqz (global.get $root)) (then (return (i32.const 1))))
    (if (i32.ge_u (local.get $graph) (i32.load offset=20 (global.get $root)))
      (then (return (i32.const 1))))
    (local.set $slot
      (call $vector_room (i32.add (global.get $root) (i32.const 28)) (i32.const 28)))
    (if (i32.eqz (local.get $slot)) (then (return (i32.const 7))))
    (call $graph_context
      (i32.load
        (i32.add
          (i32.load offset=16 (global.get $root))
          (i32.shl (local.get $graph) (i32.const 2))))
      (global.get $root))
    (if (i32.load8_u (global.get $root))
      (then (return (call $errno (i32.load offset=4 (global.get $root))))))
    (memory.fill (local.get $slot) (i32.const 0) (i32.const 28))
    (i32.store (local.get $slot) (i32.load offset=4 (global.get $root)))
    (i32.store (local.get $out)
      (call $vector_added (i32.add (global.get $root) (i32.const 28))))
    (i32.const 0))

  ;; `tensor` is {dimensions: i32, rank: i32, type: u8, at 12: data: i32, bytes: i32}.
  (func (export "set_input")
    (param $context i32) (param $index i32) (param $tensor i32) (result i32)
    (local $type i32) (local $dims_bytes i32) (local $bytes i32) (local $size i64)
    (local $input i32) (local $block i32) (local $old i32)
    (if (i32.eqz (local.tee $context (call $context (local.get $context))))
      (then (return (i32.const 1))))
    ;; Up to f64 (2) both number alike; then comes u8 here, and bf16 there.
    (local.set $type (i32.load8_u offset=8 (local.get $tensor)))
    (if (i32.gt_u (local.get $type) (i32.const 5)) (then (return (i32.const 1))))
    (if (i32.gt_u (local.get $type) (i32.const 2))
      (then (local.set $type (i32.add (local.get $type) (i32.const 1)))))

    (local.set $bytes (i32.load offset=16 (local.get $tensor)))
    (local.set $size
      (i64.add
        (i64.shl (i64.load32_u offset=4 (local.get $tensor)) (i64.const 2))
        (i64.extend_i32_u (local.get $bytes))))
    (if (i64.gt_u (local.get $size) (i64.const 0x7fff0000)) (then (return (i32.const 7))))
    (local.set $dims_bytes
      (i32.shl (i32.load offset=4 (local.get $tensor)) (i32.const 2)))

    ;; The block of an input that is set again is used again if it is large enough. An input is
    ;; counted only when it is whole.
    (local.set $input (call $input (local.get $context) (local.get $index)))
    (if (local.get $input)
      (then (local.set $old (i32.load offset=24 (local.get $input)))))
    (local.set $block (local.get $old))
    (if (i64.lt_u
          (i64.extend_i32_u (call $block_size (local.get $block)))
          (local.get $size))
      (then (local.set $block (i32.const 0))))
    (if (i32.eqz (local.get $block))
      (then
        (local.set $block (call $allocate (i32.wrap_i64 (local.get $size))))
        (if (i32.eqz (local.get $block)) (then (return (i32.const 7))))))
    (memory.copy
      (local.get $block) (i32.load (local.get $tensor)) (local.get $dims_bytes))
    (memory.copy
      (i32.add (local.get $block) (local.get $dims_bytes))
      (i32.load offset=12 (local.get $tensor))
      (local.get $bytes))

    (if (i32.eqz (local.get $input))
      (then
        (local.set $input
          (call $vector_room (i32.add (local.get $context) (i32.const 4)) (i32.const 36)))
        (if (i32.eqz (local.get $input))
          (then
            (call $release (local.get $block))
            (return (i32.const 7))))
        (call $input_named (local.get $input) (local.get $index))
        (drop (call $vector_added (i32.add (local.get $context) (i32.const 4))))))
    (if (i32.ne (local.get $old) (local.get $block)) (then (call $release (local.get $old))))
    (i32.store offset=20 (local.get $input) (local.get $type))
    (i32.store offset=24 (local.get $input) (local.get $block))
    (i32.store offset=28 (local.get $input)
      (i32.shr_u (local.get $dims_bytes) (i32.const 2)))
    (i32.store offset=32 (local.get $input) (local.get $bytes))
    (i32.const 0))

  (func (export "compute") (param $context i32) (result i32)
    (local $list i32) (local $count i32) (local $at i32)
    (local $input i32) (local $block i32)
    (if (i32.eqz (local.tee $context (call $context (local.get $context))))
      (then (return (i32.const 1))))
    ;; Before the host computes: the old outputs do not outlive a computation that fails.
    (call $outputs_drop (local.get $context))

    ;; A vector holds at most 2^20 elements, so this product is small.
    (local.set $count (i32.load offset=8 (local.get $context)))
    (local.set $list (call $allocate (i32.mul (local.get $count) (i32.const 12))))
    (if (i32.eqz (local.get $list)) (then (return (i32.const 7))))
    (local.set $at (local.get $list))
    (local.set $input (i32.load offset=4 (local.get $context)))
    (block $done
      (loop $next
        (br_if $done
          (i32.eq
            (local.get $at)
            (i32.add (local.get $list) (i32.mul (local.get $count) (i32.const 12)))))
        (local.set $block (i32.load offset=24 (local.get $input)))
        (i32.store (local.get $at)
          (i32.add (local.get $input) (i32.load offset=4 (local.get $input))))
        (i32.store offset=4 (local.get $at)
          (i32.sub (i32.const 18) (i32.load offset=4 (local.get $input))))
        (i32.store offset=8 (local.get $at)
          (call $tensor_new
            (local.get $block)
            (i32.load offset=28 (local.get $input))
            (i32.load offset=20 (local.get $input))
            (i32.add
              (local.get $block)
              (i32.shl (i32.load offset=28 (local.get $input)) (i32.const 2)))
            (i32.load offset=32 (local.get $input))))
        (local.set $at (i32.add (local.get $at) (i32.const 12)))
        (local.set $input (i32.add (local.get $input) (i32.const 36)))
        (br $next)))

    ;; The tensors are the host's from here on, whatever comes of the call.
    (call $context_compute
      (i32.load (local.get $context)) (local.get $list) (local.get $count) (global.get $root))
    (call $release (local.get $list))
    (if (i32.load8_u (global.get $root))
      (then (return (call $errno (i32.load offset=4 (global.get $root))))))
    (i32.store offset=16 (local.get $context) (i32.const 1))
    (i32.store offset=20 (local.get $context) (i32.load offset=4 (global.get $root)))
    (i32.store offset=24 (local.get $context) (i32.load offset=8 (global.get $root)))
    (call $names_release (local.get $context))
    (i32.const 0))

  (func (export "get_output")
    (param $context i32) (param $index i32) (param $buffer i32) (param $buffer_bytes i32)
    (param $out i32) (result i32)
    (local $tensor i32)
    (if (i32.eqz (local.tee $context (call $context (local.get $context))))
      (then (return (i32.const 1))))
    ;; Nothing was computed, or the last computation failed.
    (if (i32.eqz (i32.load offset=16 (local.get $context))) (then (return (i32.const 5))))
    (if (i32.ge_u (local.get $index) (i32.load offset=24 (local.get $context)))
      (then (return (i32.const 1))))
    (local.set $tensor
      (i32.load offset=8
        (i32.add
          (i32.load offset=20 (local.get $context))
          (i32.mul (local.get $index) (i32.const 12)))))
    (if (i64.gt_u
          (call $tensor_bytes (local.get $tensor))
          (i64.extend_i32_u (local.get $buffer_bytes)))
      (then (return (i32.const 7))))
    (global.set $filling (i32.const 1))
    (global.set $buffer (local.get $buffer))
    (global.set $buffer_bytes (local.get $buffer_bytes))
    (call $tensor_data (local.get $tensor) (global.get $root))
    (global.set $filling (i32.const 0))
    (i32.store (local.get $out) (i32.load offset=4 (global.get $root)))
    (i32.const 0))

  ;; -- For the host -------------------------------------------------------------------------------

  ;; Where the host puts the lists and strings that it returns. The component model has no way to
  ;; say that there is no memory for them, so that is a trap.
  (func (export "cabi_import_realloc")
    (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32) (result i32)
    (local $block i32)
    (if (global.get $filling)
      (then
        ;; `get_output` has compared the length already; a host whose tensor has more data than
        ;; its dimensions say is not let into the memory behind the buffer.
        (if (i32.gt_u (local.get $bytes) (global.get $buffer_bytes)) (then (unreachable)))
        (return (global.get $buffer))))
    ;; Nothing is at any address, and needs no block. It is then not released either.
    (if (i32.eqz (local.get $bytes)) (then (return (local.get $align))))
    (if (i32.eqz (local.tee $block (call $allocate (local.get $bytes)))) (then (unreachable)))
    ;; A string that is written in one encoding and read in another grows and shrinks.
    (if (local.get $old_bytes)
      (then
        (memory.copy (local.get $block) (local.get $old)
          (select
            (local.get $old_bytes) (local.get $bytes)
            (i32.lt_u (local.get $old_bytes) (local.get $bytes))))
        (call $release (local.get $old))))
    (local.get $block))

  ;; -- Graphs, contexts and tensors ---------------------------------------------------------------

  ;; The errno for an error of the host, which is dropped. One hexadecimal digit for each code of
  ;; `wasi:nn`, the first one last: timeout stands where busy stood before; security is answered
  ;; as unsupported_operation, and unknown as runtime_error.
  (func $errno (param $error i32) (result i32)
    (local $code i32)
    (local.set $code (call $error_code (local.get $error)))
    (call $error_drop (local.get $error))
    (i32.wrap_i64
      (i64.and
        (i64.shr_u
          (i64.const 0x568765421)
          (i64.extend_i32_u (i32.shl (local.get $code) (i32.const 2))))
        (i64.const 15))))

  ;; Room for one more graph, or 0. This is how a program begins, so the state is made here.
  (func $graph_slot (result i32)
    (if (i32.eqz (global.get $root))
      (then
        (global.set $root (call $allocate (i32.const 40)))
        (if (i32.eqz (global.get $root)) (then (return (i32.const 0))))
        (memory.fill (global.get $root) (i32.const 0) (i32.const 40))))
    (call $vector_room (i32.add (global.get $root) (i32.const 16)) (i32.const 4)))

  ;; Numbers the graph that the host has loaded, or returns its errno.
  (func $graph_loaded (param $slot i32) (param $out i32) (result i32)
    (if (i32.load8_u (global.get $root))
      (then (return (call $errno (i32.load offset=4 (global.get $root))))))
    (i32.store (local.get $slot) (i32.load offset=4 (global.get $root)))
    (i32.store (local.get $out)
      (call $vector_added (i32.add (global.get $root) (i32.const 16))))
    (i32.const 0))

  ;; Where the context with this number is, or 0. It moves when a context is added.
  (func $context (param $number i32) (result i32)
    (if (i32.eqz (global.get $root)) (then (return (i32.const 0))))
    (if (i32.ge_u (local.get $number) (i32.load offset=32 (global.get $root)))
      (then (return (i32.const 0))))
    (i32.add
      (i32.load offset=28 (global.get $root))
      (i32.mul (local.get $number) (i32.const 28))))

  ;; Where a context's input with this index is, or 0. Any number can be an index, so they are
  ;; looked through; models have a handful.
  (func $input (param $context i32) (param $index i32) (result i32)
    (local $at i32) (local $end i32)
    (local.set $at (i32.load offset=4 (local.get $context)))
    (local.set $end
      (i32.add
        (local.get $at)
        (i32.mul (i32.load offset=8 (local.get $context)) (i32.const 36))))
    (loop $next
      (if (i32.eq (local.get $at) (local.get $end)) (then (return (i32.const 0))))
      (if (i32.eq (i32.load (local.get $at)) (local.get $index))
        (then (return (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 36)))
      (br $next))
    (unreachable))

  ;; Writes an input's index and its name, from the last digit to the first.
  (func $input_named (param $input i32) (param $index i32)
    (local $digit i32)
    (i32.store (local.get $input) (local.get $index))
    (local.set $digit (i32.add (local.get $input) (i32.const 18)))
    (loop $next
      (local.set $digit (i32.sub (local.get $digit) (i32.const 1)))
      (i32.store8 (local.get $digit)
        (i32.add (i32.const 48) (i32.rem_u (local.get $index) (i32.const 10))))
      (br_if $next
        (local.tee $index (i32.div_u (local.get $index) (i32.const 10)))))
    (i32.store offset=4 (local.get $input) (i32.sub (local.get $digit) (local.get $input))))

  ;; Bytes of a tensor's data, by its dimensions and its type; 2^32 for that and all above.
  (func $tensor_bytes (param $tensor i32) (result i64)
    (local $bytes i64) (local $dims i32) (local $rank i32) (local $at i32)
    ;; Bytes of an element, one hexadecimal digit for each type of `wasi:nn`, the first one last.
    (local.set $bytes
      (i64.and
        (i64.shr_u
          (i64.const 0x8412842)
          (i64.extend_i32_u (i32.shl (call $tensor_type (local.get $tensor)) (i32.const 2))))
        (i64.const 15)))
    (call $tensor_dimensions (local.get $tensor) (global.get $root))
    (local.set $dims (i32.load (global.get $root)))
    (local.set $rank (i32.load offset=4 (global.get $root)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (local.get $rank)))
        (local.set $bytes
          (i64.mul
            (local.get $bytes)
            (i64.load32_u
              (i32.add (local.get $dims) (i32.shl (local.get $at) (i32.const 2))))))
        (if (i64.gt_u (local.get $bytes) (i64.const 0x100000000))
          (then (local.set $bytes (i64.const 0x100000000))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (if (local.get $rank) (then (call $release (local.get $dims))))
    (local.get $bytes))

  ;; Drops a context's outputs, if it has any.
  (func $outputs_drop (param $context i32)
    (local $list i32) (local $at i32)
    (if (i32.eqz (i32.load offset=16 (local.get $context))) (then (return)))
    (i32.store offset=16 (local.get $context) (i32.const 0))
    (local.set $list (i32.load offset=20 (local.get $context)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $at) (i32.load offset=24 (local.get $context))))
        (call $tensor_drop
          (i32.load offset=8
            (i32.add (local.get $list) (i32.mul (local.get $at) (i32.const 12)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    ;; Of an empty list there is no block.
    (if (local.get $at) (then (call $release (local.get $list)))))

  ;; Gives the names of a context's outputs back: here they are known by their order.
  (func $names_release (param $context i32)
    (local $at i32) (local $left i32)
    (local.set $at (i32.load offset=20 (local.get $context)))
    (local.set $left (i32.load offset=24 (local.get $context)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (if (i32.load offset=4 (local.get $at))
          (then (call $release (i32.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 12)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next))))

  ;; -- Memory -------------------------------------------------------------------------------------

  ;; Where the next element of a vector goes, after making room for it, or 0 if there is none.
  (func $vector_room (param $vector i32) (param $element_bytes i32) (result i32)
    (local $length i32) (local $block i32)
    (local.set $length (i32.load offset=4 (local.get $vector)))
    (if (i32.eq (local.get $length) (i32.load offset=8 (local.get $vector)))
      (then
        (if (i32.ge_u (local.get $length) (i32.const 0x100000)) (then (return (i32.const 0))))
        (local.set $block
          (call $allocate
            (i32.mul
              (local.get $element_bytes)
              (select
                (i32.shl (local.get $length) (i32.const 1)) (i32.const 4)
                (local.get $length)))))
        (if (i32.eqz (local.get $block)) (then (return (i32.const 0))))
        (memory.copy (local.get $block) (i32.load (local.get $vector))
          (i32.mul (local.get $length) (local.get $element_bytes)))
        (call $release (i32.load (local.get $vector)))
        (i32.store (local.get $vector) (local.get $block))
        (i32.store offset=8 (local.get $vector)
          (select
            (i32.shl (local.get $length) (i32.const 1)) (i32.const 4)
            (local.get $length)))))
    (i32.add
      (i32.load (local.get $vector))
      (i32.mul (local.get $length) (local.get $element_bytes))))

  ;; Counts the element that was put where there was room. Returns its number.
  (func $vector_added (param $vector i32) (result i32)
    (local $length i32)
    (local.set $length (i32.load offset=4 (local.get $vector)))
    (i32.store offset=4 (local.get $vector) (i32.add (local.get $length) (i32.const 1)))
    (local.get $length))

  ;; A block of at least this many bytes, at a multiple of 8, or 0 if the memory has no room.
  ;; Before it lies its header: {its bytes: i32, the next free block's header: i32}.
  (func $allocate (param $bytes i32) (result i32)
    (local $at i32) (local $before i32) (local $pages i32)
    (if (i32.gt_u (local.get $bytes) (i32.const 0x7fff0000)) (then (return (i32.const 0))))
    ;; A multiple of 16, which with its header keeps the next block at a multiple of 8.
    (local.set $bytes
      (i32.add (i32.and (local.get $bytes) (i32.const -16)) (i32.const 16)))

    ;; The first free block that is large enough, and not more than twice as large.
    (local.set $at (global.get $free))
    (block $none
      (loop $next
        (br_if $none (i32.eqz (local.get $at)))
        (if (i32.and
              (i32.ge_u (i32.load (local.get $at)) (local.get $bytes))
              (i32.le_u (i32.shr_u (i32.load (local.get $at)) (i32.const 1)) (local.get $bytes)))
          (then
            (if (local.get $before)
              (then (i32.store offset=4 (local.get $before) (i32.load offset=4 (local.get $at))))
              (else (global.set $free (i32.load offset=4 (local.get $at)))))
            (return (i32.add (local.get $at) (i32.const 8)))))
        (local.set $before (local.get $at))
        (local.set $at (i32.load offset=4 (local.get $at)))
        (br $next)))

    ;; Else a new one. New pages follow the last ones unless the program grew its memory in
    ;; between; what is left of the last ones then becomes a free block.
    (if (i32.gt_u
          (i32.add (local.get $bytes) (i32.const 8))
          (i32.sub (global.get $rest_end) (global.get $rest)))
      (then
        (local.set $pages
          (i32.shr_u (i32.add (local.get $bytes) (i32.const 0x10007)) (i32.const 16)))
        (local.set $at (memory.grow (local.get $pages)))
        (if (i32.eq (local.get $at) (i32.const -1)) (then (return (i32.const 0))))
        (local.set $at (i32.shl (local.get $at) (i32.const 16)))
        (if (i32.ne (local.get $at) (global.get $rest_end))
          (then
            (if (i32.gt_u
                  (i32.sub (global.get $rest_end) (global.get $rest)) (i32.const 8))
              (then
                (i32.store (global.get $rest)
                  (i32.sub
                    (i32.sub (global.get $rest_end) (global.get $rest)) (i32.const 8)))
                (call $release (i32.add (global.get $rest) (i32.const 8)))))
            (global.set $rest (local.get $at))))
        (global.set $rest_end
          (i32.add (local.get $at) (i32.shl (local.get $pages) (i32.const 16))))))
    (local.set $at (global.get $rest))
    (global.set $rest
      (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 8)))
    (i32.store (local.get $at) (local.get $bytes))
    (i32.add (local.get $at) (i32.const 8)))

  ;; Gives a block back; 0 is none.
  (func $release (param $block i32)
    (if (i32.eqz (local.get $block)) (then (return)))
    (i32.store (i32.sub (local.get $block) (i32.const 4)) (global.get $free))
    (global.set $free (i32.sub (local.get $block) (i32.const 8))))

  ;; Bytes of a block; of none, 0.
  (func $block_size (param $block i32) (result i32)
    (if (i32.eqz (local.get $block)) (then (return (i32.const 0))))
    (i32.load (i32.sub (local.get $block) (i32.const 8))))

  (@producers (processed-by "adit-wasi-nn-adapter" "1"))
)
