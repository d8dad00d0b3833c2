"""What a driver process does before anything else.

Imports nothing heavy: until gRPC and pydantic are in, a busy machine needs more than a second. The
kernel ignores a signal that process 1 of a container has no handler for, so it would be lost.
"""

import os
import signal
import threading
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_before_fork: Final = threading.local()
"""Its `mask` has the signals that the forking thread blocked already."""


def prepare() -> None:
    """Obey SIGTERM and SIGINT, here and in child processes, and open what is closed.

    As long as the driver does not serve yet, a signal ends it at once, with success.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: os._exit(0))
    os.register_at_fork(
        before=_hold_signals,
        after_in_parent=_let_signals_through,
        after_in_child=_reset_signals,
    )
    _open_standard_files()


def _hold_signals() -> None:
    """Keep a signal from a child process until it has handlers of its own."""
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _let_signals_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _reset_signals() -> None:
    """Make signals to a child process its own.

    It inherits the handlers, and the descriptor by which they wake the event loop of its parent: a
    `multiprocessing.Pool` that ends its children would stop the driver.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    _let_signals_through()


def _open_standard_files() -> None:
    """See to it that no socket becomes standard error, and gets the log."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
