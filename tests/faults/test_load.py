"""More calls at once and more failures in a row than a driver should ever get."""

import signal
import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2

from cmi.client import MachineClass
from tests.driver import CloudFile, Start, begin, code_of, figure
from tests.faults.conftest import Change
from tests.support import PATIENCE, await_condition, health_stub

LIMIT = 1000
"""The default of --max-calls."""
CALLERS = 20


def test_health_and_probe_answer_while_a_thousand_calls_block(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    """The calls hang forever, so answers that arrive have not waited for any of them."""
    driver = start(cloud, "--grace-period=0.5", faults="list_servers=hang")
    client = driver.client()
    beyond = 100
    with driver.stub() as stub, grpc.insecure_channel(driver.endpoint.target) as channel:
        health = health_stub(channel)

        def check() -> None:
            health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)

        idle = _slowest(check), _slowest(client.probe)
        calls = [
            begin(stub, "GetMachineStatus", machine_class, f"m{number}", timeout=1000)
            for number in range(LIMIT + beyond)
        ]
        await_condition(lambda: driver.calls_in_flight() == LIMIT)
        await_condition(lambda: driver.metric("driver_requests_waiting") == beyond)
        busy = _slowest(check), _slowest(client.probe)
        assert not any(call.done() for call in calls)
        driver.signal(signal.SIGTERM)
        assert driver.wait() == 0
        codes = {code_of(call) for call in calls}
        assert codes <= {"UNAVAILABLE", "CANCELLED"}, codes
    for name, before, now in zip(("health", "Probe"), idle, busy, strict=True):
        figure(
            f"slowest {name} of 50: {before * 1000:.1f} ms idle, "
            f"{now * 1000:.1f} ms with {LIMIT} calls blocked"
        )


def test_a_thousand_sleeping_calls_sleep_side_by_side(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    driver = start(cloud, latency=1)
    with driver.stub() as stub:

        def run(count: int) -> float:
            began = time.perf_counter()
            calls = [
                begin(stub, "GetMachineStatus", machine_class, f"m{number}")
                for number in range(count)
            ]
            assert {code_of(call) for call in calls} == {"NOT_FOUND"}
            return time.perf_counter() - began

        one, all_of_them = run(1), run(LIMIT)
    figure(f"1 call that sleeps 1 s: {one:.2f} s; {LIMIT} at once: {all_of_them:.2f} s")
    assert all_of_them < LIMIT / 10 * one


def test_failures_leave_memory_flat(start: Start, cloud: CloudFile, changed: Change) -> None:
    """When a call fails, MCM repeats it at once, with a new machine name each time."""
    driver = start(cloud, quota=0)
    failures = [
        (changed(disks="none", unknown="x" * 1000), "INVALID_ARGUMENT"),
        (changed({"apiToken": b"unknown"}), "UNAUTHENTICATED"),
        (changed(), "RESOURCE_EXHAUSTED"),
    ]
    with driver.stub() as stub:

        def fail(numbers: range) -> list[int]:
            """Return the memory of the driver, measured repeatedly, in KiB."""
            resident = []
            for first in numbers[::CALLERS]:
                batch = [failures[number % 3] for number in range(first, first + CALLERS)]
                calls = [
                    begin(stub, "CreateMachine", machine_class, f"machine-{first}-{number}")
                    for number, (machine_class, _) in enumerate(batch)
                ]
                assert [code_of(call) for call in calls] == [code for _, code in batch]
                resident.append(driver.resident_kib())
            return resident

        fail(range(2_000))
        early = min(fail(range(2_000, 3_000)))
        began = time.perf_counter()
        fail(range(3_000, 9_000))
        seconds = time.perf_counter() - began
        late = min(fail(range(9_000, 10_000)))
    figure(
        f"resident after 2,000 failures {early} KiB, after 10,000 {late} KiB; "
        f"{6_000 / seconds:.0f} failures a second"
    )
    # These are the minimums of many samples, since garbage varies by a few MiB.
    assert late - early < early / 20
    assert cloud.inventory() == []


def _slowest(call: Callable[[], object], times: int = 50) -> float:
    """Return the duration of the slowest call, in seconds."""
    slowest = 0.0
    for _ in range(times):
        began = time.perf_counter()
        call()
        slowest = max(slowest, time.perf_counter() - began)
    return slowest
