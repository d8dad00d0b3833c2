"""The machine under the benchmarks: its cores, and processes that are pinned to them."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self, cast

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tests.support import free_port

_PATIENCE = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = sorted(os.sched_getaffinity(0))

SERVER_CORES: frozenset[int] = frozenset(_CORES[: max(1, len(_CORES) // 2)])
CLIENT_CORES: frozenset[int] = frozenset(_CORES[len(_CORES) // 2 :])
"""Apart from the server's, where there are two cores."""


def describe() -> str:
    """Describe the machine by its cores and memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{len(_CORES)} cores, {memory:.0f} GiB"


def pinned(cores: frozenset[int], command: Sequence[str | Path]) -> list[str]:
    """Return the command that runs `command` on these cores alone."""
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *map(str, command)]


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources that a process has used so far, by its ID."""

    pid: int

    def cpu(self) -> float:
        """Return the CPU time of the process, in seconds."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> float:
        """Return the current memory of the process, in MiB."""
        return self._memory("VmRSS")

    def peak(self) -> float:
        """Return the peak memory of the process, in MiB."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> float:
        return int(self._proc("status").partition(f"{name}:")[2].split()[0]) / 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text()


class Process:
    """A server process. Leaving the context stops it.

    Args:
        command: Starts a server.
        environment: What is added to this process's environment.
        endpoint: Where it will serve, as host:port. Without one, the first line that it
            writes on standard error tells.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        endpoint: str | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            pinned(SERVER_CORES, command),
            env={**os.environ, **(environment or {})},
            stderr=subprocess.PIPE,
        )
        self._log = cast("IO[bytes]", self._process.stderr)
        self.endpoint = endpoint or self._announced()
        self._drain = threading.Thread(target=self._read, daemon=True)
        self._drain.start()
        _await_serving(self.endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self._drain.join()
        self._log.close()

    @property
    def usage(self) -> Usage:
        """What it has used so far."""
        return Usage(self._process.pid)

    def _announced(self) -> str:
        first = self._log.readline()
        try:
            endpoint: str = json.loads(first)["endpoint"]
        except ValueError:
            rest = self._process.communicate()[1]
            raise RuntimeError(f"the server did not start: {(first + rest).decode()}") from None
        return endpoint.removeprefix("tcp://")

    def _read(self) -> None:
        while os.read(self._log.fileno(), 1 << 16):
            pass


def _await_serving(endpoint: str) -> None:
    """Return as soon as the health check reports SERVING."""
    options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)]
    with grpc.insecure_channel(endpoint, options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        answer = check(HealthCheckRequest(), timeout=_PATIENCE, wait_for_ready=True)
    if answer.status != HealthCheckResponse.SERVING:
        raise RuntimeError(f"the server at {endpoint} is not serving")


def free_endpoint() -> str:
    """Return the host and port of a free address."""
    return f"127.0.0.1:{free_port()}"
