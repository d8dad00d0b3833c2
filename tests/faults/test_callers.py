"""If a caller does not wait for the answer, the retry finds what the method did (C14, C15)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cmi.client import MachineClass
from tests.driver import CloudFile, RunningDriver, Start, begin, code_of, refused, whole
from tests.support import await_condition

LEAVING = {"cancels": "CANCELLED", "deadline passes": "DEADLINE_EXCEEDED"}


@pytest.fixture
def driver(start: Start, cloud: CloudFile) -> RunningDriver:
    return start(cloud)


@contextmanager
def left_alone(
    driver: RunningDriver, cloud: CloudFile, machine_class: MachineClass, rpc: str, leaving: str
) -> Iterator[None]:
    """Yield while a call for m1 runs whose caller is gone; return when its method has ended."""
    with cloud.stuck():
        with driver.stub() as stub:
            timeout = 1 if leaving == "deadline passes" else 1000
            calls = [begin(stub, rpc, machine_class, "m1", timeout)]
            while driver.calls_in_flight() == 0:
                if calls[-1].done():  # on a busy machine, it may take more than a second to begin
                    calls.append(begin(stub, rpc, machine_class, "m1", timeout))
            if leaving == "cancels":
                calls[-1].cancel()
            driver.await_event(rpc=rpc, code="CANCELLED")
            assert LEAVING[leaving] in map(code_of, calls)
        yield
        assert driver.calls_in_flight() == 1
    await_condition(lambda: driver.calls_in_flight() == 0)


@pytest.mark.parametrize("leaving", LEAVING)
def test_a_machine_that_nobody_waited_for_is_found_by_the_retry(
    driver: RunningDriver, cloud: CloudFile, machine_class: MachineClass, leaving: str
) -> None:
    client = driver.client()
    with left_alone(driver, cloud, machine_class, "CreateMachine", leaving), refused("ABORTED"):
        client.create(machine_class, "m1")
    assert cloud.inventory() == whole("m1")
    found = client.status(machine_class, "m1")
    assert client.create(machine_class, "m1").ProviderID == found.ProviderID
    assert cloud.inventory() == whole("m1")


@pytest.mark.parametrize("leaving", LEAVING)
def test_a_deletion_that_nobody_waited_for_is_finished_by_the_retry(
    driver: RunningDriver, cloud: CloudFile, machine_class: MachineClass, leaving: str
) -> None:
    """The VM is deleted, but the first call does not wait for that. The retry removes its disks."""
    client = driver.client()
    client.create(machine_class, "m1")
    with left_alone(driver, cloud, machine_class, "DeleteMachine", leaving), refused("ABORTED"):
        client.delete(machine_class, "m1")
    assert cloud.inventory() == [("m1", "gone", "containers,root")]
    assert list(client.list_machines(machine_class).values()) == ["m1"]
    client.delete(machine_class, "m1")
    assert cloud.inventory() == []


def test_a_caller_that_is_killed(
    driver: RunningDriver, cloud: CloudFile, machine_class: MachineClass, installed: Path
) -> None:
    files = ["--class=kubernetes/machine-class.yaml", "--secret=kubernetes/secret.yaml"]
    command = [str(installed / ".venv/bin/python"), "-m", "cmi", "create", "m1", *files]
    with cloud.stuck():
        with subprocess.Popen([*command, f"--endpoint={driver.endpoint}"], cwd=installed) as caller:
            await_condition(lambda: driver.calls_in_flight() == 1)
            caller.kill()
        driver.await_event(rpc="CreateMachine", code="CANCELLED")
        with refused("ABORTED"):
            driver.client().create(machine_class, "m1")
    await_condition(lambda: driver.calls_in_flight() == 0)
    driver.client().create(machine_class, "m1")
    assert cloud.inventory() == whole("m1")
