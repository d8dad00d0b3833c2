"""Faults of EC2: it refuses calls, shows changes late, or does not answer."""

from typing import Any

import grpc
import pytest

from cmi.testing import Client, MachineClass, Samples, refused

from .account import REGION, Account
from .gate import Answer, Call, Forward, Gate, error, failing, reported

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
"""Answers of proxies, load balancers and captive portals, and answers that were cut off."""
NO_INSTANCES = ("<reservationSet>.*</reservationSet>", "<reservationSet/>")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error("ServiceUnavailable", status=503), "UNAVAILABLE"),
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
    """C13, C44: a retry then launches one instance."""
    with gate.failing(answer, "RunInstances"), refused(code):
        client.create(machine_class, "m1")
    assert client.list_machines(machine_class) == {}
    client.create(machine_class, "m1")
    assert [*client.list_machines(machine_class).values()] == ["m1"]


def test_a_throttled_call_is_made_again(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    for action in ("DescribeInstances", "RunInstances"):
        throttled = failing(error("RequestLimitExceeded", status=503), action, times=2)
        with gate.fault(throttled) as struck:
            client.create(machine_class, action.lower())
            assert struck.is_set()
    names = {name: each for each, name in client.list_machines(machine_class).items()}
    assert names.keys() == {"describeinstances", "runinstances"}
    with gate.fault(failing(error("Throttling"), "TerminateInstances", times=2)):
        client.delete(machine_class, "runinstances", names["runinstances"])
    assert [*client.list_machines(machine_class).values()] == ["describeinstances"]


def test_the_message_is_that_of_ec2_and_short(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    denied = "You are not authorized. Encoded authorization failure message: " + "x" * 2000
    refusal = gate.failing(error("UnauthorizedOperation", denied))
    with refusal, pytest.raises(grpc.RpcError) as caught:
        client.create(machine_class, "m1")
    assert caught.value.details() == "AWS answers UnauthorizedOperation: You are not authorized."


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ami": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"machineType": "m7i.enormous"}, "InvalidInstanceType"),
        (
            {
                "networkInterfaces": [
                    {
                        "subnetID": "subnet-0123456789abcdef0",
                        "securityGroupIDs": ["sg-0123456789abcdef0"],
                    }
                ]
            },
            "subnet-0123456789abcdef0",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_ec2_does_not_have_is_named(
    client: Client, samples: Samples, fields: dict[str, Any], message: str
) -> None:
    with refused("INVALID_ARGUMENT", message):
        client.create(samples.machine_class(**fields), "m1")


def test_an_instance_that_is_not_visible_yet_is_not_made_twice(
    client: Client, gate: Gate, account: Account, machine_class: MachineClass
) -> None:
    """C15: EC2 lists an instance some time after its launch, but the client token finds it."""
    lost = failing(None, "RunInstances", is_done=True)
    with gate.fault(lost), refused("UNAVAILABLE"):
        client.create(machine_class, "invisible")
    with gate.fault(reported(*NO_INSTANCES, times=3)):
        created = client.create(machine_class, "invisible")
    (made,) = account.instances("invisible")
    assert created.ProviderID == f"aws:///{REGION}/{made['InstanceId']}"


def test_a_machine_that_was_deleted_gets_a_new_instance(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """EC2 keeps the token of a terminated instance for a day, but shows it only for an hour."""
    made = set()
    for _ in range(4):
        created = client.create(machine_class, "m1")
        client.delete(machine_class, "m1", created.ProviderID)
        made.add(created.ProviderID)
    assert len(made) == 4
    before = len(gate.calls)
    client.create(machine_class, "m1")
    launches = [call for call in gate.calls[before:] if call["Action"] == "RunInstances"]
    assert len(launches) == 2, "the driver should not try all old tokens again"
    client.delete(machine_class, "m1")
    with gate.fault(reported(*NO_INSTANCES, times=6)):
        assert client.create(machine_class, "m1").ProviderID not in made


def test_instances_of_another_class_do_not_count(
    client: Client, gate: Gate, account: Account, samples: Samples, machine_class: MachineClass
) -> None:
    """Otherwise, the token would depend on what EC2 shows, and a retry might use another token."""
    for each in (machine_class, samples.machine_class(machineType="m7i.xlarge")):
        created = client.create(each, "m1")
        client.delete(each, "m1", created.ProviderID)

    def lost(call: Call, forward: Forward) -> Answer | None:
        answer = forward()
        return None if call["Action"] == "RunInstances" and answer.status == 200 else answer

    with gate.fault(lost), refused("UNAVAILABLE"):
        client.create(machine_class, "m1")
    with gate.fault(reported(*NO_INSTANCES, times=2)):
        client.create(machine_class, "m1")
    assert [*client.list_machines(machine_class).values()] == ["m1"]


def test_a_deletion_is_over_when_the_instance_is_gone(
    client: Client, gate: Gate, machine_class: MachineClass
) -> None:
    """C22: it waits until the end is reported. A second deletion would wait for the same end."""
    created = client.create(machine_class, "m1")
    slow = reported(TERMINATED, SHUTTING_DOWN, times=2)
    before = len(gate.calls)
    with gate.fault(slow):
        client.delete(machine_class, "m1", created.ProviderID)
    actions = [call["Action"] for call in gate.calls[before:]]
    assert actions.count("TerminateInstances") == 1
    assert actions[actions.index("TerminateInstances") :].count("DescribeInstances") >= 3
