"""Running a driver's methods: threads, limits, deadlines, one call at a time per machine."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from cmi import waiting
from cmi.errors import Aborted, DeadlineExceeded, ResourceExhausted

log = logging.getLogger(__name__)

_Outcome: TypeAlias = tuple[Any, BaseException | None]
"""What a method returned, or raised. Not raised through a future: there a StopIteration gets
lost, and a SystemExit ends the event loop."""


@dataclass(slots=True, eq=False)
class _Run:
    """One method from its start to its end, which may come after its caller has gone.

    Attributes:
        machine: What it holds meanwhile.
        waiter: Gets the outcome, or None at the deadline.
        has_begun: It will end by itself.
        is_given_up: Nobody waits for its outcome any more.
        name: The name of the method.
        thread_call: What its thread knows of it; None for an `async def`.
    """

    machine: Hashable | None
    waiter: asyncio.Future[_Outcome | None]
    has_begun: bool = False
    is_given_up: bool = False
    name: str = ""
    thread_call: waiting.ThreadCall | None = None

    @property
    def waiting_for(self) -> str:
        """What it waits for, as `wait_for` was told; empty if that is not known."""
        return self.thread_call.waiting_for if self.thread_call else ""


class _Deadlines:
    """Wakes the callers whose time is up, with one timer, since a timer for each call is dear.

    All get the same time, so the oldest is always due first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[_Run, float] = {}
        self._is_set = False

    def add(self, loop: asyncio.AbstractEventLoop, run: _Run) -> None:
        self._due[run] = loop.time() + self._seconds
        if not self._is_set:
            self._set(loop)

    def discard(self, run: _Run) -> None:
        self._due.pop(run, None)

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_set = True
        loop.call_at(next(iter(self._due.values())), self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_set = False
        now = loop.time()
        for run in [run for run, due in self._due.items() if due <= now]:
            self.discard(run)
            _wake(run, None)
        if self._due:
            self._set(loop)


class Runner:
    """Runs the machine calls of one server.

    A call counts until its method has really ended. A thread can't be stopped, so a call
    that was given up (deadline, cancelled) goes on holding its place and its machine, and
    a retry is turned away instead of running beside it (C14, C57).

    Args:
        max_calls: How many calls may be in flight at once.
        call_timeout: How long one may take, in seconds.
    """

    def __init__(self, *, max_calls: int, call_timeout: float) -> None:
        self._max_calls = max_calls
        self._call_timeout = call_timeout
        self._deadlines = _Deadlines(call_timeout)
        # Of our own, since asyncio's default pool is sized by the cores and would queue.
        self._threads = ThreadPoolExecutor(max_calls, thread_name_prefix="machine-call")
        self._machines: set[Hashable] = set()
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """How many methods are running, those of callers that are gone included."""
        return self._in_flight

    async def run(
        self,
        method: Callable[..., Any],
        *arguments: Any,
        is_async: bool,
        machine: Hashable | None = None,
    ) -> Any:
        """Call `method` and return what it returns.

        Args:
            method: A `def` or an `async def`.
            arguments: What it is called with.
            is_async: Which of the two it is.
            machine: What tells the call's machine from others; None if it concerns none.

        Raises:
            ResourceExhausted: `max_calls` are in flight.
            Aborted: Another call for the same machine is in flight.
            DeadlineExceeded: The method did not end within `call_timeout`.
            Exception: Whatever the method raises.
        """
        if self._in_flight >= self._max_calls:
            raise ResourceExhausted(
                f"{self._max_calls} calls are in flight, the limit; try later, or raise --max-calls"
            )
        if machine is not None and machine in self._machines:
            raise Aborted
        loop = asyncio.get_running_loop()
        run = _Run(machine, loop.create_future(), name=getattr(method, "__name__", ""))
        start = self._start_task if is_async else self._start_thread
        give_up = start(loop, run, partial(method, *arguments))
        self._enter(run)
        self._deadlines.add(loop, run)
        outcome = None
        try:
            outcome = await run.waiter
        finally:
            self._deadlines.discard(run)
            if outcome is None:
                run.is_given_up = True
                give_up()
        if outcome is None:
            waits = f" while it waited for {run.waiting_for}" if run.waiting_for else ""
            raise DeadlineExceeded(
                f"the call did not end within {self._call_timeout:g} s{waits}; it is safe to repeat"
            )
        result, error = outcome
        if error is None:
            return result
        if isinstance(error, Exception):
            raise error
        raise RuntimeError(f"the method raised {type(error).__name__}") from error

    async def drain(self, seconds: float) -> bool:
        """Wait for the methods that run; return False if some still do after `seconds`."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Take no further call; don't wait for threads that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_task(
        self, loop: asyncio.AbstractEventLoop, run: _Run, method: Callable[[], Any]
    ) -> Callable[[], object]:
        """Start an `async def`; return what cancels it."""
        task = loop.create_task(self._await(run, method))

        def give_up() -> None:
            task.cancel()
            if not run.has_begun:  # and now it never will
                self._leave(run)

        return give_up

    async def _await(self, run: _Run, method: Callable[[], Any]) -> None:
        run.has_begun = True
        outcome: _Outcome
        try:
            outcome = await method(), None
        except asyncio.CancelledError:
            outcome = None, RuntimeError("the method cancelled itself")
        except BaseException as error:  # noqa: BLE001 - `Runner.run` raises what can be raised there
            outcome = None, _log_if_given_up(run, error)
        self._end(run, outcome)

    def _start_thread(
        self, loop: asyncio.AbstractEventLoop, run: _Run, method: Callable[[], Any]
    ) -> Callable[[], object]:
        """Start a `def` in a thread, which nothing can stop; return what tells `wait_for` to."""
        context = contextvars.copy_context()
        run.thread_call = call = waiting.ThreadCall(loop)
        thread = self._threads.submit(context.run, _outcome_of, run, call, method)
        thread.add_done_callback(partial(self._hand_over, loop, run))

        def give_up() -> None:
            call.give_up()
            thread.cancel()

        return give_up

    def _hand_over(
        self, loop: asyncio.AbstractEventLoop, run: _Run, thread: "Future[_Outcome]"
    ) -> None:
        """Bring the outcome from the thread to the event loop."""
        never_begun = None, RuntimeError("the server stopped before the method began")
        outcome = never_begun if thread.cancelled() else thread.result()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, run, outcome)

    def _end(self, run: _Run, outcome: _Outcome) -> None:
        self._leave(run)
        _wake(run, outcome)

    def _enter(self, run: _Run) -> None:
        self._in_flight += 1
        self._idle.clear()
        if run.machine is not None:
            self._machines.add(run.machine)

    def _leave(self, run: _Run) -> None:
        self._in_flight -= 1
        self._machines.discard(run.machine)
        if not self._in_flight:
            self._idle.set()


def _wake(run: _Run, outcome: _Outcome | None) -> None:
    """Let the caller go on, unless it already has."""
    if not run.waiter.done():
        run.waiter.set_result(outcome)


def _outcome_of(run: _Run, call: waiting.ThreadCall, method: Callable[[], Any]) -> _Outcome:
    waiting.current_call.set(call)
    try:
        return method(), None
    except BaseException as error:  # noqa: BLE001 - see above
        return None, _log_if_given_up(run, error)


def _log_if_given_up(run: _Run, error: BaseException) -> BaseException:
    """Log an error that nobody waits for any more; return it."""
    if run.is_given_up and not isinstance(error, DeadlineExceeded):
        fields = {"method": run.name}
        if isinstance(run.machine, tuple):
            fields["machine"] = run.machine[-1]
        if run.waiting_for:
            fields["waited_for"] = run.waiting_for
        log.warning("a call failed after it was given up", exc_info=error, extra={"fields": fields})
    return error
