"""Bytes on the port that are no gRPC, and callers that say nothing."""

import random
import socket
from contextlib import ExitStack

import pytest

from cmi.client import MachineClass
from tests.driver import PATIENCE, CloudFile, Start

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
BYTES = random.Random(1)
GARBAGE = {
    "nothing": b"",
    "http-1": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half-a-preface": PREFACE[:10],
    "preface": PREFACE,
    "frame-of-16-MiB": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "headers-of-noise": PREFACE
    + SETTINGS
    + b"\x00\x01\x00\x01\x04\x00\x00\x00\x01"
    + b"\xaa" * 256,
    "noise": BYTES.randbytes(100_000),
    "preface-and-noise": PREFACE + SETTINGS + BYTES.randbytes(100_000),
}
CONNECTIONS = 500


def test_garbage_on_the_port(start: Start, cloud: CloudFile, machine_class: MachineClass) -> None:
    driver = start(cloud)
    address = (driver.endpoint.host, driver.endpoint.port)
    for garbage in GARBAGE.values():
        with socket.create_connection(address, PATIENCE) as caller:
            _send(caller, garbage)
    assert driver.client().create(machine_class, "m1").NodeName == "m1"
    assert "traceback" not in "".join(driver.log).lower()


@pytest.mark.parametrize("garbage", ["nothing", "half-a-preface", "preface"])
def test_connections_that_say_nothing(
    start: Start, cloud: CloudFile, machine_class: MachineClass, garbage: str
) -> None:
    """They stay open while others are served."""
    driver = start(cloud)
    address = (driver.endpoint.host, driver.endpoint.port)
    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            caller = connections.enter_context(socket.create_connection(address, PATIENCE))
            _send(caller, GARBAGE[garbage])
        assert driver.client().create(machine_class, "m1").NodeName == "m1"


def _send(caller: socket.socket, garbage: bytes) -> None:
    try:
        caller.sendall(garbage)
    except ConnectionError:
        return  # the driver has hung up already, as it may
