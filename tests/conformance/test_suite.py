"""The suite as a module that authors import: what it contains, and how its tests fail."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cmi.conformance import suite
from cmi.conformance.items import ITEMS
from tests.support import TEMPLATE

FOLDER = TEMPLATE / "cmi/conformance"
FILES = [path for path in (FOLDER / "suite").glob("*.py") if path.name != "__init__.py"]


def defined_in(path: Path) -> list[str]:
    """Return the names of the tests that a file defines."""
    return [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_a_star_import_brings_the_tests_and_their_fixture_only() -> None:
    names = Counter([name for path in FILES for name in defined_in(path)])
    assert [name for name, count in names.items() if count > 1] == []
    assert sorted(suite.__all__) == sorted([*names, "kit"])


def test_every_item_has_a_test_and_every_test_an_item() -> None:
    names = [re.match(r"test_(C\d+)_", name) for path in FILES for name in defined_in(path)]
    assert {match[1] if match else "" for match in names} == ITEMS.keys()


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_a_failure_is_a_sentence(path: Path) -> None:
    """`Kit.check` and `Kit.fail` require a sentence, but an `assert` may come without one."""
    tree = ast.parse(path.read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]


PROJECT = """
import logging
import pytest

def test_it_fails():
    logging.getLogger("driver").warning("call", extra={"fields": {"rpc": "CreateMachine"}})
    logging.getLogger("sdk").warning("no fields")
    assert False
"""


def test_captured_logs_show_their_fields(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PROJECT)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "cmi.conformance.plugin", tmp_path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(TEMPLATE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"^WARNING .* call rpc='CreateMachine'$", ended.stdout, re.MULTILINE)
    assert re.search(r"^WARNING .* no fields$", ended.stdout, re.MULTILINE)
