"""Host names with several addresses, or with addresses that they should not have."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.framework.process import START, environment
from tests.support import PATIENCE, free_port, health_stub

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="mount namespaces are not available here")

TWO = "127.0.0.1 localhost\n127.0.0.2 localhost\n"


def popen(folder: Path, hosts: str, *options: str, start: str = START) -> "subprocess.Popen[str]":
    """Start a driver on a machine with this content in /etc/hosts."""
    file = folder / "hosts"
    file.write_text(hosts)
    shell = f'mount --bind {file} /etc/hosts && exec "$0" "$@"'
    return subprocess.Popen(
        [*UNSHARE, "sh", "-c", shell, sys.executable, "-c", start, *options],
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(folder: Path, hosts: str, *options: str) -> str:
    with popen(folder, hosts, *options) as process:
        line = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1, line
    assert line.count("\n") == 1
    return line


@contextmanager
def listening(address: str, port: int) -> Iterator[None]:
    with socket.create_server((address, port)):
        yield


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1"])
@pytest.mark.parametrize("others", ["", "127.0.0.1 localhost\n"])
def test_a_localhost_that_is_none_needs_tls(tmp_path: Path, address: str, others: str) -> None:
    hosts = f"{others}{address} localhost\n"
    assert "--insecure" in refusal(tmp_path, hosts, "--endpoint=tcp://localhost:0")


@pytest.mark.parametrize("option", ["--endpoint=tcp://", "--health-address=", "--metrics-address="])
def test_a_name_whose_second_address_is_taken_is_refused(tmp_path: Path, option: str) -> None:
    port = free_port()
    with listening("127.0.0.2", port):
        line = refusal(tmp_path, TWO, f"{option}localhost:{port}")
    assert "another process listens there" in line


def test_a_name_is_served_on_all_its_addresses(tmp_path: Path) -> None:
    with popen(tmp_path, TWO, "--endpoint=tcp://localhost:0", "--log-format=json") as process:
        try:
            assert process.stderr is not None
            port = json.loads(process.stderr.readline())["endpoint"].rpartition(":")[2]
            for host in ("127.0.0.1", "127.0.0.2"):
                with grpc.insecure_channel(f"{host}:{port}") as channel:
                    check = health_stub(channel).Check
                    answer = check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_an_address_that_the_machine_does_not_have_is_passed_over(tmp_path: Path) -> None:
    """For example, a machine without IPv6 does not have `::1`."""
    hosts = "127.0.0.1 here\n192.0.2.1 here\n"
    options = ("--endpoint=tcp://here:0", "--insecure", "--log-format=json")
    with popen(tmp_path, hosts, *options) as process:
        try:
            assert process.stderr is not None
            assert json.loads(process.stderr.readline())["message"] == "serving"
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
