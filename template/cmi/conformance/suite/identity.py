"""C1 to C6: Identity."""

import re

import grpc
import pytest

from cmi.conformance.kit import Kit
from cmi.contract import RPCS
from cmi.v1 import cmi_pb2

_NAME = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")
_MAX_NAME = 63


def test_C1_identity_and_machine_share_an_address(kit: Kit) -> None:
    kit.identity("GetPluginInfo").ok()
    assert kit.try_out("DeleteMachine").code is not grpc.StatusCode.UNIMPLEMENTED


def test_C2_name(kit: Kit) -> None:
    name = kit.identity("GetPluginInfo").ok().name
    assert len(name) <= _MAX_NAME
    assert _NAME.fullmatch(name), f"{name!r} is not of letters, digits, '-' and '.'"


def test_C3_version(kit: Kit) -> None:
    assert kit.identity("GetPluginInfo").ok().version


def test_C4_capabilities(kit: Kit) -> None:
    answers = [kit.identity("GetPluginCapabilities").ok() for _ in range(3)]
    kinds_of = [sorted(each.rpc.type for each in answer.capabilities) for answer in answers]
    assert kinds_of[1:] == kinds_of[:-1], "they change from call to call"
    kinds = cmi_pb2.PluginCapability.RPC
    assert {kinds.CREATE_MACHINE, kinds.DELETE_MACHINE} <= set(kit.capabilities)
    assert len(set(kit.capabilities)) == len(kit.capabilities), "one is announced twice"
    assert kinds.UNKNOWN not in kit.capabilities


@pytest.mark.parametrize("rpc", [rpc.name for rpc in RPCS])
def test_C5_announced_is_implemented(kit: Kit, rpc: str) -> None:
    implemented = kit.try_out(rpc).code is not grpc.StatusCode.UNIMPLEMENTED
    assert implemented == kit.announces(rpc), (
        f"{rpc} is {'' if kit.announces(rpc) else 'not '}announced"
        f" but {'' if implemented else 'not '}implemented"
    )


def test_C6_ready(kit: Kit) -> None:
    assert kit.identity("Probe").ok().ready.value


def test_C6_unhealthy(kit: Kit) -> None:
    unhealthy = kit.backstage("an unhealthy driver").unhealthy
    if unhealthy is None:
        pytest.skip("the backstage can't make the driver unhealthy")
    with unhealthy():
        kit.identity("Probe").refused("FAILED_PRECONDITION")
    kit.identity("Probe").ok()
