"""Lets calls that read the cloud's state at the same time share one request.

Fifty calls that wait for fifty VMs need not ask the cloud fifty times. Calls that need the same
form a group (see `cmi.groups`). Each call pauses between its looks at the cloud. When the first
pause ends, that call lists the VMs on behalf of all calls in the group that are waiting at that
moment. A call that is alone asks for its own VM, which is cheaper.

A call never gets data that was read before it asked. So it never misses its own change to the
cloud.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Generic, TypeVar

from cmi.groups import Request, joined, lock
from cmi.seam import VMT, Leftover, Session
from cmi.spec import ClusterScope
from cmi.waiting import (
    current_call,
    has_answered,
    is_passing,
    is_waiting_for,
    paced,
    pauses,
    sleep_until,
)

T = TypeVar("T")
S = TypeVar("S")
ScopeT = TypeVar("ScopeT", bound=ClusterScope)

GAP: Final = 1.0
"""Seconds between the beginnings of two looks of a group, if several calls wait. If twice the
duration of the last look is more, that takes its place."""

LONGEST_GAP: Final = 10.0
"""The maximum of the gap, which doubles with each look that fails for a temporary reason."""

PATIENCE: Final = 10.0
"""Seconds after which a look is considered hung, and another call looks instead."""

IMPATIENCE: Final = 1.0
"""The same for calls that look without a pause. If twice the duration of the last look is more,
that takes its place, up to `PATIENCE`."""


class Looks(Generic[ScopeT, VMT]):
    """Reads the cloud's state for one call, if possible together with other calls.

    Args:
        session: The call's session.
        request: The call's request.
    """

    def __init__(self, session: Session[ScopeT, Any, Any, VMT], request: Request) -> None:
        self._session = session
        self._request = request
        self._scope: ScopeT = request.provider_spec

    def named(self, name: str, *, is_final: bool = False) -> list[VMT]:
        """Return the VMs with a name, as they are now.

        Args:
            name: The name.
            is_final: Whether nobody looks again if there is no such VM. A shared list may lag
                behind `find_vms`, so the call then asks for its own VM too.
        """
        in_doubt = is_final and type(self._session).find_vms is not Session.find_vms

        def own() -> list[VMT]:
            return _with_name(name, self._session.find_vms(self._scope, name))

        def pick(vms: list[VMT]) -> list[VMT]:
            return _with_name(name, vms) or (own() if in_doubt else [])

        with self._joined("read") as group:
            return paced(
                f"the cloud to report machine {name}",
                lambda pause: group.look(pause, alone=own, together=self._vms, pick=pick),
            )

    def vm(self, provider_id: str) -> VMT | None:
        """Return the VM with this provider ID, as it is now."""
        with self._joined("read") as group:
            return paced(
                f"the cloud to report VM {provider_id}",
                lambda pause: self._vm(group, provider_id, pause),
            )

    def wait_for_vm(self, what: str, provider_id: str, look: Callable[[VMT | None], T | None]) -> T:
        """Pause and call `look` with the VM's current state, until that returns something true.

        A temporary failure to read does not end the wait, but lengthens the pauses of the group.
        An exception of `look` ends it.

        Args:
            what: The awaited event, for messages: see `cmi.wait_for`.
            provider_id: The VM's provider ID.
            look: Gets the VM, or None if there is none, and returns whether the wait is over.

        Raises:
            DeadlineExceeded: The call was cancelled or took too long.
            Exception: A read failed for another reason.
        """
        with self._joined("VMs") as group:
            return _until(look, what, lambda pause: self._vm(group, provider_id, pause), pauses())

    def wait_for_leftovers(
        self, what: str, name: str, look: Callable[[list[Leftover]], T | None]
    ) -> T:
        """Call `look` with the leftovers of deleted VMs, until that returns something true.

        The first call comes immediately, the others after pauses. Everything else is as in
        `wait_for_vm`.

        Args:
            what: The awaited event.
            name: The machine whose leftovers are needed; `look` may get those of others too.
            look: Returns whether the wait is over.
        """

        def leftovers(pause: float) -> list[Leftover]:
            return group.look(
                pause,
                alone=lambda: [*self._session.list_leftovers(self._scope, name)],
                together=lambda: [*self._session.list_leftovers(self._scope, None)],
                pick=lambda found: found,
            )

        with self._joined("leftovers") as group:
            return _until(look, what, leftovers, chain([0.0], pauses()))

    def _vm(self, group: "_Group", provider_id: str, pause: float = 0) -> VMT | None:
        def own() -> VMT | None:
            return self._session.get_vm(self._scope, provider_id)

        def pick(vms: list[VMT]) -> VMT | None:
            """Pick the VM from a list. The list may lag behind, so ask for a missing VM."""
            return next((vm for vm in vms if vm.provider_id == provider_id), None) or own()

        return group.look(pause, alone=own, together=self._vms, pick=pick)

    def _vms(self) -> list[VMT]:
        return [*self._session.list_vms(self._scope)]

    def _joined(self, what: str) -> AbstractContextManager["_Group"]:
        """Join the group of calls that read the same."""
        is_shared = self._session.shares_lists
        return joined(self._session, self._request, what, _Group, is_shared=is_shared)


def _until(
    look: Callable[[S], T | None],
    what: str,
    see: Callable[[float], S],
    pauses: Iterator[float],
) -> T:
    """Call `look` with the result of `see` after each pause, until it returns something true."""
    is_waiting_for(what)
    while True:
        try:
            seen = see(next(pauses))
        except Exception as error:
            if not is_passing(error):
                raise
            continue
        has_answered()
        if found := look(seen):
            is_waiting_for("")
            return found


def _with_name(name: str, vms: Iterable[VMT]) -> list[VMT]:
    return [vm for vm in vms if vm.name == name]


@dataclass(eq=False)
class _Waiter:
    """A call that waits for a look at the cloud.

    Attributes:
        due: When its pause ends.
        is_urgent: Whether it makes no pause.
        woken: Set when it should check whether it is its turn, or whether there is a result.
        seen: The result of the look, once there is one.
    """

    due: float
    is_urgent: bool
    woken: threading.Event = field(default_factory=threading.Event)
    seen: "Future[Any] | None" = None


class _Group:
    """Calls that look at the same time.

    Attributes:
        members: The number of calls, including those that are between two looks.
        waiting: The calls that wait for their turn to look, or for the look of another call.
        running: The calls that get the result of the look that is running, besides the one that
            looks; None if there is no such look, or if it is considered hung.
        failures: How many looks in a row have failed for a temporary reason.
    """

    def __init__(self) -> None:
        self.members = 0
        self.waiting: list[_Waiter] = []
        self.running: list[_Waiter] | None = None
        self.failures = 0
        self._began = float("-inf")
        self._lasted = 0.0  # seconds; at least, if it was considered hung

    def look(
        self,
        pause: float = 0,
        *,
        alone: Callable[[], T],
        together: Callable[[], S],
        pick: Callable[[S], T],
    ) -> T:
        """Pause, then look, or let another call look.

        Args:
            pause: The duration of the pause, in seconds. The look comes later if the group has
                just looked, or if its looks fail. With 0 it starts at once, unless one is running.
            alone: The look for this call alone.
            together: The look for all calls of the group.
            pick: Picks the equivalent of `alone`'s result from the result of `together`.

        Raises:
            DeadlineExceeded: The call was cancelled or took too long.
            Exception: The exception of the look, even if another call looked.
        """
        waiter = _Waiter(time.monotonic() + pause, is_urgent=not pause)
        with lock:
            self.waiting.append(waiter)
        try:
            while waiter.seen is None:
                audience = self._begin(waiter)
                if audience is None:
                    self._sleep(waiter)
                elif audience:
                    return pick(self._look_for(audience, together))
                else:
                    return self._look_for(audience, alone)
            return pick(waiter.seen.result())
        finally:
            with lock:
                if waiter in self.waiting:
                    self.waiting.remove(waiter)
                self._wake_next()
            waiter.seen = None  # it may be an exception, whose traceback would keep the call alive

    def _begin(self, waiter: _Waiter) -> list[_Waiter] | None:
        """Begin a look if it is this call's turn; return the other calls that it is for."""
        with lock:
            if waiter.seen or self._seconds_left(waiter) > 0:
                return None
            if self.running is not None:  # it is considered hung
                self._end()
            self.waiting.remove(waiter)
            self.running = [*self.waiting]
            self._began = time.monotonic()
            return self.running

    def _end(self) -> None:
        self._lasted = time.monotonic() - self._began
        self.running = None

    def _seconds_left(self, waiter: _Waiter) -> float:
        """Return how long it takes until it is this call's turn, unless something changes."""
        earliest = waiter.due
        if self.running is not None:
            patience = max(IMPATIENCE, 2 * self._lasted) if waiter.is_urgent else PATIENCE
            earliest = max(earliest, self._began + min(patience, PATIENCE))
        elif not waiter.is_urgent and (self.failures or len(self.waiting) > 1):
            # The exponent has a limit too, since no float is as large as 2**1024.
            gap = max(GAP, 2 * self._lasted) * 2 ** min(self.failures, 9)
            earliest = max(earliest, self._began + min(gap, LONGEST_GAP))
        return earliest - time.monotonic()

    def _sleep(self, waiter: _Waiter) -> None:
        with lock:
            waiter.woken.clear()
            seconds = self._seconds_left(waiter)
            if waiter.seen or seconds <= 0:
                return
        sleep_until(waiter.woken, seconds)

    def _look_for(self, audience: list[_Waiter], look: Callable[[], S]) -> S:
        """Look, and pass the result to the audience too."""
        seen: Future[S] = Future()
        failures = 0
        try:
            found = look()
            seen.set_result(found)
            return found
        except Exception as error:
            failures = self.failures + is_passing(error)
            call = current_call.get()
            if not (call and call.given_up.is_set()):  # otherwise, this may be why it failed
                seen.set_exception(error)
            raise
        finally:
            # All of it at once: a call that finds no look running must find this one's result.
            with lock:
                self.failures = failures
                if self.running is audience:
                    self._end()
                if seen.done():
                    self._show(audience, seen)
                self._wake_next()
            del seen  # see `look`

    def _show(self, audience: list[_Waiter], seen: "Future[Any]") -> None:
        """Pass what was seen to those of the audience that still wait."""
        for waiter in audience:
            if waiter in self.waiting:
                self.waiting.remove(waiter)
                waiter.seen = seen
                waiter.woken.set()

    def _wake_next(self) -> None:
        """Wake the call whose turn is next; it may find that it has to wait longer."""
        if self.waiting and self.running is None:
            min(self.waiting, key=self._seconds_left).woken.set()
