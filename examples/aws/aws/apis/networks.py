"""Network interfaces: `networkInterfaces` of the provider spec, with Gardener's field names.

The limits come from EC2's API reference (`InstanceNetworkInterfaceSpecification`).
"""

from typing import Literal

from pydantic import Field, model_validator

from .model import AWSModel, SecurityGroupId, SubnetId


class NetworkInterface(AWSModel):
    """A network interface that is created with the instance."""

    subnet_id: SubnetId = Field(alias="subnetID")
    security_group_ids: list[SecurityGroupId] = Field(
        alias="securityGroupIDs", min_length=1, max_length=16
    )
    associate_public_ip_address: bool | None = Field(
        default=None,
        alias="associatePublicIPAddress",
        description="Whether it has a public IPv4 address; the default depends on the subnet",
    )
    ipv6_address_count: int | None = Field(default=None, ge=0)
    ipv6_prefix_count: int | None = Field(
        default=None, ge=0, description="IPv6 prefixes, assigned once the instance exists"
    )
    primary_ipv6: bool | None = Field(
        default=None, description="Keep the first IPv6 address; true by default if there is one"
    )
    interface_type: Literal["interface", "efa", "efa-only"] | None = None
    device_index: int | None = Field(
        default=None, ge=0, description="By default the position in the list"
    )
    network_card_index: int | None = Field(default=None, ge=0)
    description: str | None = Field(default=None, max_length=255)
    delete_on_termination: bool = Field(
        default=True, description="False keeps the interface when the machine is deleted"
    )

    @property
    def is_efa(self) -> bool:
        """Whether it is an Elastic Fabric Adapter."""
        return self.interface_type in ("efa", "efa-only")

    @model_validator(mode="after")
    def _has_addresses(self) -> "NetworkInterface":
        addresses = bool(self.ipv6_address_count or self.ipv6_prefix_count)
        if self.interface_type == "efa-only" and (addresses or self.associate_public_ip_address):
            raise ValueError("an interface of type efa-only has no IP addresses")
        if self.primary_ipv6 and not self.ipv6_address_count:
            raise ValueError("primaryIpv6 needs an ipv6AddressCount")
        return self


def check_interfaces(interfaces: list[NetworkInterface]) -> list[NetworkInterface]:
    """Check the interfaces of an instance and return them; for pydantic's `AfterValidator`.

    Raises:
        ValueError: They can't be combined.
    """
    places = [*placed(interfaces)]
    if len(set(places)) < len(interfaces):
        raise ValueError("two have the same networkCardIndex and deviceIndex")
    if (0, 0) not in places:
        raise ValueError("none is the primary one, with networkCardIndex 0 and deviceIndex 0")
    if placed(interfaces)[0, 0].interface_type == "efa-only":
        raise ValueError("the primary one can't be of type efa-only")
    if len(interfaces) > 1 and any(each.associate_public_ip_address for each in interfaces):
        raise ValueError("EC2 gives a public address only to an instance with one interface")
    return interfaces


def placed(interfaces: list[NetworkInterface]) -> dict[tuple[int, int], NetworkInterface]:
    """Return the interfaces by network card and device index, EC2's key for an interface."""
    return {
        (
            each.network_card_index or 0,
            index if each.device_index is None else each.device_index,
        ): each
        for index, each in enumerate(interfaces)
    }
