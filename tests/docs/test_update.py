"""Follows docs/how-to/update.md and docs/how-to/adopt.md to the letter."""

from pathlib import Path

import pytest

from tests.docs.pages import follow, follow_at_a_terminal, follows
from tests.driver import CloudFile, Start
from tests.support import DATA, commit, git
from tests.update.projects import recorded, status
from tests.update.release import make_next_release

UPDATE = "docs/how-to/update.md"
ADOPT = "docs/how-to/adopt.md"


@pytest.fixture
def project(address: dict[str, str], tmp_path: Path) -> Path:
    """A project made as the README says, with an edit by its author."""
    copy = f"copier copy --defaults {' '.join(DATA)} gh:ORG/mcm-provider-template project"
    follow(tmp_path, copy, address)
    project = tmp_path / "project"
    (project / "acme/mine.py").write_text('"""Mine."""\n')
    commit(project)
    return project


@follows(UPDATE, "Update")
def test_update(
    commands: list[str], project: Path, address: dict[str, str], tmp_path: Path
) -> None:
    make_next_release(tmp_path / "template")
    commit(tmp_path / "template", tag="2.0.0")
    look, see, finish = commands
    follow_at_a_terminal(
        project,
        look,
        address,
        {"latest version is 2.0.0": "", "support_address": "me@example.com\r"},
    )
    assert recorded(project)["support_address"].endswith("me@example.com")
    assert " M cmi/errors.py" in follow(project, see, address)
    assert "passed" in follow(project, finish, address)
    assert status(project) == []
    assert recorded(project)["_commit"] == "2.0.0"
    assert git(project, "log", "-1", "--format=%s") == "Update the template\n"


@follows(UPDATE, "Update with copier itself")
def test_update_with_copier_itself(
    commands: list[str], project: Path, address: dict[str, str], tmp_path: Path
) -> None:
    """The check on the page finds conflicts even if a git setting hides them from copier."""
    errors = project / "cmi/errors.py"
    errors.write_text(errors.read_text().replace('"""The errors', '"""My errors'))
    commit(project)
    make_next_release(tmp_path / "template")
    commit(tmp_path / "template", tag="2.0.0")
    update, recopy = commands
    git(project, "config", "status.showUntrackedFiles", "no")
    assert "  cmi/errors.py.rej\n" in follow(project, update, address, exit_code=2)
    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "-d", "--force")

    mine = ("acme/cloud.py", "kubernetes/secret.yaml", "CHANGELOG.md", "requirements/run.txt")
    for name in mine:
        (project / name).write_text("# Mine\n")
    commit(project)
    assert "cmi/errors.py" in follow(project, recopy, address)
    assert {(project / name).read_text() for name in mine} == {"# Mine\n"}
    assert not (project / "cmi/errors.py").read_text().startswith('"""My errors')


@follows(UPDATE, "Change an answer")
def test_change_an_answer(commands: list[str], project: Path, address: dict[str, str]) -> None:
    (change,) = commands
    assert "LICENSE" in follow(project, change, address)
    assert recorded(project)["license"] == "MIT"
    assert recorded(project)["_commit"] == "1.0.0"


@follows(UPDATE, "Rename the provider")
def test_rename_the_provider(
    commands: list[str], project: Path, address: dict[str, str], tmp_path: Path
) -> None:
    (rename,) = commands
    follow(project, rename, address)
    renamed = tmp_path / "renamed"
    assert recorded(renamed)["provider_name"] == "newname"
    assert (renamed / "newname/mine.py").exists()
    commit(renamed)
    follow(renamed, "make lint types test", address)


@follows(ADOPT, "A driver in Python")
def test_adopt_a_python_driver(
    commands: list[str], address: dict[str, str], tmp_path: Path
) -> None:
    """The repository has its own package, and files that the template has too."""
    project = tmp_path / "project"
    (project / "acme").mkdir(parents=True)
    (project / "acme/__init__.py").write_text('"""Mine."""\n')
    (project / "acme/sdk.py").write_text('"""Calls to an SDK."""\n')
    (project / "README.md").write_text("# Mine\n")
    commit(project)
    copy, check = commands
    shown = follow(project, copy, address)
    assert " M README.md" in shown
    assert " M acme/__init__.py" in shown
    assert (project / "acme/sdk.py").read_text() == '"""Calls to an SDK."""\n'
    follow(project, check, address)
    commit(project)
    follow(project, "make check-update", address)


@follows(ADOPT, "A driver in Go")
def test_adopt_a_go_driver(
    commands: list[str],
    address: dict[str, str],
    tmp_path: Path,
    installed: Path,
    start: Start,
    cloud: CloudFile,
) -> None:
    copy, compare = commands
    (tmp_path / "go-driver").mkdir()
    follow(tmp_path / "go-driver", copy, address)
    assert (tmp_path / "mcm-provider-acme/acme/cloud.py").exists()
    endpoint = str(start(cloud).endpoint)
    assert "PROVIDER ID" in follow(installed, compare, {"CMI_ENDPOINT": endpoint})
