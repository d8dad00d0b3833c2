"""The owners of files: which files an update changes, leaves alone or merges."""

from pathlib import Path

import pytest

from tests.support import commit, git
from tests.update.projects import contents, render, status, update
from tests.update.release import ADDED, MERGED, REMOVED

AUTHORS = (
    "acme/",
    "CHANGELOG.md",
    "kubernetes/machine",
    "kubernetes/persistent",
    "kubernetes/secret",
)
LOCKS = [f"requirements/{name}.txt" for name in ("build", "copier", "dev", "run", "uv")]
FOLLOWING = sorted(
    [
        " M .copier-answers.yml",
        f" D {REMOVED}",
        f"?? {ADDED}",
        *(f" M {name.removesuffix('.jinja')}" for name in MERGED if name != ".gitlab-ci.yml"),
    ]
)
"""The lines of `git status` after the update of a project that its author has not changed."""


def arrives_once(name: str) -> bool:
    return name.startswith(AUTHORS) or name in LOCKS or name == "kubernetes/news.yaml"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_templates_files_follow(project: Path, releases: Path, tmp_path: Path) -> None:
    """An updated project equals a new rendering, except for the files that are rendered once."""
    update(project)
    assert status(project) == FOLLOWING
    render(releases, tmp_path / "fresh", "2.0.0")
    assert contents(project, leave_out=arrives_once) == contents(
        tmp_path / "fresh", leave_out=arrives_once
    )


def test_the_authors_files_are_left_alone(project: Path) -> None:
    """Each byte stays the same in files that are edited, renamed, deleted or as rendered."""
    files = sorted(
        path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts
    )
    mine = [path for path in files if arrives_once(path.relative_to(project).as_posix())]
    for number, path in enumerate(mine):
        match number % 4:
            case 0:
                path.write_text(f"edited\n{path.read_text()}")
            case 1:
                path.rename(path.with_stem(f"{path.stem}-renamed"))
            case 2:
                path.unlink()
    (project / "acme/own.py").write_text('"""Mine."""\n')
    (project / "kubernetes/own.yaml").write_text("# Mine.\n")
    commit(project)
    before = contents(
        project, leave_out=lambda name: not name.startswith((*AUTHORS, "requirements/"))
    )
    update(project)
    after = contents(
        project, leave_out=lambda name: not name.startswith((*AUTHORS, "requirements/"))
    )
    assert after == before
    assert status(project) == FOLLOWING


@pytest.mark.parametrize("folder", ["acme/tests", "kubernetes"])
def test_a_deleted_folder_stays_deleted(project: Path, folder: str) -> None:
    git(project, "rm", "-r", "--quiet", folder)
    commit(project)
    update(project)
    assert not (project / folder).exists()
    assert status(project) == FOLLOWING


def test_edits_of_a_merged_file_are_kept(project: Path) -> None:
    """The places that invite edits are separate from the lines that releases change."""
    change(project / "cmi/errors.py", "MAX_MESSAGE_BYTES = 1024", "MAX_MESSAGE_BYTES = 512")
    change(project / "pyproject.toml", 'version = "0.1.0"', 'version = "3.2.1"')
    change(project / "pyproject.toml", "conflict.\n]", 'conflict.\n  "an-sdk>=1",\n]')
    change(project / "pyproject.toml", "tests need.\n]", 'tests need.\n  "a-test-double>=1",\n]')
    change(project / "README.md", "## Licence", "## Contact\n\nMe.\n\n## Licence")
    (project / "cmi/own.py").write_text('"""Mine."""\n')
    commit(project)
    update(project)
    assert status(project) == FOLLOWING
    errors = (project / "cmi/errors.py").read_text()
    assert "MAX_MESSAGE_BYTES = 512" in errors
    assert errors.startswith('"""The next errors')
    pyproject = (project / "pyproject.toml").read_text()
    for text in ("3.2.1", '"an-sdk>=1"', '"a-test-double>=1"', '"typing-extensions>=4"'):
        assert text in pyproject
    readme = (project / "README.md").read_text()
    assert "Ask help@example.com" in readme
    assert "## Contact" in readme
    assert (project / "cmi/own.py").read_text() == '"""Mine."""\n'


def test_a_conflict_is_a_conflict_to_git(project: Path) -> None:
    """The file contains both sides. The exit code of an update does not show a conflict."""
    change(project / "cmi/errors.py", '"""The errors', '"""My errors')
    (project / ADDED).write_text('"""My news."""\n')
    commit(project)
    update(project)
    conflicts = {" M cmi/errors.py": "UU cmi/errors.py", f"?? {ADDED}": f"UU {ADDED}"}
    assert status(project) == sorted(conflicts.get(line, line) for line in FOLLOWING)
    for name, mine, theirs in (
        ("cmi/errors.py", '"""My errors that', '"""The next errors that'),
        (ADDED, '"""My news."""', '"""New in this release."""'),
    ):
        sides = (project / name).read_text().partition(">>>>>>> after updating")[0]
        head, _, sides = sides.partition("<<<<<<< before updating\n")
        assert head == ""
        assert sides.partition("=======\n")[0].startswith(mine)
        assert sides.partition("=======\n")[2].startswith(theirs)
    assert git(project, "show", ":2:cmi/errors.py").startswith('"""My errors')


def test_a_deleted_file_of_the_templates_stays_deleted(project: Path) -> None:
    (project / "cmi/testing/__init__.py").unlink()
    commit(project)
    update(project)
    assert status(project) == sorted(set(FOLLOWING) - {" M cmi/testing/__init__.py"})


def test_a_file_that_the_template_drops_is_seen_to_go(project: Path) -> None:
    """If the file has edits, `git status` lists it too, and the last commit still contains it."""
    (project / REMOVED).write_text("# mine\n")
    commit(project)
    update(project)
    assert status(project) == FOLLOWING
    assert git(project, "show", f"HEAD:{REMOVED}") == "# mine\n"


def test_an_update_to_the_same_release_changes_nothing(project: Path) -> None:
    update(project, "1.0.0")
    assert status(project) == []
