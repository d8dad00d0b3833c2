"""The rules do what docs/reference/seam.md says about them."""

import ast
import inspect
import re
from collections.abc import Sequence
from typing import Any

import pytest

from cmi import (
    VM,
    CreateMachineRequest,
    DeleteMachineRequest,
    DriverError,
    GetMachineStatusRequest,
    Leftover,
    ListMachinesRequest,
    ResourceExhausted,
    SecretsModel,
    Session,
    ShutDownMachineRequest,
    TaggedScope,
    VMState,
    rules,
)
from cmi.contract import RPCS
from cmi.looks import Looks
from tests.docs.test_reference import rows
from tests.support import ROOT

PAGE = (ROOT / "docs/reference/seam.md").read_text()
SCOPE = TaggedScope(tags={"kubernetes.io/cluster/c": "1", "kubernetes.io/role/node": "1"})
SECRETS = SecretsModel()
ABOUT: dict[str, Any] = {"machine_name": "m1", "provider_spec": SCOPE, "secrets": SECRETS}


def test_which_rule_uses_which_method() -> None:
    """The code tells: a rule uses the methods that it calls itself or through other functions."""
    functions = {
        node.name: node
        for source in (rules, Looks)
        for node in ast.walk(ast.parse(inspect.getsource(source)))
        if isinstance(node, ast.FunctionDef)
    }

    def used_by(function: str) -> set[str]:
        used = set()
        for node in ast.walk(functions[function]):
            match node:
                case ast.Attribute(value=ast.Name("session") | ast.Attribute(attr="_session")):
                    used.add(node.attr)
                case ast.Attribute(value=ast.Name("looks" | "self"), attr=called):
                    used |= used_by(called) if called in functions else set()
                case ast.Call(func=ast.Name(id=called)) if called in functions:
                    used |= used_by(called)
        return used

    used = {rule.method: used_by(rule.method) for rule in RPCS if hasattr(rules, rule.method)}
    methods = [name for name, each in vars(Session).items() if inspect.isfunction(each)]
    stated = {
        method: set(re.findall(r"[a-z]+_[a-z_]+", by)) - {"find_vms"}
        for method, by, *_ in rows(PAGE, "Which rule uses which method")
    }
    assert stated == {method: {rule for rule in used if method in used[rule]} for method in methods}


class OneVM(Session[TaggedScope, TaggedScope, SecretsModel, VM]):
    """A cloud that has one VM, and carries out each request at once."""

    def __init__(self, state: VMState) -> None:
        self.asked: list[str] = []
        self.vm: VM | None = self.in_state(state)

    def in_state(self, state: VMState) -> VM:
        return VM(
            name="m1",
            provider_id="acme:///1",
            node_name="m1",
            cluster="c",
            role="node",
            state=state,
            failure=ResourceExhausted("no room") if state is VMState.FAILED else None,
        )

    def list_vms(self, scope: TaggedScope) -> list[VM]:
        return [self.vm] if self.vm else []

    def get_vm(self, scope: TaggedScope, provider_id: str) -> VM | None:
        if self.vm and self.vm.state is VMState.DELETING:
            self.asked.append("look")
            self.vm = None
        return self.vm

    def create_vm(self, name: str, spec: TaggedScope, secrets: SecretsModel) -> VM:
        self.asked.append("create")
        self.vm = self.in_state(VMState.RUNNING)
        return self.vm

    def advance_vm(self, vm: VM, spec: TaggedScope, secrets: SecretsModel) -> None:
        self.asked.append("advance")
        self.vm = self.in_state(VMState.RUNNING)

    def differences(self, vm: VM, spec: TaggedScope) -> Sequence[str]:
        return []

    def stop_vm(self, vm: VM) -> None:
        self.asked.append("stop")
        self.vm = self.in_state(VMState.STOPPED)

    def delete_vm(self, vm: VM) -> None:
        self.asked.append("delete")
        self.vm = self.in_state(VMState.DELETING)

    def list_leftovers(self, scope: TaggedScope, name: str | None = None) -> list[Leftover]:
        return []

    def delete_leftover(self, leftover: Leftover) -> None:
        raise AssertionError


def outcome(rpc: str, state: VMState) -> tuple[str, list[str]]:
    """Return how a rule ends if the VM is in this state, and the calls to the cloud."""
    session: Any = OneVM(state)
    try:
        match rpc:
            case "create":
                rules.create_machine(session, CreateMachineRequest(**ABOUT))
            case "status":
                rules.get_machine_status(session, GetMachineStatusRequest(**ABOUT))
            case "shut down":
                rules.shut_down_machine(session, ShutDownMachineRequest(**ABOUT))
            case "delete":
                rules.delete_machine(session, DeleteMachineRequest(**ABOUT))
                assert session.vm in (None, session.in_state(VMState.GONE))
            case "list":
                request = ListMachinesRequest(provider_spec=SCOPE, secrets=SECRETS)
                listed = rules.list_machines(session, request).machines
                return ("listed" if listed else "not listed"), session.asked
    except DriverError as error:
        return error.code.name, session.asked
    return "OK", session.asked


MEANING = {
    "OK": ("OK", []),
    "NOT_FOUND": ("NOT_FOUND", []),
    "FAILED_PRECONDITION": ("FAILED_PRECONDITION", []),
    "UNAVAILABLE": ("UNAVAILABLE", []),
    "listed": ("listed", []),
    "not listed": ("not listed", []),
    "continues, and waits": ("OK", ["advance"]),
    "creates a new one": ("OK", ["create"]),
    "stops it, and waits": ("OK", ["stop"]),
    "deletes it, waits, and raises `failure": ("RESOURCE_EXHAUSTED", ["delete", "look"]),
    "deletes it, and waits": ("OK", ["delete", "look"]),
    "waits": ("OK", ["look"]),
}
"""What the words in the table mean."""


@pytest.mark.parametrize("state", VMState)
def test_what_the_rules_do_with_each_state(state: VMState) -> None:
    stated = {row[0]: row[1:] for row in rows(PAGE, "What the rules do with each state")}
    rpcs = ["create", "status", "list", "shut down", "delete"]
    assert set(stated) == {state.name for state in VMState}
    assert dict(zip(rpcs, (MEANING[cell] for cell in stated[state.name]), strict=True)) == {
        rpc: outcome(rpc, state) for rpc in rpcs
    }
