"""The provider spec and the secrets: `MachineClass.providerSpec` and the data of its Secret.

Fields are snake_case here and camelCase in YAML. What does not fit is refused with
INVALID_ARGUMENT and the path of every offending field, before EC2 is asked (C8). The limits of
volumes are those of EC2's API reference (`EbsBlockDevice`) and of the EBS user guide.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from cmi import Credential, SecretsModel, SpecModel, TaggedScope

Region = Annotated[str, Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$")]
ImageId = Annotated[str, Field(pattern=r"^ami-[0-9a-f]{8,17}$")]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]

MACHINE_TAG: Final = "machine-name"
SPEC_TAG: Final = "machine-spec"
"""The driver's own tags: the machine's name, and what the instance was made from."""
NAME_TAG: Final = "Name"
"""What consoles show. The driver sets it, unless the machine class does; people may change it."""

ROOT_ALIAS: Final = "/root"
"""The device that the image boots from, whatever the image calls it."""

MAX_TAGS: Final = 50
MAX_USER_DATA_BYTES: Final = 16 * 1024


class MachineScope(TaggedScope, extra="ignore"):
    """What is needed to find a machine's instance: the region, and the tags of the cluster.

    All that status, delete, shut-down and list validate.
    """

    region: Region = Field(description="Region of EC2, such as eu-west-1")


@dataclass(frozen=True, slots=True)
class VolumeType:
    """What EBS offers of one volume type.

    Attributes:
        size: Smallest and largest size, in GiB.
        iops: Fewest and most IOPS that can be asked for; None if they follow from the size.
        iops_per_gib: The most IOPS for each GiB; `iops[0]` are always possible.
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
}
GP3_IOPS: Final = 3_000
"""What a gp3 volume has if nothing is asked for."""
IOPS_PER_MIBPS: Final = 4
"""The fewest IOPS of a gp3 volume for each MiB/s of throughput."""


class BlockDevice(SpecModel):
    """A volume that is created with the instance."""

    device_name: str = Field(
        pattern=r"^(/root|/dev/(sd[a-z][0-9]{0,2}|xvd[a-z]{1,2}))$",
        description="Such as /dev/sdf; the first one boots, and /root is the image's root device",
    )
    size_gib: int = Field(alias="sizeGiB", description="Size in GiB")
    type: Literal["gp2", "gp3", "io1", "io2", "st1", "sc1"] = "gp3"
    iops: int | None = Field(default=None, description="For io1 and io2 mandatory, for gp3 more")
    throughput: int | None = Field(
        default=None, ge=125, le=2_000, description="In MiB/s, for gp3 only"
    )
    encrypted: bool = True
    delete_on_termination: bool = Field(
        default=True, description="False keeps the volume when the machine is deleted"
    )

    @model_validator(mode="after")
    def _is_offered(self) -> "BlockDevice":
        problems = [*self._size_problems(), *self._iops_problems(), *self._throughput_problems()]
        if problems:
            raise ValueError(", ".join(problems))
        return self

    def _size_problems(self) -> list[str]:
        least, most = VOLUME_TYPES[self.type].size
        if least <= self.size_gib <= most:
            return []
        return [f"sizeGiB of {self.type} is {least} to {most}, not {self.size_gib}"]

    def _iops_problems(self) -> list[str]:
        offered = VOLUME_TYPES[self.type]
        if offered.iops is None:
            return [] if self.iops is None else [f"iops can't be set for {self.type}"]
        if self.iops is None:
            return [] if self.type == "gp3" else [f"iops is missing, and {self.type} needs it"]
        least, most = offered.iops
        most = min(most, max(least, offered.iops_per_gib * self.size_gib))
        if least <= self.iops <= most:
            return []
        return [f"iops of {self.size_gib} GiB {self.type} is {least} to {most}, not {self.iops}"]

    def _throughput_problems(self) -> list[str]:
        if self.throughput is None:
            return []
        if self.type != "gp3":
            return [f"throughput can't be set for {self.type}"]
        needed = IOPS_PER_MIBPS * self.throughput
        if (self.iops or GP3_IOPS) >= needed:
            return []
        return [f"throughput {self.throughput} needs at least {needed} iops"]


class Spot(SpecModel):
    """Run the instance on spare capacity; EC2 may take it back."""

    max_price: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,6}(\.[0-9]{1,6})?$",
        description="The most to pay, in USD an hour; without it up to the on-demand price",
    )


class ProviderSpec(MachineScope, extra="forbid"):
    """All that CreateMachine needs to know about an instance."""

    ami: ImageId
    machine_type: str = Field(
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="Instance type, such as m7i.large"
    )
    subnet: SubnetId
    security_groups: tuple[SecurityGroupId, ...] = Field(min_length=1, max_length=16)
    block_devices: tuple[BlockDevice, ...] = Field(min_length=1, description="The first one boots")
    iam_instance_profile: str | None = Field(
        default=None, pattern=r"^[\w+=,.@-]{1,128}$", description="Name of the instance profile"
    )
    key_name: str | None = Field(default=None, min_length=1, max_length=255)
    spot: Spot | None = Field(default=None, description="{} for a spot instance")

    @field_validator("block_devices")
    @classmethod
    def _fit_together(cls, devices: tuple[BlockDevice, ...]) -> tuple[BlockDevice, ...]:
        if len({device.device_name for device in devices}) < len(devices):
            raise ValueError("two block devices have the same deviceName")
        if any(device.device_name == ROOT_ALIAS for device in devices[1:]):
            raise ValueError(f"{ROOT_ALIAS} is not the first, and the first one boots")
        if devices and not VOLUME_TYPES[devices[0].type].boots:
            raise ValueError(f"the first block device boots, and {devices[0].type} can't")
        return devices

    @field_validator("tags")
    @classmethod
    def _are_tags_of_ec2(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if key in (MACHINE_TAG, SPEC_TAG) or key.lower().startswith("aws:"):
                raise ValueError(f"the tag {key} is reserved")
            if len(key) > 128 or len(value) > 256:
                raise ValueError(f"the tag {key[:32]} has over 128 characters, or its value 256")
        if len({*tags, MACHINE_TAG, SPEC_TAG, NAME_TAG}) > MAX_TAGS:
            raise ValueError(f"are over {MAX_TAGS}, with the three that the driver sets")
        return tags


def _can_be_a_key(secret: SecretStr) -> SecretStr:
    """Take off what files and editors put around a key.

    What can't stand in an HTTP header is refused here: boto3's error would quote the header.
    """
    text = secret.get_secret_value().strip("\ufeff \t\r\n")
    if not re.fullmatch(r"[A-Za-z0-9/+=_-]+", text):
        raise ValueError("holds blanks, quotes or other characters that no key of AWS has")
    return SecretStr(text)


Key = Annotated[Credential, AfterValidator(_can_be_a_key)]


class Credentials(SecretsModel):
    """The keys of the Secret that every call needs (C49), as Gardener names them."""

    access_key_id: Key = Field(alias="accessKeyID")
    secret_access_key: Key


class Secrets(Credentials):
    """The keys of the Secret that CreateMachine needs (C49)."""

    user_data: SecretStr = Field(
        description="cloud-init user data, which joins the instance to the cluster"
    )

    @field_validator("user_data")
    @classmethod
    def _is_taken_by_ec2(cls, user_data: SecretStr) -> SecretStr:
        size = len(user_data.get_secret_value().encode())
        if size > MAX_USER_DATA_BYTES:
            raise ValueError(f"is {size} bytes, and EC2 takes {MAX_USER_DATA_BYTES}")
        return user_data
