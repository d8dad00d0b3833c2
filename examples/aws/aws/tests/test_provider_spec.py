"""Valid machine classes: the ranges of EC2, and fields that can't be combined."""

from typing import Any

import pytest

from cmi.testing import Client, Samples, refused

from ..apis.provider_spec import ProviderSpec

ROOT = {"deviceName": "/root", "ebs": {"volumeSize": 20}}
SCOPE = {"kubernetes.io/cluster/c": "1", "kubernetes.io/role/node": "1"}


BLOCK = {"capacityReservationId": "cr-0123456789abcdef0", "isMLCapacityBlock": True}


@pytest.mark.parametrize(
    "volume",
    [
        {"volumeSize": 1},
        {"volumeSize": 1, "iops": 3000},
        {"volumeSize": 65536, "iops": 80000, "throughput": 2000},
        {"volumeSize": 1, "throughput": 750},
        {"volumeSize": 1, "volumeType": "gp2"},
        {"volumeSize": 4, "volumeType": "io1", "iops": 200},
        {"volumeSize": 4, "volumeType": "io2", "iops": 4000},
        {"volumeSize": 16384, "volumeType": "st1"},
        {"volumeSize": 125, "volumeType": "sc1"},
        {"volumeSize": 1024, "volumeType": "standard"},
        {"snapshotID": "snap-0123456789abcdef0"},
        {"snapshotID": "snap-0123456789abcdef0", "iops": 80000},
        {"volumeSize": 1, "encrypted": True, "kmsKeyID": "alias/nodes"},
        {"volumeSize": 1, "iops": 0, "volumeType": "gp2", "snapshotID": ""},
    ],
    ids=str,
)
def test_what_ebs_offers_is_taken(samples: Samples, volume: dict[str, Any]) -> None:
    """Moto would not accept all of these."""
    devices = [ROOT, {"deviceName": "/dev/sdf", "ebs": volume}]
    ProviderSpec.model_validate_json(samples.machine_class(blockDevices=devices).provider_spec)


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        ({"volumeSize": 65537}, "volumeSize of gp3 is 1 to 65536, not 65537"),
        ({"volumeSize": 16385, "volumeType": "gp2"}, "volumeSize of gp2 is 1 to 16384"),
        ({"volumeSize": 3, "volumeType": "io1", "iops": 100}, "volumeSize of io1 is 4 to 16384"),
        ({"volumeSize": 124, "volumeType": "st1"}, "volumeSize of st1 is 125 to 16384"),
        ({"volumeSize": 9, "volumeType": "gp2", "iops": 100}, "iops can't be set for gp2"),
        ({"volumeSize": 9, "volumeType": "io1"}, "iops is missing, and io1 needs it"),
        ({"volumeSize": 20, "iops": 10001}, "iops of 20 GiB gp3 is 3000 to 10000, not 10001"),
        ({"volumeSize": 20, "iops": 2999}, "iops of 20 GiB gp3 is 3000 to 10000, not 2999"),
        (
            {"volumeSize": 9, "volumeType": "io1", "iops": 451},
            "iops of 9 GiB io1 is 100 to 450, not 451",
        ),
        ({"volumeSize": 9, "volumeType": "io2", "iops": 9001}, "iops of 9 GiB io2 is 100 to 9000"),
        ({"volumeSize": 9, "throughput": 751}, "throughput 751 needs at least 3004 iops"),
        (
            {"volumeSize": 9, "volumeType": "gp2", "throughput": 125},
            "throughput can't be set for gp2",
        ),
        ({"volumeSize": 1, "volumeType": "st1", "iops": 1}, "not 1, iops can't be set for st1"),
        ({"volumeSize": 9, "throughput": 124}, "blockDevices[1].ebs.throughput"),
        ({"volumeSize": 9, "throughput": 2001}, "blockDevices[1].ebs.throughput"),
        ({"volumeSize": "9"}, "blockDevices[1].ebs.volumeSize"),
        ({"volumeSize": 9, "volumeType": "ssd"}, "blockDevices[1].ebs.volumeType"),
        ({"volumeSize": 1025, "volumeType": "standard"}, "volumeSize of standard is 1 to 1024"),
        ({"volumeSize": 0}, "volumeSize is missing"),
        ({"volumeSize": 9, "kmsKeyID": "alias/nodes"}, "kmsKeyID needs encrypted: true"),
        ({"volumeSize": 9, "snapshotID": "snapshot"}, "blockDevices[1].ebs.snapshotID"),
    ],
    ids=str,
)
def test_what_ebs_does_not_offer_is_refused(
    client: Client, samples: Samples, volume: dict[str, Any], problem: str
) -> None:
    devices = [ROOT, {"deviceName": "/dev/sdf", "ebs": volume}]
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(blockDevices=devices), "m1")


@pytest.mark.parametrize(
    ("devices", "problem"),
    [
        ([], "providerSpec.blockDevices: "),
        ([ROOT, ROOT], "two block devices have the same deviceName"),
        ([ROOT, {**ROOT, "deviceName": "sdf"}], "a deviceName is /root, or such as /dev/sdf"),
        ([{"ebs": {"volumeSize": 125, "volumeType": "sc1"}}], "boots, and sc1 can't"),
        ([{"noDevice": "true"}], "the root device needs ebs"),
        ([{"virtualName": "ephemeral0"}], "the root device needs ebs"),
        ([ROOT, {"deviceName": "/dev/sdf"}], "blockDevices[1]: needs exactly one of ebs"),
        ([{**ROOT, "noDevice": "true"}], "blockDevices[0]: needs exactly one of ebs"),
        ([{**ROOT, "virtualName": "ephemeral0"}], "needs exactly one of ebs"),
        ([{"virtualName": "ephemeral24"}], "blockDevices[0].virtualName"),
    ],
    ids=str,
)
def test_devices_that_do_not_go_together(
    client: Client, samples: Samples, devices: list[Any], problem: str
) -> None:
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(blockDevices=devices), "m1")


NIC = {"subnetID": "subnet-0123456789abcdef0", "securityGroupIDs": ["sg-0123456789abcdef0"]}


@pytest.mark.parametrize(
    ("interfaces", "problem"),
    [
        ([], "providerSpec.networkInterfaces: "),
        ([NIC | {"securityGroupIDs": []}], "networkInterfaces[0].securityGroupIDs"),
        ([NIC | {"securityGroupIDs": ["default"]}], "networkInterfaces[0].securityGroupIDs[0]"),
        ([NIC | {"subnetID": "here"}], "networkInterfaces[0].subnetID"),
        ([NIC | {"interfaceType": "trunk"}], "networkInterfaces[0].interfaceType"),
        ([NIC | {"interfaceType": "efa-only", "ipv6AddressCount": 1}], "has no IP addresses"),
        ([NIC | {"interfaceType": "efa-only"}], "the primary one can't be of type efa-only"),
        ([NIC | {"primaryIpv6": True}], "primaryIpv6 needs an ipv6AddressCount"),
        ([NIC | {"ipv6PrefixCount": -1}], "networkInterfaces[0].ipv6PrefixCount"),
        ([NIC | {"description": "x" * 256}], "networkInterfaces[0].description"),
        ([NIC, NIC | {"deviceIndex": 0}], "two have the same networkCardIndex and deviceIndex"),
        ([NIC | {"deviceIndex": 1}], "none is the primary one"),
        ([NIC, NIC | {"associatePublicIPAddress": True}], "only to an instance with one interface"),
    ],
    ids=lambda value: str(value)[-60:],
)
def test_interfaces_that_do_not_go_together(
    client: Client, samples: Samples, interfaces: list[Any], problem: str
) -> None:
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(networkInterfaces=interfaces), "m1")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"region": "Ireland"}, "providerSpec.region"),
        ({"region": "eu-west"}, "providerSpec.region"),
        ({"ami": "linux"}, "providerSpec.ami"),
        ({"machineType": "large"}, "providerSpec.machineType"),
        ({"machineTyp": "m7i.large"}, "providerSpec.machineTyp"),
        ({"apiVersion": "mcm.gardener.cloud/v2"}, "providerSpec.apiVersion"),
        ({"networkInterfaces": None}, "providerSpec.networkInterfaces: is missing"),
        ({"iam": {}}, "providerSpec.iam: needs exactly one of name and arn"),
        ({"iam": {"name": "a/b"}}, "providerSpec.iam.name"),
        ({"iam": {"arn": "nodes"}}, "providerSpec.iam.arn"),
        ({"keyName": "x" * 256}, "providerSpec.keyName"),
        ({"spotPrice": "cheap"}, "providerSpec.spotPrice"),
        ({"spotPrice": 0.5}, "providerSpec.spotPrice"),
        ({"monitoring": "yes"}, "providerSpec.monitoring"),
        ({"spotPrice": "", "capacityReservation": BLOCK}, "exclude each other"),
        ({"capacityReservation": BLOCK | {"isInterruptible": True}}, "exclude each other"),
        ({"capacityReservation": {"isInterruptible": True}}, "needs the ID or the resource group"),
        (
            {"capacityReservation": BLOCK | {"capacityReservationPreference": "open"}},
            "providerSpec.capacityReservation: has more than one",
        ),
        ({"cpuOptions": {"coreCount": 1}}, "coreCount and threadsPerCore need each other"),
        ({"cpuOptions": {"threadsPerCore": 3}}, "providerSpec.cpuOptions.threadsPerCore"),
        ({"cpuOptions": {"amdSevSnp": "on"}}, "providerSpec.cpuOptions.amdSevSnp"),
        (
            {"instanceMetadataOptions": {"httpPutResponseHopLimit": 65}},
            "providerSpec.instanceMetadataOptions.httpPutResponseHopLimit",
        ),
        ({"placement": {"partitionNumber": 1}}, "partitionNumber needs a groupId"),
        ({"placement": {"tenancy": "default", "affinity": "host"}}, "need the tenancy host"),
        ({"tags": {}}, "kubernetes.io/cluster/"),
        ({"tags": SCOPE | {"machine-name": "x"}}, "the tag machine-name is reserved"),
        ({"tags": SCOPE | {"AWS:x": "x"}}, "the tag AWS:x is reserved"),
        ({"tags": SCOPE | {"x": "x" * 257}}, "providerSpec.tags"),
        ({"tags": SCOPE | {"x" * 129: "x"}}, "providerSpec.tags"),
        ({"tags": SCOPE | {f"x{number}": "" for number in range(43)}}, "are over 50"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_does_not_fit_is_named(
    client: Client, samples: Samples, fields: dict[str, Any], problem: str
) -> None:
    """C8."""
    with refused("INVALID_ARGUMENT", problem):
        client.create(samples.machine_class(**fields), "m1")
