"""C41 to C45: statuses."""

import re
from collections.abc import Callable

import grpc
import pytest

from cmi.conformance import specs
from cmi.conformance.kit import Kit, Outcome

_MIN_MESSAGE = 5
_INCIDENT = re.compile(r"\b[0-9a-f]{8,}\b")


def _no_name(kit: Kit) -> Outcome:
    return kit.send("CreateMachine", kit.request("CreateMachine", ""))


def _no_spec(kit: Kit) -> Outcome:
    return kit.create(kit.name(), specs.with_fields(kit.mine, {}))


def _no_secrets(kit: Kit) -> Outcome:
    return kit.create(kit.name(), specs.with_secrets(kit.mine, {}))


def _no_name_to_delete(kit: Kit) -> Outcome:
    return kit.send("DeleteMachine", kit.request("DeleteMachine", ""))


def _absent(kit: Kit) -> Outcome:
    return kit.status(kit.name())


def _absent_to_shut_down(kit: Kit) -> Outcome:
    return kit.shut_down(kit.name())


def _no_scope(kit: Kit) -> Outcome:
    return kit.list_machines(specs.with_fields(kit.mine, {}))


def _no_volumes(kit: Kit) -> Outcome:
    return kit.volume_ids(b"no JSON")


ERRORS = (
    _no_name,
    _no_spec,
    _no_secrets,
    _no_name_to_delete,
    _absent,
    _absent_to_shut_down,
    _no_scope,
    _no_volumes,
)
provoking = pytest.mark.parametrize("provoke", ERRORS, ids=lambda each: each.__name__.strip("_"))
Provoke = Callable[[Kit], Outcome]


@provoking
def test_C41_canonical_code(kit: Kit, provoke: Provoke) -> None:
    """A client shows a code that is none as UNKNOWN."""
    assert provoke(kit).code not in (grpc.StatusCode.UNKNOWN, None)


@provoking
def test_C42_message(kit: Kit, provoke: Provoke) -> None:
    outcome = provoke(kit)
    if outcome.code is not grpc.StatusCode.OK:
        assert len(outcome.message.strip()) >= _MIN_MESSAGE, f"{outcome.code.name} says nothing"


@provoking
def test_C43_no_details(kit: Kit, provoke: Provoke) -> None:
    assert not provoke(kit).details


def test_C44_missing_credentials(kit: Kit) -> None:
    _no_secrets(kit).refused("UNAUTHENTICATED")


def test_C44_wrong_credentials(kit: Kit) -> None:
    wrong = dict.fromkeys(kit.mine.secrets, b"wrong-by-conformance")
    kit.create(kit.name(), specs.with_secrets(kit.mine, wrong)).refused("UNAUTHENTICATED")


def test_C44_insufficient_credentials(kit: Kit) -> None:
    denied = kit.backstage("credentials that permit too little").denied_secrets
    if denied is None:
        pytest.skip("the backstage has no credentials that permit too little")
    kit.create(kit.name(), specs.with_secrets(kit.mine, denied)).refused("PERMISSION_DENIED")


def test_C45_unexpected_error(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    failure = kit.backstage("the log").failures.get("INTERNAL")
    if failure is None:
        pytest.skip("the backstage can't cause an unexpected error")
    with failure():
        outcome = kit.create(kit.name())
    outcome.refused("INTERNAL")
    assert "Traceback" not in outcome.message
    incident = _INCIDENT.search(outcome.message)
    assert incident, f"the message has no id to look for in the log: {outcome.message}"
    logged = [str(getattr(record, "fields", "")) + record.getMessage() for record in caplog.records]
    assert any(incident[0] in text for text in logged), "the id is not in the log"
