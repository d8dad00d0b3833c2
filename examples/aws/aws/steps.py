"""What is left to do once an instance is there: what RunInstances can't be asked for.

Each look at the instance derives it from what EC2 reports, so that a step may be repeated, and a
call may go on with an instance that an earlier one has launched. The tag `STEPS_TAG` keeps such
an instance from being taken for finished.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .apis.networks import placed
from .apis.provider_spec import STEPS_TAG, ProviderSpec
from .instances import DONE, Instance, tag_list

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import InstanceNetworkInterfaceTypeDef


def has_steps(spec: ProviderSpec) -> bool:
    """Tell whether an instance is not finished when it runs."""
    prefixes = any(each.ipv6_prefix_count for each in spec.network_interfaces)
    return prefixes or not spec.src_and_dst_checks_enabled


def take_steps(client: "EC2Client", instance: Instance, spec: ProviderSpec) -> None:
    """Do what EC2 does not report as done; once there is nothing, the instance is finished.

    AssignIpv6Addresses has no client token. So if EC2 reports new prefixes late, the interface
    gets more of them than the class asks for, but never fewer.
    """
    if not has_steps(spec) or not instance.interfaces:
        return
    checking = [] if spec.src_and_dst_checks_enabled else [*_checking(instance)]
    lacking = dict(_lacking(instance, spec))
    for interface_id in checking:
        client.modify_network_interface_attribute(
            NetworkInterfaceId=interface_id, SourceDestCheck={"Value": False}
        )
    for interface_id, count in lacking.items():
        client.assign_ipv6_addresses(NetworkInterfaceId=interface_id, Ipv6PrefixCount=count)
    if not checking and not lacking:
        client.create_tags(Resources=[instance.id], Tags=tag_list({STEPS_TAG: DONE}))


def _checking(instance: Instance) -> Iterator[str]:
    """Yield the interfaces that check source and destination; an EFA has no such check."""
    for each in instance.interfaces:
        if each.get("InterfaceType", "interface") == "interface" and each.get("SourceDestCheck"):
            yield each["NetworkInterfaceId"]


def _lacking(instance: Instance, spec: ProviderSpec) -> Iterator[tuple[str, int]]:
    """Yield the interfaces that lack prefixes of IPv6, and how many."""
    wanted = placed(spec.network_interfaces)
    for each in instance.interfaces:
        asked = wanted.get(_place(each))
        missing = ((asked and asked.ipv6_prefix_count) or 0) - len(each.get("Ipv6Prefixes", []))
        if missing > 0:
            yield each["NetworkInterfaceId"], missing


def _place(interface: "InstanceNetworkInterfaceTypeDef") -> tuple[int, int]:
    attachment = interface.get("Attachment", {})
    return attachment.get("NetworkCardIndex", 0), attachment.get("DeviceIndex", 0)
