"""The conformance tests, which check this driver in process with moto's EC2.

One item is skipped in part: EC2 has no error that means OUT_OF_RANGE (C13).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import cmi
from cmi.conformance import Backstage, Target
from cmi.conformance.suite import *  # noqa: F403
from cmi.testing import captured_log, serving

from ..apis.provider_spec import MachineScope
from ..cloud import Cloud
from ..machineserver import MachineServer
from .account import Account
from .conftest import PAGE_SIZE, samples_for
from .gate import Fault, Gate, after, error, failing, launched, reported

PACKAGE = __name__.partition(".")[0]


@contextmanager
def without_certificates() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", "/no/such/bundle.pem")
        yield


@pytest.fixture(scope="module")
def target(account: Account, gate: Gate) -> Iterator[Target]:
    """This driver with an account that contains machines of two clusters."""
    samples = samples_for("conformance", account)
    machine_class = samples.machine_class()
    secrets = " ".join(value.decode() for value in machine_class.secrets.values())
    failures = {
        "RESOURCE_EXHAUSTED": error("VcpuLimitExceeded"),
        "FAILED_PRECONDITION": error("PendingVerification"),
        "UNAVAILABLE": error("ServiceUnavailable", f"no answer to {secrets}", status=503),
        "INTERNAL": launched("i-0123456789abcdef0", state=f"nobody expects {secrets}"),
    }
    internal = error("InternalError", status=500)
    lost = partial(failing, None, "TerminateInstances", is_done=True)
    steps: dict[str, Callable[[], Fault]] = {
        "RunInstances is refused": partial(failing, internal, "RunInstances"),
        "the instance is lost from sight": partial(after, "RunInstances"),
        "the instance ends at its start": account.dying,
        "TerminateInstances is refused": partial(failing, internal, "TerminateInstances"),
        "the answer of TerminateInstances is lost": lost,
        "the end is not seen": partial(after, "TerminateInstances"),
    }
    pending = reported("<code>16</code><name>running</name>", "<name>pending</name>")
    with serving(MachineServer(Cloud())) as endpoint:
        yield Target(
            endpoint=endpoint,
            machine_class=machine_class,
            scope=MachineScope,
            moved_class=samples.machine_class(region="us-east-1"),
            volumes=samples.volumes(),
            timeout=30,
            backstage=Backstage(
                failures={code: partial(gate.failing, failures[code]) for code in failures},
                interruptions={step: partial(gate.new_fault, steps[step]) for step in steps},
                pending=partial(gate.fault, pending),
                unhealthy=without_certificates,
                hold=gate.hold,
                stranger=account.stranger,
                duplicate=account.duplicate,
                rename=account.rename,
                unname=account.unname,
                vanish=account.vanish,
                parts=account.parts,
                tags=account.tags,
                user_data=account.user_data,
                snapshot=account.snapshot,
                log=captured_log,
                denied_secrets={**machine_class.secrets, **account.reader},
                page_size=PAGE_SIZE,
                command=[sys.executable, "-m", PACKAGE],
                sources=[Path(cmi.__file__).parent, Path(__file__).parents[1]],
            ),
        )
