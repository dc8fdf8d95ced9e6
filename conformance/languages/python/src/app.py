"""The whole contract from Python; see ../../README.md."""

import random
import struct
import time

import wit_world
from componentize_py_types import Err
from wit_world.imports import graph, host
from wit_world.imports.errors import ErrorCode
from wit_world.imports.tensor import Tensor, TensorType
from wit_world.imports.types import TaskError


class WitWorld(wit_world.WitWorld):
    def run(self, input: bytes) -> bytes:
        if input == b"fail":
            host.emit(b"before ")
            raise Err(TaskError(42, "as asked"))
        host.progress(1, 2, "begun")
        emit(f"input {input.decode()}")
        emit(f"double {double()}")
        emit(f"absent {absent()}")
        earlier, later = time.monotonic_ns(), time.monotonic_ns()
        emit(f"clock {int(time.time())} {'rising' if later > earlier else 'still'}")
        emit(f"random {random.getrandbits(64):016x}")
        host.progress(2, 2, "done")
        return b"done\n"


def emit(line):
    host.emit(f"{line}\n".encode())


def double():
    context = graph.load_by_name("double").init_execution_context()
    x = Tensor([2], TensorType.FP32, struct.pack("<2f", 1.5, -2.0))
    [(name, y)] = context.compute([("x", x)])
    assert name == "y"
    a, b = struct.unpack("<2f", y.data())
    return f"{y.dimensions()} {y.ty().name} {a:g} {b:g}"


def absent():
    try:
        graph.load_by_name("absent")
    except Err as error:
        return error.value.code().name.lower().replace("_", "-")
    return "loaded"
