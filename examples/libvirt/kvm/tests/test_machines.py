"""What the conformance kit can't know: how a machine class becomes a domain of libvirt."""

import errno
import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import libvirt
from cmi.testing import Client, MachineClass, Samples, refused

from ..hypervisor import Hypervisor
from ..volumes import VolumeName
from .console import HOSTS, IMAGE, POOL, Console
from .gate import LOST, Gate, error, failing


def test_a_domain_is_as_its_spec_says(client: Client, console: Console, samples: Samples) -> None:
    networks = [{"network": "default"}, {"bridge": "br0", "model": "e1000e"}]
    created = client.create(samples.machine_class(networks=networks, autostart=False), "as-said")
    domain = console.domain("as-said")
    assert created.ProviderID == f"libvirt:///{HOSTS[0]}/{domain.UUIDString()}"
    assert created.NodeName == domain.name() == "as-said"
    xml = ET.fromstring(domain.XMLDesc())
    assert xml.findtext("memory") == str(4096 * 1024)
    assert xml.findtext("vcpu") == "2"
    sources = [each.attrib for each in xml.iterfind("devices/interface/source")]
    assert [each.get("network") or each.get("bridge") for each in sources] == ["default", "br0"]
    addresses = [each.attrib["address"] for each in xml.iterfind("devices/interface/mac")]
    assert len({*addresses}) == 2
    assert {address[:3] for address in addresses} == {"52:"}
    assert domain.autostart() == 0
    disks = [each.attrib["volume"] for each in xml.iterfind("devices/disk/source")]
    assert [own.disk for own in map(VolumeName.parse, disks) if own] == ["root", "data", "seed"]
    root = ET.fromstring(console.volumes_of("as-said")["root"].XMLDesc())
    assert root.findtext("backingStore/path") == f"/{POOL}/{IMAGE}"
    assert root.findtext("capacity") == str(20 * 1024**3)


def test_the_seed_tells_the_vm_who_it_is(
    client: Client, console: Console, machine_class: MachineClass
) -> None:
    created = client.create(machine_class, "seeded")
    seed = console.seed("seeded")
    assert seed["user-data"] == machine_class.secrets["userData"]
    instance = created.ProviderID.rpartition("/")[2]
    assert json.loads(seed["meta-data"]) == {"instance-id": instance, "local-hostname": "seeded"}


@pytest.mark.parametrize(
    "user_data", [b"\x1f\x8b\x00 not text \xff", b"</domain>]]>\n$(reboot)`'\"", b"x" * 200_000]
)
def test_user_data_arrives_as_it_is(
    client: Client, console: Console, samples: Samples, user_data: bytes
) -> None:
    """User data may be gzip or MIME, and neither a shell nor XML may change it."""
    client.create(samples.machine_class({"userData": user_data}), "raw")
    assert console.user_data("raw") == user_data
    client.delete(samples.machine_class(), "raw")


def test_a_machine_keeps_its_address(
    client: Client, console: Console, machine_class: MachineClass
) -> None:
    found = set()
    for _ in range(2):
        client.create(machine_class, "again")
        xml = ET.fromstring(console.domain("again").XMLDesc())
        found |= {each.attrib["address"] for each in xml.iterfind("devices/interface/mac")}
        client.delete(machine_class, "again")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"host": "moon"}, "INVALID_ARGUMENT", "providerSpec.host: moon is none of"),
        ({"host": "qemu:///system"}, "INVALID_ARGUMENT", "providerSpec.host"),
        ({"pool": "moon"}, "INVALID_ARGUMENT", "no storage pool with matching name 'moon'"),
        ({"image": "dos.img"}, "INVALID_ARGUMENT", "no storage vol with matching name 'dos.img'"),
        ({"networks": [{"network": "moon"}]}, "INVALID_ARGUMENT", "moon"),
        ({"networks": [{"network": "a", "bridge": "b"}]}, "INVALID_ARGUMENT", "networks[0]"),
        ({"disks": [{"name": "root", "sizeGiB": 2}]}, "INVALID_ARGUMENT", "needs 3"),
        ({"disks": [{"name": "seed", "sizeGiB": 9}]}, "INVALID_ARGUMENT", "seed"),
        ({"disks": [{"name": "a", "sizeGiB": 9}] * 2}, "INVALID_ARGUMENT", "same name"),
        ({"machineType": "<q35/>"}, "INVALID_ARGUMENT", "machineType"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_host_does_not_have_is_refused(
    client: Client,
    console: Console,
    samples: Samples,
    fields: dict[str, Any],
    code: str,
    message: str,
) -> None:
    """C13: the driver creates nothing."""
    before = console.snapshot()
    with refused(code, message):
        client.create(samples.machine_class(**fields), "m1")
    assert console.snapshot() == before


def test_a_secret_without_user_data_is_refused(client: Client, samples: Samples) -> None:
    """C49."""
    for user_data in (None, b""):
        with refused("INVALID_ARGUMENT", "secrets.userData"):
            client.create(samples.machine_class({"userData": user_data}), "m1")


def test_a_domain_that_can_never_start_is_deleted(
    client: Client, gate: Gate, console: Console, machine_class: MachineClass
) -> None:
    """For example, QEMU reports only at the start that the host does not have the domain's CPU."""
    before = console.snapshot()
    unsupported = error(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, "CPU mode 'maximum' is not supported")
    with (
        gate.fault(failing(unsupported, "virDomain.create", times=1)),
        refused("INVALID_ARGUMENT", "CPU mode"),
    ):
        client.create(machine_class, "hopeless")
    assert console.snapshot() == before
    client.create(machine_class, "hopeless")


def test_a_full_pool(
    client: Client, gate: Gate, console: Console, machine_class: MachineClass
) -> None:
    """C13: the machine is listed until MCM deletes it, or until there is space again."""
    full = error(libvirt.VIR_ERR_SYSTEM_ERROR, "full", libvirt.VIR_FROM_STORAGE, errno.ENOSPC)
    with gate.failing(full, "virStorageVol.upload"), refused("RESOURCE_EXHAUSTED", "full"):
        client.create(machine_class, "full")
    (provider_id,) = client.list_machines(machine_class)
    with refused("NOT_FOUND"):
        client.status(machine_class, "full", provider_id)
    assert client.create(machine_class, "full").ProviderID == provider_id
    assert {*console.volumes_of("full")} == {"root", "data", "seed"}


def test_a_lost_connection_is_passing_trouble(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    with gate.fault(failing(LOST, "virDomain.create", times=2)) as struck:
        client.create(machine_class, "bumpy")
        assert struck.is_set()
    assert [*client.list_machines(machine_class).values()] == ["bumpy"]


@pytest.mark.parametrize("how", ["suspend", "destroy", "shutdown"])
def test_a_domain_that_somebody_stopped(
    client: Client, console: Console, machine_class: MachineClass, how: str
) -> None:
    """Nobody knows why it was stopped, so the driver does not start it again."""
    created = client.create(machine_class, how)
    getattr(console.domain(how), how)()
    assert client.status(machine_class, how).ProviderID == created.ProviderID
    with refused("FAILED_PRECONDITION", "stopped"):
        client.create(machine_class, how)
    client.delete(machine_class, how, created.ProviderID)
    assert client.list_machines(machine_class) == {}


def test_an_earlier_call_may_have_started_the_domain(
    client: Client, console: Console, machine_class: MachineClass
) -> None:
    """Nothing stops a request of a call that was given up, so its start may come first."""
    client.create(machine_class, "started")
    domain = console.domain("started")
    Hypervisor(console.host).start_domain(domain.UUIDString(), autostart=True)
    assert domain.isActive()


def test_a_domain_with_a_saved_state_and_a_snapshot(
    client: Client, console: Console, machine_class: MachineClass
) -> None:
    before = console.snapshot()
    created = client.create(machine_class, "saved")
    console.domain("saved").snapshotCreateXML("<domainsnapshot/>")
    console.domain("saved").managedSave()
    client.delete(machine_class, "saved", created.ProviderID)
    assert console.snapshot() == before


def test_a_record_that_somebody_broke(
    client: Client, console: Console, machine_class: MachineClass
) -> None:
    """The domain then belongs to no machine, and its name is occupied. All others are listed."""
    created = client.create(machine_class, "whole")
    with console.stranger("broken"):
        domain = console.host().lookupByName("broken")
        kind, config = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        uri = "urn:machine-controller-manager:machine"
        for text in ("<machine/>", "<machine>[]</machine>", '<machine>{"x": 1}</machine>'):
            domain.setMetadata(kind, text, "mcm", uri, config)
            assert client.list_machines(machine_class) == {created.ProviderID: "whole"}
        with refused("ALREADY_EXISTS", domain.UUIDString()):
            client.create(machine_class, "broken")


def test_hosts_are_apart(client: Client, console: Console, samples: Samples) -> None:
    """Each host may use a name, and the provider ID says which host is meant."""
    made = {
        host: client.create(samples.machine_class(host=host), "twin").ProviderID for host in HOSTS
    }
    for host in HOSTS:
        assert client.list_machines(samples.machine_class(host=host)) == {made[host]: "twin"}
    client.delete(samples.machine_class(host=HOSTS[1]), "twin", made[HOSTS[0]])
    assert client.list_machines(samples.machine_class(host=HOSTS[0])) == {}
    assert client.list_machines(samples.machine_class(host=HOSTS[1])) == {made[HOSTS[1]]: "twin"}
    client.delete(samples.machine_class(host=HOSTS[1]), "twin")
    with refused("NOT_FOUND"):
        client.status(samples.machine_class(), "twin", f"libvirt:///{HOSTS[0]}/no-uuid")
