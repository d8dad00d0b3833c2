"""Translates EC2's answers for the rules: instances, and their leftovers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cmi import VM, AddressType, Leftover, NodeAddress, ProviderIdFormat, VMState

from .apis.provider_spec import (
    CLUSTER_TAG,
    MACHINE_TAG,
    NAME_TAG,
    ROLE_TAG,
    SPEC_TAG,
    STEPS_TAG,
    MachineScope,
)
from .errors import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from types_boto3_ec2.type_defs import (
        FilterTypeDef,
        InstanceNetworkInterfaceTypeDef,
        InstanceTypeDef,
        NetworkInterfaceTypeDef,
        TagTypeDef,
        VolumeTypeDef,
    )

PROVIDER_ID: Final = ProviderIdFormat("aws:///{region}/{id}")
SCOPE_TAGS: Final = MachineScope.scope_tags

TO_DO: Final = "to do"
DONE: Final = "done"
"""Values of `STEPS_TAG`."""

STATES: Final = {
    "pending": VMState.CREATING,
    "running": VMState.RUNNING,
    "stopping": VMState.STOPPED,
    "stopped": VMState.STOPPED,
    "shutting-down": VMState.DELETING,
    "terminated": VMState.GONE,  # EC2 shows it for about an hour
}


@dataclass(frozen=True, kw_only=True)
class Instance(VM):
    """An EC2 instance, as the rules see it.

    Attributes:
        id: The instance ID.
        region: The region it runs in.
        client_token: The client token of the call that launched it.
        made_from: The fingerprint of the spec it was created from.
        interfaces: Its network interfaces, as EC2 reports them.
        steps: The value of `STEPS_TAG`; empty without that tag.
    """

    id: str
    region: str
    client_token: str
    made_from: str
    interfaces: "Sequence[InstanceNetworkInterfaceTypeDef]"
    steps: str


def instance_of(instance: "InstanceTypeDef", region: str) -> Instance:
    """Translate an instance for the rules.

    If Gardener's driver created it, its machine's name is in the tag that consoles show.
    """
    tags = _tags(instance.get("Tags", []))
    reason = instance.get("StateReason", {})
    code, message = reason.get("Code", ""), reason.get("Message", "")
    cluster, role = _scope(tags)
    state = STATES[instance["State"]["Name"]]
    if state is VMState.RUNNING and tags.get(STEPS_TAG) == TO_DO:
        state = VMState.CREATING
    return Instance(
        name=tags.get(MACHINE_TAG) or tags.get(NAME_TAG, ""),
        provider_id=PROVIDER_ID.format(region=region, id=instance["InstanceId"]),
        node_name=instance.get("PrivateDnsName") or _node_name(instance, region),
        cluster=cluster,
        role=role,
        state=state,
        failure=refusal(code, message) if code else None,
        addresses=_addresses(instance),
        id=instance["InstanceId"],
        region=region,
        client_token=instance.get("ClientToken", ""),
        made_from=tags.get(SPEC_TAG, ""),
        interfaces=instance.get("NetworkInterfaces", []),
        steps=tags.get(STEPS_TAG, ""),
    )


def volume_of(volume: "VolumeTypeDef", region: str) -> Leftover:
    """Return a volume that an instance has left behind."""
    return _leftover("volume", volume["VolumeId"], volume.get("Tags", []), region)


def interface_of(interface: "NetworkInterfaceTypeDef", region: str) -> Leftover:
    """Return a network interface that an instance has left behind."""
    tags = interface.get("TagSet", [])
    return _leftover("network interface", interface["NetworkInterfaceId"], tags, region)


def own_tags(name: str, scope: MachineScope) -> dict[str, str]:
    """Return the tags by which everything that belongs to a machine is found again."""
    return {MACHINE_TAG: name, CLUSTER_TAG: scope.cluster, ROLE_TAG: scope.role}


def filters_of(scope: MachineScope, others: Mapping[str, str]) -> "list[FilterTypeDef]":
    """Return filters for resources that carry the scope's two tags and match the other filters.

    EC2 treats * and ? in values as wildcards.
    """
    cluster, role = SCOPE_TAGS.cluster_prefix + scope.cluster, SCOPE_TAGS.role_prefix + scope.role
    filters = {f"tag:{cluster}": "*", f"tag:{role}": "*", **others}
    return [{"Name": name, "Values": [value]} for name, value in filters.items()]


def tag_list(tags: Mapping[str, str]) -> "list[TagTypeDef]":
    """Return tags in the form of EC2's API."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _addresses(instance: "InstanceTypeDef") -> list[NodeAddress]:
    found = {
        AddressType.INTERNAL_IP: instance.get("PrivateIpAddress"),
        AddressType.INTERNAL_DNS: instance.get("PrivateDnsName"),
        AddressType.EXTERNAL_IP: instance.get("PublicIpAddress"),
        AddressType.EXTERNAL_DNS: instance.get("PublicDnsName"),
    }
    return [NodeAddress(kind, address) for kind, address in found.items() if address]


def _tags(tags: "Sequence[TagTypeDef]") -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _scope(tags: Mapping[str, str]) -> tuple[str, str]:
    """Return the cluster and the role.

    The driver's own tags take precedence: if somebody adds the tag of a second cluster to an
    instance, it still belongs to the first one.
    """
    cluster, role = tags.get(CLUSTER_TAG), tags.get(ROLE_TAG)
    return cluster or SCOPE_TAGS.cluster(tags), role or SCOPE_TAGS.role(tags)


def _node_name(instance: "InstanceTypeDef", region: str) -> str:
    """Return the default name of an instance that reports none.

    See "EC2 instance hostnames and domains" in the user guide: the name is derived from the IPv4
    address or, in an IPv6-only subnet, from the ID.
    """
    domain = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    address = instance.get("PrivateIpAddress", "").replace(".", "-")
    return f"ip-{address}.{domain}" if address else f"{instance['InstanceId']}.{domain}"


def _leftover(kind: str, id_: str, tags: "Sequence[TagTypeDef]", region: str) -> Leftover:
    found = _tags(tags)
    cluster, role = _scope(found)
    return Leftover(
        kind=kind,
        id=id_,
        machine=found.get(MACHINE_TAG, ""),
        provider_id=PROVIDER_ID.format(region=region, id=id_),
        cluster=cluster,
        role=role,
    )
