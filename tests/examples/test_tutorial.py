"""The tutorial: following it to the letter gives the example."""

import re
from collections import defaultdict
from pathlib import Path

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


def without_blanks(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]
