"""How and where an instance runs: small parts of the provider spec, with Gardener's field names.

The limits come from EC2's API reference (`RunInstances`).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .model import AWSModel, Unset

Switch = Annotated[Literal["enabled", "disabled"] | None, Unset]


class Iam(AWSModel):
    """The instance profile, by name or by ARN."""

    name: Annotated[str | None, Unset] = Field(default=None, pattern=r"^[\w+=,.@-]{1,128}$")
    arn: Annotated[str | None, Unset] = Field(
        default=None, pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:instance-profile/[\w+=,.@/-]+$"
    )

    @model_validator(mode="after")
    def _is_one(self) -> "Iam":
        if (self.name is None) == (self.arn is None):
            raise ValueError("needs exactly one of name and arn")
        return self


class InstanceMetadataOptions(AWSModel):
    """Who may read the instance's metadata, and how."""

    http_endpoint: Switch = None
    http_tokens: Annotated[Literal["optional", "required"] | None, Unset] = None
    http_put_response_hop_limit: int | None = Field(default=None, ge=1, le=64)
    http_protocol_ipv6: Switch = None


class CpuOptions(AWSModel):
    """How many cores and threads, and whether memory is encrypted with SEV-SNP."""

    core_count: int | None = Field(default=None, ge=1)
    threads_per_core: int | None = Field(default=None, ge=1, le=2)
    amd_sev_snp: Switch = None

    @model_validator(mode="after")
    def _can_be_combined(self) -> "CpuOptions":
        if (self.core_count is None) != (self.threads_per_core is None):
            raise ValueError("coreCount and threadsPerCore need each other")
        return self


class CapacityReservation(AWSModel):
    """Which reserved capacity to use."""

    capacity_reservation_preference: Annotated[
        Literal["open", "none", "capacity-reservations-only"] | None, Unset
    ] = None
    capacity_reservation_id: Annotated[str | None, Unset] = Field(
        default=None, pattern=r"^cr-[0-9a-f]{8,17}$"
    )
    capacity_reservation_resource_group_arn: Annotated[str | None, Unset] = Field(
        default=None, pattern=r"^arn:[a-z-]+:resource-groups:[a-z0-9-]+:[0-9]{12}:group/.+$"
    )
    is_ml_capacity_block: bool = Field(
        default=False, alias="isMLCapacityBlock", description="It is a capacity block for ML"
    )
    is_interruptible: bool = Field(
        default=False, description="It is interruptible: its owner may reclaim it"
    )

    @model_validator(mode="after")
    def _is_one(self) -> "CapacityReservation":
        ways = (
            self.capacity_reservation_preference,
            self.capacity_reservation_id,
            self.capacity_reservation_resource_group_arn,
        )
        if sum(way is not None for way in ways) > 1:
            raise ValueError("has more than one of preference, ID and resource group")
        if self.is_ml_capacity_block and self.is_interruptible:
            raise ValueError("isMLCapacityBlock and isInterruptible exclude each other")
        if (self.is_ml_capacity_block or self.is_interruptible) and not any(ways[1:]):
            raise ValueError("needs the ID or the resource group of the capacity")
        return self


class Placement(AWSModel):
    """The hardware that the instance runs on."""

    group_id: Annotated[str | None, Unset] = Field(default=None, pattern=r"^pg-[0-9a-f]{8,17}$")
    partition_number: Annotated[int | None, Unset] = Field(default=None, ge=1, le=7)
    tenancy: Annotated[Literal["default", "dedicated", "host"] | None, Unset] = None
    host_id: Annotated[str | None, Unset] = Field(default=None, pattern=r"^h-[0-9a-f]{8,17}$")
    affinity: Annotated[Literal["default", "host"] | None, Unset] = None

    @model_validator(mode="after")
    def _can_be_combined(self) -> "Placement":
        if self.partition_number and not self.group_id:
            raise ValueError("partitionNumber needs a groupId")
        if (self.host_id or self.affinity) and self.tenancy not in (None, "host"):
            raise ValueError("hostId and affinity need the tenancy host")
        return self
