"""The conformance tests, which check this driver in process, without skipping any item.

`Backstage` gives the kit access to things that the API hides. When you replace the embedded cloud,
replace it here too, as far as your cloud's test double allows. Items for which you leave something
out are skipped, and the report at the end says so.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import cmi
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import Samples, captured_log, serving

from .. import embedded_cloud as sdk
from ..apis.provider_spec import MachineScope
from ..cloud import NAME_LABEL, Cloud
from ..machineserver import MachineServer

PACKAGE = __name__.partition(".")[0]
PAGE_SIZE = 3
STEPS = ("create_server", "attach_network", "create_disk", "start_server")
STEPS_OF_DELETE = ("delete_server", "list_disks", "delete_disk")
STEPS_OF_INITIALIZE = ("allow_forwarding",)
ACTIONS = ("create_server", "attach_network", "start_server")


class Console:
    """Everything that people can see and do in the cloud's console, by the name of a machine."""

    def __init__(self, cloud: sdk.EmbeddedCloud) -> None:
        self._cloud = cloud

    def server(self, machine: str) -> sdk.Server:
        return next(
            each for each in self._cloud.servers() if each.labels.get(NAME_LABEL) == machine
        )

    def duplicate(self, machine: str) -> None:
        self._cloud.copy(self.server(machine).id)

    def rename(self, machine: str, name: str) -> None:
        self._cloud.rename(self.server(machine).id, name)

    def unname(self, machine: str) -> None:
        server = self.server(machine)
        labels = {key: text for key, text in server.labels.items() if text != machine}
        self._cloud.relabel(server.id, labels)
        self._cloud.rename(server.id, "")

    def vanish(self, machine: str) -> None:
        self._cloud.remove(self.server(machine).id)

    def parts(self, machine: str) -> object:
        server = self.server(machine)
        disks = [each for each in self._cloud.disks() if each.server_id == server.id]
        return (
            (server.status, server.image, server.machine_type),
            (server.subnet, server.security_groups),
            sorted((disk.name, disk.size_gib, disk.type) for disk in disks),
        )

    def user_data(self, machine: str) -> bytes:
        return self._cloud.user_data(self.server(machine).id).encode()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> Iterator[Target]:
    """This driver with its own embedded cloud."""
    file = str(tmp_path_factory.mktemp("conformance") / "cloud.sqlite")
    cloud = sdk.EmbeddedCloud(file, page_size=PAGE_SIZE)
    console = Console(cloud)
    machine_class = samples.machine_class()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": sdk.QuotaError(f"no server is left for {secrets}"),
        "OUT_OF_RANGE": sdk.SizeError("too large"),
        "UNAVAILABLE": sdk.CloudDownError(f"the cloud does not answer to {secrets}"),
        "FAILED_PRECONDITION": cmi.FailedPrecondition("the server is locked"),
        "INTERNAL": ValueError(f"nobody expects {secrets}"),
    }
    steps = STEPS + STEPS_OF_DELETE + STEPS_OF_INITIALIZE
    interrupted = {step: partial(cloud.interrupted_at, step) for step in steps}
    failed = {f"{call} fails later": partial(cloud.failing_action, call) for call in ACTIONS}
    with serving(MachineServer(Cloud(cloud))) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            scope=MachineScope,
            moved_class=samples.machine_class(region="south-1"),
            volumes=samples.volumes(),
            timeout=30,
            patience=20,
            backstage=Backstage(
                failures={code: partial(cloud.failing, error) for code, error in failures.items()},
                interruptions=interrupted | failed,
                pending=cloud.pending_actions,
                unhealthy=partial(cloud.failing, sdk.CloudDownError("the cloud does not answer")),
                hold=cloud.hold,
                stranger=partial(cloud.stranger, "north-1"),
                duplicate=console.duplicate,
                rename=console.rename,
                unname=console.unname,
                vanish=console.vanish,
                parts=console.parts,
                tags=lambda machine: console.server(machine).labels,
                user_data=console.user_data,
                snapshot=lambda: (cloud.servers(), cloud.disks()),
                log=captured_log,
                denied_secrets={**machine_class.secrets, "apiToken": b"demo-reader"},
                page_size=PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )
