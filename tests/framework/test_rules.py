"""The rules of the contract. Every branch of them must be needed for some test case."""

import ast
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmi import VMState, looks, rules, turns, waiting
from tests.framework.calls import new_call
from tests.framework.rules_cases import (
    CASES,
    Case,
    FakeSession,
    NotBegun,
    create,
    delete,
    initialize,
    leftover,
    vm,
)

SOURCE = Path(rules.__file__).read_text()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait without pauses. `FakeSession` ends a wait that would go on forever."""
    monkeypatch.setattr(waiting, "FIRST_PAUSE", 0)
    monkeypatch.setattr(waiting, "FIRST_THROTTLED", 1e-6)  # 0 is for a call that is not repeated
    monkeypatch.setattr(waiting, "LONGEST_THROTTLED", 1e-6)
    monkeypatch.setattr(turns, "FIRST_INTERVAL", 1e-6)
    monkeypatch.setattr(turns, "LONGEST_INTERVAL", 1e-6)
    monkeypatch.setattr(looks, "GAP", 0)


def run(case: Case, module: Any) -> None:
    token = waiting.current_call.set(new_call({}))
    try:
        case(module)
    finally:
        waiting.current_call.reset(token)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_rule(case: Case) -> None:
    run(case, rules)


@pytest.mark.parametrize(
    ("call", "method"),
    [(create, "advance_vm"), (initialize, "initialize_vm"), (delete, "delete_leftover")],
)
def test_a_step_that_is_throttled_is_taken_again_later_each_time(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any], method: str
) -> None:
    """The looks of other calls do not shorten these pauses."""
    pauses: list[float] = []
    monkeypatch.setattr(waiting, "FIRST_THROTTLED", 1)
    monkeypatch.setattr(waiting, "LONGEST_THROTTLED", 10)
    monkeypatch.setattr(waiting, "sleep_until", lambda _event, seconds: pauses.append(seconds))
    state = VMState.CREATING if call is create else VMState.RUNNING
    session = FakeSession([vm(state=state, is_initialized=False)], [leftover()])
    session.troubles = {method: [NotBegun(), NotBegun(), NotBegun()]}
    run(lambda rules: call(rules, session), rules)
    assert all(low <= each <= 2 * low for low, each in zip([0.5, 1, 2], pauses, strict=True))


class Spoiler(ast.NodeTransformer):
    """Breaks the branch with this number: negates a condition, or leaves out a statement."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.line = 0

    def _is_the_one(self, node: ast.expr | ast.stmt) -> bool:
        self.left -= 1
        if self.left == -1:
            self.line = node.lineno
        return self.left == -1

    def _negated(self, test: ast.expr) -> ast.expr:
        return ast.UnaryOp(ast.Not(), test) if self._is_the_one(test) else test

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._negated(node.test)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self._negated(node.test)
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        for index in range(len(node.values)):
            if self._is_the_one(node.values[index]):
                del node.values[index]
                return node if len(node.values) > 1 else node.values[0]
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.ifs = [self._negated(test) for test in node.ifs]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        is_call = isinstance(node.value, ast.Call)
        return ast.Pass() if is_call and self._is_the_one(node) else self.generic_visit(node)

    def visit_With(self, node: ast.With) -> Any:
        self.generic_visit(node)
        return node.body if self._is_the_one(node) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        return ast.Pass() if self._is_the_one(node) else node


def spoiled() -> Iterator[tuple[int, types.ModuleType]]:
    """Yield the line of each branch, and a copy of the rules in which that branch is broken."""
    number = 0
    while True:
        spoiler = Spoiler(number)
        tree = ast.fix_missing_locations(spoiler.visit(ast.parse(SOURCE)))
        if not spoiler.line:
            return
        module = types.ModuleType("spoiled_rules")
        exec(compile(tree, "spoiled_rules", "exec"), module.__dict__)
        yield spoiler.line, module
        number += 1


LINES = SOURCE.splitlines()
SPOILED = [
    pytest.param(module, id=f"{line}-{LINES[line - 1].strip()[:50]}")
    for line, module in spoiled()
    if "log.warning" not in LINES[line - 1]
]


@pytest.mark.parametrize("module", SPOILED)
def test_a_spoiled_rule_is_caught(module: types.ModuleType) -> None:
    for case in CASES:
        try:
            run(case, module)
        except BaseException:  # noqa: BLE001 - whatever it is, it was noticed
            return
    pytest.fail("all cases pass, so this branch is not needed or not tested")
