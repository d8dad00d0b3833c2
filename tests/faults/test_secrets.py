"""Every secret contains a canary, a text that must not appear anywhere else."""

import base64
import os
import signal
import sys
from pathlib import Path

import grpc
import pytest

from cmi.client import Client, MachineClass
from tests.driver import CloudFile, RunningDriver, Start
from tests.faults import leaky
from tests.faults.conftest import Change
from tests.framework.support import machine_class
from tests.support import ROOT, status_of

TOKEN = "canary-token-5e1f"
LOGIN = "canary-login-93d0"
USER_DATA = "#cloud-config\nwrite_files: [{content: canary-password-77ab}]\n"
CANARIES = (
    TOKEN,
    LOGIN,
    "canary-password-77ab",
    base64.b64encode(TOKEN.encode()).decode(),
    base64.b64encode(USER_DATA.encode()).decode(),
)


def test_no_secret_shows_up(start: Start, cloud: CloudFile, changed: Change) -> None:
    """The driver logs at debug level. Calls succeed, are refused, fail in the cloud, or crash."""
    secrets = {"apiToken": TOKEN.encode(), "userData": USER_DATA.encode()}
    mine = changed(secrets)
    seen = []
    driver = start(cloud, "--log-level=debug", faults="create_server=failed*1")
    client = driver.client()
    seen.append(_refusal(client, mine))  # the token is unknown
    cloud.allow(TOKEN)
    seen.append(_refusal(client, mine))  # the cloud returns an error
    created = client.create(mine, "m1")
    client.status(mine, "m1", created.ProviderID)
    client.list_machines(mine)
    seen.append(_refusal(client, changed(secrets, machineType=None, disks=TOKEN)))
    client.shut_down(mine, "m1")
    client.delete(mine, "m1")
    seen += [driver.metrics(), Path(f"/proc/{driver.pid}/cmdline").read_text()]
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    crashing = start(cloud, "--log-level=debug", faults="start_server=crash")
    _refusal(crashing.client(), mine)
    crashing.wait()
    seen += [*driver.log, *crashing.log]
    for canary in CANARIES:
        assert not [text for text in seen if canary in text]


def test_no_secret_shows_up_whatever_an_sdk_reveals() -> None:
    """This covers the secrets in the Secret and in the spec, and every way out of a process."""
    secrets = {"apiToken": TOKEN.encode(), "userData": USER_DATA.encode()}
    mine = machine_class(secrets, login=LOGIN)
    command = [sys.executable, "-m", "tests.faults.leaky"]
    path = os.pathsep.join([str(ROOT / "template"), str(ROOT)])
    with RunningDriver(command, {"PYTHONPATH": path}) as driver:
        client = driver.client()
        seen = [_refusal(client, mine, way) for way in leaky.WAYS if way != "crash"]
        seen += [driver.metrics(), Path(f"/proc/{driver.pid}/cmdline").read_text()]
        seen.append(_refusal(client, mine, "crash"))
        assert driver.wait() == -signal.SIGKILL
        seen += driver.log
    for canary in CANARIES:
        assert not [text for text in seen if canary in text]
    for way in leaky.WAYS:
        assert f"told by {way}: ***" in "".join(seen)


def _refusal(client: Client, machine_class: MachineClass, name: str = "m1") -> str:
    with pytest.raises(grpc.RpcError) as caught:
        client.create(machine_class, name)
    return status_of(caught.value)[1]
