"""Machines under the real machine-controller-manager (MCM): one run of one contestant."""

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

import httpx2
import yaml

from bench.machine import Usage, free_endpoint
from bench.mcm.programs import Programs
from e2e.binaries import BRIDGE
from e2e.cluster import Machine, MachineDeployment, MachineSet
from e2e.control_plane import NAMESPACE, ControlPlane
from e2e.process import Process, await_condition

PATIENCE: Final = 1800.0
INTERVAL: Final = 0.5
"""Seconds between two looks, which limit the precision of the figures."""

START: Final = 3.0
"""Seconds over which a process needs almost no CPU time once it has started."""

IDLE_SHARE: Final = 0.02

ALIVE: Final = {"pending", "running", "shutting-down"}
"""The states of instances that a cloud charges for, or will."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How the cloud behaves.

    Attributes:
        latency: Seconds that a call takes.
        pending: Seconds that an instance is pending, on average. The slowest takes 25 % longer.
        shutting_down: Seconds that it is shutting down, on average.
        is_limited: Whether each action has a request budget like EC2's.
    """

    latency: float = 0.15
    pending: float = 10
    shutting_down: float = 30
    is_limited: bool = False


@dataclass(frozen=True, slots=True)
class Contestant:
    """A contestant, which creates the machines.

    Attributes:
        options: Of the driver in Go; None for the bridge and a rendered driver.
        answers_at_once: Whether a rendered driver lets MCM repeat the call while an instance is
            pending, instead of waiting in the call.
        most: With more machines, a run would take too long.
    """

    options: tuple[str, ...] | None = None
    answers_at_once: bool = False
    most: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The result of a run. Times are in seconds, memory is in MiB.

    Attributes:
        rate: Machines that were created a minute.
        created: Until MCM said of the last machine that it is available.
        deleted: Until MCM had no machine, and the cloud no instance.
        deleted_by_mcm: Until MCM had no machine.
        alive: Instances that there still were then.
        create_calls: API calls for each machine, until the last one was available.
        delete_calls: The same from then until all were gone.
        throttled: Calls that the cloud refused.
        surplus: Machines that MCM created beyond the number: in place of those that failed, or
            because a MachineSet does not wait until it has seen all that it has created.
        cpu: Of driver and bridge, for each machine.
        controller_cpu: The same of the process that contains MCM's library: the bridge, or the
            driver in Go.
        idle: Memory of driver and bridge before the first machine.
        controller_idle: The same of the process that contains MCM's library.
        peak: The most that driver and bridge have held, not necessarily at the same time.
        connections: The most that were open to the cloud.
    """

    rate: float
    created: float
    deleted: float
    deleted_by_mcm: float
    alive: float
    create_calls: float
    delete_calls: float
    throttled: float
    surplus: float
    cpu: float
    controller_cpu: float
    idle: float
    controller_idle: float
    peak: float
    connections: float


@dataclass(slots=True)
class Arena:
    """A control plane and MCM, in which contestants take turns.

    Args:
        folder: For files and logs.
        programs: What is run.
        processes: Ends what is started here.
    """

    folder: Path
    programs: Programs
    processes: ExitStack
    control_plane: ControlPlane = field(init=False)
    _runs: int = 0
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.control_plane = ControlPlane(self.folder, self.processes)
        samples = self.programs.samples
        self.control_plane.kubectl("apply", "-k", samples / "deploy")
        for name in ("secret.yaml", "machine-class.yaml"):
            self.control_plane.kubectl("apply", "-f", samples / name)
        program = "machine-controller-manager"
        command: list[str | Path] = [BRIDGE / program, *self._options(program)]
        self.processes.enter_context(Process(command, self.folder / f"{program}.log"))

    def run(self, contestant: Contestant, count: int, timing: Timing) -> Sample:
        """Let a contestant create a number of machines, and delete them."""
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        folder.mkdir()
        self._seen.clear()
        with ExitStack() as processes:
            cloud = _Cloud(self.programs.cloud, folder, timing, processes)
            controller, *driver = self._start(contestant, cloud.url, folder, processes)
            usages = [controller, *driver]
            _await_idle(usages)
            idle, controller_idle = _resident(usages), controller.resident()
            began, controller_began = _cpu(usages), controller.cpu()
            before = cloud.calls()

            created = self._create(count)
            available = cloud.calls()
            deleted_by_mcm, alive, deleted = self._delete(cloud)
            end = cloud.report()
            return Sample(
                rate=60 * count / created,
                created=created,
                deleted=deleted,
                deleted_by_mcm=deleted_by_mcm,
                alive=alive,
                create_calls=(available - before) / count,
                delete_calls=(cloud.calls() - available) / count,
                throttled=sum(end["Throttled"].values()),
                surplus=len(self._seen) - count,
                cpu=(_cpu(usages) - began) / count,
                controller_cpu=(controller.cpu() - controller_began) / count,
                idle=idle,
                controller_idle=controller_idle,
                peak=sum(usage.peak() for usage in usages),
                connections=end["MostConnections"],
            )

    def _start(
        self, contestant: Contestant, cloud: str, folder: Path, processes: ExitStack
    ) -> list[Usage]:
        """Start a contestant, and return its processes: first the one with MCM's library."""
        program = "machine-controller"
        address = free_endpoint()
        options = self._options(program, address)
        commands: dict[str, list[str | Path]]
        if contestant.options is not None:
            native = self.programs.native
            commands = {"native": [native, f"--cloud={cloud}", *contestant.options, *options]}
        else:
            endpoint = f"tcp://{free_endpoint()}"
            commands = {
                "bridge": [BRIDGE / program, f"--cmi-endpoint={endpoint}", *options],
                "driver": [*self.programs.driver, f"--endpoint={endpoint}"],
            }
        environment = {"BENCH_CLOUD": cloud}
        if contestant.answers_at_once:
            environment["BENCH_ANSWERS_AT_ONCE"] = "1"
        started = [
            processes.enter_context(
                Process(command, folder / f"{name}.log", environment=environment)
            )
            for name, command in commands.items()
        ]
        await_condition(lambda: _is_healthy(address), bool, f"{program} is to be healthy")
        return [Usage(process.pid) for process in started]

    def _options(self, program: str, address: str = "") -> list[str]:
        host, _, port = (address or free_endpoint()).partition(":")
        kubeconfig = self.control_plane.kubeconfig_of(program)
        return [
            f"--control-kubeconfig={kubeconfig}",
            "--target-kubeconfig=none",
            f"--namespace={NAMESPACE}",
            f"--address={host}",
            f"--port={port}",
            "--leader-elect=false",  # contestants end by force, and the next one need not wait
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _create(self, count: int) -> float:
        """Create machines; return how long it took until the last one was available."""
        deployment = yaml.safe_load((self.programs.samples / "machine-deployment.yaml").read_text())
        deployment["spec"] |= {"replicas": count, "minReadySeconds": 0}
        began = time.monotonic()
        self.control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(deployment))
        self._await(lambda: [*self._phases().values()].count("Available") == count)
        return time.monotonic() - began

    def _delete(self, cloud: "_Cloud") -> tuple[float, float, float]:
        """Delete all machines; return when MCM had none, the VMs left then, and when none was."""
        began = time.monotonic()
        self.control_plane.kubectl("delete", "machinedeployments", "--all", "--wait=false")
        self._await(lambda: not self._phases())
        by_mcm, alive = time.monotonic() - began, cloud.alive()
        self._await(lambda: not cloud.alive())
        by_cloud = time.monotonic() - began
        # MCM deletes these last. The next run would otherwise apply to what is being deleted.
        self._await(lambda: not self._count(MachineDeployment) and not self._count(MachineSet))
        return by_mcm, alive, by_cloud

    def _count(self, kind: type[Any]) -> int:
        return len([*self.control_plane.client.list(kind, namespace=NAMESPACE)])

    def _phases(self) -> dict[str, str]:
        """Return the phase of each machine."""
        listed = self.control_plane.client.list(Machine, namespace=NAMESPACE)
        phases = {
            each["metadata"]["name"]: each.get("status", {})
            .get("currentStatus", {})
            .get("phase", "")
            for each in listed
        }
        self._seen |= {*phases}
        return phases

    def _await(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not _does_hold(holds):
            if time.monotonic() > deadline:
                phases = Counter(self._phases().values())
                raise RuntimeError(f"this run takes too long; machines by phase: {phases}")
            time.sleep(INTERVAL)


class _Cloud:
    """The cloud of one run, in a separate process."""

    def __init__(self, program: Path, folder: Path, timing: Timing, processes: ExitStack) -> None:
        log = folder / "cloud.log"
        command: list[str | Path] = [
            program,
            f"--latency={timing.latency}s",
            f"--pending={timing.pending}s",
            f"--shutting-down={timing.shutting_down}s",
            f"--limited={str(timing.is_limited).lower()}",
        ]
        processes.enter_context(Process(command, log))
        first = await_condition(log.read_text, lambda text: "\n" in text, "the cloud is to start")
        self.url = f"http://{json.loads(first)['endpoint']}"

    def report(self) -> dict[str, Any]:
        """Return the cloud's report."""
        with urllib.request.urlopen(f"{self.url}/report", timeout=60) as answer:  # noqa: S310
            report: dict[str, Any] = json.load(answer)
            return report

    def calls(self) -> int:
        """Return how many calls of its API there were."""
        return sum(self.report()["Calls"].values())

    def alive(self) -> int:
        """Return how many instances are not terminated."""
        states = self.report()["States"]
        return sum(states.get(state, 0) for state in ALIVE)


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/healthz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _does_hold(holds: Callable[[], bool]) -> bool:
    """Ask; an API server that has no time for an answer does not count."""
    try:
        return holds()
    except httpx2.HTTPError:  # ApiError is a subclass
        return False


def _cpu(usages: Sequence[Usage]) -> float:
    return sum(usage.cpu() for usage in usages)


def _resident(usages: Sequence[Usage]) -> float:
    return sum(usage.resident() for usage in usages)


def _await_idle(usages: Sequence[Usage]) -> None:
    """Wait until the processes have started: a server is healthy before all of it runs."""
    before = -inf
    while _cpu(usages) - before > IDLE_SHARE * START:
        before = _cpu(usages)
        time.sleep(START)
