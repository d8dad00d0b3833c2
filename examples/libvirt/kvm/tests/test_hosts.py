"""The operator's list of hosts, and the connections to them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libvirt
from cmi import InvalidArgument, StartupError, Unavailable
from cmi.testing import Client, MachineClass, Samples, connected, refused

from .. import hosts
from ..apis.provider_spec import Credentials
from ..cloud import Cloud
from ..hosts import Connections, hosts_from_environment
from ..machineserver import MachineServer
from .console import PASSWORD, USER, write_hosts
from .gate import Gate, error

KEYS = Credentials.model_validate({"username": USER, "password": PASSWORD})


@pytest.fixture
def own(gate: Gate, tmp_path: Path) -> Connections:
    """Connections to hosts that only this test uses."""
    return Connections(write_hosts(tmp_path))


@pytest.fixture
def own_client(own: Connections) -> Iterator[Client]:
    with connected(MachineServer(Cloud(own))) as client:
        yield client


@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "qemu:///system",
        "rack1=",
        "rack1=localhost",
        "r/1=qemu:///system",
        "a=test:///default b",
    ],
)
def test_a_list_that_names_no_hosts_ends_the_driver(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LIBVIRT_HOSTS", value)
    with pytest.raises(StartupError, match="LIBVIRT_HOSTS"):
        hosts_from_environment()


def test_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "qemu+tls://rack1.example/system?pkipath=/certificates"
    monkeypatch.setenv("LIBVIRT_HOSTS", f" rack1={uri}\n rack2=qemu:///system ")
    assert hosts_from_environment() == {"rack1": uri, "rack2": "qemu:///system"}


def test_a_connection_is_opened_once(own: Connections) -> None:
    assert own.connect("rack1", KEYS) is own.connect("rack1", KEYS)
    assert own.connect("rack1", KEYS) is not own.connect("rack2", KEYS)
    with pytest.raises(InvalidArgument, match="rack3 is none of the driver's hosts: rack1, rack2"):
        own.connect("rack3", KEYS)


def test_a_connection_that_is_lost_is_opened_again(
    own: Connections,
    own_client: Client,
    machine_class: MachineClass,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = own.connect("rack1", KEYS)
    monkeypatch.setattr(libvirt.virConnect, "isAlive", lambda it: it is not before)
    assert own.connect("rack1", KEYS) is not before
    assert own_client.list_machines(machine_class) == {}


def test_a_call_does_not_wait_for_ever_while_another_one_connects(
    own: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, answers = threading.Event(), threading.Event()
    open_auth = libvirt.openAuth

    def open_late(*arguments: Any) -> libvirt.virConnect:
        begun.set()
        answers.wait()
        return open_auth(*arguments)

    monkeypatch.setattr(libvirt, "openAuth", open_late)
    monkeypatch.setattr(hosts, "PATIENCE", 0.01)
    connecting = threading.Thread(target=own.connect, args=("rack1", KEYS))
    connecting.start()
    try:
        begun.wait()
        with pytest.raises(Unavailable, match="rack1 takes long to answer"):
            own.connect("rack1", KEYS)
    finally:
        answers.set()
        connecting.join()
    own.connect("rack1", KEYS)


def test_old_credentials_are_forgotten(own: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even those that a host has refused."""
    monkeypatch.setattr(hosts, "MAX_CONNECTIONS", 1)
    wrong = Credentials.model_validate({"username": USER, "password": b"wrong"})
    with pytest.raises(libvirt.libvirtError):
        own.connect("rack1", wrong)
    own.connect("rack1", KEYS)
    assert "wrong" not in str(own._locks)
    own.connect("rack2", KEYS)
    assert "rack1" not in str([own._locks, own._open])


@pytest.mark.parametrize(
    "secrets",
    [{"password": b"wrong"}, {"username": b"wrong"}, {"username": None, "password": None}],
    ids=str,
)
def test_a_host_refuses_wrong_credentials(
    own_client: Client, samples: Samples, secrets: dict[str, Any]
) -> None:
    """C44."""
    wrong = samples.machine_class(secrets)
    with refused("UNAUTHENTICATED"):
        own_client.list_machines(wrong)
    assert own_client.list_machines(samples.machine_class()) == {}


@pytest.mark.parametrize("missing", ["username", "password"])
def test_half_a_login_is_refused(own_client: Client, samples: Samples, missing: str) -> None:
    """C49: hosts that need no login refuse it too."""
    with refused("INVALID_ARGUMENT", f"{missing} is missing"):
        own_client.list_machines(samples.machine_class({missing: None}))


def test_a_host_that_does_not_answer(
    own_client: Client, machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: calls are UNAVAILABLE, and Probe says why. Once the host answers, both succeed again."""
    assert own_client.probe()
    down = error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection refused", libvirt.VIR_FROM_RPC, 111)

    def refuse(*_: object) -> None:
        raise down

    with monkeypatch.context() as patch:
        patch.setattr(libvirt, "openAuth", refuse)
        patch.setattr(libvirt.virConnect, "isAlive", lambda _: 0)
        with refused("UNAVAILABLE", "Connection refused"):
            own_client.list_machines(machine_class)
        with refused("FAILED_PRECONDITION", "rack1: Connection refused; rack2"):
            own_client.probe()
    assert own_client.probe()
    assert own_client.list_machines(machine_class) == {}


def test_a_call_ends_although_the_host_hangs(
    connections: Connections, gate: Gate, machine_class: MachineClass
) -> None:
    """Nothing can stop a call of the C library, but the machine is free for a retry."""
    with connected(MachineServer(Cloud(connections)), timeout=10) as client:
        with gate.holding("virDomain.create") as waits:
            with refused("DEADLINE_EXCEEDED"):
                client.create(machine_class, "hanging")
            assert waits.is_set()
            assert [*client.list_machines(machine_class).values()] == ["hanging"]
        threads = [each for each in threading.enumerate() if each.name == "blocking-call"]
        for thread in threads:
            thread.join()
    with connected(MachineServer(Cloud(connections))) as client:
        client.create(machine_class, "hanging")
        client.delete(machine_class, "hanging")
        assert client.list_machines(machine_class) == {}
