"""Run the stand-in driver or the client as a process, or a whole server in this process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cmi import Driver
from cmi.app import driver_app
from cmi.endpoint import Endpoint
from cmi.serving.options import ServerOptions
from cmi.serving.server import Server
from cmi.testing.serving import TEST_PLUGIN, background_loop
from tests.framework.support import StandIn
from tests.support import PATIENCE, ROOT

START = "from tests.framework.process import main; main()"


def make_driver() -> Driver:
    return StandIn()


main = driver_app(make_driver)


def environment(folder: Path) -> dict[str, str]:
    """Install the stand-in as a plugin, by metadata in `folder`; return the variables to use it."""
    metadata = folder / "standin-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cmi.plugin]\ndriver.standin = tests\n")
    path = os.pathsep.join(map(str, (folder, ROOT / "template", ROOT)))
    return {**os.environ, "PYTHONPATH": path, "CMI_ENDPOINT": "tcp://127.0.0.1:0"}


def refusal(folder: Path, *options: str) -> str:
    """Start a driver that must refuse its options; return the one line that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", START, *options],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return _one_error(result)


def client(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m cmi`."""
    return subprocess.run(
        [sys.executable, "-m", "cmi", *arguments],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def client_refusal(folder: Path, *arguments: str) -> str:
    """Run `python -m cmi`, which must fail; return the one line that it prints."""
    return _one_error(client(folder, *arguments))


@contextmanager
def running(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """Run a driver. At the end, it gets a SIGTERM and must exit with status 0.

    Yields:
        The fields of the log line that says where the driver serves.
    """
    command = [sys.executable, "-c", START, "--log-format=json", *options]
    with subprocess.Popen(
        command, env=environment(folder), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            yield json.loads(process.stderr.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, log


@contextmanager
def served(driver: Driver, options: ServerOptions) -> Iterator[tuple[Server, Endpoint]]:
    """Serve a driver in this process; yield the server (for its other addresses) and endpoint."""
    server = Server(driver, TEST_PLUGIN, options)
    loop = background_loop()
    endpoint = asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE)
    try:
        yield server, endpoint
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(PATIENCE)


def _one_error(result: "subprocess.CompletedProcess[str]") -> str:
    """Return the error of a process that failed with one clear line."""
    assert result.returncode == 1, result
    assert result.stdout == ""
    *rest, line = [each for each in result.stderr.splitlines() if not _of_grpc(each)]
    assert not rest, result.stderr
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def _of_grpc(line: str) -> bool:
    """Return whether gRPC's own library wrote the line, which it does for failed handshakes."""
    return "ssl_transport_security" in line or "absl::InitializeLog" in line
