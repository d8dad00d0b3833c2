"""Two hosts of libvirt's test driver, and what people see and do on them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from pycdlib import PyCdlib

import libvirt

from ..apis.provider_spec import Credentials
from ..domain import NAMESPACE, PREFIX, Record
from ..hosts import Connections
from ..volumes import VolumeName
from .gate import Gate

HOSTS: Final = ("rack1", "rack2")
USER, PASSWORD = "machine-driver", "change-me"
POOL, IMAGE = "default-pool", "debian-13.qcow2"
HOST_XML: Final = f"""
<node>
  <auth><user password="{PASSWORD}">{USER}</user></auth>
  <network><name>default</name><bridge name="virbr0"/></network>
  <pool type="dir">
    <name>{POOL}</name>
    <target><path>/{POOL}</path></target>
    <volume>
      <name>{IMAGE}</name>
      <capacity unit="GiB">3</capacity>
      <target><format type="qcow2"/></target>
    </volume>
  </pool>
</node>
"""
"""The initial contents of a host, in the format that the test driver reads."""

KIND: Final = libvirt.VIR_DOMAIN_METADATA_ELEMENT


def write_hosts(folder: Path) -> dict[str, str]:
    """Write the files that describe the hosts, and return the URIs of the hosts."""
    uris = {}
    for host in HOSTS:
        (folder / f"{host}.xml").write_text(HOST_XML)
        uris[host] = f"test://{folder}/{host}.xml"
    return uris


class Console:
    """What people do on the hosts. It refers to domains on the first host, by their machines.

    Each connection to such a host has its own state, so this uses the driver's connections.
    """

    def __init__(self, connections: Connections, gate: Gate) -> None:
        self._connections = connections
        self._gate = gate

    def host(self, name: str = HOSTS[0]) -> libvirt.virConnect:
        credentials = Credentials.model_validate({"username": USER, "password": PASSWORD})
        return self._connections.connect(name, credentials)

    def record(self, domain: libvirt.virDomain) -> Record | None:
        try:
            return Record.from_xml(domain.metadata(KIND, NAMESPACE))
        except libvirt.libvirtError:
            return None

    def domain(self, machine: str) -> libvirt.virDomain:
        for domain in self.host().listAllDomains():
            record = self.record(domain)
            if record and record.name == machine:
                return domain
        raise LookupError(machine)

    def volumes(self, host: str = HOSTS[0]) -> dict[str, libvirt.virStorageVol]:
        pool = self.host(host).storagePoolLookupByName(POOL)
        return {volume.name(): volume for volume in pool.listAllVolumes()}

    def volumes_of(self, machine: str) -> dict[str, libvirt.virStorageVol]:
        """Return the volumes of a machine, by the names of its disks."""
        named = {VolumeName.parse(name): volume for name, volume in self.volumes().items()}
        return {own.disk: each for own, each in named.items() if own and own.machine == machine}

    def snapshot(self) -> object:
        """Return all domains and volumes of both hosts."""
        return [
            (
                sorted(
                    (each.UUIDString(), each.XMLDesc()) for each in self.host(name).listAllDomains()
                ),
                sorted(self.volumes(name)),
            )
            for name in HOSTS
        ]

    def parts(self, machine: str) -> object:
        """Return the parts that a machine consists of."""
        domain = self.domain(machine)
        xml = ET.fromstring(domain.XMLDesc())
        record = self.record(domain)
        volumes = self.volumes_of(machine)
        return (
            (domain.state()[0], domain.autostart(), record and replace(record, name="")),
            [xml.findtext(path) for path in ("memory", "vcpu", "os/type")],
            [each.attrib for each in xml.iterfind("devices/interface/source")],
            {disk: volume.info()[1] for disk, volume in volumes.items()},
            {*self.seed(machine)},
        )

    def tags(self, machine: str) -> Mapping[str, str]:
        record = self.record(self.domain(machine))
        return record.tags if record else {}

    def seed(self, machine: str) -> dict[str, bytes]:
        """Return the files of a machine's seed, as a VM reads them."""
        disk = PyCdlib()
        disk.open_fp(BytesIO(self._gate.contents[self.volumes_of(machine)["seed"].key()]))
        files = {}
        for name in ("user-data", "meta-data"):
            content = BytesIO()
            disk.get_file_from_iso_fp(content, rr_path=f"/{name}")
            files[name] = content.getvalue()
        disk.close()
        return files

    def user_data(self, machine: str) -> bytes:
        return self.seed(machine)["user-data"]

    def meta_data(self, machine: str) -> Any:
        return json.loads(self.seed(machine)["meta-data"])

    def define(self, name: str, record: Record | None = None) -> libvirt.virDomain:
        """Define a domain by hand."""
        domain = self.host().defineXMLFlags(
            f"<domain type='test'><name>{name}</name><memory>65536</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        if record:
            self.note(domain, record)
        return domain

    def note(self, domain: libvirt.virDomain, record: Record) -> None:
        """Write a record into a domain."""
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
        domain.setMetadata(KIND, record.to_xml(), PREFIX, NAMESPACE, flags)

    def duplicate(self, machine: str) -> None:
        """Define a second domain for a machine."""
        self.define(f"{machine}-copy", self.record(self.domain(machine))).create()

    def rename(self, machine: str, name: str) -> None:
        """Rename a domain, which people have to stop first."""
        domain = self.domain(machine)
        domain.destroy()
        domain.rename(name)
        domain.create()

    def unname(self, machine: str) -> None:
        domain = self.domain(machine)
        record = self.record(domain)
        assert record
        self.rename(machine, f"domain-{domain.UUIDString()}")
        self.note(domain, replace(record, name=""))

    def vanish(self, machine: str) -> None:
        """Remove a domain, and keep its volumes."""
        domain = self.domain(machine)
        domain.destroy()
        domain.undefineFlags(0)

    @contextmanager
    def stranger(self, name: str) -> Iterator[None]:
        domain = self.define(name)
        yield
        domain.undefineFlags(0)
