"""Runs a driver as a process, and the command-line client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60
"""The maximum time for a process to start, answer or exit."""


@dataclass(frozen=True, slots=True)
class DriverProcess:
    """A running driver.

    Attributes:
        endpoint: Its address, such as `tcp://127.0.0.1:40123`.
        pid: Its process ID.
    """

    endpoint: str
    pid: int


@contextmanager
def driver_process(
    package: str, environment: Mapping[str, str] | None = None
) -> Iterator[DriverProcess]:
    """Run `python -m PACKAGE` on a free port while the context is open.

    Args:
        package: The provider's package.
        environment: Variables in addition to those of this process.

    Raises:
        AssertionError: The driver does not start, or does not stop cleanly on SIGTERM.
    """
    command = [sys.executable, "-m", package, "--endpoint=tcp://127.0.0.1:0", "--log-format=json"]
    variables = {**os.environ, **(environment or {})}
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert first.startswith("{"), f"the driver did not start: {first}"
            yield DriverProcess(json.loads(first)["endpoint"], process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            lines = process.communicate(timeout=SECONDS)[1].splitlines()
    assert process.returncode == 0, f"the driver ended with {process.returncode}: {lines[-1:]}"
    assert json.loads(lines[-1])["message"] == "stopped"


def run_client(*arguments: str, folder: Path | None = None) -> str:
    """Run `python -m cmi` with these arguments, and return its output.

    Raises:
        AssertionError: The command fails.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "cmi", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
