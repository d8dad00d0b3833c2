"""Waiting for the cloud, for as long as somebody waits for the call."""

import random
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TypeVar

from cmi.errors import DeadlineExceeded

T = TypeVar("T")

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0

given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)
"""Set once nobody waits for the current call any more: it was cancelled, or took too long."""


def wait_for(look: Callable[[], T | None]) -> T:
    """Call `look` until it returns something true, and return that.

    The pauses grow from 0.5 to 5 seconds; each is shortened at random, so that many calls that
    began together don't come back together. For methods that are a `def`.

    A thread can't be stopped, but this wait ends when the call does. Its machine is then free
    for a retry, which finds what was begun (C14, C15).

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
    """
    ended = given_up.get() or threading.Event()
    pause = FIRST_PAUSE
    while not (found := look()):
        if ended.wait(pause * random.uniform(0.5, 1)):  # noqa: S311 - no secret hangs on it
            raise DeadlineExceeded
        pause = min(2 * pause, LONGEST_PAUSE)
    return found
