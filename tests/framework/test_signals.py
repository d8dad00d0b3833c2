"""SIGTERM at any moment, also as process 1, and signals to child processes of a method."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cmi.client import Client
from cmi.endpoint import Endpoint
from tests.framework.process import START, environment
from tests.framework.support import machine_class
from tests.framework.test_watchers import serving_line, started
from tests.support import PATIENCE

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]

HEAVY = """
import os, signal, sys, time
from cmi import driver_app

def make_driver():
    os.write(1, b"heavy imports\\n")
    time.sleep(1000)

driver_app(make_driver)()
"""

HELP = """
import atexit, sys
from cmi import driver_app

atexit.register(lambda: print(*sys.modules))

def make_driver(): ...

driver_app(make_driver)()
"""

FORKING = """
import multiprocessing, os, signal
from cmi import CreateMachineRequest, CreateMachineResponse, driver_app
from tests.framework.support import Keys, Spec, StandIn, created

def work(number):
    return number * number

def create(request):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(work, range(4)) == [0, 1, 4, 9]
    # Leaving the context has ended the children by SIGTERM.
    return created(request)

def make_driver():
    return StandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""

ENDED_AT_ONCE = """
import os, signal
from cmi import CreateMachineResponse, driver_app
from tests.framework.support import StandIn, created

# The framework's own hooks are registered later, so they run after this one.
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))

def create(request):
    child = os.fork()
    if not child:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    return created(request)

def make_driver():
    return StandIn(create)

make_driver.__module__ = "tests"
driver_app(make_driver)()
"""


def can_unshare() -> bool:
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


def test_nothing_heavy_is_imported_before_signals_are_handled(tmp_path: Path) -> None:
    """This is all that a rendered project's entrypoint imports before it calls `driver_app`."""
    code = "import sys; from cmi import driver_app; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"grpc", "pydantic", "typer", "google.protobuf", "asyncio"} & set(found)


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HELP, "--help"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--max-request-bytes" in ended.stdout
    assert not {"grpc", "pydantic", "google.protobuf"} & set(ended.stdout.split())


@pytest.mark.skipif(not can_unshare(), reason="this system does not allow PID namespaces")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_ends_at_a_signal_that_comes_before_it_serves(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [*UNSHARE, sys.executable, "-c", HEAVY, "--endpoint=tcp://127.0.0.1:0"]
    with subprocess.Popen(
        command, env=installed(tmp_path, "__main__"), stdout=subprocess.PIPE
    ) as outer:
        assert outer.stdout is not None
        try:
            assert outer.stdout.readline() == b"heavy imports\n"
            os.kill(child_of(outer.pid), number)
            assert outer.wait(PATIENCE) == 0
        finally:
            outer.kill()


@pytest.mark.skipif(not can_unshare(), reason="this system does not allow PID namespaces")
def test_process_1_stops_at_a_signal(tmp_path: Path) -> None:
    command = [*UNSHARE, sys.executable, "-c", START, "--log-format=json"]
    with subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE) as outer:
        try:
            serving_line(outer)
            os.kill(child_of(outer.pid), signal.SIGTERM)
            assert outer.wait(PATIENCE) == 0
        finally:
            outer.kill()


@pytest.mark.parametrize("start", [FORKING, ENDED_AT_ONCE], ids=["pool", "ended at once"])
def test_child_processes_of_a_method_do_not_stop_the_driver(tmp_path: Path, start: str) -> None:
    with started(tmp_path, start=start) as process:
        line = serving_line(process)
        with Client(Endpoint.parse(line["endpoint"]), timeout=PATIENCE) as client:
            for number in range(3):
                client.create(machine_class(), f"m{number}")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        messages = [message_of(each) for each in process.stderr.read().splitlines()]
    assert messages.count("stopping") == 1
    assert messages.index("stopping") >= 3, "after all calls"


def message_of(line: bytes) -> str:
    event: dict[str, Any] = json.loads(line)
    return str(event["message"])


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def installed(folder: Path, package: str) -> dict[str, str]:
    """Install a package as a plugin; return the variables to use it."""
    variables = environment(folder)
    points = folder / "standin-1.0.dist-info/entry_points.txt"
    points.write_text(f"[cmi.plugin]\ndriver.standin = {package}\n")
    return variables
