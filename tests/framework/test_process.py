"""A driver as a process: how it starts, what it prints if it can't start, and how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from cmi.client import Client
from cmi.endpoint import Endpoint
from cmi.testing import serving
from cmi.version import VERSION
from tests.framework.support import StandIn, ask, machine_class, request
from tests.support import PATIENCE, bytes_rpc, health_stub

ROOT = Path(__file__).parents[2]

DRIVER = '''
import asyncio, logging, os, time
from pathlib import Path

from cmi import StartupError
from cmi.app import driver_app
from tests.framework.support import AsyncStandIn, StandIn, created

log = logging.getLogger("acme")


def wait_for_the_file(request):
    """Take as long as the test wants."""
    log.info("entered")
    while not Path("go").exists():
        time.sleep(0.002)
    log.info("left")
    return created(request)


async def wait_for_the_file_whatever_comes(request):
    log.info("entered")
    while not Path("go").exists():
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            log.info("refused to be cancelled")
    return created(request)


class HangingProbe(StandIn):
    def probe(self):
        wait_for_the_file(None)


class Lame(StandIn):
    delete_machine = None


def misconfigured():
    raise StartupError("ACME_REGION is not set; set it")


DRIVERS = {
    "threads": lambda: StandIn(wait_for_the_file),
    "stubborn": lambda: AsyncStandIn(wait_for_the_file_whatever_comes),
    "hanging-probe": HangingProbe,
    "lame": Lame,
    "misconfigured": misconfigured,
}


def make_driver():
    return DRIVERS[os.environ.get("ACME", "threads")]()


main = driver_app(make_driver)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The working directory of the drivers, in which a package `acme` is installed."""
    (tmp_path / "acme.py").write_text(DRIVER)
    info = tmp_path / "acme-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2.3\n")
    (info / "entry_points.txt").write_text("[cmi.plugin]\nacme.example = acme\n")
    return tmp_path


class Process:
    """A driver process whose log is read line by line."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.endpoint = Endpoint.parse(self.await_record("serving")["endpoint"])

    def await_record(self, message: str) -> dict[str, Any]:
        """Return the next record with this message."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            record: dict[str, Any] = json.loads(line)
            if record["message"] == message:
                return record
        raise AssertionError(f"the log ended without {message!r}")

    def ended(self) -> tuple[int, list[str]]:
        """Wait until the process has ended; return its exit code and its last messages."""
        _, rest = self.popen.communicate(timeout=PATIENCE)
        return self.popen.returncode, [json.loads(line)["message"] for line in rest.splitlines()]


def popen(project: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    folders = (project, ROOT / "template", ROOT)
    inherited = {key: value for key, value in os.environ.items() if key != "CMI_ENDPOINT"}
    return subprocess.Popen(
        [sys.executable, "-c", "import acme; acme.main()", *arguments],
        cwd=project,
        env=inherited | {"PYTHONPATH": os.pathsep.join(map(str, folders))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(project: Path, *arguments: str, driver: str = "threads") -> Iterator[Process]:
    with popen(
        project, "--endpoint=tcp://127.0.0.1:0", "--log-format=json", *arguments, ACME=driver
    ) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


@contextmanager
def one_call(process: Process) -> Iterator["grpc.Future[bytes]"]:
    """A CreateMachine call whose method is running."""
    with grpc.insecure_channel(process.endpoint.target) as channel:
        create = bytes_rpc(channel, "/cmi.v1.Machine/CreateMachine")
        call = create.future(request("CreateMachine").SerializeToString(), timeout=PATIENCE)
        process.await_record("entered")
        yield call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_a_signal_calls_in_flight_finish_and_new_ones_are_turned_away(
    project: Path, number: signal.Signals
) -> None:
    with running(project) as process, one_call(process) as call:
        process.popen.send_signal(number)
        assert process.await_record("stopping")["signal"] == number.name
        while (code := ask(process.endpoint, "GetPluginInfo").code) != "UNAVAILABLE":
            assert code == "OK"
        assert not call.done()
        (project / "go").touch()
        assert call.result(PATIENCE)
        assert process.ended() == (0, ["left", "call", "stopped"])


def test_health_watchers_hear_of_the_stop(project: Path) -> None:
    with (
        running(project, "--grace-period=1000") as process,
        grpc.insecure_channel(process.endpoint.target) as channel,
    ):
        health = health_stub(channel)
        watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        process.popen.terminate()
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watched.cancel()
        assert process.ended() == (0, ["stopping", "stopped"])


def test_a_call_whose_caller_went_gets_its_grace_too(project: Path) -> None:
    with running(project) as process:
        with one_call(process) as call:
            call.cancel()
            process.await_record("call")
        process.popen.terminate()
        process.await_record("stopping")
        with pytest.raises(subprocess.TimeoutExpired):
            process.popen.wait(0.2)
        (project / "go").touch()
        assert process.ended() == (0, ["left", "stopped"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(project: Path, number: signal.Signals) -> None:
    with running(project, "--grace-period=1000") as process, one_call(process):
        process.popen.send_signal(number)
        process.await_record("stopping")
        process.popen.send_signal(number)
        assert process.ended() == (128 + number, ["stopped at once by a second signal"])


@pytest.mark.parametrize("driver", ["threads", "stubborn"])
def test_a_method_that_hangs_ends_with_the_grace_period(project: Path, driver: str) -> None:
    with (
        running(project, "--grace-period=0.1", driver=driver) as process,
        one_call(process) as call,
    ):
        process.popen.terminate()
        code, messages = process.ended()
        assert (code, messages[-1]) == (0, "stopped")
        assert isinstance(call.exception(PATIENCE), grpc.RpcError)


def test_a_probe_that_hangs_does_not_delay_the_end(project: Path) -> None:
    with (
        running(project, driver="hanging-probe") as process,
        grpc.insecure_channel(process.endpoint.target) as channel,
    ):
        probe = bytes_rpc(channel, "/cmi.v1.Identity/Probe").future(b"", timeout=PATIENCE)
        process.await_record("entered")
        probe.cancel()
        process.popen.terminate()
        assert process.ended()[0] == 0


def test_an_idle_process_ends_at_once(project: Path) -> None:
    with running(project, "--grace-period=1000") as process:
        with Client(process.endpoint) as client:
            assert client.info().name == "acme.example"
            assert client.info().version == "1.2.3"
            client.delete(machine_class(), "m1")
        process.popen.terminate()
        assert process.ended()[0] == 0


def failed(project: Path, *arguments: str, **environment: str) -> str:
    """Run a process that does not start; return the one line that it prints."""
    with popen(project, *arguments, **environment) as process:
        output, line = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, line.count("\n")) == (1, "", 1), line
    assert line.startswith("error: ")
    return line


def test_an_occupied_port_is_one_line(project: Path) -> None:
    with serving(StandIn()) as endpoint:
        line = failed(project, f"--endpoint={endpoint}")
    assert str(endpoint) in line
    assert "another process listens there" in line


def test_the_endpoint_of_the_environment_counts(project: Path) -> None:
    assert "'nonsense'" in failed(project, CMI_ENDPOINT="nonsense")


@pytest.mark.parametrize(
    ("driver", "mentioned"), [("lame", "delete_machine"), ("misconfigured", "ACME_REGION")]
)
def test_a_driver_that_can_not_start_is_one_line(
    project: Path, driver: str, mentioned: str
) -> None:
    assert mentioned in failed(project, "--endpoint=tcp://127.0.0.1:0", ACME=driver)


def test_a_package_that_is_not_installed_is_one_line(project: Path) -> None:
    (project / "acme-1.2.3.dist-info" / "entry_points.txt").unlink()
    assert "acme is not installed" in failed(project)


def test_two_drivers_in_one_environment_are_one_line(project: Path) -> None:
    """Each wheel contains a package `cmi`, so the second one overwrites that of the first."""
    shutil.copytree(project / "acme-1.2.3.dist-info", project / "other-1.0.dist-info")
    metadata = project / "other-1.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("acme", "other"))
    assert "acme and other are installed in one environment" in failed(project)


def test_an_address_that_others_can_reach_is_one_line(project: Path) -> None:
    assert "--insecure" in failed(project, "--endpoint=tcp://0.0.0.0:0")


def test_the_version_is_printed(project: Path) -> None:
    with popen(project, "--version") as process:
        assert process.communicate(timeout=PATIENCE) == (
            f"acme.example 1.2.3, of mcm-provider-template {VERSION}\n",
            "",
        )
    assert process.returncode == 0
