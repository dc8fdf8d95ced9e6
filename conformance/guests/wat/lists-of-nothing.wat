;; Gives the host, again and again, a model in two million empty parts. The list lies in 16 MiB of
;; memory that was never written, so that it costs the guest nothing to make.
(component
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance $errors
    (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" (instance $graph
    (export "graph" (type $g (sub resource)))
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $e (eq $outer-error)))
    (type $encoding-names (enum "openvino" "onnx" "tensorflow" "pytorch" "tensorflowlite" "ggml" "autodetect"))
    (export "graph-encoding" (type $encoding (eq $encoding-names)))
    (type $target-names (enum "cpu" "gpu" "tpu"))
    (export "execution-target" (type $target (eq $target-names)))
    (export "load" (func (param "builder" (list (list u8))) (param "encoding" $encoding)
      (param "target" $target) (result (result (own $g) (error (own $e))))))))
  (core module $memory (memory (export "memory") 257))
  (core instance $memory (instantiate $memory))
  (core func $load (canon lower (func $graph "load") (memory (core memory $memory "memory"))))
  (core func $drop (canon resource.drop $error))
  (core module $m
    (import "" "memory" (memory 257))
    (import "" "load" (func $load (param i32 i32 i32 i32 i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "run") (result i32)
      (loop $more
        (call $load (i32.const 0) (i32.const 0x200000) (i32.const 1) (i32.const 0)
          (i32.const 0x1000000))
        (call $drop (i32.load (i32.const 0x1000004)))
        (br $more))
      (unreachable)))
  (core instance $i (instantiate $m (with "" (instance
    (export "memory" (memory $memory "memory")) (export "load" (func $load))
    (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.6" (instance $cli)))
