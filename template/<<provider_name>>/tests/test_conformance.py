"""The conformance list, checked against this driver in process: nothing is left out.

`Backstage` tells the kit how to see and do what the API does not show. When you replace the
embedded cloud, do so here too, as far as your cloud's test double goes; what you leave out is
skipped, and the report at the end says so.
"""

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import yaml

import cmi
from cmi.client import MachineClass
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import serving

from ..cloud import PAGE_SIZE, Cloud, QuotaError, SizeError, ThrottledError
from ..machineserver import MachineServer
from .conftest import SAMPLES

PACKAGE = __name__.partition(".")[0]


class UnreliableCloud(Cloud):
    """A cloud whose API calls can be made to fail or to wait."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.before: Callable[[str], None] | None = None

    def api_call(self, name: str) -> None:
        super().api_call(name)
        if self.before is not None:
            self.before(name)

    @contextmanager
    def each_call(self, before: Callable[[str], None]) -> Iterator[None]:
        """Do something before each API call, for a while."""
        self.before = before
        try:
            yield
        finally:
            self.before = None

    def failing(self, error: Exception) -> AbstractContextManager[None]:
        """Let every API call fail with `error`."""

        def fail(_name: str) -> None:
            raise error

        return self.each_call(fail)

    def interrupted_at(self, step: str) -> AbstractContextManager[None]:
        """Let the first API call of one kind fail."""
        left = [step]

        def fail(name: str) -> None:
            if name in left:
                left.remove(name)
                raise ThrottledError(f"{name} was interrupted")

        return self.each_call(fail)

    @contextmanager
    def hold(self) -> Iterator[threading.Event]:
        """Let the first API call wait."""
        waiting, go_on = threading.Event(), threading.Event()

        def wait(_name: str) -> None:
            if not waiting.is_set():
                waiting.set()
                go_on.wait()

        with self.each_call(wait):
            try:
                yield waiting
            finally:
                go_on.set()


@pytest.fixture(scope="module")
def target(
    tmp_path_factory: pytest.TempPathFactory, machine_class: MachineClass
) -> Iterator[Target]:
    """This driver on an embedded cloud of its own."""
    file = str(tmp_path_factory.mktemp("conformance") / "cloud.sqlite")
    cloud = UnreliableCloud(file)
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": QuotaError("no VM is left"),
        "OUT_OF_RANGE": SizeError("too large"),
        "UNAVAILABLE": ThrottledError(f"too many calls with {secrets}"),
        "FAILED_PRECONDITION": cmi.FailedPrecondition("the VM is locked"),
        "INTERNAL": ValueError(f"nobody expects {secrets}"),
    }
    steps = ("create_vm", "create_disk", "start_vm", "delete_vm", "list_disks", "delete_disk")
    volumes = (SAMPLES / "persistent-volumes.yaml").read_bytes()
    with serving(MachineServer(cloud)) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            volumes=[volume["spec"] for volume in yaml.safe_load_all(volumes)],
            backstage=Backstage(
                failures={code: partial(cloud.failing, error) for code, error in failures.items()},
                interruptions={step: partial(cloud.interrupted_at, step) for step in steps},
                unhealthy=partial(cloud.failing, ThrottledError("the cloud does not answer")),
                hold=cloud.hold,
                duplicate=partial(duplicate, file),
                snapshot=partial(snapshot, file),
                denied_secrets={**machine_class.secrets, "apiToken": b"demo-reader"},
                page_size=PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )


def duplicate(file: str, name: str) -> None:
    """Give a machine a second VM."""
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TEMP TABLE twin AS SELECT * FROM vms WHERE name = ?", [name])
        db.execute("UPDATE twin SET id = id || '-twin', client_token = NULL")
        db.execute("INSERT INTO vms SELECT * FROM twin")


def snapshot(file: str) -> object:
    """Return all VMs and disks."""
    with closing(sqlite3.connect(file)) as db:
        vms = db.execute("SELECT * FROM vms ORDER BY id").fetchall()
        return vms, db.execute("SELECT * FROM disks ORDER BY id").fetchall()
