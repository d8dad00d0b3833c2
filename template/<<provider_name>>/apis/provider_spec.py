"""The provider spec and the secrets: `MachineClass.providerSpec` and the data of its Secret.

Fields are snake_case here and camelCase in YAML. Before any method is called, invalid input is
refused with INVALID_ARGUMENT and the path of every offending field (C8).

Labels such as C8 are items of the contract. `make test` ends with the list of all of them.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from cmi import Credential, SecretsModel, SpecModel, TaggedScope

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
"""1 to 63 lower-case letters, digits, '-' and '.'."""


class MachineScope(TaggedScope, extra="ignore"):
    """The fields needed to find a machine's VM: the region and the cluster's tags.

    Status, delete, shut-down and list validate only these.
    """

    region: Name = Field(description="Region of the cloud, such as north-1")


class Disk(SpecModel):
    """A disk that is created and deleted with the VM."""

    name: Name
    size_gib: int = Field(alias="sizeGiB", ge=1, description="Size in GiB")
    type: Literal["ssd", "hdd"] = "ssd"


class Network(SpecModel):
    """The network that the VM's interface is attached to."""

    subnet: Name
    security_groups: tuple[Name, ...] = ()


class ProviderSpec(MachineScope, extra="forbid"):
    """Everything that CreateMachine needs to know about a VM."""

    machine_type: Name = Field(description="Size of the VM, such as standard-2")
    image: Name = Field(description="Image of the first disk, such as linux-6.12")
    disks: tuple[Disk, ...] = Field(min_length=1, description="The VM boots from the first one")
    network: Network

    @field_validator("disks")
    @classmethod
    def _names_differ(cls, disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
        if len({disk.name for disk in disks}) < len(disks):
            raise ValueError("two disks have the same name")
        return disks


class Credentials(SecretsModel):
    """The keys of the Secret that every call needs (C49)."""

    api_token: Credential


class Secrets(Credentials):
    """The keys of the Secret that CreateMachine needs (C49)."""

    user_data: SecretStr = Field(
        description="cloud-init user data, which joins the VM to the cluster"
    )
