"""SIGTERM and SIGINT from the first moment on, and in child processes.

Imports nothing heavy: until gRPC and pydantic are in, a busy machine needs more than a second. The
kernel ignores a signal that process 1 of a container has no handler for, so it would be lost.
"""

import os
import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def handle_early() -> None:
    """End the process at a signal, with success, as long as it does not serve yet."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: os._exit(0))
    os.register_at_fork(after_in_child=_reset)


def _reset() -> None:
    """Make signals to a child process its own.

    It inherits the handlers, and the descriptor by which they wake the event loop of its parent: a
    `multiprocessing.Pool` that ends its children would stop the driver.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
