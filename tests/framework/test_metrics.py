"""Metrics: their names and values, how they are served, and that they contain no secrets."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cmi import Driver, ListMachinesRequest, ListMachinesResponse, NotFound
from cmi.client import Client, connect
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.v1 import cmi_pb2, cmi_pb2_grpc
from tests.framework import process
from tests.framework.support import (
    IDENTITY_RPCS,
    AsyncStandIn,
    Gate,
    Keys,
    Scope,
    StandIn,
    ask,
    machine_class,
    raising,
    request,
)
from tests.support import PATIENCE

PROVIDER = "driver.under-test"
CANARY = "canary-7f3a9"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def options(host: str = "127.0.0.1") -> ServerOptions:
    return ServerOptions(
        endpoint=Endpoint.parse("tcp://127.0.0.1:0"),
        metrics_address=Endpoint.parse(f"tcp://{host}:0"),
        grace_period=1,
    )


@contextmanager
def measured(driver: Driver, host: str = "127.0.0.1") -> Iterator[tuple[Endpoint, Endpoint]]:
    """Serve a driver; yield its endpoint and the address of its metrics."""
    with process.served(driver, options(host)) as (server, endpoint):
        assert server.metrics_address
        yield endpoint, server.metrics_address


def scrape(address: Endpoint, path: str = "/metrics") -> str:
    """Request the metrics in the way Prometheus does."""
    connection = HTTPConnection(address.host.strip("[]"), address.port, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        return response.read().decode()


def samples(address: Endpoint) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scrape(address))
        for sample in family.samples
    }


def of_driver(found: Samples, suffix: str) -> dict[tuple[str, ...], float]:
    """Return the driver's metrics whose names end with this text, by the values of their labels."""
    return {
        tuple(value for _, value in sorted(labels)): number
        for (name, labels), number in found.items()
        if name.startswith("driver_") and name.endswith(suffix)
    }


def await_values(address: Endpoint, suffix: str, values: dict[tuple[str, ...], float]) -> None:
    """Scrape until the driver's metrics have these values."""
    deadline = time.monotonic() + PATIENCE
    while (found := of_driver(samples(address), suffix)) != values:
        assert time.monotonic() < deadline, found


def test_calls_are_counted_by_operation_and_failures_by_code() -> None:
    driver = StandIn()
    with measured(driver) as (endpoint, address), Client(endpoint) as client:
        for name in ("m1", "m2", "m3"):
            client.create(machine_class(), name)
        client.list_machines(machine_class())
        client.volume_ids(b"[]")
        driver.create = raising(NotFound("no such thing"))
        for _ in range(2):
            assert ask(endpoint, "CreateMachine", request("CreateMachine")).code == "NOT_FOUND"
        driver.create = raising(RuntimeError("a defect"))
        assert ask(endpoint, "CreateMachine", request("CreateMachine")).code == "INTERNAL"
        assert ask(endpoint, "DeleteMachine", b"\xff").code == "INVALID_ARGUMENT"
        found = samples(address)
    assert of_driver(found, "duration_seconds_count") == {
        ("create_machine", PROVIDER): 3,
        ("list_machines", PROVIDER): 1,
        ("get_volume_ids", PROVIDER): 1,
    }
    # As in MCM, the label is the number of the code.
    assert of_driver(found, "requests_failed_total") == {
        ("5", "create_machine", PROVIDER): 2,
        ("13", "create_machine", PROVIDER): 1,
        ("3", "delete_machine", PROVIDER): 1,
    }


def test_vms_that_a_list_leaves_out_are_counted() -> None:
    class Odd(StandIn):
        def list_machines(self, request: ListMachinesRequest[Scope, Keys]) -> ListMachinesResponse:
            return ListMachinesResponse(machines={"standin:///m1": "m1"}, left_out=2)

    with measured(Odd()) as (endpoint, address), Client(endpoint) as client:
        assert of_driver(samples(address), "left_out_total") == {(PROVIDER,): 0}
        for _ in range(2):
            client.list_machines(machine_class())
        assert of_driver(samples(address), "left_out_total") == {(PROVIDER,): 4}


def test_names_and_labels_are_those_of_mcm() -> None:
    with measured(StandIn(raising(NotFound()))) as (endpoint, address), Client(endpoint) as client:
        client.list_machines(machine_class())
        ask(endpoint, "CreateMachine", request("CreateMachine"))
        found = samples(address)
    labels = {name: {key for key, _ in labels} for name, labels in found}
    assert labels["driver_request_duration_seconds_count"] == {"provider", "operation"}
    assert labels["driver_request_duration_seconds_bucket"] == {"provider", "operation", "le"}
    assert labels["driver_requests_failed_total"] == {"provider", "operation", "error_code"}


def test_durations_reach_from_milliseconds_to_the_call_timeout() -> None:
    with measured(StandIn()) as (endpoint, address), Client(endpoint) as client:
        client.create(machine_class(), "m1")
        found = samples(address)
    buckets = of_driver(found, "duration_seconds_bucket")
    bounds = {labels[0] for labels in buckets}
    # These are the defaults of Prometheus' Go library, which dashboards for MCM expect.
    assert {
        "0.005",
        "0.01",
        "0.025",
        "0.05",
        "0.1",
        "0.25",
        "0.5",
        "1.0",
        "2.5",
        "5.0",
        "10.0",
    } < bounds
    assert {"30.0", "300.0", "+Inf"} < bounds
    assert 0 < of_driver(found, "duration_seconds_sum")["create_machine", PROVIDER] < PATIENCE


def test_missing_rpcs_and_given_up_calls_are_failures(gate: Gate) -> None:
    with measured(StandIn(gate)) as (endpoint, address):
        with connect(endpoint) as channel:
            wire = request("CreateMachine").SerializeToString()
            message = cmi_pb2.CreateMachineRequest.FromString(wire)
            call = cmi_pb2_grpc.MachineStub(channel).CreateMachine.future(message)
            gate.await_entered()
            call.cancel()
        await_values(address, "requests_failed_total", {("1", "create_machine", PROVIDER): 1})
        gate.opened.set()
    with measured(AsyncStandIn()) as (endpoint, address):
        ask(endpoint, "ListMachines", request("ListMachines"))
        failed = of_driver(samples(address), "requests_failed_total")
    assert failed == {("12", "list_machines", PROVIDER): 1}


def test_only_machine_calls_are_counted() -> None:
    with measured(StandIn()) as (endpoint, address):
        for rpc in IDENTITY_RPCS:
            assert ask(endpoint, rpc).code == "OK"
        found = samples(address)
    assert of_driver(found, "_count") == {}
    assert of_driver(found, "_failed_total") == {}


def test_calls_in_flight(gate: Gate) -> None:
    with (
        measured(StandIn(gate)) as (endpoint, address),
        Client(endpoint) as client,
        ThreadPoolExecutor() as pool,
    ):
        calls = [pool.submit(client.create, machine_class(), f"m{each}") for each in range(3)]
        gate.await_entered(3)
        assert of_driver(samples(address), "requests_in_flight") == {(PROVIDER,): 3}
        gate.opened.set()
        for call in calls:
            call.result()
        await_values(address, "requests_in_flight", {(PROVIDER,): 0})


def test_neither_secrets_nor_names_show_up() -> None:
    driver = StandIn()
    with measured(driver) as (endpoint, address), Client(endpoint) as client:
        secrets = {"apiToken": CANARY.encode(), "userData": CANARY.encode()}
        client.create(machine_class(secrets, cluster=CANARY, region=CANARY), CANARY)
        driver.create = raising(RuntimeError(CANARY))
        for name in ("m1", CANARY):
            wire = request("CreateMachine", MachineName=name, Secrets=secrets)
            assert ask(endpoint, "CreateMachine", wire).code == "INTERNAL"
        text = scrape(address)
    assert "create_machine" in text
    assert CANARY not in text
    assert "m1" not in text


def test_the_process_is_measured_too() -> None:
    with measured(StandIn()) as (_, address):
        names = {name for name, _ in samples(address)}
    assert {
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    } < names
    assert {"python_info", "python_gc_collections_total"} < names


def test_servers_in_one_process_count_apart() -> None:
    with measured(StandIn()) as (endpoint, address), measured(StandIn()) as (_, other):
        with Client(endpoint) as client:
            client.create(machine_class(), "m1")
        assert of_driver(samples(address), "_count")
        assert not of_driver(samples(other), "_count")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_metrics_are_served_where_they_are_asked_for_until_the_stop(host: str) -> None:
    with measured(StandIn(), host) as (_, address):
        assert address.host == host
        assert samples(address)
    with pytest.raises(ConnectionError):
        scrape(address)


def test_scrapers_that_misbehave_leave_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    with measured(StandIn()) as (_, address):
        for garbage in (
            b"",
            b"\x16\x03\x01\n\n",
            b"GET /metrics HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection((address.host, address.port)) as connection:
                connection.sendall(garbage)
                # This makes the socket send a reset instead of closing the connection properly.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert samples(address)
    assert capfd.readouterr() == ("", "")


def test_a_scraper_that_stays_silent_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmi.serving.metrics._SCRAPE_TIMEOUT", 0.05)
    with (
        measured(StandIn()) as (_, address),
        socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection,
    ):
        assert connection.recv(1) == b""


def test_without_metrics_their_library_is_not_imported() -> None:
    script = (
        "import sys; from cmi.testing import serving; from tests.framework.support import StandIn\n"
        "with serving(StandIn()): sys.exit('prometheus_client' in sys.modules)"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, timeout=PATIENCE, check=True)


def test_a_driver_process_reports_where_its_metrics_are(tmp_path: Path) -> None:
    with process.running(tmp_path, "--metrics-address=127.0.0.1:0") as serving:
        url = urlsplit(serving["metrics"])
        assert url.port
        assert url.hostname
        with Client(Endpoint.parse(serving["endpoint"])) as client:
            client.create(machine_class(), "m1")
        found = samples(Endpoint(url.hostname, url.port))
    assert of_driver(found, "_count") == {("create_machine", "driver.standin"): 1}


@pytest.mark.parametrize(
    "address",
    ["", "9090", ":9090", "tcp://127.0.0.1:9090", "127.0.0.1:65536"],
)
@pytest.mark.parametrize("option", ["--metrics-address", "--health-address"])
def test_a_malformed_address_is_refused(tmp_path: Path, option: str, address: str) -> None:
    line = process.refusal(tmp_path, f"{option}={address}")
    assert line == (
        f"{option} {address!r} is not of the form host:port; an example is 127.0.0.1:9090"
    )


@pytest.mark.parametrize("option", ["--metrics-address", "--health-address"])
def test_an_address_that_can_not_be_had_is_refused(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = process.refusal(tmp_path, f"{option}=127.0.0.1:{port}")
    assert line == (
        f"can't listen on tcp://127.0.0.1:{port}: another process listens there; "
        f"fix that or choose another {option}"
    )
    assert option in process.refusal(tmp_path, f"{option}=192.0.2.1:0")
