"""What the conformance kit can't know: how a machine class becomes an instance of EC2."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cmi.testing import Client, MachineClass, Samples, captured_log, connected, refused

from ..cloud import Cloud
from ..machineserver import MachineServer
from .account import REGION, Account
from .conftest import tags_for
from .gate import Answer, Call, Forward, Gate, answer_of, at_once


def test_an_instance_is_as_its_spec_says(
    client: Client, account: Account, samples: Samples
) -> None:
    devices = [
        device("/root", volumeSize=20, encrypted=True),
        device("/dev/sdf", volumeSize=50, encrypted=True, iops=6000, throughput=500),
        device("/dev/sdg", volumeSize=125, volumeType="st1"),
    ]
    spec = samples.machine_class(blockDevices=devices, keyName="operators", spotPrice="0.05")
    created = client.create(spec, "as-its-spec")
    instance = account.instance("as-its-spec")
    assert created.ProviderID == f"aws:///{REGION}/{instance['InstanceId']}"
    assert created.NodeName == instance["PrivateDnsName"]
    internal = {"InternalIP": instance["PrivateIpAddress"], "InternalDNS": created.NodeName}
    assert internal.items() <= {each.Type: each.Address for each in created.Addresses}.items()
    assert instance["InstanceType"] == "m7i.large"
    assert instance["KeyName"] == "operators"
    assert instance["InstanceLifecycle"] == "spot"
    (asked,), (interface,) = account.fields["networkInterfaces"], instance["NetworkInterfaces"]
    assert interface["SubnetId"] == asked["subnetID"]
    assert [each["GroupId"] for each in interface["Groups"]] == asked["securityGroupIDs"]
    assert instance["IamInstanceProfile"]["Arn"].endswith(":instance-profile/nodes")
    volumes = account.volumes(instance)
    found = [(each["Size"], each["VolumeType"], each["Encrypted"]) for each in volumes]
    assert found == [(20, "gp3", True), (50, "gp3", True), (125, "st1", False)]
    for resource in (instance, *volumes):
        tags = {each["Key"]: each["Value"] for each in resource["Tags"]}
        assert (tags["Name"], tags["machine-name"]) == ("as-its-spec", "as-its-spec")


def test_requests_are_counted_with_their_ids(client: Client, samples: Samples) -> None:
    with captured_log() as log:
        client.create(samples.machine_class(), "m1")
        with refused("INVALID_ARGUMENT"):
            client.create(samples.machine_class(ami="ami-0badbadbadbadbad0"), "m2")
    requests = [line for line in log if "api request" in line]
    services = [re.search(r"service\W+(\w+)", line) for line in requests]
    assert "run_instances" in {found[1] for found in services if found}
    assert all("request_id" in line for line in requests)
    (failed,) = [line for line in log if "INVALID_ARGUMENT" in line]
    assert "request_id" in failed


@pytest.mark.parametrize(
    "fields",
    [
        {"machineType": "m7i.xlarge"},
        {"blockDevices": [{"ebs": {"volumeSize": 21, "encrypted": True}}]},
        {"iam": None},
        {"spotPrice": ""},
        {"srcAndDstChecksEnabled": False},
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


@pytest.mark.parametrize("name", ["/root", "/dev/xvda"])
def test_the_first_device_is_the_one_that_the_image_boots_from(
    client: Client, account: Account, samples: Samples, name: str
) -> None:
    """This holds whatever name a machine class with only one device gives it."""
    spec = samples.machine_class(blockDevices=[device(name, volumeSize=9)])
    client.create(spec, f"boots-{name[-4:]}")
    instance = account.instance(f"boots-{name[-4:]}")
    assert [each["DeviceName"] for each in instance["BlockDeviceMappings"]] == ["/dev/sda1"]
    assert [each["Size"] for each in account.volumes(instance)] == [9]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("/dev/xvda", "/dev/sdf"), "none is /dev/sda1, which the image boots from"),
        (("/root", "/dev/sda1"), "/root and /dev/sda1 are the same device"),
    ],
)
def test_devices_that_do_not_fit_the_image(
    client: Client, samples: Samples, names: tuple[str, str], problem: str
) -> None:
    devices = [device(name, volumeSize=9) for name in names]
    with refused("INVALID_ARGUMENT", "providerSpec.blockDevices: ", problem):
        client.create(samples.machine_class(blockDevices=devices), "m1")


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ("<imagesSet/>", "there is no image ami-"),
        ("<imagesSet><item><imageId>x</imageId></item></imagesSet>", "has no root device"),
    ],
)
def test_an_image_that_can_not_be_used(
    client: Client, gate: Gate, machine_class: MachineClass, images: str, problem: str
) -> None:
    with (
        gate.failing(answer_of("DescribeImages", images), "DescribeImages"),
        refused("INVALID_ARGUMENT", "providerSpec.ami: ", problem),
    ):
        client.create(machine_class, "m1")


def test_a_volume_that_is_to_be_kept_is_no_leftover(
    client: Client, account: Account, samples: Samples
) -> None:
    kept = device("/dev/sdf", volumeSize=1, deleteOnTermination=False)
    spec = samples.machine_class(blockDevices=[device("/dev/sda1", volumeSize=9), kept])
    client.create(spec, "keeping")
    _, volume = account.volumes(account.instance("keeping"))
    client.delete(spec, "keeping")
    assert client.list_machines(spec) == {}
    assert volume["VolumeId"] in account.snapshot()[1]


def test_the_machine_class_may_say_what_consoles_show(
    client: Client, account: Account, samples: Samples
) -> None:
    client.create(samples.machine_class(tags={**tags_for("named"), "Name": "web"}), "named")
    assert account.tags("named")["Name"] == "web"


def test_a_volume_is_a_leftover_once_its_machine_has_no_instance(
    client: Client, account: Account, machine_class: MachineClass
) -> None:
    """Until then, somebody may only have detached the volume for a moment."""
    created = client.create(machine_class, "detached")
    instance = account.instance("detached")
    volume = account.ec2.create_volume(
        AvailabilityZone=instance["Placement"]["AvailabilityZone"],
        Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": instance["Tags"]}],
    )["VolumeId"]
    assert client.list_machines(machine_class) == {created.ProviderID: "detached"}
    account.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert client.list_machines(machine_class) == {f"aws:///{REGION}/{volume}": "detached"}
    client.delete(machine_class, "detached")
    assert volume not in account.snapshot()[1]


def test_wildcards_stand_for_themselves(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """EC2's filters support * and ?, but moto's support them only in tags."""
    created = client.create(machine_class, "m1")
    described: list[Answer] = []

    def with_wildcards(call: Call, forward: Forward) -> Answer:
        if call.get("Filter.1.Value.1") == "i-*":
            return described[0]
        described.append(forward())
        return described[-1]

    with gate.fault(with_wildcards):
        client.status(machine_class, "m1", created.ProviderID)
        for name, provider_id in (("m*", ""), ("m?", ""), ("m2", f"aws:///{REGION}/i-*")):
            client.delete(machine_class, name, provider_id)
    assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


def test_regions_do_not_see_each_other(client: Client, samples: Samples) -> None:
    """C29. C20 is about provider IDs, by which machines are found even if their class has moved."""
    client.create(samples.machine_class(), "m1")
    assert client.list_machines(samples.machine_class(region="us-east-1")) == {}


def test_two_drivers_share_an_account(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """C12: the client token ensures that both drivers together create only one instance."""
    with (
        connected(MachineServer(Cloud())) as other,
        ThreadPoolExecutor(2) as pool,
        gate.fault(at_once("RunInstances", calls=2)),
    ):
        for each in (client, other):
            each.list_machines(machine_class)  # creating a client of EC2 takes long
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


def device(name: str, **ebs: Any) -> dict[str, Any]:
    return {"deviceName": name, "ebs": ebs}
