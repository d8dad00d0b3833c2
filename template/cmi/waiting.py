"""Waits for the cloud, for as long as the caller waits for the call."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Coroutine, Hashable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, TypeVar

from cmi.errors import DeadlineExceeded, DriverError, ErrorTable, Throttled, Unavailable, translate

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 5.0
FIRST_THROTTLED: Final = 1.0
LONGEST_THROTTLED: Final = 10.0
"""Seconds between two attempts while the cloud throttles."""


@dataclass(eq=False)
class ThreadCall:
    """The state of a call that runs in a thread.

    Attributes:
        loop: The event loop of the server.
        given_up: Set once the call was cancelled or took too long.
        waiting_for: The event that it waits for at the moment, for messages; empty if none.
        trouble: The cloud's error message if it can't answer at the moment; empty if it can.
        errors: The meaning of the SDK's exceptions.
        groups: The groups of calls of the same server: see `cmi.groups`.
    """

    loop: asyncio.AbstractEventLoop
    given_up: threading.Event = field(default_factory=threading.Event)
    waiting_for: str = ""
    trouble: str = ""
    errors: ErrorTable = field(default_factory=dict)
    groups: dict[Hashable, Any] = field(default_factory=dict)
    _interrupt: Callable[[], object] | None = None

    def give_up(self) -> None:
        """Give the call up: end its wait and its coroutine."""
        self.given_up.set()
        if interrupt := self._interrupt:
            interrupt()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop until it ends or the call is given up."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            with self._interrupted_by(future.cancel):
                return future.result()
        except CancelledError:
            raise DeadlineExceeded("gave up waiting for the SDK") from None

    def run_blocking(self, function: Callable[[], T]) -> T:
        """Run a function in a thread of its own until it ends or the call is given up."""
        done = threading.Event()
        future: Future[T] = Future()
        future.add_done_callback(lambda _: done.set())
        context = copy_context()

        def run() -> None:
            try:
                future.set_result(context.run(function))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)

        try:
            threading.Thread(target=run, name="blocking-call", daemon=True).start()
        except RuntimeError:
            raise Unavailable("the system lets the driver start no further thread") from None
        self.wait(done)
        return future.result()

    def wait(self, event: threading.Event, seconds: float | None = None) -> None:
        """Wait until the event is set, or the time is over.

        Raises:
            DeadlineExceeded: The call was cancelled or took too long.
        """
        with self._interrupted_by(event.set):
            event.wait(seconds)
        self.stop_if_given_up()

    def stop_if_given_up(self) -> None:
        """Raise DeadlineExceeded if the call was cancelled or took too long."""
        if self.given_up.is_set():
            raise DeadlineExceeded(f"gave up waiting for {self.waiting_for or 'the cloud'}")

    @contextmanager
    def _interrupted_by(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Call `interrupt` if the call is given up while the context is open."""
        self._interrupt = interrupt
        try:
            if self.given_up.is_set():  # `give_up` may have missed `interrupt`
                interrupt()
            yield
        finally:
            self._interrupt = None


current_call: ContextVar[ThreadCall | None] = ContextVar("current_call", default=None)
"""The call that this thread runs; None outside of a server."""


def pauses(first: float | None = None, longest: float | None = None) -> Iterator[float]:
    """Yield the pauses between two looks, in seconds.

    They grow from 0.02 to 5 seconds, or from `first` to `longest`; each is shortened at random,
    so that many calls that began together don't come back together.
    """
    pause = FIRST_PAUSE if first is None else first
    longest = LONGEST_PAUSE if longest is None else longest
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 - no secret depends on it
        pause = min(2 * pause, longest)


def sleep_until(event: threading.Event, seconds: float | None) -> None:
    """Sleep until the event is set, or the time is over if there is one.

    Raises:
        DeadlineExceeded: The call was cancelled or took too long.
    """
    if call := current_call.get():
        call.wait(event, seconds)
    else:
        event.wait(seconds)


def is_waiting_for(what: str) -> None:
    """Set what the call waits for, for messages and the log; an empty text ends the wait."""
    call = current_call.get()
    if call is None or call.waiting_for == what:
        return
    call.waiting_for = what
    if what:
        log.debug("waiting", extra={"fields": {"for": what}})


def is_passing(error: Exception, kind: type[Unavailable] = Unavailable) -> bool:
    """Return whether the driver's table maps an error to a temporary one, such as throttling.

    The caller gets this error if the call's time is over before the cloud answers again. Outside
    of a server there is no table, so no error is temporary.

    Args:
        error: The exception of a session.
        kind: The error class that counts as temporary.
    """
    call = current_call.get()
    trouble = translate(error, call.errors) if call else None
    if call is None or not isinstance(trouble, kind):
        return False
    call.trouble = trouble.message
    return True


def paced(what: str, pause_and_look: Callable[[float], T]) -> T:
    """Repeat a look while the cloud throttles it, and return its result.

    Args:
        what: The awaited event, for messages: see `wait_for`.
        pause_and_look: Pauses for so many seconds, 0 at first, and then asks the cloud.

    Raises:
        DeadlineExceeded: The call was cancelled or took too long.
        Exception: Any other exception of `pause_and_look`.
    """
    between_tries = chain([0.0], pauses(FIRST_THROTTLED, LONGEST_THROTTLED))
    while True:
        try:
            result = pause_and_look(next(between_tries))
        except Exception as error:
            if not is_passing(error, Throttled):
                raise
            is_waiting_for(what)
        else:
            has_answered()
            is_waiting_for("")
            return result


def stop_if_given_up() -> None:
    """Raise DeadlineExceeded if the call was cancelled or took too long."""
    if call := current_call.get():
        call.stop_if_given_up()


def current_trouble() -> str:
    """Return the cloud's error message if it can't answer at the moment; empty if it can."""
    call = current_call.get()
    return call.trouble if call else ""


def has_trouble(trouble: str) -> None:
    """Record that the cloud can't answer at the moment, according to this message."""
    if call := current_call.get():
        call.trouble = trouble


def has_answered() -> None:
    """Record that the cloud answers again."""
    has_trouble("")


class Steps:
    """The steps that a wait takes after its looks, which may fail for a temporary reason."""

    def __init__(self) -> None:
        self._pauses = pauses(FIRST_THROTTLED, LONGEST_THROTTLED)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Suppress a temporary error of the SDK in this context, so that the wait tries again.

        After such an error, the call pauses, apart from those that look at the cloud together:
        otherwise, they would all try again after the next look. The pauses grow until a step
        succeeds. Errors of `cmi` end the call, except for `Throttled`.
        """
        try:
            yield
        except Exception as error:
            is_decided = isinstance(error, DriverError) and not isinstance(error, Throttled)
            if is_decided or not is_passing(error):
                raise
        else:
            self._pauses = pauses(FIRST_THROTTLED, LONGEST_THROTTLED)
            return
        sleep_until(threading.Event(), next(self._pauses))


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """Call `look` until it returns something true, and return that.

    The pauses grow from 0.02 to 5 seconds; each is shortened at random, so that many calls that
    began together don't come back together. For methods that are a `def`.

    A thread can't be stopped, but this wait ends when the call does. Its machine is then free
    for a retry, which finds what this call began (C14, C15). So don't write your own loop with
    `time.sleep`: it would outlive its call.

    Args:
        what: The awaited event, as it follows "waiting for", such as "action 4711 to attach
            the network". It appears in the log, and in the message of a call that took too long.
        look: Asks the cloud. An exception ends the wait.

    Raises:
        DeadlineExceeded: The call was cancelled or took too long.
    """
    between_looks = pauses()
    while not (found := look()):
        is_waiting_for(what)
        sleep_until(threading.Event(), next(between_looks))
    is_waiting_for("")
    return found


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of an async SDK on the server's event loop, and return its result.

    Use it in a `Session` over an async SDK, whose methods are plain functions. All calls share
    one event loop, so one client of the SDK can serve them all. The coroutine is cancelled when
    its call is cancelled or takes too long. Outside of a server, as in a unit test, the coroutine
    gets its own loop.

    Raises:
        DeadlineExceeded: The call was cancelled or took too long.
        Exception: Whatever the coroutine raises.
    """
    call = current_call.get()
    return call.run(coroutine) if call else asyncio.run(coroutine)


def run_blocking(function: Callable[[], T]) -> T:
    """Run a function that may block for longer than its call lasts, and return its result.

    For a `Session` over an SDK whose calls have no timeout, as in many C libraries. The function
    runs in a thread of its own. When its call is given up, the wait for it ends, so that the
    machine is free for a retry, but nothing can stop the function itself. So use it only for
    calls that the cloud serialises, or that do no harm if a retry makes them again meanwhile.
    If your SDK has timeouts, use those. Outside of a server, the function is simply called.

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
        Unavailable: No further thread could be started.
        Exception: Whatever the function raises.
    """
    call = current_call.get()
    return call.run_blocking(function) if call else function()
