"""The CI jobs that propose newer releases and dependencies: one updates, another one pushes.

These tests run the steps in the rendered workflows. Each job runs in its own clone.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import follow
from tests.support import commit, git
from tests.update.projects import render, status, update
from tests.update.release import ADDED, make_hostile_release

BRANCH = "template-2.0.0"
HOSTILE = "3.0.0"
TOKEN = "hunter2-token"


@pytest.fixture
def project(project: Path, tmp_path: Path) -> Path:
    """A project on 1.0.0, with a remote to push to."""
    return with_remote(project, tmp_path / "remote.git")


def with_remote(project: Path, remote: Path) -> Path:
    """Give a project a remote that records the options of pushes; return the project."""
    git(remote.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    git(remote, "config", "receive.advertisePushOptions", "true")
    hook = remote / "hooks/pre-receive"
    hook.write_text('#!/bin/sh\nenv | sed -n "s/^GIT_PUSH_OPTION_[0-9]*=//p" | sort >> options\n')
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    git(project, "branch", "--move", "main")
    git(project, "remote", "add", "origin", str(remote))
    git(project, "push", "--quiet", "origin", "main")
    return project


class Pipeline:
    """Runs each job in its own folder.

    Args:
        project: The project whose remote the jobs clone.
        folder: The folder for the clones.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self.remote = Path(git(project, "remote", "get-url", "origin").strip())
        self._folders: Iterator[Path] = (folder / f"job-{number}" for number in count())

    def clone(self) -> Path:
        """Return a new clone of the remote's main branch, in its own folder."""
        folder = next(self._folders)
        git(self.remote, "clone", "--quiet", str(self.remote), str(folder / "clone"))
        return folder / "clone"

    def run(self, commands: list[str], environment: Mapping[str, str]) -> Path:
        """Run a job, and return its folder."""
        clone = self.clone()
        for command in commands:
            follow(clone, command, environment)
        return clone


def commands_of(job: Mapping[str, Any]) -> list[str]:
    """Return the commands that a job on GitHub runs."""
    return [step["run"] for step in job["steps"] if "run" in step]


def on_github(project: Path, folder: Path) -> Pipeline:
    """Run the workflow. A script in place of `gh` records its arguments."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "gh").write_text(f'#!/bin/sh\necho "$@" >> "{folder}/calls"\n')
    (tools / "gh").chmod(0o755)
    jobs = yaml.safe_load((project / ".github/workflows/update.yml").read_text())["jobs"]
    pipeline = Pipeline(project, folder)
    artifacts = folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    common = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(artifacts),
        "WHAT": "template",
    }
    pipeline.run(commands_of(jobs["propose"]), common)
    pipeline.run(commands_of(jobs["push"]), common | {"GH_TOKEN": TOKEN})
    return pipeline


def on_gitlab(project: Path, folder: Path) -> Pipeline:
    """Run the two jobs."""
    jobs = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    pipeline = Pipeline(project, folder)
    url = {"CI_PROJECT_URL": str(pipeline.remote).removesuffix(".git")}
    made = pipeline.run(jobs["propose"]["script"], {"WHAT": "template"})
    pushing = pipeline.clone()
    for bundle in made.glob("proposal-*.bundle"):
        shutil.copy(bundle, pushing)
    for command in jobs["push"]["script"]:
        follow(pushing, command, url | {"UPDATE_TOKEN": TOKEN})
    return pipeline


def test_on_github(project: Path, tmp_path: Path) -> None:
    """The workflow runs twice, as in two weeks. The second time, the branch exists already."""
    for week in ("first", "second"):
        (tmp_path / week).mkdir()
        expect_proposal(project, on_github(project, tmp_path / week))
    assert (tmp_path / "first/calls").read_text().splitlines() == [
        "auth setup-git",
        f"pr create --fill --head {BRANCH}",
    ]
    assert (tmp_path / "second/calls").read_text().splitlines() == ["auth setup-git"]


def test_on_gitlab(project: Path, tmp_path: Path) -> None:
    update(project, "1.0.0", ci="gitlab")
    commit(project)
    git(project, "push", "--quiet", "origin", "main")
    for week in ("first", "second"):
        (tmp_path / week).mkdir()
        expect_proposal(project, on_gitlab(project, tmp_path / week))
    assert (tmp_path / "remote.git/options").read_text().splitlines() == [
        "merge_request.create",
        "merge_request.title=Update the template to 2.0.0",
    ]


def test_a_job_of_gitlab_that_the_token_reaches_refuses(project: Path) -> None:
    update(project, "1.0.0", ci="gitlab")
    script = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["propose"]["script"]
    result = subprocess.run(
        ["bash", "-e", "-c", script[0]],
        env=os.environ | {"UPDATE_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: give UPDATE_TOKEN the environment scope update")


def test_only_the_job_that_pushes_has_a_token(project: Path) -> None:
    github = yaml.safe_load((project / ".github/workflows/update.yml").read_text())
    update(project, "1.0.0", ci="gitlab")
    assert github["permissions"] == {}
    propose, push = github["jobs"]["propose"], github["jobs"]["push"]
    assert propose["permissions"] == {"contents": "read"}
    assert "environment" not in propose
    assert "secrets." not in str(propose)
    assert "token" not in str(propose).lower()
    assert push["environment"] == "update"
    for job in (propose, push):
        assert job["steps"][0]["with"]["persist-credentials"] is False
    gitlab = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    assert "environment" not in gitlab["propose"]
    assert gitlab["push"]["environment"]["name"] == "update"
    assert gitlab["push"]["variables"]["GIT_STRATEGY"] == "clone"


def expect_proposal(project: Path, pipeline: Pipeline) -> None:
    """Expect the release on its branch, and an unchanged main branch."""
    git(project, "fetch", "--quiet", "origin", BRANCH)
    assert git(project, "show", f"FETCH_HEAD:{ADDED}") == '"""New in this release."""\n'
    assert git(project, "log", "--format=%s", "main..FETCH_HEAD").splitlines() == [
        "Update the template to 2.0.0"
    ]
    branches = git(pipeline.remote, "for-each-ref", "--format=%(refname)").split()
    assert branches == ["refs/heads/main", f"refs/heads/{BRANCH}"]
    assert git(pipeline.remote, "rev-parse", "main") == git(project, "rev-parse", "main")


class TestAReleaseThatNobodyHasReviewed:
    """Its code runs in the job that makes the update, but not in the job that has the token."""

    @pytest.fixture
    def evidence(self, tmp_path: Path) -> Path:
        return tmp_path / "evidence"

    @pytest.fixture
    def hostile(self, releases: Path, tmp_path: Path, evidence: Path) -> Path:
        """A project whose template has a release that runs code in every make and in `.ci/`."""
        template = shutil.copytree(releases, tmp_path / "template")
        make_hostile_release(template, evidence)
        commit(template, tag=HOSTILE)
        render(template, tmp_path / "hostile", "2.0.0")
        commit(tmp_path / "hostile")
        return with_remote(tmp_path / "hostile", tmp_path / "hostile.git")

    @pytest.mark.parametrize("ci", ["github", "gitlab"])
    def test_never_sees_the_token(
        self, hostile: Path, evidence: Path, tmp_path: Path, ci: str
    ) -> None:
        if ci == "gitlab":
            update(hostile, "2.0.0", ci=ci)
            commit(hostile)
            git(hostile, "push", "--quiet", "origin", "main")
        run = {"github": on_github, "gitlab": on_gitlab}[ci]
        pipeline = run(hostile, tmp_path)
        assert "PATH=" in evidence.read_text()  # the code did run
        assert TOKEN not in evidence.read_text()
        assert git(pipeline.remote, "log", "-1", "--format=%s", f"template-{HOSTILE}") == (
            f"Update the template to {HOSTILE}\n"
        )

    def test_may_change_the_script_that_brings_it(self, hostile: Path, evidence: Path) -> None:
        """Otherwise, bash would continue in the middle of some line of the new script."""
        output = follow(hostile, ".ci/propose template 2>&1", {})
        assert "command not found" not in output
        assert not re.search("stray", evidence.read_text())
        assert git(hostile, "branch", "--show-current").strip() == f"template-{HOSTILE}"
        assert status(hostile) == []


class TestWhatIsReceived:
    """The job accepts only one branch with the right name, based on the existing commits."""

    @pytest.fixture
    def clone(self, project: Path, tmp_path: Path) -> Path:
        return Pipeline(project, tmp_path).clone()

    @staticmethod
    def receive(clone: Path, bundle: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [clone / ".ci/receive", "template", bundle],
            cwd=clone,
            capture_output=True,
            text=True,
            check=False,
        )

    @staticmethod
    def propose(project: Path, *branches: str, start: str = "main") -> Path:
        """Return a bundle with branches, each of which has its own commit."""
        for branch in branches:
            git(project, "switch", "--quiet", "--create", branch, start)
            (project / "new").write_text(branch)
            git(project, "add", "new")
            git(project, "commit", "--quiet", "--message", branch)
        bundle = project / ".git/proposal.bundle"
        git(project, "bundle", "create", "--quiet", str(bundle), "^main", *branches)
        return bundle

    def test_a_proposal(self, project: Path, clone: Path) -> None:
        result = self.receive(clone, self.propose(project, BRANCH))
        assert (result.returncode, result.stdout) == (0, f"{BRANCH}\n")
        assert git(clone, "branch", "--show-current") == "main\n"
        assert git(clone, "show", f"{BRANCH}:new") == BRANCH
        assert status(clone) == []

    def test_nothing(self, clone: Path) -> None:
        result = self.receive(clone, "missing.bundle")
        assert (result.returncode, result.stdout) == (0, "")

    @pytest.mark.parametrize(
        "branches",
        [
            ("main-2",),
            ("template",),
            ("template-a/b",),
            ("dependencies-2026-01",),
            ("template-1", "template-2"),
        ],
        ids="+".join,
    )
    def test_other_branches_are_refused(
        self, project: Path, clone: Path, branches: tuple[str, ...]
    ) -> None:
        bundle = self.propose(project, *branches)
        self._expect_refusal(clone, bundle, "instead of one branch template-…")

    def test_main_is_refused(self, project: Path, clone: Path) -> None:
        (project / "new").write_text("new")
        commit(project)
        bundle = project / ".git/proposal.bundle"
        git(project, "bundle", "create", "--quiet", str(bundle), "origin/main..main")
        self._expect_refusal(clone, bundle, "instead of one branch template-…")

    def test_a_history_of_its_own_is_refused(self, project: Path, clone: Path) -> None:
        git(project, "checkout", "--quiet", "--orphan", BRANCH)
        git(project, "commit", "--quiet", "--message", "a new history")
        bundle = project / ".git/proposal.bundle"
        git(project, "bundle", "create", "--quiet", str(bundle), BRANCH)
        self._expect_refusal(clone, bundle, "does not begin at")

    def _expect_refusal(self, clone: Path, bundle: Path, complaint: str) -> None:
        result = self.receive(clone, bundle)
        assert result.returncode != 0
        assert result.stdout == ""
        assert complaint in result.stderr


def test_a_conflict_is_part_of_the_proposal(project: Path) -> None:
    (project / ADDED).write_text('"""My news."""\n')
    commit(project)
    follow(project, ".ci/propose template", {})
    assert git(project, "branch", "--show-current").strip() == BRANCH
    assert status(project) == []
    message = git(project, "log", "-1", "--format=%B")
    assert message.splitlines()[0] == "Update the template to 2.0.0"
    assert message.rstrip().endswith(f'then run "make lock":\n\n{ADDED}')
    assert ">>>>>>> after updating" in (project / ADDED).read_text()


def test_nothing_is_proposed_if_nothing_is_new(project: Path, tmp_path: Path) -> None:
    update(project)
    commit(project)
    follow(project, f".ci/propose template {tmp_path}/proposal.bundle", {})
    assert git(project, "branch", "--show-current").strip() == "main"
    assert not (tmp_path / "proposal.bundle").exists()


def test_newer_dependencies_are_proposed(project: Path) -> None:
    lock = project / "requirements/run.txt"
    pins = re.sub(r"^typer==\S+", "typer==0.16.0", lock.read_text(), flags=re.MULTILINE)
    lock.write_text(pins)
    assert "typer==0.16.0" in pins
    commit(project)
    follow(project, ".ci/propose dependencies", {"COOLDOWN": ""})  # uses the cache
    assert re.fullmatch(r"dependencies-\d{4}-\d{2}\n", git(project, "branch", "--show-current"))
    assert git(project, "log", "-1", "--format=%s") == "Update the dependencies\n"
    assert "typer==0.16.0" not in lock.read_text()


def test_a_word_that_is_neither_is_refused(project: Path) -> None:
    result = subprocess.run(
        [project / ".ci/propose", "all"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: say what to propose: ")
