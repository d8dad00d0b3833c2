"""The load: many callers of one RPC, on the client's cores."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.machine import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a server is called.

    Attributes:
        rpc: Of cmi.v1.Machine.
        callers: How many call at once, each one call after the other.
        new_connections: One connection for each call, as the older MCM does.
    """

    rpc: str = "CreateMachine"
    callers: int = 16
    new_connections: bool = False

    def __str__(self) -> str:
        connection = "a connection per call" if self.new_connections else "one connection"
        return f"{self.rpc}, {self.callers} callers, {connection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The result; durations are in seconds.

    Attributes:
        rate: Calls per second.
        cpu: What one call costs the server.
        p50: The median of the durations of calls.
        p99: The duration that one call of a hundred exceeds.
        wall: How long all took together.
    """

    rate: float
    cpu: float
    p50: float
    p99: float
    wall: float


class Generator:
    """Calls servers.

    Args:
        program: The command of the load generator.
        requests: A folder with one encoded request for each RPC.
    """

    def __init__(self, program: Sequence[str | Path], requests: Path) -> None:
        self._program = program
        self._requests = requests

    def run(
        self,
        server: Process,
        load: Load,
        *,
        seconds: float = 1.0,
        calls: int = 0,
    ) -> Seen:
        """Call `server` for a number of seconds, or until a number of calls is made.

        Raises:
            RuntimeError: A call failed.
        """
        cpu = server.usage.cpu()
        result = subprocess.run(
            machine.pinned(machine.CLIENT_CORES, self._command(server, load, seconds, calls)),
            check=True,
            capture_output=True,
        )
        seen = json.loads(result.stdout)
        if seen["failed"]:
            raise RuntimeError(f"{load}: calls failed: {seen['failed']}")
        return Seen(
            rate=seen["calls"] / seen["seconds"],
            cpu=(server.usage.cpu() - cpu) / seen["calls"],
            p50=seen["p50"],
            p99=seen["p99"],
            wall=seen["seconds"],
        )

    def _command(self, server: Process, load: Load, seconds: float, calls: int) -> list[str | Path]:
        return [
            *self._program,
            f"-target={server.endpoint}",
            f"-method=/cmi.v1.Machine/{load.rpc}",
            f"-request={self._requests / load.rpc}",
            f"-callers={load.callers}",
            f"-calls={calls}",
            f"-for={seconds}s",
            f"-named={'false' if load.rpc == 'ListMachines' else 'true'}",
            f"-per-call={'true' if load.new_connections else 'false'}",
        ]
