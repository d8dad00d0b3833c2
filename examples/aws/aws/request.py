"""Translates the provider spec into the arguments of RunInstances."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cmi import InvalidArgument, spec_fingerprint

from .apis.networks import NetworkInterface, placed
from .apis.options import CapacityReservation, Iam
from .apis.provider_spec import NAME_TAG, SPEC_TAG, STEPS_TAG, ProviderSpec, Secrets
from .apis.volumes import BlockDevice, Ebs, named_devices
from .instances import TO_DO, own_tags, tag_list
from .steps import has_steps

if TYPE_CHECKING:
    from pydantic import BaseModel
    from types_boto3_ec2.type_defs import ImageTypeDef

Arguments = dict[str, Any]

MAY_CHANGE: Final = {"tags", "region", "api_version"}
"""Fields that may change without making the instance a different one."""


def launch_request(
    name: str, spec: ProviderSpec, secrets: Secrets, image: "ImageTypeDef"
) -> Arguments:
    """Return the arguments of RunInstances.

    Raises:
        InvalidArgument: The block devices do not match the image.
    """
    return _without_none(
        {
            "MinCount": 1,
            "MaxCount": 1,
            "ImageId": spec.ami,
            "InstanceType": spec.machine_type,
            "NetworkInterfaces": [
                _interface(place, each) for place, each in placed(spec.network_interfaces).items()
            ],
            "BlockDeviceMappings": _devices(spec, image),
            "UserData": secrets.user_data.get_secret_value(),
            "TagSpecifications": _tags(name, spec),
            "IamInstanceProfile": spec.iam and _profile(spec.iam),
            "KeyName": spec.key_name,
            "InstanceMarketOptions": _market(spec),
            "EbsOptimized": spec.ebs_optimized or None,
            "Monitoring": {"Enabled": True} if spec.monitoring else None,
            "MetadataOptions": _options(spec.instance_metadata_options),
            "CpuOptions": _options(spec.cpu_options),
            "CapacityReservationSpecification": spec.capacity_reservation
            and _reservation(spec.capacity_reservation),
            "Placement": _options(spec.placement),
        }
    )


def client_token(request: Arguments, number: int) -> str:
    """Return a token by which EC2 recognises the same request and attempt number."""
    text = json.dumps([request, number], sort_keys=True, default=bytes.hex)
    return hashlib.sha256(text.encode()).hexdigest()


def _devices(spec: ProviderSpec, image: "ImageTypeDef") -> list[Arguments]:
    root = image.get("RootDeviceName")
    if not root:
        raise InvalidArgument(f"providerSpec.ami: image {spec.ami} has no root device")
    try:
        devices = named_devices(spec.block_devices, root)
    except ValueError as error:
        raise InvalidArgument(f"providerSpec.blockDevices: {error}") from None
    return [_device(name, device) for name, device in devices.items()]


def _device(name: str, device: BlockDevice) -> Arguments:
    if device.is_left_out:
        return {"DeviceName": name, "NoDevice": ""}
    if device.ebs is None:
        return {"DeviceName": name, "VirtualName": device.virtual_name}
    return {"DeviceName": name, "Ebs": _volume(device.ebs)}


def _volume(ebs: Ebs) -> Arguments:
    return _without_none(
        {
            "VolumeSize": ebs.volume_size,
            "VolumeType": ebs.volume_type,
            "Iops": ebs.iops,
            "Throughput": ebs.throughput,
            "SnapshotId": ebs.snapshot_id,
            "Encrypted": ebs.encrypted or None,
            "KmsKeyId": ebs.kms_key_id,
            "DeleteOnTermination": ebs.delete_on_termination,
        }
    )


def _interface(place: tuple[int, int], interface: NetworkInterface) -> Arguments:
    _, device_index = place
    count = interface.ipv6_address_count
    return _without_none(
        {
            "DeviceIndex": device_index,
            "NetworkCardIndex": interface.network_card_index,
            "InterfaceType": interface.interface_type,
            "SubnetId": interface.subnet_id,
            "Groups": [*interface.security_group_ids],
            "AssociatePublicIpAddress": interface.associate_public_ip_address,
            "Ipv6AddressCount": count,
            "PrimaryIpv6": interface.primary_ipv6 is not False if count else None,
            "Description": interface.description,
            "DeleteOnTermination": interface.delete_on_termination,
        }
    )


def _tags(name: str, spec: ProviderSpec) -> list[Arguments]:
    """Return the tags of the instance, its volumes and its network interfaces.

    Volumes and interfaces with the driver's tags are leftovers once their instance is gone. EC2
    can't tag each of them differently, so if some must be kept, none gets these tags.
    """
    tags = {NAME_TAG: name, **spec.tags}
    own = own_tags(name, spec)
    volumes = [each.ebs for each in spec.block_devices if each.ebs]
    interfaces = spec.network_interfaces
    made_from = {SPEC_TAG: spec_fingerprint(spec, leave_out=MAY_CHANGE)}
    steps = {STEPS_TAG: TO_DO} if has_steps(spec) else {}
    by_type: Mapping[str, Mapping[str, str]] = {
        "instance": own | made_from | steps,
        "volume": own if all(each.delete_on_termination for each in volumes) else {},
        "network-interface": own if all(each.delete_on_termination for each in interfaces) else {},
    }
    return [
        {"ResourceType": kind, "Tags": tag_list({**tags, **added})}
        for kind, added in by_type.items()
    ]


def _profile(iam: Iam) -> Arguments:
    return {"Arn": iam.arn} if iam.arn else {"Name": iam.name}


def _market(spec: ProviderSpec) -> Arguments | None:
    if spec.spot_price is not None:
        price = {"MaxPrice": spec.spot_price} if spec.spot_price else {}
        return {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time", **price}}
    if spec.capacity_reservation and spec.capacity_reservation.is_ml_capacity_block:
        return {"MarketType": "capacity-block"}
    if spec.capacity_reservation and spec.capacity_reservation.is_interruptible:
        return {"MarketType": "interruptible-capacity-reservation"}
    return None


def _reservation(reserved: CapacityReservation) -> Arguments | None:
    target = _without_none(
        {
            "CapacityReservationId": reserved.capacity_reservation_id,
            "CapacityReservationResourceGroupArn": reserved.capacity_reservation_resource_group_arn,
        }
    )
    return _without_none(
        {
            "CapacityReservationPreference": reserved.capacity_reservation_preference,
            "CapacityReservationTarget": target or None,
        }
    )


def _options(part: "BaseModel | None") -> Arguments | None:
    """Return a part whose fields have the same names in EC2, except for an upper-case initial."""
    fields = part.model_dump(by_alias=True, exclude_none=True) if part else {}
    return {name[:1].upper() + name[1:]: value for name, value in fields.items()} or None


def _without_none(arguments: Arguments) -> Arguments:
    """Return the arguments without those that are None."""
    return {name: value for name, value in arguments.items() if value is not None}
