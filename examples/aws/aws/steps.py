"""The steps that remain once an instance exists, because RunInstances can't do them.

They are derived from what EC2 reports, so a step may be repeated, and a call can continue with an
instance that an earlier call launched. Because of the tag `STEPS_TAG`, nobody considers such an
instance finished.
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
    """Return whether an instance needs further steps once it runs."""
    prefixes = any(each.ipv6_prefix_count for each in spec.network_interfaces)
    return prefixes or not spec.src_and_dst_checks_enabled


def take_steps(client: "EC2Client", instance: Instance, spec: ProviderSpec) -> None:
    """Do the steps that EC2 does not report as done; if there are none, mark the instance as done.

    AssignIpv6Addresses has no client token. So if EC2 reports new prefixes late, the interface
    gets more prefixes than the class asks for, but never fewer.
    """
    if not has_steps(spec) or instance.steps == DONE or not instance.interfaces:
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
    """Yield the interfaces that lack IPv6 prefixes, and how many."""
    wanted = placed(spec.network_interfaces)
    for each in instance.interfaces:
        asked = wanted.get(_place(each))
        missing = ((asked and asked.ipv6_prefix_count) or 0) - len(each.get("Ipv6Prefixes", []))
        if missing > 0:
            yield each["NetworkInterfaceId"], missing


def _place(interface: "InstanceNetworkInterfaceTypeDef") -> tuple[int, int]:
    attachment = interface.get("Attachment", {})
    return attachment.get("NetworkCardIndex", 0), attachment.get("DeviceIndex", 0)
