"""C1 to C6: Identity."""

import re

import grpc
import pytest

from cmi.conformance.kit import Kit, Outcome
from cmi.contract import RPC_BY_NAME, RPCS
from cmi.v1 import cmi_pb2

__all__ = [
    "test_C1_identity_and_machine_share_an_address",
    "test_C2_name",
    "test_C3_version",
    "test_C4_capabilities",
    "test_C5_announced_is_implemented",
    "test_C6_ready",
    "test_C6_unhealthy",
]

_NAME = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?")
_MAX_NAME = 63
_UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def test_C1_identity_and_machine_share_an_address(kit: Kit) -> None:
    kit.identity("GetPluginInfo").ok()
    unknown = kit.begin("Probe", cmi_pb2.ProbeRequest(), service="NoSuchService")()
    not_served = _without_names(unknown, "Probe", "NoSuchService")
    for rpc in reversed(RPCS):
        answer = kit.try_out(rpc.name)
        if answer.code is not _UNIMPLEMENTED:
            return
        if _without_names(answer, rpc.name, "Machine") != not_served:
            return  # the service is served; C5 checks that the RPC is implemented
    kit.fail("no service cmi.v1.Machine is served at the address of cmi.v1.Identity")


def test_C2_name(kit: Kit) -> None:
    name = _info(kit).name
    kit.check(0 < len(name) <= _MAX_NAME, f"the name has {len(name)} characters, not 1 to 63")
    kit.check(
        _NAME.fullmatch(name),
        f"the name {name!r} does not consist of letters, digits, '-' and '.', with a letter or a "
        "digit at both ends",
    )


def test_C3_version(kit: Kit) -> None:
    kit.check(_info(kit).version, "the version is empty")


def test_C4_capabilities(kit: Kit) -> None:
    answers = [kit.identity("GetPluginCapabilities").ok() for _ in range(3)]
    kinds_of = [sorted(each.rpc.type for each in answer.capabilities) for answer in answers]
    kit.check(kinds_of[1:] == kinds_of[:-1], "the capabilities change from call to call")
    kinds = kinds_of[0]
    kit.check(len(set(kinds)) == len(kinds), "a capability is announced twice")
    name = cmi_pb2.PluginCapability.RPC.Type.Name
    kit.check(
        cmi_pb2.PluginCapability.RPC.UNKNOWN not in kinds, "the capability UNKNOWN is announced"
    )
    missing = [
        name(rpc.capability) for rpc in RPCS if rpc.is_mandatory and rpc.capability not in kinds
    ]
    kit.check(not missing, f"a mandatory capability is not announced: {', '.join(missing)}")


@pytest.mark.parametrize("rpc", [rpc.name for rpc in RPCS])
def test_C5_announced_is_implemented(kit: Kit, rpc: str) -> None:
    announced = kit.announces(rpc)
    if not announced and RPC_BY_NAME[rpc].is_mandatory:
        pytest.skip(f"{rpc} is not announced, see C4")
    implemented = kit.try_out(rpc).code is not _UNIMPLEMENTED
    kit.check(implemented or not announced, f"{rpc} is announced but not implemented")
    kit.check(announced or not implemented, f"{rpc} is implemented but not announced")


def test_C6_ready(kit: Kit) -> None:
    """An absent `ready` means the same as true."""
    answer = kit.identity("Probe").ok()
    ready = not answer.HasField("ready") or answer.ready.value
    kit.check(ready, "Probe reports that the driver is not ready yet")


def test_C6_unhealthy(kit: Kit) -> None:
    unhealthy = kit.hook(lambda it: it.unhealthy, "an unhealthy driver")
    with unhealthy():
        kit.identity("Probe").refused("FAILED_PRECONDITION")
    kit.identity("Probe").ok()


def _info(kit: Kit) -> cmi_pb2.GetPluginInfoResponse:
    outcome = kit.identity("GetPluginInfo")
    if outcome.response is None:
        pytest.skip("GetPluginInfo fails, see C1")
    info: cmi_pb2.GetPluginInfoResponse = outcome.response
    return info


def _without_names(outcome: Outcome, rpc: str, service: str) -> str:
    """Return the message without names: a server's words for anything that it does not serve."""
    return outcome.message.replace(rpc, "").replace(service, "")
