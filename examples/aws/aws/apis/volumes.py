"""Block devices: `blockDevices` of the provider spec, with Gardener's field names.

The limits of volumes come from EC2's API reference (`EbsBlockDevice`) and the EBS user guide.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from .model import AWSModel, Unset

ROOT_ALIAS: Final = "/root"
"""The device that the image boots from, whatever its name in the image."""

_is_device_name = re.compile(r"/root|/dev/(sd[a-z][0-9]{0,2}|xvd[a-z]{1,2})").fullmatch


@dataclass(frozen=True, slots=True)
class VolumeType:
    """EBS's limits for one volume type.

    Attributes:
        size: Minimum and maximum size, in GiB.
        iops: Minimum and maximum IOPS that can be set; None if they depend on the size.
        iops_per_gib: Maximum IOPS for each GiB; `iops[0]` is always possible.
        boots: Whether an instance can boot from it.
    """

    size: tuple[int, int]
    iops: tuple[int, int] | None = None
    iops_per_gib: int = 0
    boots: bool = True


VOLUME_TYPES: Final = {
    "gp2": VolumeType(size=(1, 16_384)),
    "gp3": VolumeType(size=(1, 65_536), iops=(3_000, 80_000), iops_per_gib=500),
    "io1": VolumeType(size=(4, 16_384), iops=(100, 64_000), iops_per_gib=50),
    "io2": VolumeType(size=(4, 65_536), iops=(100, 256_000), iops_per_gib=1_000),
    "st1": VolumeType(size=(125, 16_384), boots=False),
    "sc1": VolumeType(size=(125, 16_384), boots=False),
    "standard": VolumeType(size=(1, 1_024)),
}
GP3_IOPS: Final = 3_000
"""The default IOPS of a gp3 volume."""
IOPS_PER_MIBPS: Final = 4
"""The minimum IOPS of a gp3 volume for each MiB/s of throughput."""


class Ebs(AWSModel):
    """An EBS volume that is created with the instance."""

    volume_size: Annotated[int | None, Unset] = Field(
        default=None, description="In GiB; optional only for a volume from a snapshot"
    )
    volume_type: Literal["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"] = "gp3"
    iops: Annotated[int | None, Unset] = Field(
        default=None, description="Mandatory for io1 and io2; optional for gp3, which has 3000"
    )
    throughput: int | None = Field(
        default=None, ge=125, le=2_000, description="In MiB/s; only for gp3"
    )
    encrypted: bool = Field(
        default=False, description="The account may encrypt all volumes by default"
    )
    kms_key_id: Annotated[str | None, Unset] = Field(
        default=None, alias="kmsKeyID", max_length=2_048, description="Key to encrypt with"
    )
    snapshot_id: Annotated[str | None, Unset] = Field(
        default=None, alias="snapshotID", pattern=r"^snap-[0-9a-f]{8,17}$"
    )
    delete_on_termination: bool = Field(
        default=True, description="False keeps the volume when the machine is deleted"
    )

    @model_validator(mode="after")
    def _is_offered(self) -> "Ebs":
        problems = [*self._size_problems(), *self._iops_problems(), *self._throughput_problems()]
        if self.kms_key_id and not self.encrypted:
            problems.append("kmsKeyID needs encrypted: true")
        if problems:
            raise ValueError(", ".join(problems))
        return self

    def _size_problems(self) -> list[str]:
        if self.volume_size is None:
            return [] if self.snapshot_id else ["volumeSize is missing"]
        least, most = VOLUME_TYPES[self.volume_type].size
        if least <= self.volume_size <= most:
            return []
        return [f"volumeSize of {self.volume_type} is {least} to {most}, not {self.volume_size}"]

    def _iops_problems(self) -> list[str]:
        kind, offered = self.volume_type, VOLUME_TYPES[self.volume_type]
        if offered.iops is None:
            return [] if self.iops is None else [f"iops can't be set for {kind}"]
        if self.iops is None:
            return [] if kind == "gp3" else [f"iops is missing, and {kind} needs it"]
        least, most = offered.iops
        if self.volume_size is not None:
            most = min(most, max(least, offered.iops_per_gib * self.volume_size))
        if least <= self.iops <= most:
            return []
        size = f"{self.volume_size} GiB " if self.volume_size else ""
        return [f"iops of {size}{kind} is {least} to {most}, not {self.iops}"]

    def _throughput_problems(self) -> list[str]:
        if self.throughput is None:
            return []
        if self.volume_type != "gp3":
            return [f"throughput can't be set for {self.volume_type}"]
        needed = IOPS_PER_MIBPS * self.throughput
        if (self.iops or GP3_IOPS) >= needed:
            return []
        return [f"throughput {self.throughput} needs at least {needed} iops"]


class BlockDevice(AWSModel):
    """An EBS volume, a disk of the host, or a device of the image that is left out."""

    device_name: str = Field(
        default=ROOT_ALIAS,
        description="Such as /dev/sdf; /root, or a single device, is the image's root device",
    )
    ebs: Ebs | None = None
    no_device: str | None = Field(
        default=None, description="If not empty, or alone: leave out the image's device"
    )
    virtual_name: Annotated[str | None, Unset] = Field(
        default=None,
        pattern=r"^ephemeral([0-9]|1[0-9]|2[0-3])$",
        description="A disk of the host, such as ephemeral0",
    )

    @property
    def is_left_out(self) -> bool:
        """Whether the image's device is left out."""
        return self.no_device is not None and not (self.ebs or self.virtual_name)

    @model_validator(mode="after")
    def _is_one_thing(self) -> "BlockDevice":
        said = [self.ebs is not None, bool(self.no_device), self.virtual_name is not None]
        if sum(said) > 1 or not (any(said) or self.is_left_out):
            raise ValueError("needs exactly one of ebs, virtualName and noDevice")
        return self


def check_devices(devices: list[BlockDevice]) -> list[BlockDevice]:
    """Check the devices of an instance and return them; for pydantic's `AfterValidator`.

    Raises:
        ValueError: They can't be combined.
    """
    names = [device.device_name for device in devices]
    if len(set(names)) < len(names):
        raise ValueError("two block devices have the same deviceName")
    for name in names if len(names) > 1 else ():
        if not _is_device_name(name):
            raise ValueError(f"a deviceName is {ROOT_ALIAS}, or such as /dev/sdf or /dev/xvdf")
    boots = devices[0] if len(devices) == 1 else _named(devices, ROOT_ALIAS)
    if boots and not boots.ebs:
        raise ValueError("the root device needs ebs")
    if boots and boots.ebs and not VOLUME_TYPES[boots.ebs.volume_type].boots:
        raise ValueError(f"the root device boots, and {boots.ebs.volume_type} can't")
    return devices


def named_devices(devices: list[BlockDevice], root: str) -> dict[str, BlockDevice]:
    """Return the devices by their names in EC2.

    If none of them were the image's root device, EC2 would create another volume, unencrypted and
    as small as the image, and boot from that.

    Args:
        devices: The devices in the provider spec.
        root: The name of the device that the image boots from.

    Raises:
        ValueError: None of the devices is the root device, or two are.
    """
    if len(devices) == 1:
        return {root: devices[0]}
    named = {root if each.device_name == ROOT_ALIAS else each.device_name: each for each in devices}
    if len(named) < len(devices):
        raise ValueError(f"{ROOT_ALIAS} and {root} are the same device of this image")
    if root not in named:
        raise ValueError(f"none is {root}, which the image boots from; {ROOT_ALIAS} stands for it")
    return named


def _named(devices: list[BlockDevice], name: str) -> BlockDevice | None:
    return next((each for each in devices if each.device_name == name), None)
