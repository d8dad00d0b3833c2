"""What EC2 does when it does not do what it is told: it refuses, it is late, it is not there."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress

import grpc
import pytest

from cmi.client import Client, MachineClass
from cmi.endpoint import Endpoint
from cmi.serving.server import ServerOptions
from cmi.testing import serving

from ..apis.provider_spec import Credentials
from ..cloud import MAX_CLIENTS, Cloud
from ..machineserver import MachineServer
from .conftest import Change
from .ec2 import (
    REGION,
    Account,
    Answer,
    Call,
    Forward,
    Gate,
    error,
    failing,
    forgotten,
    lost,
    reported,
)

Refused = Callable[..., AbstractContextManager[None]]

RUNNING = "<code>16</code><name>running</name>"
PENDING = "<code>0</code><name>pending</name>"
NO_INSTANCES = ("<reservationSet>.*</reservationSet>", "<reservationSet/>")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error("RequestLimitExceeded", "Request limit exceeded.", 503), "UNAVAILABLE"),
        (error("Throttling"), "UNAVAILABLE"),
        (error("InternalError", status=500), "UNAVAILABLE"),
        (error("Unavailable", status=503), "UNAVAILABLE"),
        (Answer(503, b"<html>Service Unavailable</html>"), "UNAVAILABLE"),
        (None, "UNAVAILABLE"),
        (error("InsufficientInstanceCapacity", status=500), "RESOURCE_EXHAUSTED"),
        (error("InsufficientFreeAddressesInSubnet"), "RESOURCE_EXHAUSTED"),
        (error("VcpuLimitExceeded"), "RESOURCE_EXHAUSTED"),
        (error("InstanceLimitExceeded"), "RESOURCE_EXHAUSTED"),
        (error("MaxSpotInstanceCountExceeded"), "RESOURCE_EXHAUSTED"),
        (error("Unsupported"), "OUT_OF_RANGE"),
        (error("InvalidParameterCombination"), "INVALID_ARGUMENT"),
        (error("PendingVerification"), "FAILED_PRECONDITION"),
        (error("AuthFailure", status=401), "UNAUTHENTICATED"),
        (error("UnauthorizedOperation", status=403), "PERMISSION_DENIED"),
        (error("SomethingNew", "We added this last night."), "INTERNAL"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_launch_says_what_to_do(
    client: Client,
    gate: Gate,
    machine_class: MachineClass,
    refused: Refused,
    answer: Answer | None,
    code: str,
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
    client: Client, changed: Change, refused: Refused, fields: dict[str, object], message: str
) -> None:
    with refused("INVALID_ARGUMENT", message):
        client.create(changed(**fields), "m1")


def test_throttled_calls_are_repeated(
    gate: Gate, machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    throttled = failing(error("RequestLimitExceeded", status=503), times=2)
    with (
        serving(MachineServer(Cloud())) as endpoint,
        Client(endpoint, timeout=60) as client,
        gate.fault(throttled),
    ):
        assert client.list_machines(machine_class) == {}


def test_nobody_listens(
    machine_class: MachineClass, monkeypatch: pytest.MonkeyPatch, gate: Gate, refused: Refused
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    with serving(MachineServer(Cloud())) as endpoint, Client(endpoint, timeout=60) as client:
        with refused("UNAVAILABLE", "http://127.0.0.1:9"):
            client.create(machine_class, "m1")
        assert client.probe()


def test_an_instance_whose_launch_was_not_answered_is_found_again(
    client: Client, gate: Gate, account: Account, changed: Change, refused: Refused
) -> None:
    """C14, C15."""
    machine_class = changed()
    with gate.fault(lost("RunInstances")), refused("UNAVAILABLE"):
        client.create(machine_class, "unanswered")
    (made,) = account.instances("unanswered")
    assert client.create(machine_class, "unanswered").ProviderID == f"aws:///{REGION}/{made}"


def test_an_instance_that_is_not_visible_yet_is_not_made_twice(
    client: Client, gate: Gate, account: Account, changed: Change, refused: Refused
) -> None:
    """EC2 lists an instance some time after it was made: the client token finds it."""
    machine_class = changed()
    with gate.fault(lost("RunInstances")), refused("UNAVAILABLE"):
        client.create(machine_class, "invisible")
    with gate.fault(reported(*NO_INSTANCES, times=3)):
        created = client.create(machine_class, "invisible")
    (made,) = account.instances("invisible")
    assert created.ProviderID == f"aws:///{REGION}/{made}"


def test_a_pending_instance_is_waited_for_and_not_reported(
    client: Client, gate: Gate, machine_class: MachineClass, refused: Refused
) -> None:
    """But listed, so that it can't be lost."""
    with gate.fault(reported(RUNNING, PENDING, times=5)):
        created = client.create(machine_class, "m1")
    with gate.fault(reported(RUNNING, PENDING)):
        with refused("NOT_FOUND", "half created"):
            client.status(machine_class, "m1")
        assert client.list_machines(machine_class) == {created.ProviderID: "m1"}


def test_a_call_that_is_over_leaves_an_instance_that_a_retry_finishes(
    gate: Gate, account: Account, changed: Change, refused: Refused
) -> None:
    """C14: the wait ends with the call, so that the retry is not turned away."""
    machine_class = changed()
    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=3)
    with serving(MachineServer(Cloud()), options) as endpoint, Client(endpoint, 60) as client:
        with gate.fault(reported(RUNNING, PENDING)), refused("DEADLINE_EXCEEDED"):
            client.create(machine_class, "slow")
        provider_id = ""
        while not provider_id:
            with suppress(grpc.RpcError):  # ABORTED, until the call's thread has noticed
                provider_id = client.create(machine_class, "slow").ProviderID
    (made,) = account.instances("slow")
    assert provider_id == f"aws:///{REGION}/{made}"


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
    client: Client,
    gate: Gate,
    account: Account,
    changed: Change,
    refused: Refused,
    reason: str,
    code: str,
) -> None:
    """And the next try makes another one."""
    machine_class, name = changed(), f"dying-{reason}"
    because = f"<stateReason><code>{reason}</code><message>so it is</message></stateReason>"

    terminated = "<code>48</code><name>terminated</name>"
    dies = reported(f"<stateReason>.*?</stateReason>(.*?){RUNNING}", rf"{because}\1{terminated}")
    with gate.fault(dies), refused(code, reason, "so it is"):
        client.create(machine_class, name)
    (dead,) = account.instances(name)
    account.ec2().terminate_instances(InstanceIds=[dead])
    assert dead not in client.create(machine_class, name).ProviderID


@pytest.mark.parametrize("state", ["none", "terminated"])
def test_a_machine_that_was_deleted_gets_a_new_instance(
    client: Client, gate: Gate, machine_class: MachineClass, state: str
) -> None:
    """EC2 lists a terminated instance for an hour, and remembers its token for a day."""
    made = set()
    with gate.fault(forgotten(state)):
        for _ in range(3):
            created = client.create(machine_class, "m1")
            client.delete(machine_class, "m1", created.ProviderID)
            made.add(created.ProviderID)
    assert len(made) == 3


class SlowEnd:
    """The fault by which EC2 reports an instance in another state before it is terminated.

    Attributes:
        left: How many times it still will.
    """

    def __init__(self, times: float, code: int = 32, state: str = "shutting-down") -> None:
        self.left = times
        self._state = state
        self._reported = f"<code>{code}</code><name>{state}</name>"
        self._before: Answer | None = None
        self._terminating = False

    def __call__(self, call: Call, forward: Forward) -> Answer:
        answer = forward()
        if call["Action"] == "TerminateInstances":
            self._terminating = True
        elif not self._terminating:
            self._before = answer
        elif self._state in call.values() and self.left > 0:
            self.left -= 1
            assert self._before is not None
            return Answer(200, self._before.body.replace(RUNNING.encode(), self._reported.encode()))
        return answer


@pytest.mark.parametrize(
    "slow_end",
    [SlowEnd(times=3), SlowEnd(times=3, code=16, state="running")],
    ids=["shutting down", "still reported as running"],
)
def test_a_deletion_is_over_when_the_instance_is_gone(
    client: Client, gate: Gate, machine_class: MachineClass, slow_end: SlowEnd
) -> None:
    """C22."""
    client.create(machine_class, "m1")
    with gate.fault(slow_end):
        client.delete(machine_class, "m1")
    assert slow_end.left == 0


def test_a_deletion_that_was_given_up_is_waited_for_by_the_next(
    gate: Gate, machine_class: MachineClass, refused: Refused
) -> None:
    """C15, C22."""
    options = ServerOptions(endpoint=Endpoint.parse("tcp://127.0.0.1:0"), call_timeout=3)
    with serving(MachineServer(Cloud()), options) as endpoint, Client(endpoint, 60) as client:
        client.create(machine_class, "m1")
        slow_end = SlowEnd(times=float("inf"))
        with gate.fault(slow_end):
            with refused("DEADLINE_EXCEEDED"):
                client.delete(machine_class, "m1")
            with serving(MachineServer(Cloud())) as elsewhere, Client(elsewhere, 60) as other:
                slow_end.left = 3
                other.delete(machine_class, "m1")
        assert slow_end.left == 0


def test_credentials(client: Client, account: Account, changed: Change, refused: Refused) -> None:
    """C44; a rotated key takes effect at the next call."""
    with refused("UNAUTHENTICATED", "secrets.accessKeyID", "missing"):
        client.create(changed({"accessKeyID": None}), "m1")
    with refused("UNAUTHENTICATED", "AuthFailure"):
        client.create(changed({"secretAccessKey": b"guessed"}), "m1")
    with refused("UNAUTHENTICATED", "AuthFailure"):
        client.create(changed({"accessKeyID": b"AKIAGUESSED"}), "m1")
    reader = changed({**account.reader})
    with refused("PERMISSION_DENIED", "RunInstances"):
        client.create(reader, "m1")
    assert client.list_machines(reader) == {}
    with refused("INVALID_ARGUMENT", "secrets.userData", "missing"):
        client.create(changed({"userData": None}), "m1")
    with_newlines = {key: value + b"\n" for key, value in account.writer.items()}
    client.create(changed(with_newlines), "m1")


def test_clients_are_kept_but_not_for_ever(gate: Gate) -> None:
    cloud = Cloud()

    def key(number: int) -> Credentials:
        return Credentials.model_validate(
            {"accessKeyID": f"key-{number}", "secretAccessKey": "secret"}
        )

    first = cloud.client(key(0), REGION)
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda _: cloud.client(key(0), REGION), range(50))} == {first}
    assert cloud.client(key(0), "us-east-1") is not first
    for number in range(1, MAX_CLIENTS + 1):
        cloud.client(key(number), REGION)
        assert len(cloud._clients) <= MAX_CLIENTS
    assert cloud.client(key(MAX_CLIENTS), REGION) in cloud._clients.values()
    assert cloud.client(key(0), REGION) is not first
