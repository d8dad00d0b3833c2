"""Idle connections and old ones are closed, without interrupting any call."""

import shutil
from pathlib import Path

import grpc
import pytest

from cmi.client import Client
from cmi.endpoint import Endpoint
from cmi.serving import server
from cmi.serving.options import ServerOptions
from tests.certificates import Authority
from tests.framework import http2
from tests.framework.process import served
from tests.framework.support import Gate, StandIn
from tests.framework.test_calls import named, options
from tests.support import PATIENCE, await_condition

ANY = Endpoint.parse("tcp://127.0.0.1:0")


@pytest.mark.parametrize("port", ["endpoint", "health"])
@pytest.mark.parametrize(("limit", "reason"), [("_IDLE", b"connection idle"), ("_AGE", b"max_age")])
def test_a_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch, port: str, limit: str, reason: bytes
) -> None:
    monkeypatch.setattr(server, limit, 1)
    with served(StandIn(), options(health_address=ANY)) as (running, endpoint):
        address = endpoint if port == "endpoint" else running.health_address
        assert address
        with http2.connection(address) as connected:
            # This reads until the server closes the connection.
            assert reason in http2.received(connected, PATIENCE)


def test_a_call_outlives_the_age_of_its_connection(
    monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    monkeypatch.setattr(server, "_AGE", 1)
    with served(StandIn(gate), options()) as (_, endpoint), http2.connection(endpoint) as connected:
        call = http2.call(1, "/cmi.v1.Machine/CreateMachine")
        connected.sendall(call + http2.message(1, named("of-old-age").SerializeToString()))
        gate.await_entered()
        http2.received_until(connected, b"max_age")
        # This returns after two seconds without data, so the call is not interrupted.
        http2.received(connected, 2)
        gate.opened.set()
        assert b"of-old-age" in http2.received_until(connected, b"of-old-age")


def test_a_client_whose_authority_was_removed_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It loses access when its connection ends, at the latest."""
    monkeypatch.setattr(server, "_AGE", 1)
    ours, other = Authority("ours"), Authority("another")
    files, client_files = ours.issue(tmp_path / "server"), ours.issue(tmp_path / "client")
    with (
        served(StandIn(), ServerOptions(endpoint=ANY, tls=files)) as (_, endpoint),
        Client(endpoint, PATIENCE, client_files) as client,
    ):
        assert client.probe()
        shutil.copy(other.issue(tmp_path / "other").ca, files.ca)

        def is_cut_off() -> bool:
            try:
                return not client.probe()
            except grpc.RpcError as error:
                return error.code() is grpc.StatusCode.UNAVAILABLE

        await_condition(is_cut_off)
