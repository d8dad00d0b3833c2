"""What a driver process does before anything else.

Imports nothing heavy: until gRPC and pydantic are in, a busy machine needs more than a second. The
kernel ignores a signal that process 1 of a container has no handler for, so it would be lost.
"""

import os
import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def prepare() -> None:
    """Heed SIGTERM and SIGINT, here and in child processes, and open what is closed.

    As long as the driver does not serve yet, a signal ends it at once, with success.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: os._exit(0))
    os.register_at_fork(after_in_child=_reset_signals)
    _open_standard_files()


def _reset_signals() -> None:
    """Make signals to a child process its own.

    It inherits the handlers, and the descriptor by which they wake the event loop of its parent: a
    `multiprocessing.Pool` that ends its children would stop the driver.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _open_standard_files() -> None:
    """See to it that no socket becomes standard error, and gets the log."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
