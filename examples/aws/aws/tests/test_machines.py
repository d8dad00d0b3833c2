"""What the contract asks of the machine RPCs; item numbers are those of its list."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest

from cmi.client import Client, MachineClass
from cmi.testing import serving

from ..cloud import Cloud
from ..machineserver import MachineServer
from .conftest import PAGE_SIZE, Change
from .ec2 import REGION, Account, Gate

Refused = Callable[..., AbstractContextManager[None]]


def test_a_machine_is_created_reported_listed_shut_down_and_deleted(
    client: Client, machine_class: MachineClass, account: Account, refused: Refused
) -> None:
    created = client.create(machine_class, "m1")
    (instance,) = [each for each in account.instances("m1") if each in created.ProviderID]
    assert created.ProviderID == f"aws:///{REGION}/{instance}"
    assert created.NodeName.endswith(f".{REGION}.compute.internal")
    status = client.status(machine_class, "m1", created.ProviderID)
    assert (status.ProviderID, status.NodeName) == (created.ProviderID, created.NodeName)
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}
    client.shut_down(machine_class, "m1", created.ProviderID)
    client.shut_down(machine_class, "m1")
    client.delete(machine_class, "m1", created.ProviderID)
    client.delete(machine_class, "m1")
    assert client.list_machines(machine_class) == {}
    with refused("NOT_FOUND", "m1"):
        client.status(machine_class, "m1")
    with refused("NOT_FOUND", "m1"):
        client.shut_down(machine_class, "m1")


def test_an_instance_is_as_its_spec_says(
    client: Client, gate: Gate, account: Account, changed: Change
) -> None:
    devices = [
        {"deviceName": "/dev/sda1", "sizeGiB": 20},
        {"deviceName": "/dev/sdf", "sizeGiB": 50, "iops": 6000, "throughput": 500},
        {"deviceName": "/dev/sdg", "sizeGiB": 125, "type": "st1", "encrypted": False},
        {"deviceName": "/dev/sdh", "sizeGiB": 1, "deleteOnTermination": False},
    ]
    spec = changed(blockDevices=devices, keyName="operators", spot={"maxPrice": "0.05"})
    before = account.volumes()
    identifier = client.create(spec, "m1").ProviderID.rpartition("/")[2]
    ec2 = account.ec2()
    described = ec2.describe_instances(InstanceIds=[identifier])["Reservations"][0]
    (instance,) = described["Instances"]
    assert instance["InstanceType"] == "m7i.large"
    assert instance["KeyName"] == "operators"
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["SubnetId"] == account.fields["subnet"]
    assert [each["GroupId"] for each in instance["SecurityGroups"]] == [
        *account.fields["securityGroups"]
    ]
    assert instance["IamInstanceProfile"]["Arn"].endswith(":instance-profile/nodes")
    tags = {each["Key"]: each["Value"] for each in instance["Tags"]}
    assert tags["Name"] == "m1"
    assert tags["kubernetes.io/role/node"] == "1"
    by_device = {each["DeviceName"]: each["Ebs"] for each in instance["BlockDeviceMappings"]}
    ids = [by_device[str(each["deviceName"])]["VolumeId"] for each in devices]
    volumes = {each["VolumeId"]: each for each in ec2.describe_volumes(VolumeIds=ids)["Volumes"]}
    found = [volumes[each] for each in ids]
    assert [each["VolumeType"] for each in found] == ["gp3", "gp3", "st1", "gp3"]
    assert [each["Size"] for each in found] == [20, 50, 125, 1]
    assert [each["Encrypted"] for each in found] == [True, True, False, True]
    assert all({"Key": "Name", "Value": "m1"} in each["Tags"] for each in found)
    asked, _ = [*gate.launches.values()][-1]
    assert asked["BlockDeviceMapping.2.Ebs.Iops"] == "6000"
    assert asked["BlockDeviceMapping.2.Ebs.Throughput"] == "500"
    assert base64.b64decode(asked["UserData"]) == spec.secrets["userData"]
    client.delete(spec, "m1")
    assert {*account.volumes()} - {*before} == {ids[3]}
    ec2.delete_volume(VolumeId=ids[3])


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
    client: Client,
    machine_class: MachineClass,
    changed: Change,
    refused: Refused,
    fields: dict[str, object],
) -> None:
    """C11."""
    client.create(machine_class, "m1")
    with refused("ALREADY_EXISTS", "m1", *fields):
        client.create(changed(**fields), "m1")


def test_a_stopped_machine_is_not_created_again(
    client: Client, machine_class: MachineClass, refused: Refused
) -> None:
    """C13."""
    client.create(machine_class, "m1")
    client.shut_down(machine_class, "m1")
    with refused("FAILED_PRECONDITION", "m1", "stopped"):
        client.create(machine_class, "m1")


def test_clusters_do_not_see_each_other(
    client: Client, machine_class: MachineClass, other_cluster: MachineClass, refused: Refused
) -> None:
    """C19, C26, C29, C34."""
    mine = client.create(machine_class, "m1")
    theirs = client.create(other_cluster, "m1")
    assert mine.ProviderID != theirs.ProviderID
    assert client.list_machines(machine_class) == {mine.ProviderID: "m1"}
    with refused("NOT_FOUND"):
        client.status(machine_class, "m1", theirs.ProviderID)
    with refused("NOT_FOUND"):
        client.shut_down(machine_class, "m1", theirs.ProviderID)
    client.delete(machine_class, "m1", theirs.ProviderID)
    client.delete(machine_class, "m1")
    assert client.list_machines(other_cluster) == {theirs.ProviderID: "m1"}


def test_roles_do_not_see_each_other(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    """C29."""
    client.create(machine_class, "m1")
    tags = json.loads(machine_class.provider_spec)["tags"]
    del tags["kubernetes.io/role/node"]
    assert client.list_machines(changed(tags=tags | {"kubernetes.io/role/etcd": "1"})) == {}


def test_a_name_with_wildcards_stands_for_itself(
    client: Client, machine_class: MachineClass
) -> None:
    """EC2's filters know * and ?."""
    created = client.create(machine_class, "m1")
    client.delete(machine_class, "m*")
    client.delete(machine_class, "m?")
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


def test_a_list_is_complete_however_long(client: Client, machine_class: MachineClass) -> None:
    """C31: more machines than a page of EC2 holds."""
    names = {f"m{number}" for number in range(2 * PAGE_SIZE + 1)}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(client.create, machine_class), names))
    assert {*client.list_machines(machine_class).values()} == names


@pytest.mark.parametrize("call", ["create", "status", "shut_down"])
def test_several_instances_of_one_machine(
    client: Client, account: Account, changed: Change, refused: Refused, call: str
) -> None:
    """C25; and MCM can delete the surplus one by its provider ID."""
    machine_class, name = changed(), f"several-{call}"
    created = client.create(machine_class, name)
    twin = account.duplicate(name)
    with refused("OUT_OF_RANGE", name, twin):
        getattr(client, call)(machine_class, name)
    for _ in range(2):
        client.delete(machine_class, name, f"aws:///{REGION}/{twin}")
    assert client.list_machines(machine_class) == {created.ProviderID: name}


def test_a_class_that_moved_to_another_region_does_not_hide_its_machines(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    created = client.create(machine_class, "m1")
    moved = changed(region="us-east-1")
    assert client.status(moved, "m1", created.ProviderID).ProviderID == created.ProviderID
    client.delete(moved, "m1", created.ProviderID)
    assert client.list_machines(machine_class) == {}


def test_two_drivers_share_an_account(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """C12: one instance, whichever driver is asked to make it; that is what the token is for."""
    with serving(MachineServer(Cloud())) as endpoint, Client(endpoint, timeout=60) as other:
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(each.create, machine_class, "m1") for each in (client, other)]
        assert calls[0].result() == calls[1].result()
        assert len(client.list_machines(machine_class)) == 1


def test_a_spec_that_became_invalid_does_not_block_a_deletion(
    client: Client, machine_class: MachineClass, changed: Change
) -> None:
    client.create(machine_class, "m1")
    invalid = changed({"userData": None}, machineType=None, blockDevices="none")
    client.status(invalid, "m1")
    client.delete(invalid, "m1")
    assert client.list_machines(machine_class) == {}


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
        {"nfs": {"server": "s", "path": "/p"}},
        {"csi": null, "awsElasticBlockStore": null}
    ]"""
    assert client.volume_ids(volumes) == ["vol-1", "vol-3", "vol-4"]
    assert client.volume_ids(b"[]") == []
