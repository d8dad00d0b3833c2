"""C7 to C16, and C58: CreateMachine."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc
import pytest

from cmi.conformance import specs
from cmi.conformance.kit import OK, Kit, Outcome
from cmi.conformance.steps import interrupted_creates, interrupted_deletes, snapshot
from cmi.contract import MAX_NAME_BYTES, USER_DATA_KEY

__all__ = [
    "test_C7_machine_name_is_needed",
    "test_C8_by_whichever_call_comes_first",
    "test_C8_every_offending_field_is_named",
    "test_C8_mandatory_fields",
    "test_C8_spec_is_a_json_object",
    "test_C8_types",
    "test_C9_answer",
    "test_C10_idempotent",
    "test_C11_incompatible_spec",
    "test_C12_a_strangers_vm_is_not_adopted",
    "test_C12_one_vm",
    "test_C13_failures_of_the_cloud",
    "test_C14_cancelled_call",
    "test_C14_expired_call",
    "test_C14_expired_call_ends",
    "test_C15_interrupted_create",
    "test_C15_interrupted_delete",
    "test_C16_last_known_state",
    "test_C47_long_name_to_create",
    "test_C58_parts_after_an_interruption",
    "test_C58_tags",
    "test_C58_user_data",
]

_REPEATS = 10
_DEADLINES = (0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
_A_SECOND = 1.0
_LONG_AFTER = 10.0
"""Seconds after which a call must have ended whose caller has gone."""
_PATHS = re.compile(r"providerSpec\.[\w.\[\]]+")
_NO_OBJECTS = (b"", b"no JSON", b"[]", b'"text"', b"1", b"null", b"{", b"\xff\xfe")


def test_C7_machine_name_is_needed(kit: Kit) -> None:
    kit.send("CreateMachine", kit.request("CreateMachine", "")).refused("INVALID_ARGUMENT")


@pytest.mark.parametrize("raw", _NO_OBJECTS, ids=repr)
def test_C8_spec_is_a_json_object(kit: Kit, raw: bytes) -> None:
    broken = replace(kit.mine, provider_spec=raw)
    kit.create(kit.name(), broken).refused("INVALID_ARGUMENT", naming="providerSpec")


def test_C8_mandatory_fields(kit: Kit) -> None:
    field = kit.scopes.field
    kit.create(kit.name(), specs.with_fields(kit.mine, {})).refused(
        "INVALID_ARGUMENT", naming=f"providerSpec.{field}" if field else "providerSpec"
    )


def test_C8_types(kit: Kit) -> None:
    for path, broken in specs.with_wrong_types(kit.mine):
        kit.create(kit.name(), broken).refused("INVALID_ARGUMENT", naming=path)


def test_C8_every_offending_field_is_named(kit: Kit) -> None:
    paths, broken = specs.with_two_wrong_types(kit.mine)
    outcome = kit.create(kit.name(), broken)
    for path in paths:
        outcome.refused("INVALID_ARGUMENT", naming=path)


def test_C8_by_whichever_call_comes_first(kit: Kit) -> None:
    """MCM asks for the status of a new machine first."""
    broken = specs.with_fields(kit.mine, {})
    for path in _PATHS.findall(kit.create(kit.name(), broken).message):
        kit.status(kit.name(), broken).refused("INVALID_ARGUMENT", naming=path)


def test_C9_answer(kit: Kit) -> None:
    _, created = kit.make()
    for field in ("ProviderID", "NodeName"):
        size = len(getattr(created, field).encode())
        kit.check(0 < size <= MAX_NAME_BYTES, f"{field} has {size} bytes, not 1 to 128")


def test_C10_idempotent(kit: Kit) -> None:
    name, first = kit.make()
    for _ in range(_REPEATS):
        again = kit.create(name).ok()
        for field in ("ProviderID", "NodeName"):
            old, new = getattr(first, field), getattr(again, field)
            kit.check(old == new, f"{field} was {old!r}, and the repeated call returned {new!r}")


def test_C11_incompatible_spec(kit: Kit) -> None:
    name, _ = kit.make()
    if kit.target.changed_class is not None:
        kit.create(name, kit.target.changed_class).refused("ALREADY_EXISTS")
        return
    tried = []
    for change, other in specs.with_raised_integers(kit.mine):
        if not kit.scopes.holds(specs.fields_of(other)):
            continue
        kit.also_in(other, name)
        outcome = kit.create(name, other)
        if outcome.code.name in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
            continue
        if outcome.code is not OK:
            outcome.refused("ALREADY_EXISTS")
            return
        tried.append(change)
    if not tried:
        pytest.skip("no other valid spec can be derived; set changed_class (--changed-class)")
    kit.fail(
        f"CreateMachine of an existing machine returned OK with {' and with '.join(tried)}; "
        "if none of these changes the VM, set changed_class (--changed-class)"
    )


def test_C12_one_vm(kit: Kit) -> None:
    kit.needs("ListMachines")
    name = kit.name()
    with ThreadPoolExecutor(min(_REPEATS, kit.target.parallel)) as pool:
        outcomes = list(pool.map(lambda _: kit.create(name, once=True), range(_REPEATS)))
    for outcome in outcomes:
        if outcome.code is not OK:
            outcome.refused("ABORTED", "UNAVAILABLE")
    kit.create(name).ok()
    _is_listed_once(kit, name)


def test_C12_a_strangers_vm_is_not_adopted(kit: Kit) -> None:
    """If names are unique in the account, the machine can't be created."""
    stranger = kit.hook(lambda it: it.stranger, "a stranger's VM")
    look = kit.hook(lambda it: it.snapshot, "the contents of the cloud")
    name = kit.name()
    with stranger(name):
        before = look()
        outcome = kit.create(name)
        if outcome.code is not OK:
            outcome.refused("ALREADY_EXISTS")
        else:
            kit.check(look() != before, f"{name} was not created: a stranger's VM was adopted")
            kit.delete(name, provider_id=outcome.response.ProviderID).ok()
        kit.check(look() == before, "a VM that belongs to no cluster was changed or deleted")


@pytest.mark.parametrize(
    "code",
    ["RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "FAILED_PRECONDITION", "UNAVAILABLE", "INTERNAL"],
)
def test_C13_failures_of_the_cloud(kit: Kit, code: str) -> None:
    failure = kit.hook(lambda it: it.failures.get(code), f"a failure with {code}")
    with failure():
        kit.create(kit.name(), once=True).refused(code)


@pytest.mark.parametrize("seconds", _DEADLINES)
def test_C14_expired_call(kit: Kit, seconds: float) -> None:
    name = kit.name()
    kit.create(name, timeout=seconds, once=True)
    kit.create(name).ok()
    _is_listed_once(kit, name)


def test_C14_cancelled_call(kit: Kit) -> None:
    kit.needs("CreateMachine")
    name = kit.name()
    method: grpc.UnaryUnaryMultiCallable[Any, Any] = kit.channel.unary_unary(
        "/cmi.v1.Machine/CreateMachine",
        request_serializer=lambda request: request.SerializeToString(),
    )
    for _ in range(_REPEATS):
        method.future(kit.request("CreateMachine", name)).cancel()
    kit.create(name).ok()
    _is_listed_once(kit, name)


@pytest.mark.parametrize("rpc", ["CreateMachine", "DeleteMachine"])
def test_C14_expired_call_ends(kit: Kit, rpc: str) -> None:
    """A call that continues without its caller blocks every later one for the machine."""
    pending = kit.hook(lambda it: it.pending, "a VM that does not become ready")
    name = kit.name()
    call = kit.create if rpc == "CreateMachine" else kit.delete
    if rpc == "DeleteMachine":
        kit.create(name).ok()
    else:
        kit.delete(name).ok()  # the first call for a cloud may take long

    def briefly() -> Outcome:
        return call(name, timeout=_A_SECOND, once=True)

    with pending():
        first = briefly()
        kit.check(
            rpc == "DeleteMachine" or first.code is not OK,
            "CreateMachine returned OK for a VM that is not ready",
        )
        again = kit.patiently(briefly, codes=[grpc.StatusCode.ABORTED], patience=_LONG_AFTER)
    kit.check(
        again.code is not grpc.StatusCode.ABORTED,
        f"{rpc} still blocks {name} {_LONG_AFTER:.0f} s after its caller has gone; make every wait "
        "end with its call, for example with cmi.wait_for",
    )
    call(name).ok()


def test_C15_interrupted_create(kit: Kit) -> None:
    """A half-made VM must not be reported at any step: MCM would consider it finished.

    If the VM is finished and only the answer was lost, it may be reported: a retry then changes
    nothing.
    """
    for call in interrupted_creates(kit):
        if call.outcome.code is OK:
            continue
        status = kit.status(call.name) if kit.announces("GetMachineStatus") else None
        there = snapshot(kit)
        if status is not None and (status.code is not OK or there is None):
            status.refused("NOT_FOUND")
        kit.create(call.name).ok()
        _is_listed_once(kit, call.name)
        if status is not None and status.code is OK:
            kit.check(snapshot(kit) == there, "a half-made VM was reported as finished")


def test_C15_interrupted_delete(kit: Kit) -> None:
    for call in interrupted_deletes(kit):
        kit.delete(call.name, provider_id=call.provider_id).ok()
        kit.check(
            snapshot(kit) == call.before,
            f"{call.name} has leftovers after DeleteMachine was called again",
        )


def test_C16_last_known_state(kit: Kit) -> None:
    name, created = kit.make()
    try:
        created.LastKnownState.decode()
    except UnicodeDecodeError:
        kit.fail("LastKnownState is not UTF-8, so MCM can't store it")
    kit.create(name, last_known_state=created.LastKnownState).ok()
    kit.create(name).ok()


def test_C47_long_name_to_create(kit: Kit) -> None:
    name = kit.name(length=MAX_NAME_BYTES + 1)
    kit.create(name).refused("INVALID_ARGUMENT")


def test_C58_parts_after_an_interruption(kit: Kit) -> None:
    """After an interruption, the finished machine is like any other."""
    parts_of = kit.hook(lambda it: it.parts, "the parts of a VM")
    whole = parts_of(kit.make()[0])
    for call in interrupted_creates(kit):
        kit.create(call.name).ok()
        parts = parts_of(call.name)
        kit.check(parts == whole, f"CreateMachine returned OK for {parts}, not {whole}")


def test_C58_tags(kit: Kit) -> None:
    tags_of = kit.hook(lambda it: it.tags, "the tags of a VM")
    wanted = kit.scopes.tags
    if wanted is None:
        pytest.skip("the spec has no list or map of tags that names the cluster")
    name, _ = kit.make()
    found = tags_of(name)
    missing = set(wanted) - set(found)
    if isinstance(wanted, dict) and isinstance(found, Mapping):
        missing |= {tag for tag in found if tag in wanted and found[tag] != wanted[tag]}
    kit.check(not missing, f"tags of the spec are not on the VM: {', '.join(sorted(missing))}")


def test_C58_user_data(kit: Kit) -> None:
    user_data_of = kit.hook(lambda it: it.user_data, "the user data of a VM")
    if USER_DATA_KEY not in kit.mine.secrets:
        pytest.skip(f"the Secret has no {USER_DATA_KEY}")
    name, _ = kit.make()
    kit.check(
        user_data_of(name) == kit.mine.secrets[USER_DATA_KEY],
        f"the VM does not boot with the {USER_DATA_KEY} of the Secret",
    )


def _is_listed_once(kit: Kit, name: str) -> None:
    if kit.announces("ListMachines"):
        count = list(kit.listed().values()).count(name)
        kit.check(count == 1, f"ListMachines lists {name} {count} times, not once")
