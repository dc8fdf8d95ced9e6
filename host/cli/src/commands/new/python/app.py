"""The task: a function from bytes to bytes.

`wit_world` and what is in it are made by `adit build` from `.adit/wit`, which says what there is.
"""

import wit_world
from componentize_py_types import Err
from wit_world.imports import host
from wit_world.imports.types import TaskError

from summary import NoNumbers, NotANumber, summary

# The codes of this task's errors, for programs.
NOT_A_NUMBER = 16
NO_NUMBERS = 17


class WitWorld(wit_world.WitWorld):
    def run(self, input: bytes) -> bytes:
        """An error that is raised as `Err` is an answer too: every machine gives the same one for
        the same input. Any other exception is a trap."""
        try:
            return summary(input.decode(), progress).encode()
        except UnicodeDecodeError as error:
            raise Err(TaskError(NOT_A_NUMBER, f"the input is not UTF-8: {error}"))
        except NotANumber as error:
            raise Err(TaskError(NOT_A_NUMBER, str(error)))
        except NoNumbers as error:
            raise Err(TaskError(NO_NUMBERS, str(error)))


def progress(done, total):
    """Shown to whoever waits. `host.emit(bytes)` would give them a part of the output already."""
    host.progress(done, total, "lines read")
