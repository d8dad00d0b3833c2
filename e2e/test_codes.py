"""The table of codes in docs/reference/contract.md: what each error makes MCM do.

MCM logs how long it will wait before it handles a machine again, so no test has to wait.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.cluster import Cluster, Machine
from e2e.failing_driver import STATE, machine, message
from e2e.process import await_condition, await_value
from tests.docs.test_reference import CONTRACT, rows
from tests.driver import CloudFile, RunningDriver
from tests.support import ROOT

CODES = {code: cells for code, _, _, *cells in rows(CONTRACT, "Codes")}
"""For each code, the columns create, initialize, status, delete and state."""

AS_GO_SAYS_IT = {"5 s": "5s", "3 min": "3m0s", "10 min": "10m0s"}


class Failing(Cluster):
    """A cluster with the failing driver, and a machine for each error that it can return."""

    def make(self, *failing: str) -> None:
        """Create the machines for which these steps fail."""
        sample = self.sample("machine.yaml")
        names = [machine(step, code) for step in failing for code in CODES]
        self.apply(*(sample | {"metadata": sample["metadata"] | {"name": n}} for n in names))

    def pauses(self, queue: str, step: str, code: str) -> set[str]:
        """Return how long MCM waited after an error, according to its log."""
        said = re.escape(message(step, code))
        found = re.findall(
            rf'to {queue} "default/{machine(step, code)}" after (\w+), reason: .*{said}',
            self.log_of("machine-controller"),
        )
        return {*found}

    def await_pauses(self, queue: str, step: str, column: int) -> None:
        """Wait until MCM has waited after each error as the table says."""

        def seen() -> dict[str, set[str]]:
            return {code: self.pauses(queue, step, code) for code in wanted}

        pauses = {code: AS_GO_SAYS_IT.get(cells[column]) for code, cells in CODES.items()}
        wanted = {code: {pause} for code, pause in pauses.items() if pause}
        await_value(seen, wanted)

    def calls_of(self, rpc: str) -> list[dict[str, str]]:
        """Return the driver's calls of an RPC."""
        return [event for event in self.driver.events() if event.get("rpc") == rpc]


@pytest.fixture
def failing(binaries: None, tmp_path: Path, installed: Path) -> Iterator[Failing]:
    def start(
        cloud: CloudFile,
        *options: str,
        **settings: object,
    ) -> RunningDriver:
        command = [sys.executable, "-m", "e2e.failing_driver", *options]
        environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'template'}"}
        return processes.enter_context(RunningDriver(command, environment))

    with ExitStack() as processes:
        cluster = Failing(tmp_path, installed, start, processes)
        # The first is the default, as another test checks. The second is longer than this test.
        cluster.bridge_options = (
            "--resource-exhausted-retry=10m",
            "--machine-safety-orphan-vms-period=24h",
        )
        cluster.apply("secret.yaml", "machine-class.yaml")
        cluster.start(quick=True)
        yield cluster
        assert cluster.control_plane.refused() == []


def test_errors_of_creation_and_initialization(failing: Failing) -> None:
    failing.make("create", "initialize")
    failing.await_pauses("queue", "create", 0)
    failing.await_pauses("queue", "initialize", 1)
    for code, (*_, state) in CODES.items():
        created = failing.status(machine("create", code))
        assert created["currentStatus"]["phase"] == "CrashLoopBackOff"
        said = code.title().replace("_", "").replace("Cancelled", "Canceled")
        assert created["lastOperation"]["errorCode"] == said
        assert created.get("lastKnownState", "") == (STATE if state == "kept" else "")
    phases = {
        machine("initialize", code): "Pending" if pause == "continues" else "CrashLoopBackOff"
        for code, (_, pause, *_) in CODES.items()
    }
    await_condition(failing.phases, lambda seen: phases.items() <= seen.items(), f"{phases}")


def test_errors_of_deletion(failing: Failing) -> None:
    failing.make("status", "delete")
    # Before the creation, MCM treats these errors like those of CreateMachine.
    create = {code: AS_GO_SAYS_IT[cells[0]] for code, cells in CODES.items()}
    made = {machine("status", code) for code in ("NOT_FOUND", "UNIMPLEMENTED")}
    await_condition(
        lambda: {call["machine"] for call in failing.calls_of("CreateMachine")},
        lambda called: made <= called,
        f"{made} should be created",
    )
    del create["NOT_FOUND"], create["UNIMPLEMENTED"]
    await_value(
        lambda: {code: failing.pauses("queue", "status", code) for code in create},
        {code: {pause} for code, pause in create.items()},
    )
    await_condition(
        lambda: [failing.phases()[machine("delete", code)] for code in CODES],
        lambda phases: {*phases} == {"Pending"},
        "the machines should be made",
    )

    for name in failing.phases():
        failing.delete(Machine, name)
    failing.await_pauses("termination queue", "status", 2)
    failing.await_pauses("termination queue", "delete", 3)
    gone = {machine("status", code) for code, cells in CODES.items() if cells[2] == "continues"}
    gone |= {machine("delete", code) for code, cells in CODES.items() if cells[3] == "continues"}
    assert len(gone) == 3
    await_condition(failing.phases, lambda phases: not gone & {*phases}, f"{gone} should go")
    assert len(failing.phases()) == 2 * len(CODES) - len(gone)


def test_calls_of_a_driver_that_has_all_rpcs(failing: Failing) -> None:
    """MCM uses one connection, and never calls ShutDownMachine."""
    await_value(lambda: len(failing.calls_of("ListMachines")), 1)
    sample = failing.sample("machine.yaml")
    for name in ("machine-1", machine("create", "OUT_OF_RANGE")):
        failing.apply(sample | {"metadata": sample["metadata"] | {"name": name}})
    await_value(lambda: failing.phases().get("machine-1"), "Pending")
    # The next list would be a day later, but OUT_OF_RANGE makes MCM list machines at once.
    await_condition(lambda: len(failing.calls_of("ListMachines")), lambda n: n > 1, "another list")
    failing.delete(Machine, "machine-1")
    await_condition(failing.phases, lambda phases: "machine-1" not in phases, "it should go")

    calls = [event for event in failing.driver.events() if "rpc" in event]
    assert {call["rpc"] for call in calls} == {
        "GetPluginInfo",
        "GetPluginCapabilities",
        "Probe",
        "GetMachineStatus",
        "CreateMachine",
        "InitializeMachine",
        "DeleteMachine",
        "ListMachines",
    }
    assert len({call["peer"] for call in calls}) == 1
    own = [call["rpc"] for call in calls if call["machine"] == "machine-1"]
    assert own[:3] == ["GetMachineStatus", "CreateMachine", "InitializeMachine"]
