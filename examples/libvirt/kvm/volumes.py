"""The volumes of VMs. libvirt keeps nothing with a volume, so its name says whose it is."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

from cmi import InvalidArgument

from .apis.provider_spec import SEED, MachineScope, ProviderSpec

GIB: Final = 1024**3
MAX_NAME_BYTES: Final = 255
"""What Linux allows for the name of a file."""


class VolumeName(NamedTuple):
    """The name of a volume, in its parts. The ID of the domain makes it unique on the host."""

    cluster: str
    role: str
    machine: str
    domain_id: str
    disk: str

    def __str__(self) -> str:
        return "+".join(quote(part, safe="") for part in self)

    @classmethod
    def parse(cls, name: str) -> "VolumeName | None":
        """Return the parts of a name, or None if the driver has not given it."""
        parts = [unquote(part) for part in name.split("+")]
        return cls(*parts) if len(parts) == len(cls._fields) else None


class Image(NamedTuple):
    """A volume that disks start from.

    Attributes:
        path: Where it is on the host.
        format: Its format, such as `qcow2`.
        size: Its size in bytes.
    """

    path: str
    format: str
    size: int

    @classmethod
    def from_xml(cls, xml: str) -> "Image":
        """Read what libvirt tells of a volume."""
        volume = ET.fromstring(xml)  # noqa: S314 - libvirt wrote the XML
        shape = volume.find("target/format")
        return cls(
            path=volume.findtext("target/path", ""),
            format="raw" if shape is None else shape.get("type", "raw"),
            size=int(volume.findtext("capacity", "0")),
        )


def volume_names(
    scope: MachineScope, machine: str, domain_id: str, disks: Sequence[str]
) -> list[str]:
    """Return the names of a machine's volumes, the seed the last one.

    Raises:
        InvalidArgument: One is longer than a file's name may be.
    """
    own = (scope.cluster, scope.role, machine, domain_id)
    names = [str(VolumeName(*own, disk)) for disk in (*disks, SEED)]
    if max(map(len, names)) > MAX_NAME_BYTES:
        raise InvalidArgument(
            "providerSpec: cluster, role, machine and disk have names that are too long for a file"
        )
    return names


def check_size(spec: ProviderSpec, image: Image) -> None:
    """Check that the first disk holds the image.

    Raises:
        InvalidArgument: It is smaller; libvirt would cut the image off.
    """
    if spec.disks[0].size_gib * GIB < image.size:
        raise InvalidArgument(
            f"providerSpec.disks[0].sizeGiB: the image {spec.image} needs {-(-image.size // GIB)}"
        )


def disk_xml(name: str, size_gib: int, image: Image | None) -> str:
    """Return the XML of a disk: an empty one, or one that starts as a copy of an image.

    The copy is made as the VM writes. So the image has to stay for as long as there are VMs.
    """
    volume = _volume(name, size_gib * GIB, "qcow2")
    ET.SubElement(volume, "allocation").text = "0"
    if image:
        backing = ET.SubElement(volume, "backingStore")
        ET.SubElement(backing, "path").text = image.path
        ET.SubElement(backing, "format", type=image.format)
    return ET.tostring(volume, encoding="unicode")


def seed_xml(name: str, size: int) -> str:
    """Return the XML of a volume for a seed of so many bytes."""
    return ET.tostring(_volume(name, size, "raw"), encoding="unicode")


def _volume(name: str, size: int, shape: str) -> ET.Element:
    volume = ET.Element("volume")
    ET.SubElement(volume, "name").text = name
    ET.SubElement(volume, "capacity", unit="bytes").text = str(size)
    ET.SubElement(ET.SubElement(volume, "target"), "format", type=shape)
    return volume
