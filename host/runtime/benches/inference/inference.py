"""Computes one case of the inference benchmark with the Python package of ONNX Runtime.

Usage: inference.py FOLDER, where FOLDER has model.onnx and case.json (see python.rs). Says "ready"
with the version of the package. Then each line of stdin is a number of inferences, and the answer
the nanoseconds that so many took. Ends when stdin ends.
"""

import json
import sys
import time
from pathlib import Path

import numpy
import onnxruntime

TYPES = {"fp32": numpy.float32, "i64": numpy.int64}


def session(folder, case):
    """The session options are those of session.rs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    # Errors only: what it says of fallbacks is known from the environment document.
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [(case["provider"], case["options"])]
    return onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers)


def arrays(folder, tensors, scalars):
    """The tensors by name; a model may want no dimensions where a guest gives [1]."""
    made = {}
    for tensor in tensors:
        data = (folder / tensor["file"]).read_bytes()
        dims = [] if tensor["name"] in scalars else tensor["dims"]
        made[tensor["name"]] = numpy.frombuffer(data, TYPES[tensor["type"]]).reshape(dims)
    return made


def main():
    folder = Path(sys.argv[1])
    case = json.loads((folder / "case.json").read_text())
    model = session(folder, case)
    scalars = {given.name for given in model.get_inputs() if given.shape == []}
    inputs = [arrays(folder, each["inputs"], scalars) for each in case["computations"]]
    for given, each in zip(inputs, case["computations"]):
        expected = arrays(folder, each["outputs"], set())
        for name, found in zip(expected, model.run(list(expected), given)):
            if case["exact"] and found.tobytes() != expected[name].tobytes():
                print(f"output {name} has other bits than the guest's")
                return
    names = list(expected)
    print("ready", onnxruntime.__version__, flush=True)
    at = 0
    for line in sys.stdin:
        began = time.perf_counter_ns()
        for _ in range(int(line)):
            model.run(names, inputs[at])
            at = (at + 1) % len(inputs)
        print(time.perf_counter_ns() - began, flush=True)


main()
