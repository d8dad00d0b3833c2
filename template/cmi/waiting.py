"""Waiting for the cloud, for as long as somebody waits for the call."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from cmi.errors import DeadlineExceeded

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


@dataclass(eq=False)
class ThreadCall:
    """A call that runs in a thread, as the code in that thread sees it.

    Attributes:
        loop: The event loop of the server.
        given_up: Set once nobody waits for the call any more: it was cancelled, or took too long.
        waiting_for: What it waits for at the moment, for messages; empty if it does not wait.
    """

    loop: asyncio.AbstractEventLoop
    given_up: threading.Event = field(default_factory=threading.Event)
    waiting_for: str = ""
    _coroutine: "Future[Any] | None" = None

    def give_up(self) -> None:
        """Tell the thread that nobody waits any more: its waits and its coroutine end."""
        self.given_up.set()
        if self._coroutine:
            self._coroutine.cancel()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop until it ends or the call is given up."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        self._coroutine = future
        if self.given_up.is_set():  # perhaps before `give_up` could see the coroutine
            future.cancel()
        try:
            return future.result()
        except CancelledError:
            raise DeadlineExceeded("gave up waiting for the SDK") from None
        finally:
            self._coroutine = None


current_call: ContextVar[ThreadCall | None] = ContextVar("current_call", default=None)
"""The call that this thread runs; None outside of a server."""


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """Call `look` until it returns something true, and return that.

    The pauses grow from 0.1 to 5 seconds; each is shortened at random, so that many calls that
    began together don't come back together. For methods that are a `def`.

    A thread can't be stopped, but this wait ends when the call does. Its machine is then free
    for a retry, which finds what was begun (C14, C15). So don't write a loop of your own with
    `time.sleep`: it would outlive its call.

    Args:
        what: What is waited for, as it follows "waiting for", such as "action 4711 to attach
            the network". It stands in the log, and in the message of a call that took too long.
        look: Asks the cloud. Whatever it raises ends the wait.

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
    """
    call = current_call.get()
    given_up = call.given_up if call else threading.Event()
    pause = FIRST_PAUSE
    while not (found := look()):
        if call is not None and not call.waiting_for:
            call.waiting_for = what
            log.debug("waiting", extra={"fields": {"for": what}})
        if given_up.wait(pause * random.uniform(0.5, 1)):  # noqa: S311 - no secret depends on it
            raise DeadlineExceeded(f"gave up waiting for {what}")
        pause = min(2 * pause, LONGEST_PAUSE)
    if call is not None:
        call.waiting_for = ""
    return found


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of an async SDK on the server's event loop, and return its result.

    For a `Session` over an async SDK: its methods stay a `def` and call this. All calls share
    one event loop, so one client of the SDK can serve them all. The coroutine is cancelled when
    its call is given up. Outside of a server, as in a unit test, a loop is made for it.

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
        Exception: Whatever the coroutine raises.
    """
    call = current_call.get()
    return call.run(coroutine) if call else asyncio.run(coroutine)
