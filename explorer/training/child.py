"""A process that trains for a cluster's worker: `python -m explorer.training.child DESCRIPTOR`.

It says what it is, then performs calls until none comes for a minute or the worker's end of its standard input closes.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import cloudpickle

from explorer.training.performing import SEND_SPEED
from explorer.training.software import Software, gpus
from explorer.training.worker import end_with_parent

IDLE_SECONDS = 60.0

Call: TypeAlias = Callable[[], Any]
"""What to perform, without arguments."""


def _serve(connection: Connection) -> None:
    send = partial(_send, connection)
    connection.send_bytes(cloudpickle.dumps((Software.here(), gpus())))
    SEND_SPEED.set(lambda key, speed: send("speed", (key, speed)))
    while connection.poll(IDLE_SECONDS):
        try:
            call: Call = cloudpickle.loads(connection.recv_bytes())
            send("result", call())
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 (the engine records it)
            error.add_note(traceback.format_exc())
            send("error", error)


def _send(connection: Connection, kind: str, value: object) -> None:
    try:
        message = cloudpickle.dumps((kind, value))
    except Exception as error:  # noqa: BLE001 (anything may fail to be pickled)
        message = cloudpickle.dumps(("error", RuntimeError(f"{value!r} cannot be sent: {error}")))
    connection.send_bytes(message)


if __name__ == "__main__":
    end_with_parent()
    _serve(Connection(int(sys.argv[1])))
