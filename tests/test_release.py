"""`make release` in a small repository, whose checks pass or fail as each test needs."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from copier import run_copy

from scripts.release import STAMPED, targets_of_ci
from tests.support import ROOT, commit, git, run_script
from tests.update.projects import recorded

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


CI = """
jobs:
  check:
    steps:
      - uses: actions/checkout
      - run: make lint types
  test:
    steps:
      - run: make test lint
"""
NIGHTLY = """
jobs:
  nightly:
    steps:
      - run: make nightly
"""
MAKEFILE = """
lint types test nightly:
	@echo $@ $(version) >> checked
reference:
	@echo $(version) > page
"""
VERSION = "version != sed -n 's/^VERSION = //p' template/cmi/version.py\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one release, and with all files that a release needs."""
    folder = tmp_path / "repository"
    files = {
        "CHANGELOG.md": CHANGELOG,
        "Makefile": VERSION + MAKEFILE,
        ".gitignore": "checked\n",
        ".github/workflows/ci.yml": CI,
        ".github/workflows/nightly.yml": NIGHTLY,
        "page": "1.0.1.dev0\n",
        "copier.yml": "_subdirectory: template\n",
        "template/old.cfg": "",
        "template/changed.cfg.jinja": "",
        "template/<<provider_name>>/old.py": "",
        "template/kubernetes/old.yaml": "",
        "template/kubernetes/deploy/old.yaml": "",
        "template/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml }}",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in (*STAMPED, "bridge/go.mod"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, tag="1.0.0")
    return folder


def release(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script(repository, "release.py", *arguments)


def test_a_release_is_stamped_checked_dated_committed_and_tagged(repository: Path) -> None:
    days = {datetime.now(UTC).date().isoformat()}
    result = release(repository, "1.1.0")
    days.add(datetime.now(UTC).date().isoformat())
    assert result.returncode == 0, result.stderr
    heading = "## [Unreleased]\n\n## [1.1.0] - "
    changelog = git(repository, "show", "1.1.0:CHANGELOG.md")
    day = changelog.partition(heading)[2][:10]
    assert day in days
    assert changelog == CHANGELOG.replace("## [Unreleased]\n", f"{heading}{day}\n")
    assert versions(repository, "1.1.0") == ["1.1.0"] * len(STAMPED)
    assert git(repository, "show", "1.1.0:page") == "1.1.0\n"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "cat-file", "-t", "1.1.0") == "tag\n"
    assert git(repository, "rev-parse", "1.1.0^{}") == git(repository, "rev-parse", "HEAD^")
    checked = (repository / "checked").read_text().splitlines()
    assert checked == ["lint 1.1.0", "types 1.1.0", "test 1.1.0", "nightly 1.1.0"]
    assert "  git push --atomic origin main 1.1.0 bridge/v1.1.0\n" in result.stdout


def test_what_follows_a_release_is_not_called_so(repository: Path) -> None:
    assert release(repository, "1.1.0").returncode == 0
    assert versions(repository, "HEAD") == ["1.1.1.dev0"] * len(STAMPED)
    assert git(repository, "show", "HEAD:page") == "1.1.1.dev0\n"


def test_a_release_has_one_name_for_copier_and_one_for_go(repository: Path, tmp_path: Path) -> None:
    """If a commit has both tags, copier records the one for the template."""
    assert release(repository, "1.1.0").returncode == 0
    assert git(repository, "rev-parse", "bridge/v1.1.0") == git(repository, "rev-parse", "1.1.0^{}")
    for version, described in ((None, "1.1.0"), ("HEAD", "1.1.0-1-g")):
        run_copy(f"git+file://{repository}", tmp_path / described, vcs_ref=version, quiet=True)
        assert str(recorded(tmp_path / described)["_commit"]).startswith(described)


def versions(repository: Path, revision: str) -> list[str]:
    """Return the version in each file that contains it, at a revision."""
    texts = {name: git(repository, "show", f"{revision}:{name}") for name in STAMPED}
    return [
        found
        for name, where in STAMPED.items()
        for found in re.findall(where, texts[name], re.MULTILINE)
    ]


def test_what_it_prints_publishes_the_release(repository: Path, tmp_path: Path) -> None:
    result = release(repository, "1.1.0")
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    (command,) = re.findall(r"^  (git push .*)$", result.stdout, re.MULTILINE)
    subprocess.run(command.split(), cwd=repository, check=True, capture_output=True)
    assert git(remote, "rev-parse", "main^") == git(repository, "rev-parse", "1.1.0^{}")
    assert git(remote, "tag").split() == ["1.1.0", "bridge/v1.1.0"]


def test_it_checks_what_ci_checks() -> None:
    """Each of CI's targets also exists in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    assert {"lint", "types", "test", "check-bridge", "e2e", "docs", "nightly"} <= {*targets_of_ci()}
    for target in targets_of_ci():
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    ("version", "changes", "complaint"),
    [
        pytest.param("", {}, "'' is not a version; try: make release VERSION=1.2.3", id="none"),
        pytest.param("v1.1.0", {}, "'v1.1.0' is not a version", id="with-a-letter"),
        pytest.param("1.1", {}, "'1.1' is not a version", id="too-short"),
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
            {"Makefile": "lint types nightly reference:\n\ntest:\n\tfalse\n"},
            "'make lint types test nightly' failed",
            id="a-check-fails",
        ),
        pytest.param(
            "1.1.0",
            {"bridge/internal/bridge/version.go": "package bridge\n"},
            "bridge/internal/bridge/version.go needs the version exactly once",
            id="a-version-is-lost",
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


def test_files_that_updates_will_delete_have_to_be_named(repository: Path) -> None:
    """This includes moved files, but not those that keep their name or that updates leave alone."""
    for name in (
        "old.cfg",
        "<<provider_name>>/old.py",
        "kubernetes/old.yaml",
        "kubernetes/deploy/old.yaml",
    ):
        (repository / "template" / name).unlink()
    (repository / "template/moved.cfg").write_text("")
    (repository / "template/changed.cfg.jinja").rename(repository / "template/changed.cfg")
    commit(repository)
    refused(
        release(repository, "1.1.0"),
        "does not name files that updates will delete: kubernetes/deploy/old.yaml, old.cfg;",
    )
    said = "- `old.cfg` is `moved.cfg` now, and `kubernetes/deploy/old.yaml` is gone."
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace("- Nothing to do.", said))
    commit(repository)
    assert release(repository, "1.1.0").returncode == 0


@pytest.mark.parametrize(
    "origin", ["https://github.com/acme/template.git", "git@github.com:acme/template"]
)
def test_a_bridge_that_go_would_not_find_is_refused(repository: Path, origin: str) -> None:
    git(repository, "remote", "add", "origin", origin)
    refused(release(repository, "1.1.0"), "this is github.com/acme/template, and bridge/go.mod")
    (repository / "bridge/go.mod").write_text("module github.com/acme/template/bridge\n")
    commit(repository)
    assert release(repository, "1.1.0").returncode == 0


def test_changes_that_are_not_committed_are_refused(repository: Path) -> None:
    (repository / "new").write_text("new\n")
    refused(release(repository, "1.1.0"), "something is not committed")


def test_a_tag_that_was_left_is_refused_before_the_checks(repository: Path) -> None:
    git(repository, "tag", "bridge/v1.1.0")
    refused(release(repository, "1.1.0"), "there is a tag bridge/v1.1.0")
    assert not (repository / "checked").exists()


def test_a_commit_that_fails_leaves_the_tree_as_it_was(repository: Path) -> None:
    hook = repository / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    refused(release(repository, "1.1.0"), "this failed: git commit")
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag").split() == ["1.0.0"]


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
