"""The rendered driver as a process, and the contents of its cloud."""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import grpc
import pytest

from cmi.client import Client, MachineClass, connect, machine_request
from cmi.endpoint import Endpoint
from cmi.v1 import cmi_pb2_grpc
from tests.embedded_cloud import NAME_LABEL, opened
from tests.support import PATIENCE

Event: TypeAlias = dict[str, Any]
"""A line of a driver's log."""


class RunningDriver:
    """A driver process. If it still runs when the context ends, it is killed.

    Args:
        command: A command that starts a driver on a free port, with a log in JSON.
        environment: Variables in addition to those of this process.

    Attributes:
        endpoint: Where the driver serves.
        log: The lines that it has written so far.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self.log: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._clients: list[Client] = []
        self._process = subprocess.Popen(
            command, env=os.environ | environment, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.serving = self.await_event(message="serving")
        except BaseException:
            self.close()
            raise
        self.endpoint = Endpoint.parse(self.serving["endpoint"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Make sure that the process and its children have ended."""
        for client in self._clients:
            client.close()
        self._process.kill()
        self.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def client(self, timeout: float = PATIENCE) -> Client:
        """Return a client with a separate connection."""
        client = Client(self.endpoint, timeout)
        self._clients.append(client)
        return client

    @contextmanager
    def stub(self) -> Iterator[cmi_pb2_grpc.MachineStub]:
        """Yield a stub for calls that the test does not wait for."""
        with connect(self.endpoint) as channel:
            yield cmi_pb2_grpc.MachineStub(channel)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, negative for a signal, once all of the log is read."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def events(self) -> list[Event]:
        """Return its log so far. The test fails if a line is not JSON."""
        return [json.loads(line) for line in [*self.log]]

    def await_event(self, **fields: object) -> Event:
        """Return the first event with these fields, as soon as there is one."""
        seen = 0
        with self._news:
            while True:
                for line in self.log[seen:]:
                    event: Event = json.loads(line)
                    if fields.items() <= event.items():
                        return event
                seen = len(self.log)
                assert not self._ended, f"no {fields} in {self.log}"
                assert self._news.wait(PATIENCE), f"no {fields} in {self.log}"

    def metrics(self) -> str:
        """Return the driver's metrics."""
        with urllib.request.urlopen(self.serving["metrics"], timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def calls_in_flight(self) -> int:
        """Return the number of machine calls in progress, including calls whose caller is gone."""
        return self.metric("driver_requests_in_flight")

    def metric(self, name: str) -> int:
        """Return the value of a metric with exactly one series."""
        (line,) = [line for line in self.metrics().splitlines() if line.startswith(f"{name}{{")]
        return int(float(line.split()[-1]))

    def resident_kib(self) -> int:
        """Return the resident memory of the driver, in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.log.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@dataclass(frozen=True)
class CloudFile:
    """The contents of the embedded cloud, read independently of the driver."""

    path: Path

    def inventory(self) -> list[tuple[str, str, str]]:
        """Return a line for each VM, and for each deleted VM that left disks behind.

        The columns are the machine, the state of the VM or `gone`, and the names of its disks.
        """
        cloud = opened(self.path)
        disks = sorted(cloud.disks(), key=lambda disk: str(disk.name))
        servers = cloud.servers()
        lines = [
            (str(server.labels[NAME_LABEL]), _state_of(server), _names_of(disks, server.id))
            for server in servers
        ]
        left = {disk.server_id: disk.labels[NAME_LABEL] for disk in disks}
        gone = left.keys() - {server.id for server in servers}
        lines += [(str(left[each]), "gone", _names_of(disks, each)) for each in gone]
        return sorted(lines)

    def names(self, state: str) -> set[str]:
        """Return the names of the machines whose VM is in this state."""
        return {name for name, its_state, _ in self.inventory() if its_state == state}

    def allow(self, token: str) -> None:
        """Make the cloud accept a token for writing."""
        opened(self.path).set_token(token, "write")

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Block every API call while the context is open."""
        with opened(self.path).transaction():
            yield


def _state_of(server: Any) -> str:
    """Return the state of a server. Until it was started, it counts as being created."""
    return {"created": "creating"}.get(server.status, str(server.status))


def _names_of(disks: list[Any], server_id: str) -> str:
    """Return the names of a server's disks; `-` if it has none."""
    return ",".join(disk.name for disk in disks if disk.server_id == server_id) or "-"


class Start(Protocol):
    """Starts the rendered driver. Processes that still run at the end are killed."""

    def __call__(self, cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        """Return the driver as soon as it serves.

        Args:
            cloud: The file of its cloud.
            options: Options for its command line.
            settings: Settings of the embedded cloud, such as faults, latency or quota.
        """


def starting(project: Path, processes: ExitStack) -> Start:
    """Return a function that starts a project's driver, which ends when `processes` is closed."""

    def start(cloud: CloudFile, *options: str, **settings: object) -> RunningDriver:
        environment = {f"EMBEDDED_CLOUD_{key.upper()}": str(settings[key]) for key in settings}
        environment["EMBEDDED_CLOUD_FILE"] = str(cloud.path)
        addresses = ["--endpoint=tcp://127.0.0.1:0", "--metrics-address=127.0.0.1:0"]
        driver = [str(project / ".venv/bin/python"), "-m", "acme", *addresses, "--log-format=json"]
        return processes.enter_context(RunningDriver([*driver, *options], environment))

    return start


def whole(*names: str) -> list[tuple[str, str, str]]:
    """Return the inventory of a cloud with one sample VM for each name, and nothing else."""
    return [(name, "running", "containers,root") for name in sorted(names)]


@contextmanager
def refused(code: str, *mentioned: str) -> Iterator[None]:
    """Expect a call to fail with this status and with these texts in its message."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    message = caught.value.details()
    assert caught.value.code().name == code, message
    assert message
    assert all(text in message for text in mentioned), message


def begin(
    stub: cmi_pb2_grpc.MachineStub,
    rpc: str,
    machine_class: MachineClass,
    name: str,
    timeout: float = PATIENCE,
) -> "grpc.Future[Any]":
    """Call an RPC without waiting for the response."""
    request = machine_request(rpc, machine_class, name)
    call: grpc.Future[Any] = getattr(stub, rpc).future(request, timeout=timeout)
    return call


def code_of(call: "grpc.Future[Any]") -> str:
    """Wait for the end of a call, and return its status."""
    assert isinstance(call, grpc.Call)
    if call.cancelled():
        return "CANCELLED"
    error = call.exception(timeout=PATIENCE)
    return "OK" if error is None else call.code().name


def figure(text: str) -> None:
    """Print a measured figure, which `pytest -rP` shows."""
    print(f"figure: {text}")
