"""What EC2 does when it does not do what it is told: it refuses, it is late, it is not there."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from cmi.testing import Client, MachineClass, Samples, connected, refused

from ..cloud import Cloud
from ..machineserver import MachineServer
from .ec2 import REGION, Account, Answer, Gate, error, failing, reported

RUNNING = "<code>16</code><name>running</name>"
SHUTTING_DOWN = "<code>32</code><name>shutting-down</name>"
TERMINATED = "<code>48</code><name>terminated</name>"
NOT_OF_EC2 = [
    Answer(200, b"<html><body>Please log in to this network.</body></html>"),
    Answer(200, b""),
    Answer(200, b"<RunInstancesResponse><instancesSet><item>"),
    Answer(301, b"<html>Moved Permanently</html>"),
    Answer(403, b"<html>Forbidden by the proxy</html>"),
    Answer(404, b"not found"),
    Answer(407, b"<html>Proxy Authentication Required</html>"),
    Answer(429, b"slow down"),
    Answer(502, b"<html>Bad Gateway</html>"),
    Answer(503, b"<html>Service Unavailable</html>"),
    Answer(503, b'{"message": "Service Unavailable"}'),
]
"""What proxies, load balancers and captive portals answer, and answers that were cut off."""
NO_INSTANCES = ("<reservationSet>.*</reservationSet>", "<reservationSet/>")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error("RequestLimitExceeded", "Request limit exceeded.", 503), "UNAVAILABLE"),
        (None, "UNAVAILABLE"),
        (error("InsufficientInstanceCapacity", status=500), "RESOURCE_EXHAUSTED"),
        (error("AuthFailure", status=401), "UNAUTHENTICATED"),
        (error("UnauthorizedOperation", status=403), "PERMISSION_DENIED"),
        (error("SomethingNew", "We added this last night."), "INTERNAL"),
        *[(answer, "UNAVAILABLE") for answer in NOT_OF_EC2],
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_launch_says_what_to_do(
    client: Client, gate: Gate, machine_class: MachineClass, answer: Answer | None, code: str
) -> None:
    """C13, C44; a retry makes one instance."""
    with gate.failing(answer, "RunInstances"), refused(code):
        client.create(machine_class, "m1")
    assert client.list_machines(machine_class) == {}
    client.create(machine_class, "m1")
    assert [*client.list_machines(machine_class).values()] == ["m1"]


def test_the_message_is_that_of_ec2_and_short(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    denied = "You are not authorized. Encoded authorization failure message: " + "x" * 2000
    refusal = gate.failing(error("UnauthorizedOperation", denied))
    with refusal, pytest.raises(grpc.RpcError) as caught:
        client.create(machine_class, "m1")
    assert caught.value.details() == "EC2 answers UnauthorizedOperation: You are not authorized."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ami": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"machineType": "m7i.enormous"}, "InvalidInstanceType"),
        ({"subnet": "subnet-0123456789abcdef0"}, "subnet-0123456789abcdef0"),
        ({"securityGroups": ["sg-0123456789abcdef0"]}, "sg-0123456789abcdef0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_ec2_does_not_have_is_named(
    client: Client, samples: Samples, fields: dict[str, Any], message: str
) -> None:
    with refused("INVALID_ARGUMENT", message):
        client.create(samples.machine_class(**fields), "m1")


def test_throttled_calls_are_repeated(
    gate: Gate, machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    throttled = failing(error("RequestLimitExceeded", status=503), times=2)
    with connected(MachineServer(Cloud())) as client, gate.fault(throttled):
        assert client.list_machines(machine_class) == {}


def test_nobody_listens(
    machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    with connected(MachineServer(Cloud())) as client:
        with refused("UNAVAILABLE", "http://127.0.0.1:9"):
            client.create(machine_class, "m1")
        assert client.probe()


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE"])
def test_profiles_are_not_read(
    machine_class: MachineClass,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
    tmp_path: Path,
    name: str,
) -> None:
    """Credentials come with each call; those of the operator are nobody's business."""
    (tmp_path / "file").write_text("[default]\nregion = moon-1\nca_bundle = /nowhere\n[broken")
    monkeypatch.setenv(name, str(tmp_path / "file"))
    with connected(MachineServer(Cloud())) as client:
        assert client.probe()
        assert client.list_machines(machine_class) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_CA_BUNDLE", "/no/such/bundle.pem"),
        ("REQUESTS_CA_BUNDLE", __file__),
        ("HTTPS_PROXY", "proxy.example:3128"),
        ("AWS_ENDPOINT_URL", "ec2.example"),
    ],
)
def test_probe_says_what_can_not_be_used(
    client: Client, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """C6."""
    monkeypatch.setenv(name, value)
    with refused("FAILED_PRECONDITION", name):
        client.probe()
    monkeypatch.delenv(name)
    assert client.probe()


def test_an_instance_that_is_not_visible_yet_is_not_made_twice(
    client: Client, gate: Gate, account: Account, machine_class: MachineClass
) -> None:
    """C15: EC2 lists an instance some time after it was made; the client token finds it."""
    lost = failing(None, "RunInstances", is_done=True)
    with gate.fault(lost), refused("UNAVAILABLE"):
        client.create(machine_class, "invisible")
    with gate.fault(reported(*NO_INSTANCES, times=3)):
        created = client.create(machine_class, "invisible")
    (made,) = account.instances("invisible")
    assert created.ProviderID == f"aws:///{REGION}/{made['InstanceId']}"


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
    """And the next try makes another one."""
    because = f"<stateReason><code>{reason}</code><message>so it is</message></stateReason>"
    dies = reported(f"<stateReason>.*?</stateReason>(.*?){RUNNING}", rf"{because}\1{state}")
    with gate.fault(dies), refused(code, reason, "so it is"):
        client.create(machine_class, "m1")
    (dead,) = client.list_machines(machine_class)
    client.delete(machine_class, "m1", dead)
    assert client.create(machine_class, "m1").ProviderID != dead


def test_a_machine_that_was_deleted_gets_a_new_instance(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """EC2 remembers the token of a terminated instance for a day, and shows it for an hour."""
    made = set()
    for _ in range(4):
        created = client.create(machine_class, "m1")
        client.delete(machine_class, "m1", created.ProviderID)
        made.add(created.ProviderID)
    assert len(made) == 4
    before = len(gate.calls)
    client.create(machine_class, "m1")
    launches = [call for call in gate.calls[before:] if call["Action"] == "RunInstances"]
    assert len(launches) == 2, "all old tokens were tried once more"
    client.delete(machine_class, "m1")
    with gate.fault(reported(*NO_INSTANCES, times=6)):
        assert client.create(machine_class, "m1").ProviderID not in made


def test_a_deletion_is_over_when_the_instance_is_gone(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """C22; a second deletion meanwhile waits for the same end."""
    created = client.create(machine_class, "m1")
    slow = reported(TERMINATED, SHUTTING_DOWN, times=2)
    before = len(gate.calls)
    with gate.fault(slow):
        client.delete(machine_class, "m1", created.ProviderID)
    actions = [call["Action"] for call in gate.calls[before:]]
    assert actions.count("TerminateInstances") == 1
    assert actions[actions.index("TerminateInstances") :].count("DescribeInstances") >= 3


@pytest.mark.parametrize("around", ["{}\n", "\ufeff{}", " {}\r\n"], ids=repr)
def test_what_files_and_editors_put_around_a_key(
    client: Client, account: Account, samples: Samples, around: str
) -> None:
    keys = {key: around.format(value.decode()).encode() for key, value in account.writer.items()}
    assert client.list_machines(samples.machine_class(keys)) == {}


@pytest.mark.parametrize("broken", ['"{}"', "{}\n{}", "{} x", "{}\u00e4", "{}\0"], ids=repr)
@pytest.mark.parametrize("key", ["accessKeyID", "secretAccessKey"])
def test_what_is_no_key_is_refused_and_not_shown(
    client: Client, account: Account, samples: Samples, key: str, broken: str
) -> None:
    """C44, C50: boto3 would quote the header that it can't send."""
    value = account.writer[key].decode()
    machine_class = samples.machine_class({key: broken.format(value, value).encode()})
    with pytest.raises(grpc.RpcError) as caught:
        client.create(machine_class, "m1")
    assert caught.value.code().name == "UNAUTHENTICATED"
    assert f"secrets.{key}" in str(caught.value.details())
    assert value not in str(caught.value.details())


def test_an_instance_without_a_dns_name(
    client: Client, gate: Gate, account: Account, machine_class: MachineClass
) -> None:
    """Its node has the name that EC2 gives by default."""
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
    """People protect it on purpose, so the driver does not take that off."""
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


def test_a_terminated_instance_whose_tags_are_gone(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """EC2 takes them off some time before it forgets the instance."""
    created = client.create(machine_class, "m1")
    client.delete(machine_class, "m1", created.ProviderID)
    with gate.fault(reported("<tagSet>.*?</tagSet>", "<tagSet/>")):
        with refused("NOT_FOUND"):
            client.status(machine_class, "m1", created.ProviderID)
        client.delete(machine_class, "m1", created.ProviderID)
        assert client.list_machines(machine_class) == {}


def test_a_key_that_may_only_read(client: Client, account: Account, samples: Samples) -> None:
    """C44."""
    reader = samples.machine_class({**account.reader})
    with refused("PERMISSION_DENIED", "RunInstances"):
        client.create(reader, "m1")
    assert client.list_machines(reader) == {}
