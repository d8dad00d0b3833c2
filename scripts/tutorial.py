"""Parts of the tutorial, and of the page that follows it, which come from the tested examples.

`make reference` writes them: each function returns the text between two of cog's marks.
"""

import ast
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = ROOT / "examples"
PROVIDER: Final = ROOT / "template/<<provider_name>>"
FRAMEWORK: Final = ROOT / "template/cmi"


def excerpt(file: str, first: str, last: str = "") -> str:
    """Return a block with a part of a file.

    Args:
        file: Its path in `examples`.
        first: The name with which the part begins: a function, a class, `Class.method` or a
            variable.
        last: The name with which the part ends; empty for the one with which it begins.
    """
    path = EXAMPLES / file
    spans = dict(_spans(ast.parse(path.read_text()).body))
    (begin, _), (_, end) = spans[first], spans[last or first]
    text = "\n".join(path.read_text().splitlines()[begin - 1 : end])
    return f"```python\n{textwrap.dedent(text)}\n```"


def cost() -> str:
    """Return the table of what an author writes, and of what comes with the rendering."""
    whole, small = EXAMPLES / "aws", EXAMPLES / "aws-small"
    written = {path for path in (whole / "aws").rglob("*.py") if "tests" not in path.parts}
    rendered = ("__init__.py", "__main__.py", "app.py", "machineserver.py")
    framework = {path for path in FRAMEWORK.rglob("*") if path.suffix in (".py", ".proto")}
    framework -= {path for path in framework if "_pb2" in path.name}
    kit = {*(FRAMEWORK / "conformance").rglob("*.py")}
    rows: dict[str, Iterable[Path]] = {
        "you write: the small driver": {*small.rglob("*.py")},
        "you write: the complete driver": written,
        "you write: its tests": {*(whole / "aws/tests").glob("*.py")},
        "you write: the samples": {*(whole / "kubernetes").glob("*.yaml")},
        "rendered, and yours: the machine RPCs and the entrypoint": [
            PROVIDER / name for name in rendered
        ],
        "the template maintains: the framework": framework - kit,
        "the template maintains: the conformance kit": kit,
    }
    return _table(rows)


def cost_of_libvirt() -> str:
    """Return the table of what the author of the driver for libvirt writes."""
    folder = EXAMPLES / "libvirt"
    written = {path for path in (folder / "kvm").rglob("*.py") if "tests" not in path.parts}
    return _table(
        {
            "you write: the driver": written,
            "you write: type stubs of the library": [folder / "libvirt.pyi"],
            "you write: its tests": {*(folder / "kvm/tests").glob("*.py")},
            "you write: the samples": {*(folder / "kubernetes").glob("*.yaml")},
        }
    )


def _table(rows: Mapping[str, Iterable[Path]]) -> str:
    table = ["| | files | lines |", "|---|---|---|"]
    table += [f"| {what} | {len([*paths])} | {_about(paths)} |" for what, paths in rows.items()]
    return "\n".join(table)


def _spans(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names that a module or a class defines, with their first and last lines."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            begin = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            yield prefix + node.name, (begin, node.end_lineno or begin)
            if isinstance(node, ast.ClassDef):
                yield from _spans(node.body, f"{node.name}.")
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            yield prefix + ast.unparse(target), (node.lineno, node.end_lineno or node.lineno)


def _about(paths: Iterable[Path]) -> int:
    """Count lines that are not blank, to two figures, so that few changes alter the page."""
    lines = sum(bool(line.strip()) for path in paths for line in path.read_text().splitlines())
    return int(float(f"{lines:.1e}"))
