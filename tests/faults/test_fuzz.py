"""Whatever a caller sends, the status of the answer says what is wrong with it."""

import copy
import json
import signal
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from cmi.client import connect
from cmi.v1 import cmi_pb2
from tests.driver import CloudFile, RunningDriver, Start
from tests.support import PATIENCE, bytes_rpc, status_of

SERVICES = cmi_pb2.DESCRIPTOR.services_by_name
METHODS = {
    method.name: (f"/{service.full_name}/{method.name}", GetMessageClass(method.input_type))
    for service in SERVICES.values()
    for method in service.methods
}
MACHINE_RPCS = [method.name for method in SERVICES["Machine"].methods]
EXPECTED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
}
"""Neither INTERNAL nor UNKNOWN, nor any code that means that a retry may help."""

repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=250)

SPEC = {
    "region": "north-1",
    "machineType": "standard-2",
    "image": "linux-6.12",
    "disks": [{"name": "root", "sizeGiB": 20, "type": "ssd"}, {"name": "more", "sizeGiB": 1}],
    "network": {"subnet": "nodes", "securityGroups": ["nodes"]},
    "tags": {"kubernetes.io/cluster/one": "1", "kubernetes.io/role/node": "1"},
}
VOLUMES = [
    {"csi": {"driver": "csi.embedded.cloud", "volumeHandle": "v1"}},
    {"flexVolume": {"driver": "embedded.cloud/disk", "options": {"volumeID": "v3"}}},
    {"nfs": {"server": "s", "path": "/p"}},
]
SECRETS = {"apiToken": b"demo-token", "userData": b"#cloud-config"}

texts = st.text() | st.text(st.characters())  # the second kind may contain surrogates
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.sampled_from(["north-1", "south-1", "x" * 300, 0, -1, 1, 4097, 2**31, 2**63, 10**40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@st.composite
def mutated(draw: st.DrawFn, sample: Any) -> Any:
    """Return a sample with one to three things in it removed, replaced or added."""
    value = copy.deepcopy(sample)
    for _ in range(draw(st.integers(1, 3))):
        container = draw(st.sampled_from([*_containers(value)]))
        keys = [*range(len(container))] if isinstance(container, list) else [*container]
        change = draw(st.sampled_from(["remove", "replace", "add"] if keys else ["add"]))
        if change == "remove":
            del container[draw(st.sampled_from(keys))]
        elif change == "replace":
            container[draw(st.sampled_from(keys))] = draw(json_values)
        elif isinstance(container, list):
            container.append(draw(json_values))
        else:
            container[draw(texts)] = draw(json_values)
    return value


def _containers(value: Any) -> Iterator[Any]:
    """Yield all lists and objects in a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


def as_json(sample: Any) -> st.SearchStrategy[bytes]:
    """Return JSON that is almost right, arbitrary JSON, and arbitrary bytes."""
    values = mutated(sample) | json_values
    return st.just(json.dumps(sample).encode()) | values.map(_encoded) | st.binary()


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "MachineName": st.sampled_from(["m1", "m2", "", "x" * 128, "x" * 129]) | st.text(),
    "ProviderSpec": as_json(SPEC),
    "Secrets": st.just(SECRETS)
    | st.just(SECRETS | {"apiToken": b"demo-reader"})
    | st.dictionaries(st.sampled_from([*SECRETS]) | st.text(), st.binary()),
    "ProviderID": st.sampled_from(["", "acme:///north-1/vm-1", "acme:///", "x" * 129]) | st.text(),
    "LastKnownState": st.just(b"") | st.binary(),
    "PVSpecList": as_json(VOLUMES),
}


@st.composite
def requests(draw: st.DrawFn, rpc: str) -> Message:
    """Return a request with arbitrary values in all of its fields."""
    _, kind = METHODS[rpc]
    return kind(**{field: draw(FIELDS[field]) for field in kind.DESCRIPTOR.fields_by_name})


@pytest.fixture(scope="module")
def driver(
    start_for_all: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDriver]:
    """A driver. Afterwards, this checks that it has logged no error."""
    cloud = CloudFile(tmp_path_factory.mktemp("fuzz") / "cloud.sqlite")
    driver = start_for_all(cloud, "--log-level=debug", quota=20)
    yield driver
    assert driver.client().probe()
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    for event in driver.events():
        assert event["level"] != "error", event
        assert "traceback" not in event, event


@pytest.fixture(scope="module")
def channel(driver: RunningDriver) -> Iterator[grpc.Channel]:
    with connect(driver.endpoint) as channel:
        yield channel


def answer(channel: grpc.Channel, rpc: str, wire: bytes) -> str:
    """Send bytes to an RPC, check the form of the answer, and return its code."""
    path, _ = METHODS[rpc]
    try:
        bytes_rpc(channel, path)(wire, timeout=PATIENCE)
    except grpc.RpcError as error:
        status, message = status_of(error)
    else:
        return "OK"
    assert status.name in EXPECTED, message
    assert message.strip()
    assert len(message.encode()) <= 1024
    assert "Traceback" not in message
    return status.name


@pytest.mark.parametrize("rpc", MACHINE_RPCS)
def test_any_request(channel: grpc.Channel, rpc: str) -> None:
    codes = set()

    @repeatable
    @given(requests(rpc))
    def send(request: Message) -> None:
        codes.add(answer(channel, rpc, request.SerializeToString()))

    send()
    assert "INVALID_ARGUMENT" in codes, "no request was refused"
    assert codes & {"OK", "NOT_FOUND"}, "no request reached its method"


@pytest.mark.parametrize("rpc", METHODS)
def test_any_bytes(channel: grpc.Channel, rpc: str) -> None:
    @settings(repeatable, max_examples=50)
    @given(st.binary() | st.builds(_cut, requests(rpc), st.floats(0, 1)))
    def send(wire: bytes) -> None:
        answer(channel, rpc, wire)

    send()


def _cut(request: Message, share: float) -> bytes:
    wire = request.SerializeToString()
    return wire[: int(len(wire) * share)]
