"""`make release`, in a small repository of its own whose checks pass or fail as a test wants."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import ROOT, commit, git

CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A thing.

### Upgrading

- Nothing to do.

## [1.0.0] - 2026-01-02

### Added

- The first thing.
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "Makefile").write_text("lint types test:\n\t@echo $@ >> checked\n")
    (tmp_path / ".gitignore").write_text("checked\n")
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path, tag="1.0.0")
    return tmp_path


def release(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts/release.py", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_release_is_dated_committed_and_tagged(repository: Path) -> None:
    days = {datetime.now(UTC).date().isoformat()}
    result = release(repository, "1.1.0")
    days.add(datetime.now(UTC).date().isoformat())
    assert result.returncode == 0, result.stderr
    heading = "## [Unreleased]\n\n## [1.1.0] - "
    changelog = (repository / "CHANGELOG.md").read_text()
    day = changelog.partition(heading)[2][:10]
    assert day in days
    assert changelog == CHANGELOG.replace("## [Unreleased]\n", f"{heading}{day}\n")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "cat-file", "-t", "1.1.0") == "tag\n"
    assert git(repository, "rev-parse", "1.1.0^{}") == git(repository, "rev-parse", "HEAD")
    assert (repository / "checked").read_text().split() == ["lint", "types", "test"]
    assert "  git push --atomic origin main 1.1.0\n" in result.stdout


def test_what_it_prints_publishes_the_release(repository: Path, tmp_path: Path) -> None:
    result = release(repository, "1.1.0")
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    (command,) = re.findall(r"^  (git push .*)$", result.stdout, re.MULTILINE)
    subprocess.run(command.split(), cwd=repository, check=True, capture_output=True)
    assert git(remote, "rev-parse", "main") == git(repository, "rev-parse", "1.1.0^{}")


@pytest.mark.parametrize(
    ("version", "changes", "complaint"),
    [
        pytest.param("", {}, "'' is no version; good is: make release VERSION=1.2.3", id="none"),
        pytest.param("v1.1.0", {}, "'v1.1.0' is no version", id="with-a-letter"),
        pytest.param("1.1", {}, "'1.1' is no version", id="too-short"),
        pytest.param("1.0.0", {}, "1.0.0 is not newer than 1.0.0", id="released-already"),
        pytest.param("0.9.0", {}, "0.9.0 is not newer than 1.0.0", id="older"),
        pytest.param(
            "1.1.0",
            {"CHANGELOG.md": CHANGELOG.replace("### Upgrading\n\n- Nothing to do.\n\n", "")},
            "no '### Upgrading'",
            id="no-upgrading",
        ),
        pytest.param(
            "1.1.0",
            {"CHANGELOG.md": CHANGELOG.replace("- Nothing to do.\n\n", "")},
            "no '### Upgrading'",
            id="empty-upgrading",
        ),
        pytest.param(
            "1.1.0",
            {"CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-01-02\n"},
            "nothing under '## [Unreleased]'",
            id="nothing-new",
        ),
        pytest.param(
            "1.1.0",
            {"Makefile": "lint types:\n\ntest:\n\tfalse\n"},
            "'make lint types test' failed",
            id="a-check-fails",
        ),
    ],
)
def test_a_tree_that_is_not_ready_is_refused(
    repository: Path, version: str, changes: dict[str, str], complaint: str
) -> None:
    for name, text in changes.items():
        (repository / name).write_text(text)
    commit_if_changed(repository)
    before = git(repository, "log", "--format=%H")
    refused(release(repository, version) if version else release(repository), complaint)
    assert git(repository, "log", "--format=%H") == before
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag").split() == ["1.0.0"]


def test_changes_that_are_not_committed_are_refused(repository: Path) -> None:
    (repository / "new").write_text("new\n")
    refused(release(repository, "1.1.0"), "something is not committed")


def test_another_branch_is_refused(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "feature")
    refused(release(repository, "1.1.0"), "this is branch 'feature'; releases are made on main")


def commit_if_changed(repository: Path) -> None:
    if git(repository, "status", "--porcelain"):
        commit(repository)


def refused(result: subprocess.CompletedProcess[str], complaint: str) -> None:
    """Expect a last line that says what is wrong, and no traceback."""
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
