"""The tutorial: following it to the letter gives the example, and its figures are true."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scripts.example import EXAMPLE
from tests.docs.pages import follow
from tests.support import ROOT, commit, copy_repository, files_of

PAGE = (ROOT / "docs/tutorials/add-a-provider.md").read_text()
FILES = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDITIONS = re.compile(r"^```text\n(.*?\n)(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = ("make ", "source ", "cmi ")
"""Commands that change no file, or none but locks."""


def test_following_it_gives_the_example(filled_in: Path, tmp_path: Path) -> None:
    clone = copy_repository(tmp_path / "mcm-provider-template", template=True)
    (clone / "examples").symlink_to(ROOT / "examples")
    commit(clone, tag="1.0.0")
    folder = tmp_path
    for command in "".join(COMMANDS.findall(PAGE)).splitlines():
        if command.startswith("cd "):
            folder /= command.removeprefix("cd ")
        elif not command.startswith(NOT_RUN):
            follow(folder, command, {})
    pyproject = folder / "pyproject.toml"
    for place, added in ADDITIONS.findall(PAGE):
        assert place in pyproject.read_text()
        pyproject.write_text(pyproject.read_text().replace(place, place + added))
    pieces: dict[str, str] = defaultdict(str)
    for name, piece in FILES.findall(PAGE):
        pieces[name] += piece
    for name, text in pieces.items():
        (folder / name).write_text(text)
    for path in files_of(filled_in):
        name = path.relative_to(filled_in)
        if name.parts[0] != "requirements" and name.name != ".copier-answers.yml":
            assert without_blanks(folder / name) == without_blanks(path), name


def test_what_it_cost(filled_in: Path) -> None:
    """Counted anew, and compared with the page."""
    mine = {path.relative_to(EXAMPLE).as_posix() for path in files_of(EXAMPLE)}
    project = {path.relative_to(filled_in).as_posix() for path in files_of(filled_in)}
    framework = {name for name in project if re.fullmatch(r"cmi/.*\.py|cmi/v1/.*\.proto", name)} - {
        name for name in project if "_pb2" in name
    }
    kit = {name for name in framework if name.startswith("cmi/conformance/")}
    kept = {name for name in project if re.fullmatch(r"aws/[^/]*\.py|aws/apis/.*", name)} - mine
    rows = {
        "written: `aws/apis/provider_spec.py`": {"aws/apis/provider_spec.py"},
        "written: `aws/cloud.py`": {"aws/cloud.py"},
        "written: tests": {name for name in mine if name.startswith("aws/tests/")},
        "changed: samples": {name for name in mine if name.startswith("kubernetes/")},
        "as rendered: `aws/machineserver.py`, the entrypoint": kept,
        "the framework: server, validation, errors, limits, TLS, logs, client": framework - kit,
        "the conformance kit": kit,
    }
    table = ["| | files | lines |", "|---|---|---|"]
    table += [
        f"| {what} | {len(names)} | {about(filled_in, names)} |" for what, names in rows.items()
    ]
    assert "\n".join(table) in PAGE, "\n".join(table)


def about(folder: Path, names: Iterable[str]) -> int:
    """Count the lines, to two figures: the page is not to change with every line."""
    lines = sum(len(without_blanks(folder / name)) for name in names)
    return int(float(f"{lines:.1e}"))


def without_blanks(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]
