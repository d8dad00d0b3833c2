"""How much a driver accepts at the same time, and what it answers when it gets more."""

import asyncio
import json
import logging
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi import CreateMachineResponse, NotFound
from cmi.endpoint import Endpoint
from cmi.redaction import Redactor
from cmi.serving import logs
from cmi.serving.options import ServerOptions
from tests.framework import http2
from tests.framework.process import served
from tests.framework.support import (
    BOTH,
    SPEC,
    AsyncStandIn,
    Gate,
    StandIn,
    ask,
    created,
    give_up,
    raising,
    request,
)
from tests.framework.test_calls import calling, named, options
from tests.framework.test_watchers import serving_line, started
from tests.support import PATIENCE, await_condition, health_stub

KIB, MIB = 1024, 1024 * 1024


def with_user_data(size: int, name: str = "m1", **fields: Any) -> Any:
    """Return a CreateMachine request with that much user data, in lines of 64 characters."""
    user_data = b"".join(b"%-63d\n" % number for number in range(size // 64))
    secrets = {"apiToken": b"correct-horse", "userData": user_data}
    return request("CreateMachine", MachineName=name, Secrets=secrets, **fields)


def test_a_request_beyond_the_limit_is_invalid() -> None:
    with served(StandIn(), options(max_request_bytes=64 * KIB)) as (_, endpoint):
        assert ask(endpoint, "CreateMachine", with_user_data(60 * KIB)).code == "OK"
        for size in (65 * KIB, 3 * MIB):
            answer = ask(endpoint, "CreateMachine", with_user_data(size))
            assert answer.code == "INVALID_ARGUMENT"
            assert "--max-request-bytes" in answer.message


def test_all_requests_together_are_bounded(gate: Gate) -> None:
    """A request beyond the limit is refused at once. Requests that have ended make room."""
    requests = [with_user_data(60 * KIB, f"m{number}") for number in range(4)]
    limits = options(max_bytes_in_flight=250 * KIB)
    with served(StandIn(gate), limits) as (server, endpoint):
        with calling(endpoint, *requests) as calls:
            gate.await_entered(4)
            answer = ask(endpoint, "CreateMachine", with_user_data(60 * KIB, "m5"))
            assert answer.code == "UNAVAILABLE"
            assert "--max-bytes-in-flight" in answer.message
            assert ask(endpoint, "Probe").code == "OK"
            gate.opened.set()
            assert all(call.result(PATIENCE) for call in calls)
        await_condition(lambda: ask(endpoint, "CreateMachine", requests[0]).code == "OK")
        await_condition(lambda: server.bytes_in_flight == 0)


@pytest.mark.parametrize("kind", BOTH)
def test_every_call_gives_its_bytes_back(
    kind: type[StandIn | AsyncStandIn], gate: Gate, log_stream: object
) -> None:
    """The way in which the call ends makes no difference. An SDK may even raise the same exception
    object each time."""
    # pytest's handlers keep the records that they have seen.
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if isinstance(each, logs.Handler)]
    error = NotFound("the same each time")
    for action in (created, raising(error), raising(LookupError("x")), raising(SystemExit())):
        with served(kind(action), options()) as (server, endpoint):
            for wire in (named("m1"), named("m1", ProviderSpec=b"{"), named("m1", Secrets={})):
                ask(endpoint, "CreateMachine", wire)
            await_condition(lambda server=server: server.bytes_in_flight == 0)  # type: ignore[misc]
    with served(StandIn(gate), options()) as (server, endpoint):
        with calling(endpoint, named("m1")) as (call,):
            gate.await_entered()
            call.cancel()
        gate.opened.set()
        await_condition(lambda: server.bytes_in_flight == 0)
    gate.opened.clear()
    with served(StandIn(gate), options(call_timeout=0.05)) as (server, endpoint):
        give_up(endpoint, named("m1"), gate.has_entered)
        gate.opened.set()
        await_condition(lambda: server.bytes_in_flight == 0)


def test_health_answers_while_failing_calls_with_much_user_data_are_scrubbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty calls run at once, and each error quotes a secret of 900 KiB.

    The event loop never searches such large texts itself.
    """
    scrub = Redactor.scrub
    on_the_loop: list[int] = [0]

    def watched(self: Redactor, text: str) -> str:
        if asyncio._get_running_loop():
            on_the_loop.append(len(text) + self._added - self._seen)
        return scrub(self, text)

    monkeypatch.setattr(Redactor, "scrub", watched)

    def fail(received: Any) -> CreateMachineResponse:
        raise LookupError(received.secrets.user_data.get_secret_value()[:100_000])

    requests = [with_user_data(900 * KIB, f"m{number}") for number in range(20)]
    with (
        served(StandIn(fail), options()) as (_, endpoint),
        grpc.insecure_channel(endpoint.target) as channel,
    ):
        check = health_stub(channel).Check
        slowest, began = 0.0, time.monotonic()
        with calling(endpoint, *requests) as calls:
            while not all(call.done() for call in calls):
                before = time.monotonic()
                check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
                slowest = max(slowest, time.monotonic() - before)
            assert {call.code().name for call in calls} == {"INTERNAL"}  # type: ignore[attr-defined]
    print(f"figure: slowest health {slowest:.3f} s of {time.monotonic() - began:.1f} s")
    assert max(on_the_loop) <= 16 * KIB


@pytest.mark.parametrize("disks", [12_000, 200_000])
def test_a_huge_spec_that_is_all_wrong_is_refused(disks: int) -> None:
    spec = json.dumps({**SPEC, "disks": [{"x": 1}] * disks}).encode()
    with served(StandIn(), options(max_request_bytes=4 * MIB)) as (_, endpoint):
        answer = ask(endpoint, "CreateMachine", request("CreateMachine", ProviderSpec=spec))
    assert answer.code == "INVALID_ARGUMENT"
    assert "too many" in answer.message or "more than 262144 bytes" in answer.message


@pytest.mark.parametrize("volumes", ["1,", '"x",'])
def test_a_huge_list_of_volumes_that_is_all_wrong_is_refused(volumes: str) -> None:
    wire = f"[{volumes * 200_000}1]".encode()
    with served(StandIn(), options()) as (_, endpoint):
        answer = ask(endpoint, "GetVolumeIDs", request("GetVolumeIDs", PVSpecList=wire))
    assert answer.code == "INVALID_ARGUMENT"
    assert "pvSpecList[0]: is not an object" in answer.message
    assert "more" in answer.message


@pytest.mark.parametrize("port", ["health", "endpoint"])
def test_half_open_streams_of_one_connection_are_bounded(tmp_path: Path, port: str) -> None:
    """Each of them would take 18 KiB, and `--max-calls` does not count it yet."""
    path = {"health": "/grpc.health.v1.Health/Check", "endpoint": "/cmi.v1.Machine/CreateMachine"}
    with started(tmp_path, "--health-address=127.0.0.1:0", "--max-calls=100") as process:
        line = serving_line(process)
        address = Endpoint.parse(f"tcp://{line['health']}" if port == "health" else line[port])
        before = resident_kib(process.pid)
        with http2.connection(address) as connected:
            reader = Thread(target=http2.received, args=(connected, PATIENCE), daemon=True)
            reader.start()
            try:
                for number in range(20_000):
                    connected.sendall(http2.call(2 * number + 1, path[port]))
            except ConnectionError:
                pass  # the server has closed the connection
            with grpc.insecure_channel(address.target) as channel:
                health_stub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
            grown = resident_kib(process.pid) - before
            connected.shutdown(socket.SHUT_RDWR)
            reader.join(PATIENCE)
    print(f"figure: 20,000 half-open streams on {port}: {grown} KiB more")
    assert grown < 60_000


STALLED = """
import time
from pathlib import Path
from cmi import driver_app
from tests.framework.support import AsyncStandIn, created

async def create(request):
    Path("entered").touch()
    while not Path("go").exists():
        time.sleep(0.01)  # holds the event loop
    return created(request)

def make_driver():
    return AsyncStandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""


@pytest.mark.parametrize("port", ["health", "endpoint"])
def test_calls_that_are_reset_at_once_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """No limit on streams applies, since each stream ends before the next one begins. They come
    faster than the driver accepts them: this one accepts none."""
    monkeypatch.chdir(tmp_path)
    path = {"health": "/grpc.health.v1.Health/Watch", "endpoint": "/cmi.v1.Machine/CreateMachine"}
    with started(
        tmp_path, "--health-address=127.0.0.1:0", "--max-calls=100", start=STALLED
    ) as process:
        line = serving_line(process)
        address = Endpoint.parse(f"tcp://{line['health']}" if port == "health" else line[port])
        with calling(Endpoint.parse(line["endpoint"]), named("m1")) as (first,):
            await_condition(Path("entered").exists)
            before = resident_kib(process.pid)
            for _ in range(20):
                reset_calls(address, path[port], 2000)
            grown = resident_kib(process.pid) - before
            Path("go").touch()
            assert first.result(PATIENCE)
        with grpc.insecure_channel(address.target) as channel:
            check = health_stub(channel).Check
            check(health_pb2.HealthCheckRequest(), timeout=PATIENCE, wait_for_ready=True)
    print(f"figure: 40,000 calls that are reset at once on {port}: {grown} KiB more")
    assert grown < 30_000


def reset_calls(address: Endpoint, path: str, calls: int) -> None:
    with http2.connection(address) as connected:
        reader = Thread(target=http2.received, args=(connected, PATIENCE), daemon=True)
        reader.start()
        with suppress(ConnectionError):  # the server may close the connection
            for stream in range(1, 2 * calls, 2):
                call = http2.call(stream, path) + http2.message(stream)
                connected.sendall(call + http2.reset(stream))
            connected.sendall(http2.frame(http2.PING, payload=b"all read"))
        connected.shutdown(socket.SHUT_WR)
        reader.join(PATIENCE)


def test_pings_of_a_client_that_keeps_its_connection_alive_are_permitted(gate: Gate) -> None:
    """This client pings every 5.5 s. With gRPC's default of 5 minutes, the third such ping would
    end the connection."""
    with served(StandIn(gate), options()) as (_, endpoint), http2.connection(endpoint) as connected:
        for _ in range(4):
            connected.sendall(http2.frame(http2.PING, payload=bytes(8)))
            assert b"too_many_pings" not in http2.received(connected, 5.5)


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


THREADLESS = """
import threading, time
from pathlib import Path
from cmi import driver_app
from tests.framework.support import StandIn, created

def create(request):
    with open("entered", "a") as file:
        print(request.machine_name, file=file)
    if request.machine_name == "first":
        threading.stack_size(2**48)  # no address space has room for it: no thread can be started
        Path("threadless").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    return created(request)

def make_driver():
    return StandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""


def test_without_a_thread_a_call_waits_or_is_refused_and_never_runs_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with started(tmp_path, start=THREADLESS) as process:
        endpoint = Endpoint.parse(serving_line(process)["endpoint"])
        with calling(endpoint, named("first")) as (first,), ThreadPoolExecutor(1) as pool:
            await_condition(Path("threadless").exists)
            await_condition(lambda: is_refused(endpoint))
            waits = pool.submit(ask, endpoint, "CreateMachine", named("waits"))
            Path("go").touch()
            assert first.result(PATIENCE)
            assert waits.result(PATIENCE).code == "OK"
        assert ask(endpoint, "CreateMachine", named("last")).code == "OK"
    assert Path("entered").read_text().split() == ["first", "waits", "last"]


def is_refused(endpoint: Endpoint) -> bool:
    """Return whether a call with a short deadline gets the driver's answer before the deadline."""
    answer = ask(endpoint, "CreateMachine", named("refused"), timeout=1)
    assert answer.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    return answer.code == "UNAVAILABLE" and "start another thread" in answer.message


def test_the_default_options_fit_together() -> None:
    """The largest request fits, and `--max-calls` needs no more files than a process may open."""
    defaults = ServerOptions()
    assert defaults.max_request_bytes * 8 <= defaults.max_bytes_in_flight
    assert defaults.max_calls < resource.getrlimit(resource.RLIMIT_NOFILE)[1]
