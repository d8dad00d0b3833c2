"""C41 to C45: statuses."""

import re
from collections.abc import Callable

import grpc
import pytest

from cmi.conformance import specs
from cmi.conformance.kit import DETAILS_TRAILER, OK, Kit, Outcome

__all__ = [
    "test_C41_canonical_code",
    "test_C42_message",
    "test_C43_no_details",
    "test_C44_insufficient_credentials",
    "test_C44_missing_credentials",
    "test_C44_wrong_credentials",
    "test_C45_unexpected_error",
]

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
    """A client shows an unknown code as UNKNOWN."""
    outcome = provoke(kit)
    kit.check(
        outcome.code not in (grpc.StatusCode.UNKNOWN, None),
        f"{outcome}: that is UNKNOWN, or not a canonical code",
    )


@provoking
def test_C42_message(kit: Kit, provoke: Provoke) -> None:
    outcome = provoke(kit)
    has_message = outcome.code is OK or len(outcome.message.strip()) >= _MIN_MESSAGE
    kit.check(has_message, f"{outcome}, without a message that a person can act on")


@provoking
def test_C43_no_details(kit: Kit, provoke: Provoke) -> None:
    outcome = provoke(kit)
    kit.check(not outcome.details, f"{outcome} with the trailer {DETAILS_TRAILER}")


def test_C44_missing_credentials(kit: Kit) -> None:
    _no_secrets(kit).refused("UNAUTHENTICATED")


def test_C44_wrong_credentials(kit: Kit) -> None:
    wrong = dict.fromkeys(kit.mine.secrets, b"wrong-by-conformance")
    kit.create(kit.name(), specs.with_secrets(kit.mine, wrong)).refused("UNAUTHENTICATED")


def test_C44_insufficient_credentials(kit: Kit) -> None:
    denied = kit.hook(lambda it: it.denied_secrets, "credentials that permit too little")
    kit.create(kit.name(), specs.with_secrets(kit.mine, denied)).refused("PERMISSION_DENIED")


def test_C45_unexpected_error(kit: Kit) -> None:
    failure = kit.hook(lambda it: it.failures.get("INTERNAL"), "an unexpected error")
    log = kit.hook(lambda it: it.log, "the log")
    with log() as lines, failure():
        outcome = kit.create(kit.name(), once=True)
    outcome.refused("INTERNAL")
    kit.check("Traceback" not in outcome.message, f"{outcome}, with a traceback")
    incident = _INCIDENT.search(outcome.message)
    if incident is None:
        kit.fail(f"{outcome}, without an ID to search for in the log")
    kit.check(any(incident[0] in line for line in lines), f"the ID {incident[0]} is not in the log")
