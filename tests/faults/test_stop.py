"""SIGTERM while calls of the cloud's SDK never end."""

import signal
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi.client import Client, MachineClass
from tests.driver import CloudFile, Start, begin, code_of, refused, whole
from tests.support import await_condition, health_stub, status_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def cloud(tmp_path: Path, start: Start, machine_class: MachineClass) -> CloudFile:
    """A cloud that contains the machine m1."""
    cloud = CloudFile(tmp_path / "cloud.sqlite")
    with start(cloud) as driver:
        driver.client().create(machine_class, "m1")
    return cloud


def test_calls_in_flight_finish_and_new_ones_are_turned_away(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    driver = start(cloud, "--health-address=127.0.0.1:0", "--grace-period=1000")
    with driver.stub() as stub, grpc.insecure_channel(driver.serving["health"]) as channel:
        check = health_stub(channel).Check
        assert check(health_pb2.HealthCheckRequest()).status == SERVING
        with cloud.stuck():
            calls = [begin(stub, "CreateMachine", machine_class, name) for name in ("m2", "m3")]
            calls.append(begin(stub, "DeleteMachine", machine_class, "m1"))
            await_condition(lambda: driver.calls_in_flight() == len(calls))
            driver.signal(signal.SIGTERM)
            newcomer = driver.client()
            await_condition(lambda: _is_turned_away(newcomer))
            assert check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
            assert not any(call.done() for call in calls)
        assert [code_of(call) for call in calls] == ["OK"] * len(calls)
        assert driver.wait() == 0
    assert driver.events()[-1]["message"] == "stopped"
    assert cloud.inventory() == whole("m2", "m3")


def _is_turned_away(client: Client) -> bool:
    try:
        client.info()
    except grpc.RpcError as error:
        return status_of(error)[0] is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_second_signal_ends_it_at_once_and_a_retry_finishes_the_call(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    driver = start(cloud, "--grace-period=1000", faults="start_server=hang")
    with driver.stub() as stub:
        call = begin(stub, "CreateMachine", machine_class, "m2")
        await_condition(lambda: cloud.names("creating") == {"m2"})
        driver.signal(signal.SIGTERM)
        driver.await_event(message="stopping")
        driver.signal(signal.SIGTERM)
        assert driver.wait() == 128 + signal.SIGTERM
        assert code_of(call) == "UNAVAILABLE"
    start(cloud).client().create(machine_class, "m2")
    assert cloud.inventory() == whole("m1", "m2")


def test_a_hung_sdk_call_holds_up_its_own_machine_only(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    driver = start(cloud, "--call-timeout=10", "--grace-period=0.5", faults="create_server=hang*1")
    client = driver.client()
    with refused("DEADLINE_EXCEEDED", "10 s", "safe to repeat"):
        client.create(machine_class, "m2")
    for call in (client.create, client.status, client.shut_down, client.delete):
        with refused("ABORTED"):
            call(machine_class, "m2")
    client.create(machine_class, "m3")
    client.delete(machine_class, "m1")
    assert driver.calls_in_flight() == 1
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0

    start(cloud).client().create(machine_class, "m2")
    assert cloud.inventory() == whole("m2", "m3")
