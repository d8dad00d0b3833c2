"""Instances that EC2 or people have changed after the driver launched them."""

import json

import pytest

from cmi.testing import Client, MachineClass, Samples, refused

from .account import REGION, Account
from .gate import Gate, error, failing, reported

RUNNING = "<code>16</code><name>running</name>"
SHUTTING_DOWN = "<code>32</code><name>shutting-down</name>"
TERMINATED = "<code>48</code><name>terminated</name>"


@pytest.mark.parametrize("state", [SHUTTING_DOWN, TERMINATED])
@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Server.InsufficientInstanceCapacity", "RESOURCE_EXHAUSTED"),
        ("Client.VolumeLimitExceeded", "RESOURCE_EXHAUSTED"),
        ("Client.InternalError", "FAILED_PRECONDITION"),
        ("Server.InternalError", "UNAVAILABLE"),
        ("Client.UserInitiatedShutdown", "UNAVAILABLE"),
    ],
)
def test_an_instance_that_dies_at_its_start_says_why(
    client: Client, gate: Gate, machine_class: MachineClass, reason: str, code: str, state: str
) -> None:
    """The next try launches another instance."""
    because = f"<stateReason><code>{reason}</code><message>so it is</message></stateReason>"
    dies = reported(f"<stateReason>.*?</stateReason>(.*?){RUNNING}", rf"{because}\1{state}")
    with gate.fault(dies), refused(code, reason, "so it is"):
        client.create(machine_class, "m1")
    (dead,) = client.list_machines(machine_class)
    client.delete(machine_class, "m1", dead)
    assert client.create(machine_class, "m1").ProviderID != dead


def test_an_instance_without_a_dns_name(
    client: Client, gate: Gate, account: Account, machine_class: MachineClass
) -> None:
    """The name of its node is the one that EC2 gives by default."""
    nameless = "<privateDnsName>.*?</privateDnsName>", ""
    with gate.fault(reported(*nameless)):
        created = client.create(machine_class, "nameless")
        status = client.status(machine_class, "nameless", created.ProviderID)
    address = account.instance("nameless")["PrivateIpAddress"].replace(".", "-")
    assert created.NodeName == status.NodeName == f"ip-{address}.{REGION}.compute.internal"
    with gate.fault(reported("<(privateDnsName|privateIpAddress)>.*?</\\1>", "")):
        status = client.status(machine_class, "nameless", created.ProviderID)
    instance_id = created.ProviderID.rpartition("/")[2]
    assert status.NodeName == f"{instance_id}.{REGION}.compute.internal"


def test_an_instance_that_is_protected_against_termination(
    client: Client, account: Account, machine_class: MachineClass
) -> None:
    """People protect instances on purpose, so the driver does not remove the protection."""
    created = client.create(machine_class, "protected")
    instance_id = created.ProviderID.rpartition("/")[2]
    account.ec2.modify_instance_attribute(
        InstanceId=instance_id, DisableApiTermination={"Value": True}
    )
    with refused("FAILED_PRECONDITION", "OperationNotPermitted", instance_id):
        client.delete(machine_class, "protected", created.ProviderID)
    account.ec2.modify_instance_attribute(
        InstanceId=instance_id, DisableApiTermination={"Value": False}
    )
    client.delete(machine_class, "protected", created.ProviderID)


def test_somebody_else_was_faster(
    client: Client, gate: Gate, account: Account, machine_class: MachineClass
) -> None:
    """The resource to delete may disappear between two calls."""
    client.create(machine_class, "faster")
    gone = failing(error("InvalidInstanceID.NotFound"), "TerminateInstances", is_done=True)
    with gate.fault(gone):
        client.delete(machine_class, "faster")
    client.create(machine_class, "faster")
    account.vanish("faster")
    gone = failing(error("InvalidVolume.NotFound"), "DeleteVolume", is_done=True)
    with gate.fault(gone):
        client.delete(machine_class, "faster")
    assert client.list_machines(machine_class) == {}


def test_a_terminated_instance_whose_tags_are_gone(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """EC2 removes the tags some time before it forgets the instance."""
    created = client.create(machine_class, "m1")
    client.delete(machine_class, "m1", created.ProviderID)
    with gate.fault(reported("<tagSet>.*?</tagSet>", "<tagSet/>")):
        with refused("NOT_FOUND"):
            client.status(machine_class, "m1", created.ProviderID)
        client.delete(machine_class, "m1", created.ProviderID)
        assert client.list_machines(machine_class) == {}


def test_an_instance_that_somebody_stopped(
    client: Client, account: Account, machine_class: MachineClass
) -> None:
    """Nobody knows why it was stopped, so the driver does not start it. MCM sees the lost node."""
    created = client.create(machine_class, "stopped")
    account.ec2.stop_instances(InstanceIds=[account.instance("stopped")["InstanceId"]])
    assert client.status(machine_class, "stopped") == client.status(
        machine_class, "stopped", created.ProviderID
    )
    with refused("FAILED_PRECONDITION", "stopped"):
        client.create(machine_class, "stopped")
    client.delete(machine_class, "stopped", created.ProviderID)
    assert client.list_machines(machine_class) == {}


@pytest.mark.parametrize("ours", ["kubernetes.io/cluster/second", "kubernetes.io/role/second"])
def test_an_instance_that_got_the_tag_of_a_second_cluster(
    client: Client, account: Account, samples: Samples, ours: str
) -> None:
    """It still belongs to the first cluster, and the second cluster does not see it."""
    first = samples.machine_class()
    created = client.create(first, "shared")
    account.tag("shared", **{ours: "1"})
    tags = {"kubernetes.io/cluster/second": "1", "kubernetes.io/role/second": "1"}
    second = samples.machine_class(tags=tags)
    account.tag("shared", **tags)
    assert client.list_machines(first) == {created.ProviderID: "shared"}
    assert client.list_machines(second) == {}
    client.delete(second, "shared", created.ProviderID)
    assert client.status(first, "shared").ProviderID == created.ProviderID
    client.delete(first, "shared")
    assert client.list_machines(first) == {}


def test_an_instance_that_lost_the_tags_of_its_cluster(
    client: Client, account: Account, machine_class: MachineClass
) -> None:
    """The driver still finds it by its ID. Only lists and searches by name use these tags."""
    created = client.create(machine_class, "untagged")
    account.ec2.delete_tags(
        Resources=[account.instance("untagged")["InstanceId"]],
        Tags=[{"Key": key} for key in account.tags("untagged") if "kubernetes.io" in key],
    )
    assert client.status(machine_class, "untagged", created.ProviderID).NodeName == created.NodeName
    client.delete(machine_class, "untagged", created.ProviderID)
    assert account.instances("untagged") == []


def test_an_instance_that_gardeners_driver_has_made(
    client: Client, account: Account, samples: Samples
) -> None:
    """It has the tags of the class, and the machine's name is in the tag that consoles show."""
    machine_class = samples.machine_class()
    tags = json.loads(machine_class.provider_spec)["tags"] | {"Name": "of-gardener"}
    made = account.launch([{"Key": key, "Value": value} for key, value in tags.items()])
    provider_id = f"aws:///{REGION}/{made}"
    assert client.list_machines(machine_class) == {provider_id: "of-gardener"}
    assert client.status(machine_class, "of-gardener").ProviderID == provider_id
    assert client.create(machine_class, "of-gardener").ProviderID == provider_id
    client.delete(machine_class, "of-gardener")
    assert client.list_machines(machine_class) == {}


def test_an_instance_of_another_account(
    client: Client, account: Account, gate: Gate, machine_class: MachineClass
) -> None:
    """Keys of another account can't see the instance, so the driver does nothing to it."""
    created = client.create(machine_class, "elsewhere")
    nothing = reported("<reservationSet>.*</reservationSet>", "<reservationSet/>")
    before = len(gate.calls)
    with gate.fault(nothing):
        assert client.list_machines(machine_class) == {}
        with refused("NOT_FOUND"):
            client.status(machine_class, "elsewhere", created.ProviderID)
        client.delete(machine_class, "elsewhere", created.ProviderID)
    assert gate.asked("TerminateInstances", before) == []
    assert client.status(machine_class, "elsewhere").ProviderID == created.ProviderID


def test_a_network_interface_that_survives(
    client: Client, account: Account, machine_class: MachineClass
) -> None:
    """It is a leftover, which is listed as its machine."""
    client.create(machine_class, "surviving")
    interface = account.ec2.create_network_interface(
        SubnetId=account.fields["networkInterfaces"][0]["subnetID"],
        TagSpecifications=[
            {
                "ResourceType": "network-interface",
                "Tags": account.instance("surviving")["Tags"],
            }
        ],
    )["NetworkInterface"]["NetworkInterfaceId"]
    assert [*client.list_machines(machine_class).values()] == ["surviving"], "it may be detached"
    account.ec2.terminate_instances(InstanceIds=[account.instance("surviving")["InstanceId"]])
    listed = {f"aws:///{REGION}/{interface}": "surviving"}
    assert client.list_machines(machine_class) == listed
    client.delete(machine_class, "surviving", *listed)
    assert client.list_machines(machine_class) == {}
