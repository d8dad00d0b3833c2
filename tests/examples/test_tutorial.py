"""Following the tutorial and the page after it results in the examples."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import blocks, follow
from tests.support import ROOT, commit, copy_repository, files_of

TUTORIAL = "docs/tutorials/add-a-provider.md"
GROW = "docs/how-to/grow-a-driver.md"
ANSWERS = "docs/explanation/faq.md"
NOT_RUN = ("make ", "source ", "cmi ")
"""Commands that change no files, or only locks."""


def test_following_them_gives_the_examples(small: Path, filled_in: Path, tmp_path: Path) -> None:
    """The tutorial results in the small driver, and the next page in the complete one."""
    clone = copy_repository(tmp_path / "mcm-provider-template", template=True)
    (clone / "examples").symlink_to(ROOT / "examples")
    commit(clone, tag="1.0.0")
    project = follow_page(TUTORIAL, tmp_path)
    assert_same(project, small)
    assert_same(follow_page(GROW, project), filled_in)


@pytest.mark.parametrize("page", [TUTORIAL, GROW])
def test_each_file_that_is_named_exists(page: str, filled_in: Path) -> None:
    named = set(re.findall(r"`((?:aws|kubernetes)/[\w./-]+)`", (ROOT / page).read_text()))
    assert named
    missing = {name for name in named if not (filled_in / name).exists()}
    assert missing == set()


def test_the_answer_about_the_size_has_the_figures_of_the_table() -> None:
    table = re.findall(
        r"^\| you write: ([^|]+) \| \d+ \| (\d+) \|", (ROOT / GROW).read_text(), re.MULTILINE
    )
    answer = (ROOT / ANSWERS).read_text().partition("## How much code is a driver?\n")[2]
    stated = re.findall(r"(\d+) lines", answer.partition("\n## ")[0])
    assert stated == [lines for part, lines in table if part != "the samples"]


def follow_page(page: str, folder: Path) -> Path:
    """Follow a page, and return the working directory at its end."""
    for command in "".join(block.text for block in blocks(page, "sh")).splitlines():
        if command.startswith("cd "):
            folder /= command.removeprefix("cd ")
        elif not command.startswith(NOT_RUN):
            follow(folder, command, {})
    for block in blocks(page, "text"):
        place, _, added = block.indented.partition("\n")
        pyproject = folder / "pyproject.toml"
        assert place in pyproject.read_text()
        pyproject.write_text(pyproject.read_text().replace(place, f"{place}\n{added.rstrip()}"))
    return folder


def assert_same(folder: Path, project: Path) -> None:
    for path in files_of(project):
        name = path.relative_to(project)
        if name.parts[0] != "requirements" and name.name != ".copier-answers.yml":
            assert (folder / name).read_text() == path.read_text(), name
