"""After kill -9 of the driver in CreateMachine or DeleteMachine, a retry finishes the work."""

import shutil
import signal
from pathlib import Path
from threading import Semaphore
from typing import Any

import grpc
import pytest

from cmi.client import MachineClass
from tests.driver import CloudFile, RunningDriver, Start, begin, code_of, figure, refused, whole
from tests.support import PATIENCE, await_condition

CREATE = ("list_servers", "create_server", "attach_network", "create_disk", "start_server")
DELETE = ("list_servers", "delete_server", "get_server", "list_disks", "delete_disk")


@pytest.fixture(scope="module")
def furnished(
    tmp_path_factory: pytest.TempPathFactory, start_for_all: Start, machine_class: MachineClass
) -> CloudFile:
    """A cloud with the machines m1 and m2. Tests copy it."""
    cloud = CloudFile(tmp_path_factory.mktemp("furnished") / "cloud.sqlite")
    with start_for_all(cloud) as driver:
        for name in ("m1", "m2"):
            driver.client().create(machine_class, name)
    assert cloud.inventory() == whole("m1", "m2")
    return cloud


@pytest.fixture
def cloud(furnished: CloudFile, tmp_path: Path) -> CloudFile:
    return CloudFile(Path(shutil.copy(furnished.path, tmp_path)))


@pytest.mark.parametrize("step", CREATE)
def test_killed_in_create(
    start: Start, cloud: CloudFile, machine_class: MachineClass, step: str
) -> None:
    driver = start(cloud, faults=f"{step}=crash")
    with refused("UNAVAILABLE"):
        driver.client().create(machine_class, "m3")
    assert driver.wait() == -signal.SIGKILL

    client = start(cloud).client()
    with refused("NOT_FOUND"):
        client.status(machine_class, "m3")
    made = cloud.names("creating") | cloud.names("running")
    assert set(client.list_machines(machine_class).values()) == made
    created = client.create(machine_class, "m3")
    assert client.create(machine_class, "m3") == created
    status = client.status(machine_class, "m3", created.ProviderID)
    assert (status.ProviderID, status.NodeName) == (created.ProviderID, created.NodeName)
    assert cloud.inventory() == whole("m1", "m2", "m3")


@pytest.mark.parametrize("step", DELETE)
def test_killed_in_delete(
    start: Start, cloud: CloudFile, machine_class: MachineClass, step: str
) -> None:
    driver = start(cloud, faults=f"{step}=crash")
    with refused("UNAVAILABLE"):
        driver.client().delete(machine_class, "m1")
    assert driver.wait() == -signal.SIGKILL

    client = start(cloud).client()
    client.delete(machine_class, "m1")
    with refused("NOT_FOUND"):
        client.status(machine_class, "m1")
    client.delete(machine_class, "m1")
    assert cloud.inventory() == whole("m2")


def test_killed_at_any_moment(start: Start, cloud: CloudFile, machine_class: MachineClass) -> None:
    """There are many machines at once, so that each kill hits calls in all of their steps."""
    names = [f"machine-{number}" for number in range(40)]
    half_made = half_deleted = 0
    promised: dict[str, str] = {}

    for answers in (0, 5, 15):
        calls = _kill_during(
            start(cloud, latency=0.05), cloud, "CreateMachine", machine_class, names, answers
        )
        for name, call in calls.items():
            if code_of(call) == "OK":
                answer = call.result().ProviderID
                assert promised.setdefault(name, answer) == answer
        half_made += len(cloud.names("creating"))
        client = start(cloud).client()
        listed = client.list_machines(machine_class)
        assert sorted(listed.values()) == sorted(cloud.names("creating") | cloud.names("running"))
        assert promised.items() <= {name: found for found, name in listed.items()}.items()
        for name in sorted(cloud.names("creating")):
            with refused("NOT_FOUND"):
                client.status(machine_class, name)
    client = start(cloud).client()
    for name in names:
        created = client.create(machine_class, name)
        assert promised.setdefault(name, created.ProviderID) == created.ProviderID
    assert cloud.inventory() == whole("m1", "m2", *names)

    for answers in (0, 5, 15):
        calls = _kill_during(
            start(cloud, latency=0.05), cloud, "DeleteMachine", machine_class, names, answers
        )
        deleted = {name for name, call in calls.items() if code_of(call) == "OK"}
        assert deleted.isdisjoint(name for name, *_ in cloud.inventory())
        half_deleted += len(cloud.names("gone"))
    client = start(cloud).client()
    for name in names:
        client.delete(machine_class, name)
    assert cloud.inventory() == whole("m1", "m2")
    figure(f"6 kills left {half_made} VMs half made and {half_deleted} half deleted")
    assert half_made
    assert half_deleted


def _kill_during(
    driver: RunningDriver,
    cloud: CloudFile,
    rpc: str,
    machine_class: MachineClass,
    names: list[str],
    answers: int,
) -> dict[str, "grpc.Future[Any]"]:
    """Call the RPC for all machines at once, and kill the driver after this number of answers.

    If the number is 0, kill it as soon as one machine is half done.
    """
    half = "creating" if rpc == "CreateMachine" else "gone"
    answered = Semaphore(0)
    with driver.stub() as stub:
        calls = {name: begin(stub, rpc, machine_class, name) for name in names}
        for call in calls.values():
            call.add_done_callback(lambda _call: answered.release())
        for _ in range(answers):
            assert answered.acquire(timeout=PATIENCE)
        if not answers:
            await_condition(lambda: bool(cloud.names(half)))
        driver.signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
        for call in calls.values():
            assert code_of(call) in ("OK", "UNAVAILABLE")
    return calls
