"""The fields of Gardener's `AWSProviderSpec`, and what both drivers do with them.

The fields are those of machine-controller-manager-provider-aws at commit 077c8e6d, in
`pkg/aws/apis/aws_provider_spec.go`. docs/reference/aws-fields.md is generated from this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

THEIRS: Final = "passes it to EC2"
IGNORED: Final = "declares and ignores it"
ALIKE: Final = "the same"


@dataclass(frozen=True)
class Field:
    """How the drivers handle a field.

    Attributes:
        given: The values in a machine class, by their paths.
        asked: The parameters of the EC2 call that contain these values.
        action: The name of that call.
        theirs: What Gardener's driver does.
        ours: What this driver does.
    """

    given: Mapping[str, Any]
    asked: Mapping[str, str] = field(default_factory=dict)
    action: str = "RunInstances"
    theirs: str = THEIRS
    ours: str = ALIKE


DEVICE, INTERFACE = "BlockDeviceMapping.1", "NetworkInterface.1"
EBS, NIC, SECOND = "blockDevices[0].ebs", "networkInterfaces[0]", "networkInterfaces[1]"
CR, PLACE = "capacityReservation", "placement"
EBS_FIELD, NIC_FIELD = "blockDevices[].ebs", "networkInterfaces[]"
ARN = "arn:aws:iam::123456789012:instance-profile/nodes"
GROUP_ARN = "arn:aws:resource-groups:eu-west-1:123456789012:group/reserved"

FIELDS: Final[Mapping[str, Field]] = {
    "apiVersion": Field(
        {"apiVersion": "mcm.gardener.cloud/v1alpha1"},
        theirs="does not look at it",
        ours="refuses any other version",
    ),
    "region": Field({"region": "eu-west-1"}, {"Region": "eu-west-1"}),
    "ami": Field({}, {}, theirs="passes it, and asks for its root device"),
    "machineType": Field({"machineType": "m7i.xlarge"}, {"InstanceType": "m7i.xlarge"}),
    "tags": Field(
        {"tags.team": "blue"},
        {
            "TagSpecification.1.ResourceType": "instance",
            "TagSpecification.2.ResourceType": "volume",
            "TagSpecification.3.ResourceType": "network-interface",
            "TagSpecification.3.Tag.1.Key": "Name",
        },
        theirs="tags instance, volumes and interfaces; replaces `Name`",
        ours="the same, and `Name` is the user's if the class has it",
    ),
    "keyName": Field({"keyName": "operators"}, {"KeyName": "operators"}),
    "spotPrice": Field(
        {"spotPrice": "0.05"},
        {
            "InstanceMarketOptions.MarketType": "spot",
            "InstanceMarketOptions.SpotOptions.MaxPrice": "0.05",
        },
        ours="the same; empty is a spot instance without a limit",
    ),
    "srcAndDstChecksEnabled": Field(
        {"srcAndDstChecksEnabled": False},
        {"SourceDestCheck.Value": "false"},
        action="ModifyNetworkInterfaceAttribute",
        theirs="changes all interfaces but EFAs in InitializeMachine",
        ours="changes the same at the end of CreateMachine",
    ),
    "ebsOptimized": Field(
        {"ebsOptimized": True}, {"EbsOptimized": "true"}, theirs=IGNORED, ours=THEIRS
    ),
    "monitoring": Field(
        {"monitoring": True}, {"Monitoring.Enabled": "true"}, theirs=IGNORED, ours=THEIRS
    ),
    "iam.name": Field({"iam.name": "nodes"}, {"IamInstanceProfile.Name": "nodes"}),
    "iam.arn": Field({"iam": {"arn": ARN}}, {"IamInstanceProfile.Arn": ARN}),
    # Block devices
    "blockDevices[].deviceName": Field(
        {"blockDevices[0].deviceName": "/root"},
        {f"{DEVICE}.DeviceName": "/dev/sda1"},
        ours="the same, and refuses a list without the image's root device",
    ),
    "blockDevices[].noDevice": Field(
        {"blockDevices[1]": {"deviceName": "/dev/sdb", "noDevice": "true"}},
        {"BlockDeviceMapping.2.DeviceName": "/dev/sdb", "BlockDeviceMapping.2.NoDevice": ""},
        theirs=IGNORED,
        ours="leaves out the image's device",
    ),
    "blockDevices[].virtualName": Field(
        {"blockDevices[1]": {"deviceName": "/dev/sdb", "virtualName": "ephemeral0"}},
        {"BlockDeviceMapping.2.VirtualName": "ephemeral0"},
        theirs=IGNORED,
        ours=THEIRS,
    ),
    f"{EBS_FIELD}.volumeSize": Field(
        {f"{EBS}.volumeSize": 21},
        {f"{DEVICE}.Ebs.VolumeSize": "21"},
        ours="the same; a volume of a snapshot can do without",
    ),
    f"{EBS_FIELD}.volumeType": Field(
        {f"{EBS}.volumeType": "standard"},
        {f"{DEVICE}.Ebs.VolumeType": "standard"},
        ours="the same, and io2; gp3 if it is missing",
    ),
    f"{EBS_FIELD}.iops": Field({f"{EBS}.iops": 6000}, {f"{DEVICE}.Ebs.Iops": "6000"}),
    f"{EBS_FIELD}.throughput": Field(
        {f"{EBS}.throughput": 500}, {f"{DEVICE}.Ebs.Throughput": "500"}
    ),
    f"{EBS_FIELD}.encrypted": Field(
        {f"{EBS}.encrypted": True}, {f"{DEVICE}.Ebs.Encrypted": "true"}
    ),
    f"{EBS_FIELD}.kmsKeyID": Field(
        {f"{EBS}.kmsKeyID": "alias/nodes"},
        {f"{DEVICE}.Ebs.KmsKeyId": "alias/nodes"},
        theirs=IGNORED,
        ours="passes it to EC2; needs `encrypted: true`",
    ),
    f"{EBS_FIELD}.snapshotID": Field(
        {f"{EBS}.snapshotID": "snap-0123456789abcdef0"},
        {f"{DEVICE}.Ebs.SnapshotId": "snap-0123456789abcdef0"},
    ),
    f"{EBS_FIELD}.deleteOnTermination": Field(
        {f"{EBS}.deleteOnTermination": False}, {f"{DEVICE}.Ebs.DeleteOnTermination": "false"}
    ),
    # Network interfaces
    f"{NIC_FIELD}.subnetID": Field({}, {}),
    f"{NIC_FIELD}.securityGroupIDs": Field({}, {}),
    f"{NIC_FIELD}.associatePublicIPAddress": Field(
        {f"{NIC}.associatePublicIPAddress": True},
        {f"{INTERFACE}.AssociatePublicIpAddress": "true"},
    ),
    f"{NIC_FIELD}.ipv6AddressCount": Field(
        {f"{NIC}.ipv6AddressCount": 1},
        {f"{INTERFACE}.Ipv6AddressCount": "1", f"{INTERFACE}.PrimaryIpv6": "true"},
    ),
    f"{NIC_FIELD}.ipv6PrefixCount": Field(
        {f"{NIC}.ipv6PrefixCount": 2},
        {"Ipv6PrefixCount": "2"},
        action="AssignIpv6Addresses",
        theirs="assigns them in InitializeMachine",
        ours="assigns them at the end of CreateMachine",
    ),
    f"{NIC_FIELD}.primaryIpv6": Field(
        {f"{NIC}.ipv6AddressCount": 1, f"{NIC}.primaryIpv6": False},
        {f"{INTERFACE}.Ipv6AddressCount": "1", f"{INTERFACE}.PrimaryIpv6": "false"},
    ),
    f"{NIC_FIELD}.interfaceType": Field(
        {f"{NIC}.interfaceType": "efa"}, {f"{INTERFACE}.InterfaceType": "efa"}
    ),
    f"{NIC_FIELD}.networkCardIndex": Field(
        {f"{SECOND}.networkCardIndex": 1}, {"NetworkInterface.2.NetworkCardIndex": "1"}
    ),
    f"{NIC_FIELD}.deviceIndex": Field(
        {f"{SECOND}.deviceIndex": 3}, {"NetworkInterface.2.DeviceIndex": "3"}
    ),
    f"{NIC_FIELD}.description": Field(
        {f"{NIC}.description": "of a node"}, {f"{INTERFACE}.Description": "of a node"}
    ),
    f"{NIC_FIELD}.deleteOnTermination": Field(
        {f"{NIC}.deleteOnTermination": False}, {f"{INTERFACE}.DeleteOnTermination": "false"}
    ),
    # How and where
    "instanceMetadataOptions.httpEndpoint": Field(
        {"instanceMetadataOptions.httpEndpoint": "enabled"},
        {"MetadataOptions.HttpEndpoint": "enabled"},
    ),
    "instanceMetadataOptions.httpTokens": Field(
        {"instanceMetadataOptions.httpTokens": "required"},
        {"MetadataOptions.HttpTokens": "required"},
    ),
    "instanceMetadataOptions.httpPutResponseHopLimit": Field(
        {"instanceMetadataOptions.httpPutResponseHopLimit": 2},
        {"MetadataOptions.HttpPutResponseHopLimit": "2"},
    ),
    "instanceMetadataOptions.httpProtocolIpv6": Field(
        {"instanceMetadataOptions.httpProtocolIpv6": "enabled"},
        {"MetadataOptions.HttpProtocolIpv6": "enabled"},
    ),
    "cpuOptions.coreCount": Field(
        {"cpuOptions": {"coreCount": 2, "threadsPerCore": 1}}, {"CpuOptions.CoreCount": "2"}
    ),
    "cpuOptions.threadsPerCore": Field(
        {"cpuOptions": {"coreCount": 2, "threadsPerCore": 1}}, {"CpuOptions.ThreadsPerCore": "1"}
    ),
    "cpuOptions.amdSevSnp": Field(
        {"cpuOptions.amdSevSnp": "enabled"},
        {"CpuOptions.AmdSevSnp": "enabled"},
        theirs="passes it to EC2; needs the other two",
        ours=THEIRS,
    ),
    f"{CR}.capacityReservationPreference": Field(
        {f"{CR}.capacityReservationPreference": "open"},
        {"CapacityReservationSpecification.CapacityReservationPreference": "open"},
    ),
    f"{CR}.capacityReservationId": Field(
        {f"{CR}.capacityReservationId": "cr-0123456789abcdef0"},
        {
            "CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId": (
                "cr-0123456789abcdef0"
            )
        },
    ),
    f"{CR}.capacityReservationResourceGroupArn": Field(
        {f"{CR}.capacityReservationResourceGroupArn": GROUP_ARN},
        {
            "CapacityReservationSpecification.CapacityReservationTarget."
            "CapacityReservationResourceGroupArn": GROUP_ARN
        },
    ),
    f"{CR}.isMLCapacityBlock": Field(
        {CR: {"capacityReservationId": "cr-0123456789abcdef0", "isMLCapacityBlock": True}},
        {"InstanceMarketOptions.MarketType": "capacity-block"},
        ours="the same; needs a reservation, and excludes `spotPrice`",
    ),
    f"{PLACE}.groupId": Field(
        {f"{PLACE}.groupId": "pg-0123456789abcdef0"}, {"Placement.GroupId": "pg-0123456789abcdef0"}
    ),
    f"{PLACE}.partitionNumber": Field(
        {PLACE: {"groupId": "pg-0123456789abcdef0", "partitionNumber": 2}},
        {"Placement.PartitionNumber": "2"},
        ours="the same; needs a group",
    ),
    f"{PLACE}.tenancy": Field(
        {f"{PLACE}.tenancy": "dedicated"}, {"Placement.Tenancy": "dedicated"}
    ),
    f"{PLACE}.hostId": Field(
        {PLACE: {"tenancy": "host", "hostId": "h-0123456789abcdef0"}},
        {"Placement.HostId": "h-0123456789abcdef0"},
    ),
    f"{PLACE}.affinity": Field(
        {PLACE: {"tenancy": "host", "affinity": "host"}}, {"Placement.Affinity": "host"}
    ),
}

MORE: Final[Mapping[str, Field]] = {
    f"{CR}.isInterruptible": Field(
        {CR: {"capacityReservationId": "cr-0123456789abcdef0", "isInterruptible": True}},
        {"InstanceMarketOptions.MarketType": "interruptible-capacity-reservation"},
        theirs="has no such field",
        ours="launches into an interruptible reservation",
    ),
}
"""Fields that only this driver supports."""
