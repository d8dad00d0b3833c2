"""The steps of CreateMachine after the launch, which may be interrupted."""

import pytest

from cmi.testing import Client, MachineClass, Samples, refused

from .account import Account
from .gate import Answer, Call, Forward, Gate, error, failing, reported

STEPS = ("ModifyNetworkInterfaceAttribute", "AssignIpv6Addresses", "CreateTags")


@pytest.fixture
def routing(account: Account, samples: Samples) -> MachineClass:
    """A class whose instances forward packets for other addresses, and have IPv6 prefixes."""
    interface = account.fields["networkInterfaces"][0]
    return samples.machine_class(
        srcAndDstChecksEnabled=False,
        networkInterfaces=[{**interface, "ipv6PrefixCount": 2}, interface],
    )


def test_each_step_is_done_once(
    client: Client, gate: Gate, account: Account, routing: MachineClass
) -> None:
    before = len(gate.calls)
    created = client.create(routing, "routing")
    assert steps_since(gate, before) == [STEPS[0], STEPS[0], STEPS[1], STEPS[2]]
    interfaces = account.instance("routing")["NetworkInterfaces"]
    assert [each["SourceDestCheck"] for each in interfaces] == [False, False]
    (assigned,) = gate.asked("AssignIpv6Addresses", before)
    assert assigned["NetworkInterfaceId"] == interfaces[0]["NetworkInterfaceId"]
    again = len(gate.calls)
    assert client.create(routing, "routing").ProviderID == created.ProviderID
    assert steps_since(gate, again) == []


def test_an_instance_without_steps_has_none(
    client: Client, gate: Gate, account: Account, samples: Samples
) -> None:
    before = len(gate.calls)
    client.create(samples.machine_class(srcAndDstChecksEnabled=True), "plain")
    assert steps_since(gate, before) == []
    assert "machine-steps" not in account.tags("plain")


@pytest.mark.parametrize("is_done", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_meets_passing_trouble_is_repeated_within_the_call(
    client: Client, gate: Gate, routing: MachineClass, step: str, *, is_done: bool
) -> None:
    name = f"passing-{step}-{is_done}"
    fails = failing(None if is_done else error("InternalError"), step, times=1, is_done=is_done)
    with gate.fault(fails):
        created = client.create(routing, name)
    assert client.status(routing, name).ProviderID == created.ProviderID


@pytest.mark.parametrize("is_done", [False, True], ids=["refused", "done all the same"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_is_repeated_by_the_next_call(
    client: Client, gate: Gate, account: Account, routing: MachineClass, step: str, *, is_done: bool
) -> None:
    """C15, C58: until then, the machine is listed but counts as unfinished."""
    name = f"{step}-{is_done}"
    fails = failing(error("UnauthorizedOperation"), step, times=1, is_done=is_done)
    with gate.fault(fails), refused("PERMISSION_DENIED"):
        client.create(routing, name)
    if not (is_done and step == "CreateTags"):
        with refused("NOT_FOUND"):
            client.status(routing, name)
    assert [*client.list_machines(routing).values()] == [name]
    before = len(gate.calls)
    created = client.create(routing, name)
    assert gate.asked("RunInstances", before) == []
    assert client.status(routing, name).ProviderID == created.ProviderID
    interfaces = account.instance(name)["NetworkInterfaces"]
    assert [each["SourceDestCheck"] for each in interfaces] == [False, False]
    assert gate.prefixes[interfaces[0]["NetworkInterfaceId"]] == 2


def test_an_interface_that_is_not_visible_yet(
    client: Client, gate: Gate, routing: MachineClass
) -> None:
    late = failing(error("InvalidNetworkInterfaceID.NotFound"), STEPS[0], times=1)
    with gate.fault(late):
        client.create(routing, "late")
    client.status(routing, "late")


def test_a_step_is_done_once_ec2_reports_it(
    client: Client, gate: Gate, routing: MachineClass
) -> None:
    """EC2 may report the old value for a while. The instance is not finished until it changes."""
    before = len(gate.calls)
    old = "<sourceDestCheck>false<", "<sourceDestCheck>true<"
    with gate.fault(reported(*old, times=2)):
        client.create(routing, "slow")
    assert steps_since(gate, before)[-3:] == [STEPS[0], STEPS[0], STEPS[2]]
    assert len(gate.asked(STEPS[0], before)) == 6


def test_an_instance_that_is_pending_for_long_is_marked_once(
    client: Client, gate: Gate, routing: MachineClass
) -> None:
    """EC2 refuses too many calls, and each look at the instance would cost one."""
    before = len(gate.calls)
    running = "<code>16</code><name>running</name>"
    with gate.fault(reported(running, "<code>0</code><name>pending</name>", times=6)):
        client.create(routing, "pending")
    assert len(gate.asked("DescribeInstances", before)) > 6
    assert steps_since(gate, before) == [STEPS[0], STEPS[0], STEPS[1], STEPS[2]]


def test_an_efa_has_no_such_check(client: Client, gate: Gate, routing: MachineClass) -> None:
    """EC2 refuses to change the check on an EFA, according to Gardener's driver."""

    def efa(call: Call, forward: Forward) -> Answer:
        answer = forward()
        old, new = b"<interfaceType>interface<", b"<interfaceType>efa<"
        return Answer(answer.status, answer.body.replace(old, new))

    before = len(gate.calls)
    with gate.fault(efa):
        client.create(routing, "efa")
    assert gate.asked("ModifyNetworkInterfaceAttribute", before) == []


def steps_since(gate: Gate, before: int) -> list[str]:
    return [call["Action"] for call in gate.calls[before:] if call["Action"] in STEPS]
