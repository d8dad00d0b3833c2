"""C52 to C57: the process."""

import os
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from cmi.conformance.kit import OK, Kit
from cmi.endpoint import ENDPOINT_VARIABLE

_SECONDS = 60
_BAD_ENDPOINTS = ("127.0.0.1:8080", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "http://x:1", "")


@pytest.mark.parametrize("endpoint", _BAD_ENDPOINTS, ids=repr)
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_C52_bad_endpoint(kit: Kit, endpoint: str, way: str) -> None:
    command = [*_command(kit)]
    environment = dict(os.environ)
    if way == "flag":
        command.append(f"--endpoint={endpoint}")
    else:
        environment[ENDPOINT_VARIABLE] = endpoint
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert ended.returncode not in (0, None)
    assert len(ended.stderr.splitlines()) == 1, f"not one clear line: {ended.stderr}"


def test_C53_only_the_given_address(kit: Kit) -> None:
    """A server on 127.0.0.1 is not reached at 127.0.0.2, which is the same host."""
    endpoint = kit.target.endpoint
    if endpoint.host != "127.0.0.1":
        pytest.skip("the endpoint is not on 127.0.0.1, so its neighbours are unknown")
    for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as other:
            assert other.connect_ex((host, endpoint.port)) != 0, f"{host} is bound too"


def test_C54_no_variables_of_its_own(kit: Kit) -> None:
    sources = kit.backstage("the driver's code").sources
    if not sources:
        pytest.skip("the backstage does not tell where the code is")
    named = re.compile(r"[\"']CMI_[A-Z_]+[\"']")
    found = {
        name.strip("\"'")
        for folder in sources
        for path in folder.rglob("*.py")
        for name in named.findall(path.read_text())
    }
    assert found <= {ENDPOINT_VARIABLE}


def test_C56_survives_garbage(kit: Kit) -> None:
    endpoint = kit.target.endpoint
    if not endpoint.path:
        with socket.create_connection((endpoint.host.strip("[]"), endpoint.port), _SECONDS) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n\x00\xff" * 100)
    method: grpc.UnaryUnaryMultiCallable[Any, Any] = kit.channel.unary_unary(
        "/cmi.v1.Machine/CreateMachine"
    )
    with pytest.raises(grpc.RpcError):
        method(b"\xff" * 1000, timeout=kit.target.timeout)
    kit.identity("Probe").ok()


def test_C57_one_call_for_each_machine(kit: Kit) -> None:
    """Of many calls for one machine at once, each is OK or ABORTED."""
    name = kit.name()
    with ThreadPoolExecutor() as pool:
        for outcome in pool.map(lambda _: kit.create(name), range(20)):
            if outcome.code is not OK:
                outcome.refused("ABORTED")


def test_C57_machines_do_not_wait_for_each_other(kit: Kit) -> None:
    hold = kit.backstage("a slow call").hold
    if hold is None:
        pytest.skip("the backstage can't hold a call")
    first, second = kit.name(), kit.name()
    with hold() as begun:
        waiting = kit.begin("CreateMachine", kit.request("CreateMachine", first))
        assert begun.wait(_SECONDS)
        kit.create(first).refused("ABORTED")
        kit.delete(first).refused("ABORTED")
        kit.create(second).ok()
    waiting().ok()


def _command(kit: Kit) -> list[str]:
    command = kit.backstage("how the process starts").command
    if not command:
        pytest.skip("the backstage does not tell how to start the driver")
    return [*command]
