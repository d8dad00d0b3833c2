"""What libvirt is told of a VM: the XML of its domain, and the driver's own record in it.

A domain has no tags, but it can hold metadata in an XML namespace of the driver's own. That is
where the driver notes whose VM it is, and how far its creation has come.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from .apis.provider_spec import Network, ProviderSpec

NAMESPACE: Final = "urn:machine-controller-manager:machine"
PREFIX: Final = "mcm"
ET.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the driver notes in a domain's metadata.

    Attributes:
        name: The machine's name.
        cluster: Its cluster.
        role: Its role.
        made_from: The fingerprint of the spec it was created from.
        tags: The tags of the spec.
        is_finished: Whether it has been started. One that is not will be created again.
        failure: Why it can never be started; empty otherwise.
    """

    name: str = ""
    cluster: str = ""
    role: str = ""
    made_from: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    is_finished: bool = False
    failure: str = ""

    @property
    def owner(self) -> tuple[str, str, str]:
        """Whose the domain is: cluster, role and machine."""
        return self.cluster, self.role, self.name

    @classmethod
    def from_xml(cls, xml: str) -> "Record":
        """Read a record; one that people have broken belongs to nobody."""
        try:
            said = json.loads(ET.fromstring(xml).text or "")  # noqa: S314 - libvirt wrote the XML
            return cls(**said)
        except (ET.ParseError, TypeError, ValueError):
            return cls()

    def to_xml(self) -> str:
        """Write it as libvirt takes it: without the namespace, which is an argument of its own."""
        element = ET.Element("machine")
        element.text = self._text()
        return ET.tostring(element, encoding="unicode")

    def add_to(self, domain: ET.Element) -> None:
        """Add it to the XML of a domain."""
        metadata = ET.SubElement(domain, "metadata")
        ET.SubElement(metadata, f"{{{NAMESPACE}}}machine").text = self._text()

    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def domain_xml(uuid: str, record: Record, spec: ProviderSpec, volumes: Sequence[str]) -> str:
    """Return the XML of a domain.

    Args:
        uuid: Its ID.
        record: The driver's record.
        spec: What it is made from.
        volumes: The names of its volumes, the first one to boot from, and the seed the last one.
    """
    domain = ET.Element("domain", type=spec.hypervisor)
    _add(domain, "name", record.name)
    _add(domain, "uuid", uuid)
    record.add_to(domain)
    _add(domain, "memory", spec.memory_mib, unit="MiB")
    _add(domain, "vcpu", spec.vcpus)
    system = _add(domain, "os", firmware="efi") if spec.firmware == "efi" else _add(domain, "os")
    _add(system, "type", "hvm", arch=spec.architecture, machine=spec.machine_type)
    _add(system, "boot", dev="hd")
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(domain, "cpu", mode=spec.cpu_mode)
    devices = _add(domain, "devices")
    for index, volume in enumerate(volumes):
        is_seed = index == len(volumes) - 1
        disk = _add(devices, "disk", type="volume", device="disk")
        _add(disk, "driver", name="qemu", type="raw" if is_seed else "qcow2")
        _add(disk, "source", pool=spec.pool, volume=volume)
        _add(disk, "target", dev=f"vd{chr(ord('a') + index)}", bus="virtio")
        if is_seed:
            _add(disk, "readonly")
    for index, network in enumerate(spec.networks):
        _add_interface(devices, network, mac_address(record, index))
    _add(_add(devices, "serial", type="pty"), "target", port="0")  # for `virsh console`
    _add(_add(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    return ET.tostring(domain, encoding="unicode")


def _add_interface(devices: ET.Element, network: Network, address: str) -> None:
    kind = "network" if network.network else "bridge"
    interface = _add(devices, "interface", type=kind)
    _add(interface, "mac", address=address)
    _add(interface, "source", **{kind: network.network or network.bridge or ""})
    _add(interface, "model", type=network.model)


def mac_address(record: Record, index: int) -> str:
    """Return the address of an interface, so that a DHCP server knows a machine again.

    The first byte says that the address is administered locally, and no multicast.
    """
    text = json.dumps([record.cluster, record.role, record.name, index])
    return "52:" + hashlib.sha256(text.encode()).digest()[:5].hex(":")


def _add(parent: ET.Element, tag: str, text: object = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = None if text is None else str(text)
    return element
