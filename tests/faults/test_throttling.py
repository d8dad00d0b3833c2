"""How many API calls a driver makes, and what it does while its cloud throttles."""

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cmi.client import Client, MachineClass
from cmi.testing import serving
from tests.driver import figure
from tests.support import PATIENCE

MACHINES = 50
"""As many as MCM makes at once."""
READS = {"list_servers", "get_server", "list_disks"}


@pytest.fixture(scope="module")
def provider(installed: Path) -> Iterator[dict[str, ModuleType]]:
    """The modules of the rendered driver, in this process, by name."""
    others = _taken_out()  # other tests have a package of this name too
    sys.path.insert(0, str(installed))
    try:
        names = ("embedded_cloud", "cloud", "machineserver")
        yield {name: importlib.import_module(f"acme.{name}") for name in names}
    finally:
        sys.path.remove(str(installed))
        _taken_out()
        sys.modules |= others


def _taken_out() -> dict[str, ModuleType]:
    """Remove the package `acme` from `sys.modules`; return its modules."""
    names = [name for name in sys.modules if name.partition(".")[0] == "acme"]
    return {name: sys.modules.pop(name) for name in names}


class Machines:
    """A rendered driver with an embedded cloud, which gets calls for many machines at once."""

    def __init__(
        self, provider: dict[str, ModuleType], cloud: Any, machine_class: MachineClass
    ) -> None:
        self._driver = provider["machineserver"].MachineServer(provider["cloud"].Cloud(cloud))
        self._class = machine_class
        self.cloud = cloud

    def create_and_delete(self, count: int) -> tuple[Counter[str], Counter[str]]:
        """Create that many machines at once and delete them; return the API calls for both."""
        names = [f"m{number}" for number in range(count)]
        with (
            serving(self._driver) as endpoint,
            Client(endpoint, PATIENCE) as client,
            ThreadPoolExecutor(count) as callers,
        ):

            def create(name: str) -> str:
                with_token = dict(self._class.secrets) | {"userData": f"token of {name}".encode()}
                own = MachineClass(provider_spec=self._class.provider_spec, secrets=with_token)
                return str(client.create(own, name).ProviderID)

            def delete(name: str, provider_id: str) -> None:
                client.delete(self._class, name, provider_id)

            to_create: Counter[str] = Counter()
            with self.cloud.before_each_call(lambda call: to_create.update([call])):
                ids = [*callers.map(create, names)]
            assert {server.status for server in self.cloud.servers()} == {"running"}
            assert len(self.cloud.servers()) == count
            to_delete: Counter[str] = Counter()
            with self.cloud.before_each_call(lambda call: to_delete.update([call])):
                assert len([*callers.map(delete, names, ids)]) == count
            assert (self.cloud.servers(), self.cloud.disks()) == ([], [])
        return to_create, to_delete


def test_many_machines_take_few_calls(
    provider: dict[str, ModuleType], machine_class: MachineClass, tmp_path: Path
) -> None:
    """The calls of all machines share their reads of the cloud."""
    cloud = provider["embedded_cloud"].EmbeddedCloud(str(tmp_path / "cloud"), action_time=1)
    start = time.monotonic()
    to_create, to_delete = Machines(provider, cloud, machine_class).create_and_delete(MACHINES)
    looks = time.monotonic() - start  # while machines wait, there is one look a second
    for what, calls in (("create", to_create), ("delete", to_delete)):
        each = ", ".join(f"{call} {count / MACHINES:g}" for call, count in calls.most_common())
        figure(f"API calls to {what} a machine, of {MACHINES} at once: {each}")
    disks = len(json.loads(machine_class.provider_spec)["disks"])
    changes = {"create_server": 1, "attach_network": 1, "create_disk": disks, "start_server": 1}
    assert {call: to_create[call] for call in changes} == {
        call: MACHINES * times for call, times in changes.items()
    }
    assert sum(to_create[call] for call in READS) < MACHINES + looks
    assert to_delete["delete_server"] == MACHINES
    assert to_delete["list_servers"] + to_delete["list_disks"] < MACHINES + looks


def test_a_cloud_that_throttles_costs_no_machine(
    provider: dict[str, ModuleType], machine_class: MachineClass, tmp_path: Path
) -> None:
    """No creation may fail, since MCM would then replace the machine or leave it `Failed`."""
    changes = ("attach_network", "create_disk", "start_server", "delete_disk")
    cloud = provider["embedded_cloud"].EmbeddedCloud(
        str(tmp_path / "cloud"),
        action_time=0.1,
        faults=dict.fromkeys(("get_server", "list_disks", *changes), "throttled*3"),
    )
    to_create, to_delete = Machines(provider, cloud, machine_class).create_and_delete(2)
    assert to_create["attach_network"] == 2 + 3, "the cloud throttles, and no caller notices"
    assert to_delete["delete_disk"] >= 3
