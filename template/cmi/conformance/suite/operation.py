"""C52 to C57: the process."""

import os
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import pytest

from cmi.conformance.kit import OK, Kit, Status
from cmi.endpoint import ENDPOINT_VARIABLE

__all__ = [
    "test_C52_bad_endpoint",
    "test_C53_only_the_given_address",
    "test_C54_no_variables_of_its_own",
    "test_C56_survives_garbage",
    "test_C57_machines_do_not_wait_for_each_other",
    "test_C57_one_call_for_each_machine",
]

_SECONDS = 60
_CALLS = 20
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
    kit.check(ended.returncode != 0, f"with the endpoint {endpoint!r} it ended with exit code 0")
    lines = ended.stderr.splitlines()
    kit.check(len(lines) == 1, f"it printed {len(lines)} lines instead of one: {ended.stderr}")


def test_C53_only_the_given_address(kit: Kit) -> None:
    """A server on 127.0.0.1 can't be reached at 127.0.0.2, which is the same host."""
    endpoint = kit.target.endpoint
    if endpoint.host != "127.0.0.1":
        pytest.skip("the endpoint is not on 127.0.0.1, so its neighbours are unknown")
    for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as other:
            is_bound = other.connect_ex((host, endpoint.port)) == 0
            kit.check(not is_bound, f"{host} is bound too, not only {endpoint.host}")


def test_C54_no_variables_of_its_own(kit: Kit) -> None:
    sources = kit.hook(lambda it: it.sources, "the driver's code")
    named = re.compile(r"[\"']CMI_[A-Z_]+[\"']")
    found = {
        name.strip("\"'")
        for folder in sources
        for path in folder.rglob("*.py")
        for name in named.findall(path.read_text())
    }
    own = sorted(found - {ENDPOINT_VARIABLE})
    kit.check(not own, f"the code names {', '.join(own)}; that prefix is reserved for the contract")


def test_C56_survives_garbage(kit: Kit) -> None:
    endpoint = kit.target.endpoint
    if not endpoint.path:
        with socket.create_connection((endpoint.host.strip("[]"), endpoint.port), _SECONDS) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n\x00\xff" * 100)
    method: grpc.UnaryUnaryMultiCallable[Any, Any] = kit.channel.unary_unary(
        "/cmi.v1.Machine/CreateMachine"
    )
    with suppress(grpc.RpcError):
        method(b"\xff" * 1000, timeout=kit.target.timeout)
        kit.fail("CreateMachine returned OK for bytes that are not a request")
    outcome = kit.identity("GetPluginInfo")
    is_there = outcome.code not in (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED)
    kit.check(is_there, f"after bytes that are not a request, {outcome}")


def test_C57_one_call_for_each_machine(kit: Kit) -> None:
    """If there are many calls for one machine at once, each returns OK or ABORTED.

    UNAVAILABLE is allowed too if a single call returns it until the VM is ready.
    """
    refusals = {"ABORTED"}
    if kit.create(kit.name(), once=True).code is Status.UNAVAILABLE:
        refusals.add("UNAVAILABLE")
    name = kit.name()
    with _callers(kit) as pool:
        for outcome in pool.map(lambda _: kit.create(name, once=True), range(_CALLS)):
            if outcome.code is not OK:
                outcome.refused(*refusals)


def test_C57_machines_do_not_wait_for_each_other(kit: Kit) -> None:
    hold = kit.hook(lambda it: it.hold, "a slow call")
    kit.needs("CreateMachine")
    first, second = kit.name(), kit.name()
    with hold() as begun:
        waiting = kit.begin("CreateMachine", kit.request("CreateMachine", first))
        kit.check(
            begun.wait(kit.target.timeout),
            f"CreateMachine made no call to the cloud within {kit.target.timeout:.0f} s",
        )
        kit.create(first, once=True).refused("ABORTED")
        kit.delete(first, once=True).refused("ABORTED")
        kit.create(second).ok()
    outcome = waiting()
    if outcome.code is Status.UNAVAILABLE:
        outcome = kit.create(first)
    outcome.ok()


def _callers(kit: Kit) -> ThreadPoolExecutor:
    if kit.target.parallel == 1:
        pytest.skip("needs more than one call at once (parallel)")
    return ThreadPoolExecutor(min(_CALLS, kit.target.parallel))


def _command(kit: Kit) -> list[str]:
    return [*kit.hook(lambda it: it.command, "the command that starts the process")]
