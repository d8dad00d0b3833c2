"""C7 to C16: CreateMachine."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest

from cmi.conformance import specs
from cmi.conformance.kit import OK, Kit
from cmi.conformance.target import Switch
from cmi.contract import MAX_NAME_BYTES

_REPEATS = 10
_DEADLINES = (0.001, 0.003, 0.01, 0.03, 0.1)
_NO_OBJECTS = (b"", b"no JSON", b"[]", b'"text"', b"1", b"null", b"{", b"\xff\xfe")


def test_C7_machine_name_is_needed(kit: Kit) -> None:
    kit.send("CreateMachine", kit.request("CreateMachine", "")).refused("INVALID_ARGUMENT")


@pytest.mark.parametrize("raw", _NO_OBJECTS, ids=repr)
def test_C8_spec_is_a_json_object(kit: Kit, raw: bytes) -> None:
    broken = replace(kit.mine, provider_spec=raw)
    kit.create(kit.name(), broken).refused("INVALID_ARGUMENT", naming="providerSpec")


def test_C8_mandatory_fields(kit: Kit) -> None:
    kit.create(kit.name(), specs.with_fields(kit.mine, {})).refused(
        "INVALID_ARGUMENT", naming="providerSpec.tags"
    )


def test_C8_types(kit: Kit) -> None:
    for path, broken in specs.with_wrong_types(kit.mine):
        kit.create(kit.name(), broken).refused("INVALID_ARGUMENT", naming=path)


def test_C8_every_offending_field_is_named(kit: Kit) -> None:
    paths, broken = specs.with_two_wrong_types(kit.mine)
    outcome = kit.create(kit.name(), broken)
    for path in paths:
        outcome.refused("INVALID_ARGUMENT", naming=path)


def test_C9_answer(kit: Kit) -> None:
    _, created = kit.make()
    for value in (created.ProviderID, created.NodeName):
        assert 0 < len(value.encode()) <= MAX_NAME_BYTES


def test_C10_idempotent(kit: Kit) -> None:
    name, first = kit.make()
    for _ in range(_REPEATS):
        again = kit.create(name).ok()
        assert (again.ProviderID, again.NodeName) == (first.ProviderID, first.NodeName)


def test_C11_incompatible_spec(kit: Kit) -> None:
    other = specs.incompatible(kit.mine, kit.target.other_class)
    if other is None:
        pytest.skip("the spec holds no integer to raise, and no other class was given")
    name, _ = kit.make()
    outcome = kit.create(name, other)
    if outcome.code.name in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        pytest.skip(f"the derived spec is not valid: {outcome.message}")
    outcome.refused("ALREADY_EXISTS")


def test_C12_one_vm(kit: Kit) -> None:
    kit.needs("ListMachines")
    name = kit.name()
    with ThreadPoolExecutor(_REPEATS) as pool:
        outcomes = list(pool.map(lambda _: kit.create(name), range(_REPEATS)))
    for outcome in outcomes:
        if outcome.code is not OK:
            outcome.refused("ABORTED")
    kit.patiently(lambda: kit.create(name)).ok()
    assert list(kit.listed().values()).count(name) == 1


@pytest.mark.parametrize(
    "code",
    ["RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "FAILED_PRECONDITION", "UNAVAILABLE", "INTERNAL"],
)
def test_C13_failures_of_the_cloud(kit: Kit, code: str) -> None:
    failure = kit.backstage("a failure of the cloud").failures.get(code)
    if failure is None:
        pytest.skip(f"the backstage can't cause {code}")
    with failure():
        kit.create(kit.name()).refused(code)


@pytest.mark.parametrize("seconds", _DEADLINES)
def test_C14_expired_call(kit: Kit, seconds: float) -> None:
    name = kit.name()
    kit.create(name, timeout=seconds)
    _one_vm_after_a_retry(kit, name)


def test_C14_cancelled_call(kit: Kit) -> None:
    name = kit.name()
    method: grpc.UnaryUnaryMultiCallable[Any, Any] = kit.channel.unary_unary(
        "/cmi.v1.Machine/CreateMachine",
        request_serializer=lambda request: request.SerializeToString(),
    )
    for _ in range(_REPEATS):
        method.future(kit.request("CreateMachine", name)).cancel()
    _one_vm_after_a_retry(kit, name)


def test_C15_interrupted_create(kit: Kit) -> None:
    """At every step. A half-made VM must not be reported: MCM would take it for finished.

    One that is finished, although the answer got lost, may be: then a retry changes nothing.
    """
    for step, interruption in _interruptions(kit):
        name = kit.name()
        with interruption():
            outcome = kit.create(name)
        if outcome.code is OK:
            continue  # not a step of CreateMachine
        status = kit.status(name) if kit.announces("GetMachineStatus") else None
        before = _snapshot(kit)
        if status is not None and (status.code is not OK or before is None):
            status.refused("NOT_FOUND")
        assert list(kit.listed().values()).count(name) <= 1, f"two VMs after {step}"
        _one_vm_after_a_retry(kit, name)
        if status is not None and status.code is OK:
            assert _snapshot(kit) == before, f"a half-made VM was reported after {step}"


def test_C15_interrupted_delete(kit: Kit) -> None:
    for _, interruption in _interruptions(kit):
        before = _snapshot(kit)
        name, created = kit.make()
        with interruption():
            kit.delete(name, provider_id=created.ProviderID)
        kit.delete(name, provider_id=created.ProviderID).ok()
        assert _snapshot(kit) == before


def test_C16_last_known_state(kit: Kit) -> None:
    name, created = kit.make()
    state = created.LastKnownState
    assert state.decode() is not None
    kit.create(name, last_known_state=state).ok()
    kit.create(name).ok()


def test_C47_long_name(kit: Kit) -> None:
    name = kit.name(length=MAX_NAME_BYTES + 1)
    kit.create(name).refused("INVALID_ARGUMENT")


def _one_vm_after_a_retry(kit: Kit, name: str) -> None:
    kit.patiently(lambda: kit.create(name)).ok()
    if kit.announces("ListMachines"):
        assert list(kit.listed().values()).count(name) == 1


def _interruptions(kit: Kit) -> Iterable[tuple[str, Switch]]:
    interruptions = kit.backstage("an interruption").interruptions
    if not interruptions:
        pytest.skip("the backstage can't interrupt a call")
    return interruptions.items()


def _snapshot(kit: Kit) -> object:
    backstage = kit.target.backstage
    return backstage.snapshot() if backstage and backstage.snapshot else None
