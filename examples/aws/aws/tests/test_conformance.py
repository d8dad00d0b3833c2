"""The conformance list, checked against this driver in process, on moto's EC2.

Skipped is what can't be had: the driver depends on nothing of its own that could be missing (C6).
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

import cmi
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import serving

from ..cloud import Cloud
from ..machineserver import MachineServer
from .conftest import PAGE_SIZE, SAMPLES, change_for
from .ec2 import Account, Answer, Call, Fault, Forward, Gate, error, failing, lost

PACKAGE = __name__.partition(".")[0]


@pytest.fixture(scope="module")
def target(account: Account, gate: Gate) -> Iterator[Target]:
    """This driver on an account that holds machines of two clusters."""
    machine_class = change_for("conformance", account)()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": error("VcpuLimitExceeded"),
        "OUT_OF_RANGE": error("Unsupported"),
        "FAILED_PRECONDITION": error("PendingVerification"),
        "UNAVAILABLE": error("RequestLimitExceeded", f"too many calls with {secrets}", status=503),
        "INTERNAL": Answer(200, f"nobody expects {secrets}".encode()),
    }
    steps = {
        "RunInstances is refused": failing(error("InternalError", status=500), "RunInstances"),
        "the instance is lost from sight": after("RunInstances"),
        "TerminateInstances is refused": failing(error("InternalError"), "TerminateInstances"),
        "the answer of TerminateInstances is lost": lost("TerminateInstances"),
        "the end is not seen": after("TerminateInstances"),
    }
    volumes = (SAMPLES / "persistent-volumes.yaml").read_bytes()
    with serving(MachineServer(Cloud())) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            volumes=[volume["spec"] for volume in yaml.safe_load_all(volumes)],
            backstage=Backstage(
                failures={code: partial(gate.failing, failures[code]) for code in failures},
                interruptions={step: partial(gate.fault, steps[step]) for step in steps},
                hold=gate.hold,
                duplicate=account.duplicate,
                snapshot=lambda: (account.instances(), account.volumes()),
                denied_secrets={**machine_class.secrets, **account.reader},
                page_size=PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )


def after(action: str) -> Fault:
    """Return the fault by which nothing is answered any more once an action was carried out."""
    seen: list[str] = []

    def fault(call: Call, forward: Forward) -> Answer | None:
        if seen:
            return None
        if call["Action"] == action:
            seen.append(action)
        return forward()

    return fault
