"""The provider spec and the secrets: `MachineClass.providerSpec` and the data of its Secret.

Fields are snake_case here and camelCase in YAML. Before any call reaches EC2, invalid input is
refused with INVALID_ARGUMENT and the path of every offending field (C8).
"""

from typing import Final, Literal

from pydantic import Field, SecretStr

from cmi import Credential, SecretsModel, SpecModel, TaggedScope

MACHINE_TAG: Final = "machine-name"
SPEC_TAG: Final = "machine-spec"
"""The driver's own tags: the machine's name, and a fingerprint of its spec."""


class MachineScope(TaggedScope, extra="ignore"):
    """The fields needed to find a machine's instance: the region and the cluster's tags.

    Status, delete, shut-down and list validate only these.
    """

    region: str = Field(
        pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$", description="EC2 region, such as eu-west-1"
    )


class NetworkInterface(SpecModel):
    """The network interface that is created with the instance."""

    subnet_id: str = Field(alias="subnetID", pattern=r"^subnet-[0-9a-f]{8,17}$")
    security_group_ids: list[str] = Field(alias="securityGroupIDs", min_length=1, max_length=16)


class Ebs(SpecModel):
    """The volume that the instance boots from."""

    volume_size: int = Field(ge=1, le=16_384, description="In GiB")
    volume_type: Literal["gp2", "gp3"] = "gp3"
    encrypted: bool = False


class BlockDevice(SpecModel):
    """The image's root device."""

    device_name: Literal["/root"]
    ebs: Ebs


class Iam(SpecModel):
    """The instance profile."""

    name: str = Field(pattern=r"^[\w+=,.@-]{1,128}$")


class ProviderSpec(MachineScope, extra="forbid"):
    """Everything that CreateMachine needs to know about an instance."""

    ami: str = Field(pattern=r"^ami-[0-9a-f]{8,17}$", description="ID of the image")
    machine_type: str = Field(
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="Instance type, such as m7i.large"
    )
    network_interfaces: list[NetworkInterface] = Field(min_length=1, max_length=1)
    block_devices: list[BlockDevice] = Field(min_length=1, max_length=1)
    iam: Iam | None = None


class Credentials(SecretsModel):
    """The keys of the Secret that every call needs (C49)."""

    access_key_id: Credential = Field(alias="accessKeyID")
    secret_access_key: Credential


class Secrets(Credentials):
    """The keys of the Secret that CreateMachine needs (C49)."""

    user_data: SecretStr = Field(description="The script that joins the instance to the cluster")
