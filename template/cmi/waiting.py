"""Waiting for the cloud, for as long as somebody waits for the call."""

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
"""Seconds between two tries of a call that the cloud throttles."""


@dataclass(eq=False)
class ThreadCall:
    """A call that runs in a thread, as the code in that thread sees it.

    Attributes:
        loop: The event loop of the server.
        given_up: Set once nobody waits for the call any more: it was cancelled, or took too long.
        waiting_for: What it waits for at the moment, for messages; empty if it does not wait.
        trouble: What the cloud says if it can't answer at the moment; empty if it can.
        errors: What the exceptions of the driver's SDK mean.
        groups: The calls of the same server that look at the cloud together: see `cmi.looks`.
    """

    loop: asyncio.AbstractEventLoop
    given_up: threading.Event = field(default_factory=threading.Event)
    waiting_for: str = ""
    trouble: str = ""
    errors: ErrorTable = field(default_factory=dict)
    groups: dict[Hashable, Any] = field(default_factory=dict)
    _interrupt: Callable[[], object] | None = None

    def give_up(self) -> None:
        """Tell the thread that nobody waits any more: its waits and its coroutine end."""
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
        """Wait until the event is set, for so many seconds at most.

        Raises:
            DeadlineExceeded: Nobody waits for the call any more.
        """
        with self._interrupted_by(event.set):
            event.wait(seconds)
        if self.given_up.is_set():
            raise DeadlineExceeded(f"gave up waiting for {self.waiting_for or 'the cloud'}")

    @contextmanager
    def _interrupted_by(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Let `interrupt` be called when the call is given up."""
        self._interrupt = interrupt
        try:
            if self.given_up.is_set():  # perhaps before `give_up` could see it
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


def sleep_until(event: threading.Event, seconds: float) -> None:
    """Sleep until the event is set, for so many seconds at most.

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
    """
    if call := current_call.get():
        call.wait(event, seconds)
    else:
        event.wait(seconds)


def is_waiting_for(what: str) -> None:
    """Let the call's messages and the log say what it waits for; nothing once it is over."""
    call = current_call.get()
    if call is None or call.waiting_for == what:
        return
    call.waiting_for = what
    if what:
        log.debug("waiting", extra={"fields": {"for": what}})


def is_passing(error: Exception, kind: type[Unavailable] = Unavailable) -> bool:
    """Tell whether the driver's table takes an error for passing trouble, such as throttling.

    Its caller gets it if the call's time is over before the cloud answers again. Outside of a
    server nothing passes, since there is no table.

    Args:
        error: What a session has raised.
        kind: The kind of trouble that passes here.
    """
    call = current_call.get()
    trouble = translate(error, call.errors) if call else None
    if call is None or not isinstance(trouble, kind):
        return False
    call.trouble = trouble.message
    return True


def despite_throttling(what: str, act: Callable[[], T]) -> T:
    """Call `act` again for as long as the cloud throttles it; return what it returns at last.

    Other trouble ends the call, passing or not: nobody knows whether `act` was begun.

    Args:
        what: What is waited for meanwhile, for messages: see `wait_for`.
        act: One call of a session's method.

    Raises:
        DeadlineExceeded: Nobody waits for the call any more.
        Exception: What `act` raises otherwise.
    """

    def pause_and_act(seconds: float) -> T:
        if seconds:
            sleep_until(threading.Event(), seconds)
        return act()

    return paced(what, pause_and_act)


def paced(what: str, pause_and_act: Callable[[float], T]) -> T:
    """Do the same with an `act` that makes the pauses itself: of so many seconds, 0 at first."""
    between_tries = chain([0.0], pauses(FIRST_THROTTLED, LONGEST_THROTTLED))
    while True:
        try:
            result = pause_and_act(next(between_tries))
        except Exception as error:
            if not is_passing(error, Throttled):
                raise
            is_waiting_for(what)
        else:
            has_answered()
            is_waiting_for("")
            return result


def has_answered() -> None:
    """Note that the cloud answers again."""
    if call := current_call.get():
        call.trouble = ""


@contextmanager
def passing_trouble() -> Iterator[None]:
    """Go on after an exception of the SDK that is passing trouble: a wait tries again.

    An error of `cmi` is not, but for `Throttled`: it says that the call is to end.
    """
    try:
        yield
    except Exception as error:
        is_decided = isinstance(error, DriverError) and not isinstance(error, Throttled)
        if is_decided or not is_passing(error):
            raise


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """Call `look` until it returns something true, and return that.

    The pauses grow from 0.02 to 5 seconds; each is shortened at random, so that many calls that
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
    between_looks = pauses()
    while not (found := look()):
        is_waiting_for(what)
        sleep_until(threading.Event(), next(between_looks))
    is_waiting_for("")
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
