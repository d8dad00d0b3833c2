"""The conformance list, checked against this driver in process: nothing is left out.

`Backstage` tells the kit how to see and do what the API does not show. When you replace the
embedded cloud, do so here too, as far as your cloud's test double goes; what you leave out is
skipped, and the report at the end says so.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import cmi
from cmi.conformance import Backstage, Target, Trap
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import Samples, captured_log, serving

from .. import embedded_cloud as sdk
from ..apis.provider_spec import MachineScope
from ..cloud import NAME_LABEL, Cloud
from ..machineserver import MachineServer

PACKAGE = __name__.partition(".")[0]
PAGE_SIZE = 3
STEPS = (
    "create_server",
    "attach_network",
    "create_disk",
    "start_server",
    "delete_server",
    "list_disks",
    "delete_disk",
)
ACTIONS = ("create_server", "attach_network", "start_server")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> Iterator[Target]:
    """This driver on an embedded cloud of its own."""
    file = str(tmp_path_factory.mktemp("conformance") / "cloud.sqlite")
    cloud = sdk.EmbeddedCloud(file, page_size=PAGE_SIZE)
    machine_class = samples.machine_class()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": sdk.QuotaError("no server is left"),
        "OUT_OF_RANGE": sdk.SizeError("too large"),
        "UNAVAILABLE": sdk.ThrottledError(f"too many calls with {secrets}"),
        "FAILED_PRECONDITION": cmi.FailedPrecondition("the server is locked"),
        "INTERNAL": ValueError(f"nobody expects {secrets}"),
    }
    interruptions: dict[str, Trap] = {step: partial(cloud.interrupted_at, step) for step in STEPS}
    for step in ACTIONS:
        interruptions[f"the action of {step}"] = partial(cloud.failing_action, step)

    def server_of(machine: str) -> sdk.Server:
        return next(each for each in cloud.servers() if each.labels.get(NAME_LABEL) == machine)

    def unname(machine: str) -> None:
        server = server_of(machine)
        cloud.rename(server.id, "")
        labels = {key: text for key, text in server.labels.items() if key != NAME_LABEL}
        cloud.relabel(server.id, labels)

    def parts(machine: str) -> object:
        server = server_of(machine)
        disks = [disk for disk in cloud.disks() if disk.server_id == server.id]
        return (
            (server.status, server.image, server.machine_type),
            (server.subnet, server.security_groups),
            sorted((disk.name, disk.size_gib, disk.type) for disk in disks),
        )

    with serving(MachineServer(Cloud(cloud))) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            scope=MachineScope,
            moved_class=samples.machine_class(region="south-1"),
            volumes=samples.volumes(),
            timeout=30,
            backstage=Backstage(
                failures={code: partial(cloud.failing, error) for code, error in failures.items()},
                interruptions=interruptions,
                pending=cloud.endless_actions,
                unhealthy=partial(cloud.failing, sdk.CloudDownError("the cloud does not answer")),
                hold=cloud.hold,
                stranger=partial(cloud.stranger, "north-1"),
                duplicate=lambda machine: cloud.copy(server_of(machine).id),
                rename=lambda machine, name: cloud.rename(server_of(machine).id, name),
                unname=unname,
                vanish=lambda machine: cloud.remove(server_of(machine).id),
                parts=parts,
                tags=lambda machine: server_of(machine).labels,
                user_data=lambda machine: cloud.user_data(server_of(machine).id).encode(),
                snapshot=lambda: (cloud.servers(), cloud.disks()),
                log=captured_log,
                denied_secrets={**machine_class.secrets, "apiToken": b"demo-reader"},
                page_size=PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )
