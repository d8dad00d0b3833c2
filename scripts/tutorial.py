"""The parts of docs/tutorials/add-a-provider.md that are made from the tested examples.

`make reference` writes them: each function returns what stands between cog's marks on the page.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples/aws"
SMALL: Final = ROOT / "examples/aws-small"
PROVIDER: Final = ROOT / "template/<<provider_name>>"
FRAMEWORK: Final = ROOT / "template/cmi"
LANGUAGES: Final = {".py": "python", ".yaml": "yaml"}


def code(file: str, first: str = "", until: str = "") -> str:
    """Return a block with a file of the small driver, or with a part of it.

    Args:
        file: Its path in the project.
        first: The name that the part begins with, at the top level; empty for the file's start.
        until: The name that follows after the part; empty for the file's end.
    """
    folder = SMALL if (SMALL / file).exists() else EXAMPLE
    text = _part(folder / file, first, until)
    return f'```{LANGUAGES[Path(file).suffix]} title="{file}"\n{text}\n```'


def excerpt(file: str, first: str = "", until: str = "") -> str:
    """Return a block with a part of a file of the whole driver, which the reader has copied."""
    return f"```{LANGUAGES[Path(file).suffix]}\n{_part(EXAMPLE / file, first, until)}\n```"


def cost() -> str:
    """Return the table of what was written, and of what came with the rendering."""
    whole, small = EXAMPLE / "aws", SMALL / "aws"
    written = {path for path in whole.rglob("*.py") if "tests" not in path.parts}
    kept = [
        PROVIDER / name for name in ("__init__.py", "__main__.py", "app.py", "machineserver.py")
    ]
    framework = {path for path in FRAMEWORK.rglob("*") if path.suffix in (".py", ".proto")}
    framework -= {path for path in framework if "_pb2" in path.name}
    kit = {*(FRAMEWORK / "conformance").rglob("*.py")}
    rows: dict[str, Iterable[Path]] = {
        "the small driver: `aws/apis/provider_spec.py`": [small / "apis/provider_spec.py"],
        "the small driver: `aws/errors.py`": [small / "errors.py"],
        "the small driver: `aws/cloud.py`": [small / "cloud.py"],
        "the whole driver": written,
        "its tests": {*(whole / "tests").glob("*.py")},
        "samples": [*(EXAMPLE / "kubernetes").glob("*.yaml")],
        "as rendered: `aws/machineserver.py`, the entrypoint": kept,
        "the framework: rules, server, validation, errors, limits, TLS, logs, client": (
            framework - kit
        ),
        "the conformance kit": kit,
    }
    table = ["| | files | lines |", "|---|---|---|"]
    table += [f"| {what} | {len([*paths])} | {_about(paths)} |" for what, paths in rows.items()]
    return "\n".join(table)


def _part(path: Path, first: str, until: str) -> str:
    lines = path.read_text().splitlines()
    starts = dict(_starts(path)) if first or until else {}
    begin = starts[first] if first else 0
    end = starts[until] if until else len(lines)
    return "\n".join(lines[begin:end]).strip("\n")


def _starts(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the names that a file defines at its top level, and the index of the first line."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            yield ast.unparse(target), node.lineno - 1


def _about(paths: Iterable[Path]) -> int:
    """Count the lines that are not blank, to two figures: not every line is to change the page."""
    lines = sum(bool(line.strip()) for path in paths for line in path.read_text().splitlines())
    return int(float(f"{lines:.1e}"))
