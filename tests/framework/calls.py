"""Machine calls without a server, for tests of what they do together."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from cmi import waiting
from tests.framework.rules_cases import ERRORS, KEYS, SCOPE
from tests.framework.support import Keys, Scope

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """The parts of a request that the rules need here."""

    provider_spec: Scope = SCOPE
    secrets: Keys = KEYS


ASKED = Asked()


def new_call(groups: dict[Any, Any]) -> waiting.ThreadCall:
    """Return a call that never needs its event loop.

    Args:
        groups: The groups of the calls of the same server.
    """
    call = waiting.ThreadCall(asyncio.new_event_loop(), errors=ERRORS, groups=groups)
    call.loop.close()
    return call


def begin(call: waiting.ThreadCall, act: Callable[[], T]) -> "Future[T]":
    """Let a call act in a thread of its own; return a future with the result."""
    outcome: Future[T] = Future()

    def run() -> None:
        waiting.current_call.set(call)
        try:
            outcome.set_result(act())
        except Exception as error:  # noqa: BLE001 - the test will see it
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
