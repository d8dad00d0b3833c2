"""libvirtd is killed, on one host or on both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from cmi.client import Client
from cmi.testing import MachineClass
from e2e.process import PATIENCE, await_condition
from e2e.qemu.daemon import UNUSED, Libvirtd
from e2e.qemu.farm import LONG, MACHINE, Farm
from e2e.qemu.relay import Kind, Message, Procedure
from tests.driver import RunningDriver, begin, code_of, refused

pytestmark = pytest.mark.libvirt


class Kill(NamedTuple):
    """When libvirtd is killed.

    Attributes:
        message: A message of the driver or of libvirtd.
        moment: Before the message arrives, after that, or only once a QEMU process runs.
        code: What the machine call answers. The driver repeats some steps by itself, and the
            machine calls of these succeed.
    """

    message: Message
    moment: Literal["before", "after", "while QEMU starts after"]
    code: str

    def __str__(self) -> str:
        procedure, kind, number = self.message
        return f"{self.moment} {kind.name} {number} of {procedure.name}"


def kills(procedure: Procedure, *numbers: int, code: str = "OK") -> Iterator[Kill]:
    """Kill libvirtd before it is called, and before its answer arrives."""
    for number in numbers or (1,):
        yield Kill(Message(procedure, Kind.CALL, number), "before", code)
        yield Kill(Message(procedure, Kind.REPLY, number), "before", code)


KILLS = [
    *kills(Procedure.DOMAIN_DEFINE_XML_FLAGS, code="UNAVAILABLE"),
    *kills(Procedure.STORAGE_VOL_CREATE_XML, 1, 2, 3),  # two disks and the seed
    *kills(Procedure.STORAGE_VOL_UPLOAD),
    Kill(Message(Procedure.STORAGE_VOL_UPLOAD, Kind.STREAM), "after", "OK"),
    *kills(Procedure.DOMAIN_CREATE),
    Kill(Message(Procedure.DOMAIN_CREATE, Kind.CALL), "while QEMU starts after", "OK"),
    *kills(Procedure.DOMAIN_SET_METADATA),
]
KILLS_OF_DELETE = [
    *kills(Procedure.DOMAIN_DESTROY, code="UNAVAILABLE"),
    *kills(Procedure.DOMAIN_UNDEFINE_FLAGS, code="UNAVAILABLE"),
    *kills(Procedure.STORAGE_VOL_DELETE, 1, 3),
]


def call_while_killed(
    farm: Farm, driver: RunningDriver, machine_class: MachineClass, rpc: str, kill: Kill
) -> None:
    """Call an RPC for the machine; libvirtd is killed once, and started again."""

    def act() -> None:
        if kill.moment == "while QEMU starts after":
            await_condition(farm.host.processes, bool, "a QEMU process")
        farm.host.kill()

    passes_on = kill.moment != "before"
    with (
        farm.relay.interruption(kill.message, act, passes_on=passes_on) as happened,
        driver.stub() as stub,
    ):
        called = begin(stub, rpc, machine_class, MACHINE, LONG)
        assert happened.wait(PATIENCE), f"there was no {kill.message}"
        farm.host.start()
        assert code_of(called) == kill.code


@pytest.mark.parametrize("kill", KILLS, ids=str)
def test_libvirtd_is_killed_during_a_create(
    farm: Farm,
    driver: RunningDriver,
    host: Libvirtd,
    client: Client,
    machine_class: MachineClass,
    kill: Kill,
) -> None:
    """The call, or its retry, results in one VM, with one of each disk."""
    call_while_killed(farm, driver, machine_class, "CreateMachine", kill)
    created = client.create(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    domains, files, count = host.inventory()
    assert (domains, count) == ({MACHINE: "running"}, 1)
    new = [Path(file).name.rpartition("+")[2] for file in files - UNUSED[1]]
    # The domain starts with its host: there is a link to its file.
    assert sorted(new) == sorted(["root", "data", "seed", *2 * [f"{MACHINE}.xml"]])
    client.delete(machine_class, MACHINE, created.ProviderID)


@pytest.mark.parametrize("kill", KILLS_OF_DELETE, ids=str)
def test_libvirtd_is_killed_during_a_delete(
    farm: Farm,
    driver: RunningDriver,
    host: Libvirtd,
    client: Client,
    machine_class: MachineClass,
    kill: Kill,
) -> None:
    """The call, or its retry, leaves nothing, as the fixture `host` checks."""
    client.create(machine_class, MACHINE)
    call_while_killed(farm, driver, machine_class, "DeleteMachine", kill)
    client.delete(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {}


def test_a_host_is_dead(
    farm: Farm, host: Libvirtd, other: Libvirtd, client: Client, machine_class: MachineClass
) -> None:
    """Calls to it fail, and calls to the other host don't.

    The driver stays ready as long as one host answers.
    """
    created = client.create(machine_class, MACHINE)
    elsewhere = farm.elsewhere().machine_class()
    with host.dead():
        with refused("UNAVAILABLE"):
            client.list_machines(machine_class)
        assert client.list_machines(elsewhere) == {}
        assert client.probe()
        with other.dead():
            with refused("UNAVAILABLE"):
                client.list_machines(elsewhere)
            with refused("FAILED_PRECONDITION", "no host of LIBVIRT_HOSTS answers"):
                client.probe()
    assert client.probe()
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE)
