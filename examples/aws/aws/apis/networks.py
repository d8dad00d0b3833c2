"""Network interfaces: `networkInterfaces` of the provider spec, by name as in Gardener's.

The limits are those of EC2's API reference (`InstanceNetworkInterfaceSpecification`).
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
        description="Whether it has a public IPv4 address; by default as the subnet says",
    )
    ipv6_address_count: int | None = Field(default=None, ge=0)
    ipv6_prefix_count: int | None = Field(
        default=None, ge=0, description="Prefixes of IPv6, assigned once the instance is there"
    )
    primary_ipv6: bool | None = Field(
        default=None, description="The first address of IPv6 stays for good; true if there is one"
    )
    interface_type: Literal["interface", "efa", "efa-only"] | None = None
    device_index: int | None = Field(
        default=None, ge=0, description="By default the place in the list"
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
    """Return the interfaces of an instance: for pydantic's `AfterValidator`.

    Raises:
        ValueError: They do not go together.
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
    """Return the interfaces by network card and device index, which is how EC2 tells them apart."""
    return {
        (
            each.network_card_index or 0,
            index if each.device_index is None else each.device_index,
        ): each
        for index, each in enumerate(interfaces)
    }
