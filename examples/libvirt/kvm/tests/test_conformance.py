"""The conformance tests, which check this driver in process with libvirt's test driver.

Two items are skipped in part: libvirt has no error that means OUT_OF_RANGE (C13), and no
credentials that permit only some calls, unless the operator sets up polkit (C44).
"""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import cmi
import libvirt
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import captured_log, serving

from ..apis.provider_spec import MachineScope
from ..cloud import Cloud
from ..hosts import Connections
from ..machineserver import MachineServer
from .conftest import samples_for
from .console import Console
from .gate import Fault, Gate, after, error, failing

PACKAGE = __name__.partition(".")[0]
STEPS = (
    "virConnect.defineXMLFlags",
    "virStoragePool.createXML",
    "virStorageVol.upload",
    "virStream.finish",
    "virDomain.setAutostart",
    "virDomain.create",
    "virDomain.setMetadata",
)
STEPS_OF_DELETE = ("virDomain.destroy", "virDomain.undefineFlags", "virStorageVol.delete")
LAST_STEPS = (
    "virConnect.defineXMLFlags",
    "virStorageVol.upload",
    "virDomain.create",
    *STEPS_OF_DELETE,
)
"""Those after which the host fails. Each takes the time of a call, so these are not all steps."""
STARTS_AND_ENDS = ("virDomain.create", "virDomain.destroy")
ODD = error(libvirt.VIR_ERR_OPERATION_FAILED)


def interruptions() -> dict[str, Callable[[], Fault]]:
    """Return faults for each step: it fails before or after it is done, or the host then fails."""
    faults: dict[str, Callable[[], Fault]] = {}
    for step in STEPS + STEPS_OF_DELETE:
        once = partial(failing, ODD, step, times=1)
        faults[f"{step} is refused"] = once
        faults[f"{step} is done, and its answer is lost"] = partial(once, is_done=True)
    for step in LAST_STEPS:
        faults[f"nothing is answered after {step}"] = partial(after, step)
    return faults


@contextmanager
def without_hosts() -> Iterator[None]:
    """Let no host answer, on existing connections or on new ones."""
    refused = error(libvirt.VIR_ERR_SYSTEM_ERROR, "Connection refused", libvirt.VIR_FROM_RPC, 111)

    def refuse(*_: object) -> None:
        raise refused

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libvirt.virConnect, "isAlive", lambda _: 0)
        patch.setattr(libvirt, "openAuth", refuse)
        yield


@pytest.fixture(scope="module")
def target(connections: Connections, console: Console, gate: Gate) -> Iterator[Target]:
    """This driver with two hosts, and with machines of two clusters."""
    samples = samples_for("conformance")
    machine_class = samples.machine_class()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    full = error(libvirt.VIR_ERR_SYSTEM_ERROR, "full", libvirt.VIR_FROM_STORAGE, errno.ENOSPC)
    invalid = error(libvirt.VIR_ERR_OPERATION_INVALID)
    lost = error(libvirt.VIR_ERR_RPC, f"no answer to {secrets}")
    failures = {
        "RESOURCE_EXHAUSTED": failing(full, "virStoragePool.createXML"),
        "FAILED_PRECONDITION": failing(invalid, "virDomain.create"),
        "UNAVAILABLE": failing(lost, "virConnect.defineXMLFlags"),
        "INTERNAL": failing(ValueError(f"nobody expects {secrets}"), "virConnect.defineXMLFlags"),
    }
    with serving(MachineServer(Cloud(connections))) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            scope=MachineScope,
            moved_class=samples.machine_class(host="rack2"),
            timeout=30,
            patience=20,
            backstage=Backstage(
                failures={code: partial(gate.fault, failures[code]) for code in failures},
                interruptions={
                    step: partial(gate.new_fault, make) for step, make in interruptions().items()
                },
                pending=partial(gate.holding, *STARTS_AND_ENDS),
                unhealthy=without_hosts,
                hold=partial(gate.holding, times=1),
                stranger=console.stranger,
                duplicate=console.duplicate,
                rename=console.rename,
                unname=console.unname,
                vanish=console.vanish,
                parts=console.parts,
                tags=console.tags,
                user_data=console.user_data,
                snapshot=console.snapshot,
                log=captured_log,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )
