"""What the conformance kit can't know: how a machine class becomes an instance of EC2."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cmi.testing import Client, MachineClass, Samples, connected, refused

from ..cloud import Cloud
from ..machineserver import MachineServer
from .ec2 import REGION, Account, Gate


def test_an_instance_is_as_its_spec_says(
    client: Client, gate: Gate, account: Account, samples: Samples
) -> None:
    devices = [
        {"deviceName": "/dev/sda1", "sizeGiB": 20},
        {"deviceName": "/dev/sdf", "sizeGiB": 50, "iops": 6000, "throughput": 500},
        {"deviceName": "/dev/sdg", "sizeGiB": 125, "type": "st1", "encrypted": False},
    ]
    spec = samples.machine_class(
        blockDevices=devices, keyName="operators", spot={"maxPrice": "0.05"}
    )
    created = client.create(spec, "as-its-spec")
    (instance,) = account.instances("as-its-spec")
    assert created.ProviderID == f"aws:///{REGION}/{instance['InstanceId']}"
    assert created.NodeName == instance["PrivateDnsName"]
    assert instance["InstanceType"] == "m7i.large"
    assert instance["KeyName"] == "operators"
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["SubnetId"] == account.fields["subnet"]
    groups = [each["GroupId"] for each in instance["SecurityGroups"]]
    assert groups == account.fields["securityGroups"]
    assert instance["IamInstanceProfile"]["Arn"].endswith(":instance-profile/nodes")
    by_device = {each["DeviceName"]: each["Ebs"] for each in instance["BlockDeviceMappings"]}
    ids = [by_device[str(each["deviceName"])]["VolumeId"] for each in devices]
    volumes = account.ec2.describe_volumes(VolumeIds=ids)["Volumes"]
    found = sorted((each["Size"], each["VolumeType"], each["Encrypted"]) for each in volumes)
    assert found == [(20, "gp3", True), (50, "gp3", True), (125, "st1", False)]
    for resource in (instance, *volumes):
        tags = {each["Key"]: each["Value"] for each in resource["Tags"]}
        assert (tags["Name"], tags["machine-name"]) == ("as-its-spec", "as-its-spec")
        assert tags["kubernetes.io/role/node"] == "1"
    asked = [call for call in gate.calls if call["Action"] == "RunInstances"][-1]
    assert asked["BlockDeviceMapping.2.Ebs.Iops"] == "6000"
    assert asked["BlockDeviceMapping.2.Ebs.Throughput"] == "500"
    assert asked["InstanceMarketOptions.SpotOptions.MaxPrice"] == "0.05"
    assert base64.b64decode(asked["UserData"]) == spec.secrets["userData"]


@pytest.mark.parametrize(
    "fields",
    [
        {"machineType": "m7i.xlarge"},
        {"blockDevices": [{"deviceName": "/dev/sda1", "sizeGiB": 21}]},
        {"iamInstanceProfile": None},
        {"spot": {}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_another_spec_under_the_same_name_is_refused(
    client: Client, samples: Samples, fields: dict[str, Any]
) -> None:
    """C11."""
    client.create(samples.machine_class(), "m1")
    with refused("ALREADY_EXISTS", "m1", *fields):
        client.create(samples.machine_class(**fields), "m1")


@pytest.mark.parametrize("keep", [True, False])
def test_volumes_that_survive_their_instance(
    client: Client, account: Account, samples: Samples, *, keep: bool
) -> None:
    """They are leftovers, which are listed and deleted, unless the machine class keeps some."""
    name = f"survived-{keep}"
    kept = {"deviceName": "/dev/sdf", "sizeGiB": 1, "deleteOnTermination": not keep}
    spec = samples.machine_class(blockDevices=[{"deviceName": "/dev/sda1", "sizeGiB": 9}, kept])
    client.create(spec, name)
    (instance,) = account.instances(name)
    (volume,) = [
        each["Ebs"]["VolumeId"]
        for each in instance["BlockDeviceMappings"]
        if each["DeviceName"] == "/dev/sdf"
    ]
    assert [*client.list_machines(spec).values()] == [name]
    instance_id = instance["InstanceId"]
    account.ec2.modify_instance_attribute(
        InstanceId=instance_id,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False}}],
    )
    account.ec2.terminate_instances(InstanceIds=[instance_id])
    left = {} if keep else {f"aws:///{REGION}/{volume}": name}
    assert client.list_machines(spec) == left
    client.delete(spec, name, next(iter(left), ""))
    assert client.list_machines(spec) == {}
    there = {each["VolumeId"] for each in account.ec2.describe_volumes()["Volumes"]}
    assert (volume in there) == keep


def test_people_may_change_what_a_console_shows(
    client: Client, account: Account, samples: Samples
) -> None:
    """The tag `Name` is theirs; the machine class may set it too."""
    tags = {"kubernetes.io/cluster/renamed": "1", "kubernetes.io/role/node": "1", "Name": "web"}
    spec = samples.machine_class(tags=tags)
    created = client.create(spec, "renamed")
    (instance,) = account.instances("renamed")
    assert {"Key": "Name", "Value": "web"} in instance["Tags"]
    account.ec2.create_tags(
        Resources=[instance["InstanceId"]], Tags=[{"Key": "Name", "Value": "do not touch"}]
    )
    assert client.create(spec, "renamed") == created
    assert client.list_machines(spec) == {created.ProviderID: "renamed"}
    client.delete(spec, "renamed")
    assert account.instances("renamed") == []


def test_a_name_with_wildcards_stands_for_itself(
    client: Client, machine_class: MachineClass
) -> None:
    """EC2's filters know * and ?."""
    created = client.create(machine_class, "m1")
    for name, provider_id in (("m*", ""), ("m?", ""), ("m2", f"aws:///{REGION}/i-*")):
        client.delete(machine_class, name, provider_id)
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


def test_a_class_that_moved_to_another_region_does_not_hide_its_machines(
    client: Client, samples: Samples
) -> None:
    created = client.create(samples.machine_class(), "m1")
    moved = samples.machine_class(region="us-east-1")
    assert client.status(moved, "m1", created.ProviderID).ProviderID == created.ProviderID
    client.delete(moved, "m1", created.ProviderID)
    assert client.list_machines(samples.machine_class()) == {}


def test_two_drivers_share_an_account(client: Client, machine_class: MachineClass) -> None:
    """C12: one instance, whichever driver is asked to make it; that is what the token is for."""
    with connected(MachineServer(Cloud())) as other, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(each.create, machine_class, "m1") for each in (client, other)]
        assert calls[0].result() == calls[1].result()
    assert len(client.list_machines(machine_class)) == 1


def test_a_spec_that_became_invalid_does_not_block_a_deletion(
    client: Client, samples: Samples
) -> None:
    client.create(samples.machine_class(), "m1")
    invalid = samples.machine_class({"userData": None}, machineType=None, blockDevices="none")
    client.status(invalid, "m1")
    client.delete(invalid, "m1")
    assert client.list_machines(samples.machine_class()) == {}


def test_volumes(client: Client) -> None:
    """C37 to C40."""
    volumes = b"""[
        {"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}},
        {"csi": {"driver": "efs.csi.aws.com", "volumeHandle": "fs-2"}},
        {"awsElasticBlockStore": {"volumeID": "aws://eu-west-1a/vol-3"}},
        {"awsElasticBlockStore": {"volumeID": "vol-4", "fsType": "ext4"}},
        {"awsElasticBlockStore": {}},
        {"awsElasticBlockStore": {"volumeID": "aws://"}},
        {"awsElasticBlockStore": {"volumeID": 5}},
        {"csi": null, "awsElasticBlockStore": null}
    ]"""
    assert client.volume_ids(volumes) == ["vol-1", "vol-3", "vol-4"]
