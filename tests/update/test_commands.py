"""The commands of a rendered project that look for newer releases, and the CI jobs around them."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import follow
from tests.support import commit, git, make
from tests.update.projects import recorded, status, update
from tests.update.release import ADDED

BRANCH = "template-2.0.0"


@pytest.fixture
def project(project: Path, tmp_path: Path) -> Path:
    """The same with a remote to push to, which keeps the options of a push."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(remote, "config", "receive.advertisePushOptions", "true")
    hook = remote / "hooks/pre-receive"
    hook.write_text('#!/bin/sh\nenv | sed -n "s/^GIT_PUSH_OPTION_[0-9]*=//p" | sort >> options\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    git(project, "branch", "--move", "main")
    git(project, "remote", "add", "origin", str(remote))
    git(project, "push", "--quiet", "origin", "main")
    return project


def test_check_update_tells_of_a_newer_release(project: Path) -> None:
    assert "Current version is 1.0.0, latest version is 2.0.0." in follow(
        project, "make check-update", {}
    )
    assert status(project) == []
    assert '"make lock" pins' in follow(project, "make update OPTIONS=--defaults", {})
    assert recorded(project)["_commit"] == "2.0.0"
    assert "up-to-date" in follow(project, "make check-update", {})


def test_a_lock_that_lacks_a_dependency_is_named(project: Path) -> None:
    pyproject = project / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace("conflict.\n]", 'conflict.\n  "plumbum",\n]')
    )
    result = subprocess.run(
        ["make", "setup"], cwd=project, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert (
        "error: requirements/ lacks what pyproject.toml asks for: run 'make lock'" in result.stderr
    )
    make(project, "lock", "setup")
    changed = {line.split()[-1] for line in status(project)}
    assert changed == {"pyproject.toml", "requirements/dev.txt", "requirements/run.txt"}


class TestTheScheduledJob:
    """It finds a newer release, a conflict, its branch of last week, or nothing."""

    def test_on_github(self, releases: Path, project: Path, tmp_path: Path) -> None:
        """Where `gh` can't reach GitHub: a stand-in keeps how it was called."""
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "gh").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\n')
        (tools / "gh").chmod(0o755)
        workflow = yaml.safe_load((project / ".github/workflows/update.yml").read_text())
        steps = [step for step in workflow["jobs"]["propose"]["steps"] if "run" in step]
        self._expect_proposal(
            project,
            [step["run"] for step in steps],
            {"PATH": f"{tools}:{os.environ['PATH']}", "WHAT": "template"},
        )
        assert (tmp_path / "calls").read_text().splitlines() == [
            "auth setup-git",
            f"pr create --fill --head {BRANCH}",
            "auth setup-git",
        ]

    def test_on_gitlab(self, releases: Path, project: Path, tmp_path: Path) -> None:
        update(project, "1.0.0", ci="gitlab")
        commit(project)
        job = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["update"]
        self._expect_proposal(
            project, job["script"], {"CI_PROJECT_URL": str(tmp_path / "remote"), "WHAT": "template"}
        )
        assert (tmp_path / "remote.git/options").read_text().splitlines() == [
            "merge_request.create",
            "merge_request.title=Update the template to 2.0.0",
        ]

    def test_a_conflict_is_part_of_the_proposal(self, project: Path) -> None:
        (project / ADDED).write_text('"""My news."""\n')
        commit(project)
        follow(project, ".ci/propose template", {})
        assert git(project, "branch", "--show-current").strip() == BRANCH
        assert status(project) == []
        message = git(project, "log", "-1", "--format=%B")
        assert message.splitlines()[0] == "Update the template to 2.0.0"
        assert message.rstrip().endswith(f'then run "make lock":\n\n{ADDED}')
        assert ">>>>>>> after updating" in (project / ADDED).read_text()

    def test_nothing_is_proposed_if_nothing_is_new(self, project: Path) -> None:
        update(project)
        commit(project)
        follow(project, ".ci/propose template", {})
        assert git(project, "branch", "--show-current").strip() == "main"

    def test_newer_dependencies_are_proposed(self, project: Path) -> None:
        lock = project / "requirements/run.txt"
        pins = re.sub(r"^typer==\S+", "typer==0.16.0", lock.read_text(), flags=re.MULTILINE)
        lock.write_text(pins)
        assert "typer==0.16.0" in pins
        commit(project)
        follow(project, ".ci/propose dependencies", {})
        assert re.fullmatch(r"dependencies-\d{4}-\d{2}\n", git(project, "branch", "--show-current"))
        assert git(project, "log", "-1", "--format=%s") == "Update the dependencies\n"
        assert "typer==0.16.0" not in lock.read_text()

    def test_a_word_that_is_neither_is_refused(self, project: Path) -> None:
        result = subprocess.run(
            [project / ".ci/propose", "all"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 2
        assert result.stderr.startswith("error: say what to propose: ")

    @staticmethod
    def _expect_proposal(project: Path, steps: list[str], environment: dict[str, str]) -> None:
        """Run the job twice, as in two weeks: the second time its branch is there already."""
        for _ in range(2):
            for step in steps:
                follow(project, step, environment)
            assert git(project, "branch", "--show-current").strip() == BRANCH
            git(project, "checkout", "--quiet", "main")
            git(project, "branch", "--delete", "--force", "--quiet", BRANCH)
        git(project, "fetch", "--quiet", "origin", BRANCH)
        assert git(project, "show", f"FETCH_HEAD:{ADDED}") == '"""New in this release."""\n'
        assert git(project, "log", "--format=%s", "main..FETCH_HEAD").splitlines() == [
            "Update the template to 2.0.0"
        ]
