"""The provider spec: `MachineClass.providerSpec`, with the fields of Gardener's `AWSProviderSpec`.

Fields are snake_case here and camelCase in YAML. Before any call reaches EC2, invalid input is
refused with INVALID_ARGUMENT and the path of every offending field (C8).
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from cmi import TaggedScope

from .model import AWSModel, Unset
from .networks import NetworkInterface, check_interfaces
from .options import CapacityReservation, CpuOptions, Iam, InstanceMetadataOptions, Placement
from .secrets import Credentials, Secrets
from .volumes import BlockDevice, check_devices

__all__ = [
    "CLUSTER_TAG",
    "MACHINE_TAG",
    "NAME_TAG",
    "OWN_TAGS",
    "ROLE_TAG",
    "SPEC_TAG",
    "STEPS_TAG",
    "Credentials",
    "MachineScope",
    "ProviderSpec",
    "Secrets",
]

MACHINE_TAG: Final = "machine-name"
CLUSTER_TAG: Final = "machine-cluster"
ROLE_TAG: Final = "machine-role"
SPEC_TAG: Final = "machine-spec"
STEPS_TAG: Final = "machine-steps"
OWN_TAGS: Final = (MACHINE_TAG, CLUSTER_TAG, ROLE_TAG, SPEC_TAG, STEPS_TAG)
"""The driver's own tags: the machine's name, its cluster, its role, a fingerprint of its spec, and
whether steps remain."""
NAME_TAG: Final = "Name"
"""The name in consoles. The driver sets it unless the machine class does; people may change it."""

MAX_TAGS: Final = 50


class MachineScope(TaggedScope, AWSModel, extra="ignore"):
    """The fields needed to find a machine's instance: the region and the cluster's tags.

    Status, delete, shut-down and list validate only these.
    """

    region: str = Field(
        pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$", description="EC2 region, such as eu-west-1"
    )


class ProviderSpec(MachineScope, extra="forbid"):
    """Everything that CreateMachine needs to know about an instance."""

    api_version: Annotated[Literal["mcm.gardener.cloud/v1alpha1"] | None, Unset] = None
    ami: str = Field(pattern=r"^ami-[0-9a-f]{8,17}$", description="ID of the image")
    machine_type: str = Field(
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="Instance type, such as m7i.large"
    )
    network_interfaces: Annotated[list[NetworkInterface], AfterValidator(check_interfaces)] = Field(
        min_length=1, description="The first one is the primary one, unless an index says otherwise"
    )
    block_devices: Annotated[list[BlockDevice], AfterValidator(check_devices)] = Field(
        min_length=1, description="One of them is the image's root device"
    )
    iam: Iam | None = Field(default=None, description="Instance profile")
    key_name: Annotated[str | None, Unset] = Field(
        default=None, max_length=255, description="Key pair for SSH"
    )
    spot_price: str | None = Field(
        default=None,
        pattern=r"^([0-9]{1,6}(\.[0-9]{1,6})?)?$",
        description="Maximum price of a spot instance, in USD an hour; empty for no limit",
    )
    src_and_dst_checks_enabled: bool = Field(
        default=True, description="False lets the instance forward packets of others"
    )
    ebs_optimized: bool = False
    monitoring: bool = Field(default=False, description="Metrics every minute")
    instance_metadata_options: InstanceMetadataOptions | None = None
    cpu_options: CpuOptions | None = None
    capacity_reservation: CapacityReservation | None = None
    placement: Placement | None = None

    @field_validator("tags")
    @classmethod
    def _are_valid_in_ec2(cls, tags: dict[str, str]) -> dict[str, str]:
        for key, value in tags.items():
            if key in OWN_TAGS or key.lower().startswith("aws:"):
                raise ValueError(f"the tag {key} is reserved")
            if len(key) > 128 or len(value) > 256:
                raise ValueError(f"the tag {key[:32]} has over 128 characters, or its value 256")
        if len({*tags, *OWN_TAGS, NAME_TAG}) > MAX_TAGS:
            raise ValueError(f"are over {MAX_TAGS}, with those that the driver sets")
        return tags

    @model_validator(mode="after")
    def _has_one_market(self) -> "ProviderSpec":
        reserved = self.capacity_reservation
        if (
            self.spot_price is not None
            and reserved is not None
            and (reserved.is_ml_capacity_block or reserved.is_interruptible)
        ):
            raise ValueError("spotPrice and reserved capacity of another market exclude each other")
        return self
