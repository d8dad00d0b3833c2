"""What a method returns or raises, and what its caller sees."""

import asyncio
import concurrent.futures
import re
from typing import Any, ClassVar

import pytest

import cmi
from cmi import CreateMachineResponse, DriverError, ErrorTable, NotFound, Unavailable
from cmi.client import Client
from cmi.testing import serving
from tests.framework.conftest import LogLines
from tests.framework.support import (
    BOTH,
    Action,
    Answer,
    AsyncStandIn,
    StandIn,
    ask,
    created,
    machine_class,
    raising,
    request,
)

CODES = {
    "InvalidArgument": "INVALID_ARGUMENT",
    "NotFound": "NOT_FOUND",
    "AlreadyExists": "ALREADY_EXISTS",
    "PermissionDenied": "PERMISSION_DENIED",
    "Unauthenticated": "UNAUTHENTICATED",
    "ResourceExhausted": "RESOURCE_EXHAUSTED",
    "OutOfRange": "OUT_OF_RANGE",
    "FailedPrecondition": "FAILED_PRECONDITION",
    "Aborted": "ABORTED",
    "Unavailable": "UNAVAILABLE",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "Unimplemented": "UNIMPLEMENTED",
    "Internal": "INTERNAL",
    "DriverError": "UNKNOWN",
}

INCIDENT = re.compile(r"internal error in the driver; see incident ([0-9a-f]{8}) in its log")


def answer_of(create: Action, kind: type[StandIn | AsyncStandIn] = StandIn) -> Answer:
    with serving(kind(create)) as endpoint:
        return ask(endpoint, "CreateMachine", request("CreateMachine"))


class SdkError(Exception):
    """The base class of the errors of a cloud's SDK."""


class Throttled(SdkError): ...


class Gone(Throttled): ...


class Mapped(StandIn):
    errors: ClassVar[ErrorTable] = {Gone: NotFound, SdkError: cmi.Internal, Throttled: Unavailable}


class Coded(Exception):
    """An error of an SDK that has one class for all errors."""

    def __init__(self, code: str | None) -> None:
        self.code = code


class CodedAtNight(Coded): ...


def by_code(error: Coded) -> DriverError | None:
    assert error.code is not None
    return Unavailable(f"the cloud says {error.code}") if error.code == "TooMany" else None


class MappedByCode(StandIn):
    errors: ClassVar[ErrorTable] = {Coded: by_code}


class OwnQuota(cmi.ResourceExhausted):
    """An author's subclass that does not call the constructor of its base class."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __str__(self) -> str:
        return f"only {self.left} left"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_each_error_class_has_its_code(
    name: str, code: str, kind: type[StandIn | AsyncStandIn]
) -> None:
    error: DriverError = getattr(cmi, name)("the rack is on fire; bring water")
    answer = answer_of(raising(error), kind)
    assert (answer.code, answer.message) == (code, "the rack is on fire; bring water")
    assert "grpc-status-details-bin" not in answer.trailers


@pytest.mark.parametrize("text", ["", " \n\t "])
@pytest.mark.parametrize("name", CODES)
def test_an_empty_message_is_replaced(name: str, text: str) -> None:
    kind: type[DriverError] = getattr(cmi, name)
    assert answer_of(raising(kind(text))).message == kind.default_message != ""


@pytest.mark.parametrize(
    ("error", "code"),
    [(SdkError("x"), "INTERNAL"), (Throttled("x"), "UNAVAILABLE"), (Gone("x"), "NOT_FOUND")],
)
def test_the_most_derived_class_of_the_table_wins(error: SdkError, code: str) -> None:
    answer = answer_of(raising(error), Mapped)
    assert (answer.code, answer.message) == (code, "x")


def test_a_subclass_of_a_class_in_the_table_is_mapped_too() -> None:
    class ThrottledAtNight(Throttled): ...

    assert answer_of(raising(ThrottledAtNight("x")), Mapped).code == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Coded("TooMany"), "UNAVAILABLE", "the cloud says TooMany"),
        (CodedAtNight("TooMany"), "UNAVAILABLE", "the cloud says TooMany"),
        (Coded("NeverHeardOf"), "INTERNAL", "incident"),
        (Coded(None), "INTERNAL", "incident"),
    ],
    ids=["known", "subclass", "unknown", "function fails"],
)
def test_a_function_of_the_table_tells_errors_of_one_class_apart(
    error: Coded, code: str, message: str
) -> None:
    answer = answer_of(raising(error), MappedByCode)
    assert answer.code == code
    assert message in answer.message


def test_the_table_does_not_touch_the_drivers_own_errors() -> None:
    class Greedy(StandIn):
        errors: ClassVar[ErrorTable] = {Exception: Unavailable}

    assert answer_of(raising(NotFound("x")), Greedy).code == "NOT_FOUND"
    assert answer_of(raising(KeyError("x")), Greedy).code == "UNAVAILABLE"


def test_an_authors_subclass_speaks_for_itself() -> None:
    answer = answer_of(raising(OwnQuota(3)))
    assert (answer.code, answer.message) == ("RESOURCE_EXHAUSTED", "only 3 left")


@pytest.mark.parametrize(
    "error",
    [
        Unprintable(),
        type("UnprintableSdkError", (Unprintable, SdkError), {})(),
        type("UnprintableNotFound", (NotFound,), {"__str__": Unprintable.__str__})(),
    ],
    ids=["unmapped", "mapped", "ours"],
)
def test_an_error_that_can_not_be_printed_still_has_a_code_and_a_message(
    error: Exception, log_lines: LogLines
) -> None:
    answer = answer_of(raising(error), Mapped)
    assert answer.code in ("INTERNAL", "NOT_FOUND")
    assert answer.message
    assert "no text" not in answer.message
    assert log_lines()[-1]["code"] == answer.code


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "error",
    [
        ValueError("password=hunter2"),
        KeyError(),
        StopIteration(1),
        StopAsyncIteration(),
        TimeoutError(),
        AssertionError(),
        RecursionError(),
        MemoryError(),
        ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
        concurrent.futures.CancelledError(),
        asyncio.CancelledError(),
        GeneratorExit(),
        SystemExit(3),
        KeyboardInterrupt(),
        BaseException("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_nobody_mapped_is_internal_and_found_in_the_log(
    error: BaseException, kind: type[StandIn | AsyncStandIn], log_lines: LogLines
) -> None:
    with serving(kind(raising(error))) as endpoint, Client(endpoint) as client:
        answer = ask(endpoint, "CreateMachine", request("CreateMachine"))
        assert client.probe(), "the server has survived"
    assert answer.code == "INTERNAL"
    assert answer.trailers.isdisjoint({"grpc-status-details-bin"})
    found = INCIDENT.fullmatch(answer.message)
    assert found is not None, answer.message
    (record,) = [line for line in log_lines() if line.get("incident") == found[1]]
    assert (record["level"], record["rpc"]) == ("error", "CreateMachine")
    assert type(error).__name__ in record["traceback"] or kind is AsyncStandIn


def test_incidents_differ() -> None:
    with serving(StandIn(raising(ValueError()))) as endpoint:
        messages = {
            ask(endpoint, "CreateMachine", request("CreateMachine")).message for _ in range(5)
        }
    assert len(messages) == 5


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        "m1",
        cmi.DeleteMachineResponse(),
        cmi.GetMachineStatusResponse(provider_id="a", node_name="b"),
        CreateMachineResponse(provider_id="", node_name="m1"),
        CreateMachineResponse(provider_id="id", node_name=""),
        CreateMachineResponse(provider_id="x" * 129, node_name="m1"),
        CreateMachineResponse(provider_id="id", node_name="ä" * 65),
        CreateMachineResponse(provider_id="\ud800", node_name="m1"),
        CreateMachineResponse(provider_id="id", node_name="\udcff"),
        CreateMachineResponse(provider_id="id", node_name="m1", last_known_state="\ud800"),
        CreateMachineResponse(provider_id=7, node_name="m1"),  # type: ignore[arg-type]
        CreateMachineResponse(provider_id="id", node_name=b"m1"),  # type: ignore[arg-type]
        CreateMachineResponse(provider_id=None, node_name="m1"),  # type: ignore[arg-type]
        CreateMachineResponse(provider_id="id", node_name="m1", last_known_state={}),  # type: ignore[arg-type]
    ],
    ids=lambda result: re.sub(r"x{129}|ä{65}", "long", repr(result)),
)
def test_an_answer_that_the_contract_does_not_allow_is_internal(
    result: object, kind: type[StandIn | AsyncStandIn]
) -> None:
    answer = answer_of(lambda _: result, kind)
    assert answer.code == "INTERNAL"
    assert INCIDENT.fullmatch(answer.message)


def test_a_subclass_of_the_response_is_taken() -> None:
    class Richer(CreateMachineResponse): ...

    assert answer_of(lambda _: Richer(provider_id="id", node_name="m1")).code == "OK"


def test_ids_of_exactly_128_bytes_are_taken() -> None:
    longest = CreateMachineResponse(provider_id="x" * 128, node_name="ä" * 64)
    assert answer_of(lambda _: longest).code == "OK"


class Others(StandIn):
    """A driver whose optional RPCs return what the test passed to it."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result

    def list_machines(self, request: object) -> Any:
        return self.result

    def get_volume_ids(self, request: object) -> Any:
        return self.result


Others.list_machines.__annotations__ = StandIn.list_machines.__annotations__
Others.get_volume_ids.__annotations__ = StandIn.get_volume_ids.__annotations__


@pytest.mark.parametrize(
    "machines",
    [{"": "m1"}, {"id": ""}, {"id": None}, {"id": 1}, {"id": "\ud800"}, None, ["id"], "id"],
    ids=repr,
)
def test_a_list_that_the_contract_does_not_allow_is_internal(machines: Any) -> None:
    with serving(Others(cmi.ListMachinesResponse(machines=machines))) as endpoint:
        assert ask(endpoint, "ListMachines", request("ListMachines")).code == "INTERNAL"


def test_an_empty_list_and_a_very_long_one_are_answers() -> None:
    for machines in ({}, {f"standin:///north-1/{n:0100}": f"machine-{n}" for n in range(50_000)}):
        with (
            serving(Others(cmi.ListMachinesResponse(machines=machines))) as endpoint,
            Client(endpoint) as client,
        ):
            assert client.list_machines(machine_class()) == machines


@pytest.mark.parametrize("volume_ids", ["v1", [""], [None], [1], None, ["\ud800"]], ids=repr)
def test_volume_ids_that_the_contract_does_not_allow_are_internal(volume_ids: Any) -> None:
    with serving(Others(cmi.GetVolumeIDsResponse(volume_ids=volume_ids))) as endpoint:
        answer = ask(endpoint, "GetVolumeIDs", request("GetVolumeIDs", PVSpecList=b"[]"))
    assert answer.code == "INTERNAL"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\r\n and   spaces\t", "two lines and spaces"),
        ("größe ☃ 100%", "größe ☃ 100%"),
        ("x" * 1024, "x" * 1024),
        ("x" * 1025, "x" * 1021 + "…"),
        ("ä" * 513, "ä" * 510 + "…"),
        ("x" * 5_000_000, "x" * 1021 + "…"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
    ids=["lines", "unicode", "1024", "1025", "cut between characters", "5 MB", "surrogate"],
)
def test_a_message_is_one_line_of_at_most_1024_bytes(text: str, expected: str) -> None:
    assert answer_of(raising(NotFound(text))).message == expected


def test_the_log_has_one_line_for_each_call(log_lines: LogLines) -> None:
    with serving(StandIn(raising(NotFound("not here")))) as endpoint, Client(endpoint) as client:
        ask(endpoint, "CreateMachine", request("CreateMachine"))
        client.status(machine_class(), "m1")
        client.probe()
    calls = [line for line in log_lines() if line["message"] == "call"]
    assert [(line["rpc"], line["code"], line["level"]) for line in calls] == [
        ("CreateMachine", "NOT_FOUND", "warning"),
        ("GetMachineStatus", "OK", "info"),
        ("Probe", "OK", "debug"),
    ]
    assert (calls[0]["machine"], calls[0]["detail"]) == ("m1", "not here")
    assert calls[1]["provider_id"] == "standin:///m1"
    assert all(line["duration_ms"] > 0 for line in calls)


def test_a_method_that_worked_before_an_error_works_after_it() -> None:
    answers = iter([raising(SystemExit()), raising(StopIteration()), created])
    with serving(StandIn(lambda received: next(answers)(received))) as endpoint:  # noqa: PLW0108
        codes = [ask(endpoint, "CreateMachine", request("CreateMachine")).code for _ in range(3)]
    assert codes == ["INTERNAL", "INTERNAL", "OK"]
