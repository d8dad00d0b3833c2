"""Projects that authors have made with the last release work with the framework in this tree.

The last release is the newest tag, or the last commit until there is a tag. The release after it
is this tree, with one more change of every kind.
"""

import shutil
from pathlib import Path

import pytest

from scripts.example import ANSWERS, lay_over
from tests.support import ROOT, check_out, commit, files_of, git, last_release, make
from tests.update.projects import contents, recorded, render, status, update
from tests.update.release import ADDED, REMOVED, make_next_release

LAST = "0.0.0"
NEXT = "9999.0.0"


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory, surroundings: None) -> Path:
    """The repository at the last release."""
    return check_out(last_release(), tmp_path_factory.mktemp("last") / "template")


@pytest.fixture(scope="module")
def repository(last: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the last release tagged `LAST`, and the release after it tagged `NEXT`."""
    folder = tmp_path_factory.mktemp("repository") / "template"
    git(folder.parent, "clone", "--quiet", "--no-tags", str(last), str(folder))
    git(folder, "tag", LAST)
    git(folder, "rm", "-r", "--quiet", ".")
    for path in files_of(ROOT):
        if path.exists():
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    make_next_release(folder)
    commit(folder, tag=NEXT)
    return folder


@pytest.mark.parametrize("what", ["as rendered", "the example"])
def test_a_project_of_the_last_release_passes_its_checks(
    last: Path, repository: Path, tmp_path: Path, what: str
) -> None:
    """Its author changes nothing, except for locking the new framework's dependencies."""
    project = tmp_path / "project"
    render(repository, project, LAST, **ANSWERS)
    # Only these pins are available without a network.
    for lock in (ROOT / "template/requirements").iterdir():
        shutil.copy(lock, project / "requirements")
    if what == "the example":
        lay_over(project, last)
    commit(project)
    mine = contents(project, leave_out=is_the_templates)

    update(project)
    assert recorded(project)["_commit"] == NEXT
    assert not any(line.startswith("UU") for line in status(project))
    assert contents(project, leave_out=is_the_templates) == mine
    assert (project / ADDED).exists()
    assert not (project / REMOVED).exists()
    pyproject = (project / "pyproject.toml").read_text()
    assert ('"boto3>=1.40"' in pyproject) == (what == "the example")
    assert '"typing-extensions>=4"' in pyproject
    make(project, "lock", "lint", "types", "test")


def is_the_templates(name: str) -> bool:
    path = Path(name)
    return path.parts[0] != ANSWERS["provider_name"] and not path.match("kubernetes/*.yaml")
