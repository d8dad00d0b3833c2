"""Connections that send something other than gRPC, or nothing at all."""

import random
import socket
from contextlib import ExitStack
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, prlimit

import grpc
import pytest

from cmi.client import Client, MachineClass
from tests.driver import CloudFile, RunningDriver, Start, figure
from tests.support import PATIENCE, await_condition, status_of

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
CONNECTIONS = min(3000, getrlimit(RLIMIT_NOFILE)[0] // 2)
"""As many connections as both this process and the driver can open."""

LIMIT = 64
"""How many files a driver may open in the test in which it must run out of them."""


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
    """They stay open while others are served, and leave no open files behind."""
    driver = start(cloud)
    address = (driver.endpoint.host, driver.endpoint.port)
    before = _open_files(driver)
    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            caller = connections.enter_context(socket.create_connection(address, PATIENCE))
            _send(caller, GARBAGE[garbage])
        assert driver.client().create(machine_class, "m1").NodeName == "m1"
        figure(f"{CONNECTIONS} connections with {garbage}: {driver.resident_kib()} KiB resident")
    await_condition(lambda: _open_files(driver) < before + 10)


def test_more_connections_than_it_can_open_files(
    start: Start, cloud: CloudFile, machine_class: MachineClass
) -> None:
    """The driver serves again as soon as these connections are closed."""
    driver = start(cloud)
    address = (driver.endpoint.host, driver.endpoint.port)
    prlimit(driver.pid, RLIMIT_NOFILE, (LIMIT, LIMIT))
    with ExitStack() as connections:
        for _ in range(2 * LIMIT):
            connections.enter_context(socket.create_connection(address, PATIENCE))
        await_condition(lambda: _open_files(driver) == LIMIT)
    client = driver.client()
    await_condition(lambda: _creates(client, machine_class))


def _creates(client: Client, machine_class: MachineClass) -> bool:
    try:
        return client.create(machine_class, "m1").NodeName == "m1"
    except grpc.RpcError as error:
        if status_of(error)[0] is not grpc.StatusCode.UNAVAILABLE:
            raise
    return False


def _open_files(driver: RunningDriver) -> int:
    return len([*Path(f"/proc/{driver.pid}/fd").iterdir()])


def _send(caller: socket.socket, garbage: bytes) -> None:
    try:
        caller.sendall(garbage)
    except ConnectionError:
        return  # the driver may close the connection early
