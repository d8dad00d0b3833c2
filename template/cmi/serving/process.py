"""Prepares the process before anything else happens.

This module imports no slow modules: on a busy machine, loading gRPC and pydantic takes more than
a second. If process 1 of a container has no handler for a signal, the kernel ignores the signal.
"""

import os
import signal
import threading
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_before_fork: Final = threading.local()
"""Its `mask` contains the signals that the forking thread had blocked."""


def prepare() -> None:
    """Obey SIGTERM and SIGINT, here and in child processes, and open closed standard files.

    Until the driver serves, a signal ends it at once, with exit code 0.
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
    """Block signals until the child process has reset its handlers."""
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _let_signals_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _reset_signals() -> None:
    """Reset the signal handlers of a child process.

    It inherits the handlers, and the descriptor with which they wake the event loop of its parent.
    So a `multiprocessing.Pool` that ends its children would stop the driver.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    _let_signals_through()


def _open_standard_files() -> None:
    """Open closed standard files, so that no socket becomes standard error and gets the log."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
