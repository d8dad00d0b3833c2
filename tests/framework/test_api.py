"""The author's API: what a provider may import, and how to call it.

Every change to it affects all authors, so it must be in the changelog.
"""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import cmi
import cmi.conformance
import cmi.testing
from tests.support import ROOT

SNAPSHOT = Path(__file__).with_name("api.txt")
PUBLIC: tuple[ModuleType, ...] = (cmi, cmi.testing, cmi.conformance)
AUTHORS = [ROOT / "template/<<provider_name>>", ROOT / "examples/aws/aws"]


def described(name: str, value: object) -> list[str]:
    """Return lines that describe a name: its signature and the signatures of its members."""
    if inspect.ismodule(value):
        functions = [
            (each, function)
            for each, function in sorted(vars(value).items())
            if inspect.isfunction(function)
            and function.__module__ == value.__name__
            and not each.startswith("_")
        ]
        return [line for each, found in functions for line in described(f"{name}.{each}", found)]
    if not inspect.isclass(value):
        signature = str(inspect.signature(value)) if inspect.isfunction(value) else ""
        return [f"{name}{signature}"]
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    lines = [f"class {name}({bases})"]
    for member, found in sorted(vars(value).items()):
        if member.startswith("_") and member != "__init__":
            continue
        plain = found.__func__ if isinstance(found, classmethod | staticmethod) else found
        if inspect.isfunction(plain):
            lines.append(f"{name}.{member}{inspect.signature(plain)}")
        elif isinstance(found, property):
            lines.append(f"{name}.{member}")
    annotations = inspect.get_annotations(value)
    lines += [
        f"{name}.{field}: {kind}"
        for field, kind in sorted(annotations.items())
        if not field.startswith("_")
    ]
    return lines


def test_the_list_and_its_signatures() -> None:
    """To accept a change, copy the text that this test expected into api.txt."""
    lines = [
        line
        for module in PUBLIC
        for name in sorted(module.__all__)
        for line in described(f"{module.__name__}.{name}", getattr(module, name))
    ]
    text = "\n".join(lines) + "\n"
    assert text == SNAPSHOT.read_text()


@pytest.mark.parametrize(
    "path", [path for folder in AUTHORS for path in sorted(folder.rglob("*.py"))], ids=str
)
def test_an_authors_file_imports_nothing_else(path: Path) -> None:
    public = {name for module in PUBLIC for name in [module.__name__]} | {"cmi.conformance.suite"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            assert not name.startswith("cmi") or name in public, f"{path.name} imports {name}"
