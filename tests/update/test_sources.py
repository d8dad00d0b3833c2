"""Where templates and projects may be. No place ever requires trust."""

import shutil
import subprocess
from pathlib import Path

import pytest
from copier.errors import UserMessageError

from tests.support import COPIER, DATA, ROOT, commit, copy_repository, git, releases
from tests.update.projects import contents, recorded, render, update
from tests.update.release import ADDED

RELEASES = releases()


@pytest.mark.parametrize(
    ("version", "is_next"), [("1.0.0", False), ("2.0.0", True), ("HEAD", True)]
)
def test_a_git_address(releases: Path, tmp_path: Path, version: str, is_next: bool) -> None:
    render(f"git+file://{releases}", tmp_path, version)
    assert (tmp_path / ADDED).exists() == is_next
    commit(tmp_path)
    update(tmp_path)
    assert (tmp_path / ADDED).exists()
    assert recorded(tmp_path)["_commit"] == "2.0.0"


def test_the_newest_release_is_what_a_copy_takes(releases: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(releases, tmp_path / "template")
    (repository / "template/unreleased").write_text("not yet\n")
    commit(repository)
    subprocess.run(
        [*COPIER, "copy", "--defaults", *DATA, repository, "project"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert recorded(tmp_path / "project")["_commit"] == "2.0.0"
    assert not (tmp_path / "project/unreleased").exists()


def test_a_commit_between_releases(releases: Path, tmp_path: Path) -> None:
    """A commit after a release can be rendered too. The project gets later releases."""
    repository = shutil.copytree(releases, tmp_path / "template")
    (repository / "template/unreleased").write_text("not yet\n")
    commit(repository)
    project = tmp_path / "project"
    render(f"git+file://{repository}", project, "HEAD")
    assert recorded(project)["_commit"].startswith("2.0.0-1-g")
    commit(project)
    (repository / "template/unreleased").write_text("released\n")
    commit(repository, tag="2.1.0")
    update(project)
    assert recorded(project)["_commit"] == "2.1.0"
    assert (project / "unreleased").read_text() == "released\n"


def test_a_fork(releases: Path, tmp_path: Path) -> None:
    """Updates come from the source of the copy, unless the author edits the recorded source."""
    fork = tmp_path / "fork"
    git(tmp_path, "clone", "--quiet", str(releases), str(fork))
    git(fork, "checkout", "--quiet", "-B", "main", "1.0.0")
    (fork / "template/fork").write_text("ours\n")
    commit(fork, tag="1.0.1")
    project = tmp_path / "project"
    render(f"git+file://{fork}", project, "1.0.1")
    commit(project)
    (fork / "template/fork").write_text("ours, fixed\n")
    commit(fork, tag="1.0.2")
    update(project, "1.0.2")
    assert recorded(project)["_commit"] == "1.0.2"
    assert (project / "fork").read_text() == "ours, fixed\n"


def test_a_relative_path(releases: Path, tmp_path: Path) -> None:
    """The answers contain the absolute path, since an update may run in another folder."""
    (tmp_path / "template").symlink_to(releases)
    copy = [*COPIER, "copy", "--quiet", "--defaults", "--vcs-ref=1.0.0", *DATA]
    subprocess.run([*copy, "template", "project"], cwd=tmp_path, check=True, capture_output=True)
    assert recorded(tmp_path / "project")["_src_path"] == str(releases.resolve())
    commit(tmp_path / "project")
    update(tmp_path / "project")
    assert recorded(tmp_path / "project")["_commit"] == "2.0.0"


def test_a_plain_folder(tmp_path: Path) -> None:
    """The project is the same but has no version, as its README and an update say."""
    template = tmp_path / "template"
    template.mkdir()
    copy_repository(template, template=True)
    project = tmp_path / "project"
    render(template, project, "HEAD")
    commit(project)
    with pytest.raises(UserMessageError, match="cannot obtain old template references"):
        update(project)
    commit(template, tag="1.0.0")
    render(template, tmp_path / "from-git", "1.0.0")
    assert "(unknown)" in (project / "README.md").read_text()
    naming = {".copier-answers.yml", "README.md"}
    assert contents(project, leave_out=naming.__contains__) == contents(
        tmp_path / "from-git", leave_out=naming.__contains__
    )


def test_a_project_in_a_folder_of_a_larger_repository(releases: Path, tmp_path: Path) -> None:
    project = tmp_path / "drivers/acme"
    render(releases, project, "1.0.0")
    (project / "acme/cloud.py").write_text('"""Mine."""\n')
    (tmp_path / "neighbour").write_text("untouched\n")
    commit(tmp_path)
    update(project)
    changed = git(tmp_path, "status", "--porcelain", "--untracked-files=all").splitlines()
    assert f"?? drivers/acme/{ADDED}" in changed
    assert " M drivers/acme/cmi/errors.py" in changed
    assert all(line[3:].startswith("drivers/acme/") for line in changed)
    assert not any(line[3:].startswith("drivers/acme/acme/") for line in changed)
    assert recorded(project)["_commit"] == "2.0.0"


@pytest.mark.parametrize("release", [*RELEASES, "the first one"])
def test_no_release_needs_trust(release: str, tmp_path: Path) -> None:
    """Each release is rendered and updated to the working tree, which fails if it needs trust."""
    repository = tmp_path / "template"
    if release in RELEASES:
        git(tmp_path, "clone", "--quiet", str(ROOT), str(repository))
        for part in ("copier.yml", "includes", "template"):
            git(repository, "rm", "-r", "--quiet", part)
    else:
        repository.mkdir()
    copy_repository(repository, template=True)
    commit(repository, tag="9999.0.0")
    render(repository, tmp_path / "project", release if release in RELEASES else "9999.0.0")
    commit(tmp_path / "project")
    update(tmp_path / "project")
    assert recorded(tmp_path / "project")["_commit"] == "9999.0.0"
