"""The tutorial: following it to the letter gives the examples."""

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


def test_following_it_gives_the_examples(small: Path, filled_in: Path, tmp_path: Path) -> None:
    """The first part the small driver, the second one the whole driver."""
    clone = copy_repository(tmp_path / "mcm-provider-template", template=True)
    (clone / "examples").symlink_to(ROOT / "examples")
    commit(clone, tag="1.0.0")
    first, second = PAGE.split("\n## Part two")
    folder = follow_part(first, tmp_path)
    has_become(folder, small)
    has_become(follow_part(second, folder), filled_in)


def follow_part(page: str, folder: Path) -> Path:
    """Do what a part of the page says, and return the folder in which it ends."""
    for command in "".join(COMMANDS.findall(page)).splitlines():
        if command.startswith("cd "):
            folder /= command.removeprefix("cd ")
        elif not command.startswith(NOT_RUN):
            follow(folder, command, {})
    for place, added in ADDITIONS.findall(page):
        pyproject = folder / "pyproject.toml"
        assert place in pyproject.read_text()
        pyproject.write_text(pyproject.read_text().replace(place, place + added))
    pieces: dict[str, str] = defaultdict(str)
    for name, piece in FILES.findall(page):
        pieces[name] += piece
    for name, text in pieces.items():
        (folder / name).write_text(text)
    return folder


def has_become(folder: Path, project: Path) -> None:
    for path in files_of(project):
        name = path.relative_to(project)
        if name.parts[0] != "requirements" and name.name != ".copier-answers.yml":
            assert without_blanks(folder / name) == without_blanks(path), name


def without_blanks(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]
