"""Waiting for the cloud within a call: the wait ends when the call ends."""

import asyncio
import threading
from typing import Any

import pytest

from cmi import (
    CreateMachineResponse,
    NotFound,
    Throttled,
    Unavailable,
    remember,
    run_async,
    run_blocking,
    waiting,
)
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from cmi.testing.serving import background_loop
from cmi.v1 import cmi_pb2
from tests.framework.conftest import LogLines
from tests.framework.support import StandIn, ask, created, give_up, request
from tests.support import PATIENCE, await_condition


def test_it_looks_until_there_is_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0.001)
    looks = iter([None, False, "there", "never reached"])
    assert waiting.wait_for("something", lambda: next(looks)) == "there"
    assert next(looks) == "never reached"


def test_the_pauses_grow_to_a_limit_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            pauses.append(timeout)
            return False

    monkeypatch.setattr(threading, "Event", Clock)
    looks = iter([*[None] * 20, "there"])
    waiting.wait_for("something", lambda: next(looks))
    assert 0.01 <= pauses[0] <= 0.02
    assert all(2.5 <= pause <= 5 for pause in pauses[8:])
    assert len(set(pauses)) > 10


def test_the_pauses_after_steps_that_fail_grow_until_one_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call pauses by itself: after a look of its group, it would try again with all others."""
    pauses: list[float] = []
    monkeypatch.setattr(waiting, "sleep_until", lambda _event, seconds: pauses.append(seconds))
    call = waiting.ThreadCall(asyncio.new_event_loop(), errors={OSError: Unavailable})
    call.loop.close()
    token = waiting.current_call.set(call)
    steps = waiting.Steps()
    try:
        for error in (Throttled(), OSError(), Throttled(), None, OSError()):
            with steps.step():
                if error:
                    raise error
    finally:
        waiting.current_call.reset(token)
    assert all(low <= each <= 2 * low for low, each in zip([0.5, 1, 2, 0.5], pauses, strict=True))


def test_a_wait_ends_with_its_call_and_frees_the_machine(log_lines: LogLines) -> None:
    """Otherwise, a retry would be refused until the cloud has finished something that nobody waits
    for any more."""
    left, is_there = threading.Event(), threading.Event()

    def wait_for_ever(received: Any) -> CreateMachineResponse:
        if is_there.is_set():
            return created(received)
        try:
            waiting.wait_for("action 4711 to end", lambda: None)
        finally:
            left.set()
        raise AssertionError("nothing came, and yet the wait is over")

    def gave_up_waiting() -> bool:
        answer = ask(endpoint, "CreateMachine", request("CreateMachine"))
        assert answer.code in {"DEADLINE_EXCEEDED", "ABORTED"}
        return "waited for action 4711 to end" in answer.message

    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=0.2)
    with serving(StandIn(wait_for_ever), options) as endpoint:
        await_condition(gave_up_waiting)  # on a busy machine, time may run out before it waits
        assert left.wait(PATIENCE)
        is_there.set()
        await_condition(
            lambda: ask(endpoint, "CreateMachine", request("CreateMachine")).code == "OK"
        )
    assert not [line for line in log_lines() if "after it was given up" in line["message"]]


def test_a_session_runs_what_its_async_sdk_returns() -> None:
    """All calls share the server's event loop, so they can share one client of the SDK."""
    loops = set()

    async def ask_cloud(name: str) -> str:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        if name == "m2":
            raise NotFound("no such image")
        return name

    def create(received: Any) -> CreateMachineResponse:
        name = run_async(ask_cloud(received.machine_name))
        return CreateMachineResponse(provider_id=name, node_name=name)

    with serving(StandIn(create)) as endpoint:
        codes = [
            ask(endpoint, "CreateMachine", request("CreateMachine", MachineName=name)).code
            for name in ("m1", "m2", "m3")
        ]
    assert codes == ["OK", "NOT_FOUND", "OK"]
    assert loops == {background_loop()}
    assert run_async(ask_cloud("m4")) == "m4"


def test_a_coroutine_ends_with_its_call() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def never() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def create(_received: Any) -> CreateMachineResponse:
        run_async(never())
        raise AssertionError("it never ends")

    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=0.2)
    with serving(StandIn(create), options) as endpoint:
        give_up(endpoint, request("CreateMachine"), begun.is_set)
        assert cancelled.wait(PATIENCE)


def test_a_blocking_function_answers_its_call() -> None:
    """Its result, its exceptions and the state that it remembers become those of the call."""

    def look_up(name: str) -> str:
        remember(f"looked up {name}")
        if name == "m2":
            raise NotFound("no such image")
        return name

    def create(received: Any) -> CreateMachineResponse:
        name = run_blocking(lambda: look_up(received.machine_name))
        return CreateMachineResponse(provider_id=name, node_name=name)

    with serving(StandIn(create)) as endpoint:
        answers = [
            ask(endpoint, "CreateMachine", request("CreateMachine", MachineName=name))
            for name in ("m1", "m2")
        ]
    assert [answer.code for answer in answers] == ["OK", "NOT_FOUND"]
    answer = cmi_pb2.CreateMachineResponse.FromString(answers[0].reply)
    assert answer.LastKnownState == b"looked up m1"
    assert run_blocking(lambda: look_up("m3")) == "m3"


def test_a_call_does_not_wait_longer_for_a_function_that_blocks() -> None:
    """The machine is free for a retry, although the function has not ended."""
    release, begun = threading.Event(), list[None]()

    def block() -> None:
        begun.append(None)
        release.wait()

    def create(_received: Any) -> CreateMachineResponse:
        run_blocking(block)
        raise AssertionError("it ends after its call")

    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=0.2)
    try:
        with serving(StandIn(create), options) as endpoint:
            give_up(endpoint, request("CreateMachine"), lambda: len(begun) > 1)
    finally:
        release.set()
