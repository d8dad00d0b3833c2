"""Two hosts, logins, full pools, and domains that others have made or changed."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cmi.client import Client
from cmi.conformance.items import ITEMS
from cmi.testing import MachineClass
from e2e.process import await_value
from e2e.qemu.daemon import EMPTY, Libvirtd
from e2e.qemu.farm import LOGIN, LOGIN_SECRETS, MACHINE, NO_LOGIN, Farm
from tests.driver import RunningDriver, refused

pytestmark = pytest.mark.libvirt


def test_two_hosts_are_apart(
    farm: Farm, host: Libvirtd, other: Libvirtd, client: Client, machine_class: MachineClass
) -> None:
    """The same name on two hosts means two machines.

    A provider ID decides which host a call is about, whatever host the class names.
    """
    elsewhere = farm.elsewhere().machine_class()
    here, there = (client.create(each, "twin") for each in (machine_class, elsewhere))
    assert host.domains() == other.domains() == {"twin": "running"}
    client.delete(elsewhere, "twin", here.ProviderID)
    assert host.domains() == {}
    assert client.list_machines(elsewhere) == {there.ProviderID: "twin"}
    client.delete(elsewhere, "twin", there.ProviderID)


@pytest.mark.parametrize(
    "wrong",
    [{"password": b"wr0ng-9c1e"}, {"username": b"nobody-7f3a@hosts"}, NO_LOGIN],
    ids=["password", "user name", "none"],
)
def test_a_host_refuses_a_wrong_login(
    farm: Farm, driver: RunningDriver, client: Client, wrong: Mapping[str, bytes | None]
) -> None:
    """The right one still works afterwards. The log contains no password."""
    with refused("UNAUTHENTICATED"):
        client.list_machines(farm.elsewhere({**LOGIN_SECRETS, **wrong}).machine_class())
    assert client.list_machines(farm.elsewhere().machine_class()) == {}
    driver.await_event(code="UNAUTHENTICATED")
    passwords = (LOGIN.password, "wr0ng-9c1e")
    assert not [line for line in driver.log if any(each in line for each in passwords)]


@contextmanager
def pool_of(host: Libvirtd, size: str) -> Iterator[str]:
    """Let a host have a pool of a size, with the image of an empty disk; yield its name."""
    name = "small"
    folder = host.pool.with_name(name)
    folder.mkdir(exist_ok=True)
    host.host.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        host.add_pool(name, folder)
        yield name
    finally:
        host.virsh("pool-destroy", name)
        host.virsh("pool-undefine", name)
        host.host.run("umount", folder)


@pytest.mark.parametrize(
    ("size", "user_data", "made"), [("450k", 1_000, ["root"]), ("1m", 500_000, ["data", "root"])]
)
def test_a_pool_is_full(
    farm: Farm, host: Libvirtd, client: Client, size: str, user_data: int, made: list[str]
) -> None:
    """It has no room for the second disk, or for the seed."""
    with pool_of(host, size) as pool:

        def volumes() -> list[str]:
            names = [line.split()[0] for line in host.virsh("vol-list", pool)]
            return sorted(name.rpartition("+")[2] for name in names if name != EMPTY)

        machine_class = farm.samples(pool=pool).machine_class({"userData": b"#" * user_data})
        with refused("RESOURCE_EXHAUSTED", "No space left"):
            client.create(machine_class, MACHINE)
        assert host.processes() == []
        assert volumes() == made
        (provider_id,) = client.list_machines(machine_class)
        client.delete(machine_class, MACHINE, provider_id)
        assert volumes() == []


def test_a_name_is_somebody_elses(
    host: Libvirtd, client: Client, machine_class: MachineClass, tmp_path: Path
) -> None:
    """The driver does not touch that domain, and leaves nothing of its own behind."""
    file = tmp_path / "stranger.xml"
    kind = "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
    file.write_text(
        f"<domain type='qemu'><name>{MACHINE}</name><memory unit='MiB'>64</memory>{kind}</domain>"
    )
    host.virsh("define", file)
    before = host.inventory()
    with refused("ALREADY_EXISTS", f"another domain {MACHINE}"):
        client.create(machine_class, MACHINE)
    client.delete(machine_class, MACHINE)
    assert client.list_machines(machine_class) == {}
    assert host.inventory() == before
    host.virsh("undefine", MACHINE)


def crash(host: Libvirtd) -> None:
    (qemu,) = host.processes()
    os.kill(qemu, signal.SIGKILL)
    await_value(lambda: host.domains().get(MACHINE), "shut off")


def rename(host: Libvirtd) -> None:
    host.virsh("destroy", MACHINE)
    host.virsh("domrename", MACHINE, "other")
    host.virsh("start", "other")


def snapshot_disks(host: Libvirtd) -> None:
    """Let the domain write into new files, whose names people have to choose."""
    named = {"vda": "root", "vdb": "data"}
    files = []
    for name, disk in named.items():
        (path,) = host.pool.glob(f"*+{disk}")
        files.append(f"--diskspec={name},file={path}.s1")
    host.virsh("snapshot-create-as", MACHINE, "s1", "--disk-only", *files)


BEHIND_ITS_BACK: dict[str, Callable[[Libvirtd], object]] = {
    "paused": lambda host: host.virsh("suspend", MACHINE),
    "crashed": crash,
    "stopped": lambda host: host.virsh("destroy", MACHINE),
    "undefined": lambda host: host.virsh("undefine", MACHINE),
    "renamed": rename,
    "snapshot": lambda host: host.virsh("snapshot-create-as", MACHINE, "s1"),
    "snapshot of the disks": snapshot_disks,
    "saved": lambda host: host.virsh("managedsave", MACHINE),
}


@pytest.mark.parametrize("change", BEHIND_ITS_BACK)
def test_a_domain_is_changed_behind_the_drivers_back(
    host: Libvirtd, client: Client, machine_class: MachineClass, change: str
) -> None:
    """It is still the machine's, and deleted with all that libvirt keeps with it."""
    created = client.create(machine_class, MACHINE)
    BEHIND_ITS_BACK[change](host)
    found = client.status(machine_class, MACHINE, created.ProviderID)
    assert (found.ProviderID, found.NodeName) == (created.ProviderID, MACHINE)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE, created.ProviderID)
    assert client.list_machines(machine_class) == {}


def test_a_domain_vanishes(host: Libvirtd, client: Client, machine_class: MachineClass) -> None:
    """Its disks are listed as the machine's until they are deleted."""
    created = client.create(machine_class, MACHINE)
    host.virsh("destroy", MACHINE)
    host.virsh("undefine", MACHINE)
    with refused("NOT_FOUND"):
        client.status(machine_class, MACHINE, created.ProviderID)
    assert client.list_machines(machine_class) == {created.ProviderID: MACHINE}
    client.delete(machine_class, MACHINE, created.ProviderID)


def test_the_variables_of_the_firmware_are_deleted(
    farm: Farm, host: Libvirtd, client: Client
) -> None:
    machine_class = farm.samples(firmware="efi", memoryMiB=256).machine_class()
    client.create(machine_class, MACHINE)
    assert any("nvram" in file for file in host.files())
    client.delete(machine_class, MACHINE)


def test_the_conformance_list(
    farm: Farm, driver: RunningDriver, other: Libvirtd, tmp_path: Path
) -> None:
    """On the host that asks for a login (C44), but without C34, which needs a guest system."""
    samples = farm.elsewhere().copy_to(tmp_path)
    items = ",".join(item for item in ITEMS if item != "C34")
    print(farm.client_prints(driver, samples, "conformance", f"--items={items}"))
