"""A project that was filled in for a real cloud lives through an update."""

from pathlib import Path

from scripts.example import ANSWERS, EXAMPLE, lay_over
from tests.support import commit, files_of, make
from tests.update.projects import recorded, render, status, update
from tests.update.release import ADDED, REMOVED


def test_the_example_passes_its_checks_after_an_update(releases: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    render(releases, project, "1.0.0", **ANSWERS)
    lay_over(project)
    commit(project)
    update(project)
    assert recorded(project)["_commit"] == "2.0.0"
    assert not any(line.startswith("UU") for line in status(project))
    for path in files_of(EXAMPLE):
        assert (project / path.relative_to(EXAMPLE)).read_bytes() == path.read_bytes()
    assert (project / ADDED).exists()
    assert not (project / REMOVED).exists()
    pyproject = (project / "pyproject.toml").read_text()
    assert '"boto3>=1.40"' in pyproject
    assert '"typing-extensions>=4"' in pyproject
    make(project, "lint", "types", "test")
