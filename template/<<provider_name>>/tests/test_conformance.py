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
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import Samples, serving

from .. import embedded_cloud as sdk
from ..cloud import NAME_LABEL, Cloud
from ..machineserver import MachineServer

PACKAGE = __name__.partition(".")[0]
STEPS = (
    "create_server",
    "attach_network",
    "create_disk",
    "start_server",
    "delete_server",
    "list_disks",
    "delete_disk",
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, samples: Samples) -> Iterator[Target]:
    """This driver on an embedded cloud of its own."""
    cloud = sdk.EmbeddedCloud(str(tmp_path_factory.mktemp("conformance") / "cloud.sqlite"))
    machine_class = samples.machine_class()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": sdk.QuotaError("no server is left"),
        "OUT_OF_RANGE": sdk.SizeError("too large"),
        "UNAVAILABLE": sdk.ThrottledError(f"too many calls with {secrets}"),
        "FAILED_PRECONDITION": cmi.FailedPrecondition("the server is locked"),
        "INTERNAL": ValueError(f"nobody expects {secrets}"),
    }

    def server_of(machine: str) -> sdk.Server:
        return next(each for each in cloud.servers() if each.labels.get(NAME_LABEL) == machine)

    with serving(MachineServer(Cloud(cloud))) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            volumes=samples.volumes(),
            timeout=30,
            backstage=Backstage(
                failures={code: partial(cloud.failing, error) for code, error in failures.items()},
                interruptions={step: partial(cloud.interrupted_at, step) for step in STEPS},
                unhealthy=partial(cloud.failing, sdk.CloudDownError("the cloud does not answer")),
                hold=cloud.hold,
                duplicate=lambda machine: cloud.copy(server_of(machine).id),
                snapshot=lambda: (cloud.servers(), cloud.disks()),
                denied_secrets={**machine_class.secrets, "apiToken": b"demo-reader"},
                page_size=sdk.PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )
