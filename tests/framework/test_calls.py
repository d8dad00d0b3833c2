"""Many calls at once: limits, one call per machine, deadlines, and callers that disconnect."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi import CreateMachineResponse, FailedPrecondition, NotFound
from cmi.client import Client
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.testing import serving
from cmi.testing.serving import background_loop
from tests.framework.conftest import LogLines
from tests.framework.process import served
from tests.framework.support import (
    BOTH,
    AsyncStandIn,
    Gate,
    StandIn,
    ask,
    created,
    give_up,
    machine_class,
    raising,
    request,
)
from tests.support import PATIENCE, await_condition, bytes_rpc, health_stub


def options(**limits: Any) -> ServerOptions:
    return ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), grace_period=5, **limits)


@contextmanager
def calling(endpoint: Endpoint, *requests: Any) -> "Iterator[Sequence[grpc.Future[bytes]]]":
    """CreateMachine calls that are running. Those that have not ended by then are cancelled."""
    with grpc.insecure_channel(endpoint.target) as channel:
        create = bytes_rpc(channel, "/cmi.v1.Machine/CreateMachine")
        calls = [
            create.future(item.SerializeToString(), timeout=PATIENCE, wait_for_ready=True)
            for item in requests
        ]
        yield calls
        for call in calls:
            call.cancel()


def named(name: str, **fields: Any) -> Any:
    return request("CreateMachine", MachineName=name, **fields)


def eventually_ok(endpoint: Endpoint, name: str, **fields: Any) -> None:
    """Repeat CreateMachine until it is OK. Until then, it is in progress or runs out of time."""
    codes = set()

    def is_ok() -> bool:
        codes.add(ask(endpoint, "CreateMachine", named(name, **fields)).code)
        return "OK" in codes

    await_condition(is_ok)
    assert codes <= {"OK", "ABORTED", "DEADLINE_EXCEEDED"}


def until_open(gate: Gate) -> Any:
    """Return an `async def` method that waits until the gate is opened."""

    async def method(received: Any) -> CreateMachineResponse:
        gate.enter()
        assert await asyncio.to_thread(gate.opened.wait, PATIENCE)
        return created(received)

    return method


@pytest.fixture(params=BOTH, ids=["def", "async def"])
def waiting(request: pytest.FixtureRequest, gate: Gate) -> StandIn | AsyncStandIn:
    """A driver whose CreateMachine waits until the gate is opened."""
    if request.param is AsyncStandIn:
        return AsyncStandIn(until_open(gate))
    return StandIn(gate)


def test_calls_for_different_machines_run_side_by_side(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    requests = [named(f"m{number}") for number in range(4)]
    with serving(waiting) as endpoint, calling(endpoint, *requests) as calls:
        gate.await_entered(4)
        gate.opened.set()
        assert all(call.result(PATIENCE) for call in calls)


def test_a_second_call_for_a_machine_is_aborted_at_once(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    with serving(waiting) as endpoint, calling(endpoint, named("m1")) as (first,):
        gate.await_entered()
        for rpc in ("CreateMachine", "DeleteMachine"):
            answer = ask(endpoint, rpc, request(rpc))
            assert answer.code == "ABORTED"
            assert "in progress" in answer.message
        gate.opened.set()
        assert first.result(PATIENCE)
        assert ask(endpoint, "CreateMachine", named("m1")).code == "OK"


def test_machines_of_different_clusters_may_have_the_same_name(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    specs = [machine_class(cluster=cluster).provider_spec for cluster in ("one", "two")]
    requests = [named("m1", ProviderSpec=spec) for spec in specs]
    with serving(waiting) as endpoint, calling(endpoint, *requests) as calls:
        gate.await_entered(2)
        gate.opened.set()
        assert all(call.result(PATIENCE) for call in calls)


def test_list_and_volumes_do_not_wait_for_a_machine(gate: Gate) -> None:
    with serving(StandIn(gate)) as endpoint, calling(endpoint, named("m1")):
        gate.await_entered()
        for rpc in ("ListMachines", "GetVolumeIDs"):
            assert ask(endpoint, rpc, request(rpc, PVSpecList=b"[]")).code == "OK"
        gate.opened.set()


def test_a_refused_call_does_not_hold_its_machine() -> None:
    with serving(StandIn()) as endpoint:
        for bad in (named("m1", ProviderSpec=b""), named("m1", Secrets={})):
            assert ask(endpoint, "CreateMachine", bad).code != "OK"
        assert ask(endpoint, "CreateMachine", named("m1")).code == "OK"


def test_calls_beyond_max_calls_wait_for_their_turn(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    requests = [named(f"m{number}") for number in range(20)]
    with (
        serving(waiting, options(max_calls=3)) as endpoint,
        calling(endpoint, *requests) as calls,
    ):
        gate.await_entered(3)
        assert not any(call.done() for call in calls)
        gate.opened.set()
        assert all(call.result(PATIENCE) for call in calls)


def test_a_caller_without_a_deadline_waits_too(waiting: StandIn | AsyncStandIn, gate: Gate) -> None:
    with (
        served(waiting, options(max_calls=1)) as (server, endpoint),
        calling(endpoint, named("m1")) as (first,),
        grpc.insecure_channel(endpoint.target) as channel,
    ):
        gate.await_entered()
        create = bytes_rpc(channel, "/cmi.v1.Machine/CreateMachine")
        second = create.future(named("m2").SerializeToString())
        await_condition(lambda: server.calls == (1, 1))
        gate.opened.set()
        assert first.result(PATIENCE)
        assert second.result(PATIENCE)


def test_waiting_calls_run_in_the_order_they_came(gate: Gate) -> None:
    entered: list[str] = []

    def create(received: Any) -> CreateMachineResponse:
        entered.append(received.machine_name)
        return gate(received)

    names = [f"m{number}" for number in range(8)]
    options_ = options(max_calls=1)
    with served(StandIn(create), options_) as (server, endpoint), ExitStack() as stack:
        for number, name in enumerate(names):
            stack.enter_context(calling(endpoint, named(name)))
            await_condition(lambda number=number: server.calls == (1, number))  # type: ignore[misc]
        gate.opened.set()
        await_condition(lambda: len(entered) == len(names))
    assert entered == names


def test_a_call_that_waits_in_vain_is_unavailable_and_never_runs(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    with serving(waiting, options(max_calls=1)) as endpoint, calling(endpoint, named("m1")):
        gate.await_entered()
        # The call stops waiting when a tenth of its time is left, to be able to answer.
        answer = ask(endpoint, "CreateMachine", named("m2"), timeout=5)
        while answer.code == "DEADLINE_EXCEEDED":  # on a busy machine, the answer may be late
            answer = ask(endpoint, "CreateMachine", named("m2"), timeout=5)
        assert answer.code == "UNAVAILABLE"
        assert "--max-calls" in answer.message
        gate.opened.set()
        assert ask(endpoint, "CreateMachine", named("m3")).code == "OK"
        gate.await_entered()  # this is m3, since m2 was turned away
        assert not gate.has_entered()


def test_a_caller_that_goes_while_it_waits_never_runs_and_frees_its_machine(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    with (
        served(waiting, options(max_calls=1)) as (server, endpoint),
        calling(endpoint, named("m1")),
    ):
        gate.await_entered()
        with calling(endpoint, named("m2")) as (second,):
            await_condition(lambda: server.calls == (1, 1))
            assert ask(endpoint, "CreateMachine", named("m2")).code == "ABORTED"
            second.cancel()
        await_condition(lambda: server.calls == (1, 0))
        gate.opened.set()
        assert ask(endpoint, "CreateMachine", named("m2")).code == "OK"
        gate.await_entered()
        assert not gate.has_entered()


def test_a_stop_turns_waiting_calls_away(gate: Gate) -> None:
    with (
        served(StandIn(gate), options(max_calls=1)) as (server, endpoint),
        calling(endpoint, named("m1"), named("m2")) as calls,
    ):
        await_condition(lambda: server.calls == (1, 1))
        stopping = asyncio.run_coroutine_threadsafe(server.stop(), background_loop())
        await_condition(lambda: any(call.done() for call in calls))
        (turned_away,) = [call for call in calls if call.done()]
        assert turned_away.exception().code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[union-attr]
        gate.opened.set()
        assert stopping.result(PATIENCE)


def test_probe_and_health_answer_while_200_calls_block(gate: Gate) -> None:
    requests = [named(f"m{number}") for number in range(200)]
    with (
        serving(StandIn(gate), options(max_calls=200)) as endpoint,
        calling(endpoint, *requests) as calls,
        Client(endpoint, timeout=PATIENCE) as client,
        grpc.insecure_channel(endpoint.target) as channel,
    ):
        gate.await_entered(200)
        assert client.probe()
        assert "CREATE_MACHINE" in client.capabilities()
        check = health_stub(channel).Check
        status = check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status
        assert status == health_pb2.HealthCheckResponse.SERVING
        gate.opened.set()
        assert all(call.result(PATIENCE) for call in calls)


def test_a_call_that_takes_too_long_is_given_up(
    waiting: StandIn | AsyncStandIn, gate: Gate
) -> None:
    with serving(waiting, options(call_timeout=0.05)) as endpoint:
        answer = give_up(endpoint, named("m1"), gate.has_entered)
        assert "within 0.05 s" in answer.message
        gate.opened.set()
        eventually_ok(endpoint, "m1")


def test_a_thread_that_goes_on_after_its_deadline_keeps_its_machine_and_its_place(
    gate: Gate,
) -> None:
    with serving(StandIn(gate), options(call_timeout=0.05, max_calls=2)) as endpoint:
        give_up(endpoint, named("m1"), gate.has_entered)
        assert ask(endpoint, "CreateMachine", named("m1")).code == "ABORTED"
        give_up(endpoint, named("m2"), gate.has_entered)
        assert ask(endpoint, "CreateMachine", named("m3")).code == "UNAVAILABLE"
        gate.opened.set()
        for name in ("m1", "m2"):
            eventually_ok(endpoint, name)  # and frees its place under the limit
        eventually_ok(endpoint, "m3")


@pytest.mark.parametrize("stand_in", [StandIn, AsyncStandIn])
def test_an_error_after_the_call_was_given_up_is_logged(
    stand_in: type[StandIn | AsyncStandIn], gate: Gate, log_lines: LogLines
) -> None:
    def fail(received: Any) -> CreateMachineResponse:
        gate(received)
        raise ValueError("too late")

    async def fail_async(received: Any) -> CreateMachineResponse:
        try:
            await until_open(gate)(received)
        except asyncio.CancelledError:
            raise ValueError("too late") from None
        return created(received)

    action: Any = fail if stand_in is StandIn else fail_async
    with serving(stand_in(action), options(call_timeout=0.05)) as endpoint:
        give_up(endpoint, named("m1"), gate.has_entered)
        gate.opened.set()
        await_condition(
            lambda: any("too late" in line.get("traceback", "") for line in log_lines())
        )


def test_a_thread_that_goes_on_after_its_caller_went_keeps_its_machine(
    gate: Gate, log_lines: LogLines
) -> None:
    with serving(StandIn(gate)) as endpoint:
        with calling(endpoint, named("m1")) as (first,):
            gate.await_entered()
            first.cancel()
        await_condition(lambda: any(line.get("code") == "CANCELLED" for line in log_lines()))
        assert ask(endpoint, "CreateMachine", named("m1")).code == "ABORTED"
        gate.opened.set()
        eventually_ok(endpoint, "m1")


@pytest.mark.parametrize("by", ["caller", "deadline"])
def test_an_async_method_is_cancelled_and_may_clean_up(by: str, gate: Gate) -> None:
    cancelled, cleaned = threading.Event(), threading.Event()

    async def create(received: Any) -> CreateMachineResponse:
        if received.machine_name == "other" or cleaned.is_set():
            return created(received)
        try:
            await until_open(gate)(received)
        except asyncio.CancelledError:
            cancelled.set()
            while not gate.opened.is_set():  # noqa: ASYNC110 - the gate is a thread's
                await asyncio.sleep(0.001)
            cleaned.set()
            raise
        raise AssertionError("not cancelled")

    limits = {"call_timeout": 0.05} if by == "deadline" else {}
    with serving(AsyncStandIn(create), options(**limits)) as endpoint:
        if by == "caller":
            with calling(endpoint, named("m1")) as (call,):
                gate.await_entered()
                call.cancel()
        else:
            give_up(endpoint, named("m1"), gate.has_entered)
        assert cancelled.wait(PATIENCE)
        assert ask(endpoint, "CreateMachine", named("m1")).code == "ABORTED"
        eventually_ok(endpoint, "other")
        gate.opened.set()
        assert cleaned.wait(PATIENCE)
        eventually_ok(endpoint, "m1")


def test_the_callers_own_deadline_frees_the_machine_of_an_async_method() -> None:
    begun = threading.Event()

    async def create(received: Any) -> CreateMachineResponse:
        if received.last_known_state != "again":
            begun.set()
            await asyncio.sleep(PATIENCE)
        return created(received)

    with serving(AsyncStandIn(create)) as endpoint, Client(endpoint, timeout=0.05) as client:
        while not begun.is_set():  # on a busy machine, the time is up before that
            with pytest.raises(grpc.RpcError) as caught:
                client.create(machine_class(), "m1")
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        eventually_ok(endpoint, "m1", LastKnownState=b"again")


def test_a_failed_call_frees_its_machine() -> None:
    with serving(StandIn(raising(NotFound("x")))) as endpoint:
        codes = {ask(endpoint, "CreateMachine", named("m1")).code for _ in range(20)}
    assert codes == {"NOT_FOUND"}


@pytest.mark.parametrize("kind", BOTH)
def test_calls_in_a_row_for_one_machine_are_never_aborted(
    kind: type[StandIn | AsyncStandIn],
) -> None:
    with serving(kind()) as endpoint, Client(endpoint) as client:
        for _ in range(200):
            client.create(machine_class(), "m1")


def test_of_many_calls_for_one_machine_one_runs_at_a_time() -> None:
    inside = threading.Semaphore(1)

    def create(received: Any) -> CreateMachineResponse:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        inside.release()
        return created(received)

    with serving(StandIn(create)) as endpoint, ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: ask(endpoint, "CreateMachine", named("m1")).code, range(80))
        assert set(answers) <= {"OK", "ABORTED"}


class Probed(StandIn):
    def __init__(self, probe: Any) -> None:
        super().__init__()
        self._probe = probe

    def probe(self) -> bool:
        result: bool = self._probe()
        return result


class AsyncProbed(Probed):
    async def probe(self) -> bool:  # type: ignore[override]
        result: bool = self._probe()
        return result


def failing(error: BaseException) -> Any:
    return lambda: raising(error)(None)


@pytest.mark.parametrize("kind", [Probed, AsyncProbed])
@pytest.mark.parametrize(
    ("probe", "code", "mentioned"),
    [
        (failing(FailedPrecondition("no route to the cloud")), "FAILED_PRECONDITION", "no route"),
        (failing(NotFound("no region")), "FAILED_PRECONDITION", "no region"),
        (failing(FailedPrecondition()), "FAILED_PRECONDITION", "state"),
        (failing(ValueError("hunter2")), "INTERNAL", "incident"),
        (failing(StopIteration()), "INTERNAL", "incident"),
        (failing(SystemExit()), "INTERNAL", "incident"),
        (lambda: None, "INTERNAL", "incident"),
        (lambda: "yes", "INTERNAL", "incident"),
    ],
)
def test_a_probe_that_fails_says_why(
    probe: Any, code: str, mentioned: str, kind: type[Probed]
) -> None:
    with serving(kind(probe)) as endpoint:
        answer = ask(endpoint, "Probe")
        assert ask(endpoint, "CreateMachine", named("m1")).code == "OK", "the server has survived"
    assert answer.code == code
    assert mentioned in answer.message
    assert "hunter2" not in answer.message


@pytest.mark.parametrize("kind", [Probed, AsyncProbed])
@pytest.mark.parametrize("ready", [True, False])
def test_a_probe_reports_whether_the_driver_is_ready(ready: bool, kind: type[Probed]) -> None:
    with serving(kind(lambda: ready)) as endpoint, Client(endpoint) as client:
        assert client.probe() is ready
        assert client.probe() is ready


def test_probes_at_the_same_time_share_one_call(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmi.serving.server.PROBE_TIMEOUT", PATIENCE)
    entered = []

    def probe() -> bool:
        entered.append(1)
        return gate.opened.wait(PATIENCE)

    with (
        serving(Probed(probe)) as endpoint,
        Client(endpoint) as client,
        ThreadPoolExecutor(5) as pool,
    ):
        answers = [pool.submit(client.probe) for _ in range(5)]
        await_condition(lambda: bool(entered))
        assert ask(endpoint, "CreateMachine", named("m1")).code == "OK"
        gate.opened.set()
        assert all(answer.result(PATIENCE) for answer in answers)
    assert len(entered) <= 5


def test_a_probe_that_hangs_is_reported_and_holds_up_nothing(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmi.serving.server.PROBE_TIMEOUT", 0.05)

    def refusal() -> str:
        answer = ask(endpoint, "Probe")
        assert answer.code == "FAILED_PRECONDITION"
        return answer.message

    with serving(Probed(lambda: gate.opened.wait(PATIENCE))) as endpoint:
        assert "within 0.05 s" in refusal()
        # On a busy machine, the probe may be given up before it has begun.
        await_condition(lambda: "still hangs" in refusal())
        assert ask(endpoint, "CreateMachine", named("m1")).code == "OK"
        gate.opened.set()
        await_condition(lambda: ask(endpoint, "Probe").code == "OK")
