"""The images that `make publish` and `make images` build in a rendered project, and their names.

The tests need no docker: a script in its place records its arguments.
"""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import follow
from tests.support import ROOT, commit
from tests.update.projects import render

DOCKER = """#!/bin/sh -e
# Stands for docker, and for a registry that has the images named in the file `there`.
echo "$@" >> '{folder}/called'
case $1,$2,$3 in buildx,imagetools,inspect) grep -qxF "$4" '{folder}/there' ;; esac
"""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER.format(folder=folder))
    (folder / "docker").chmod(0o755)
    (folder / "there").touch()
    return folder


@pytest.fixture
def project(releases: Path, tmp_path: Path) -> Path:
    """A project from a release that contains this bridge."""
    repository = shutil.copytree(releases, tmp_path / "template")
    for name in ("Makefile", "go.mod", "internal/bridge/version.go"):
        target = repository / "bridge" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "bridge" / name, target)
    commit(repository, tag="9.0.0")
    project = tmp_path / "project"
    render(f"git+file://{repository}", project, "9.0.0")
    commit(project)
    return project


def deployed(project: Path) -> set[str]:
    """Return the names of the images in the project's manifests that the project builds itself."""
    text = (project / "kubernetes/deploy/kustomization.yaml").read_text()
    images = {image["name"]: image for image in yaml.safe_load(text)["images"]}
    return {f"{images[name]['newName']}:{images[name]['newTag']}" for name in ("bridge", "driver")}


def called(project: Path, docker: Path, command: str) -> list[list[str]]:
    """Return the arguments of each call of docker by a command."""
    (docker / "called").unlink(missing_ok=True)
    follow(project, command, {"PATH": f"{docker}:{os.environ['PATH']}"})
    return [line.split() for line in (docker / "called").read_text().splitlines()]


def tags(calls: list[list[str]]) -> set[str]:
    return {call[call.index("--tag") + 1] for call in calls if "--tag" in call}


def test_one_command_publishes_what_the_manifests_name(project: Path, docker: Path) -> None:
    calls = called(project, docker, "make publish")
    assert tags(calls) == deployed(project)
    pushed = [call for call in calls if "--push" in call]
    assert len(pushed) == 2
    for call in pushed:
        assert "linux/amd64,linux/arm64" in call
        assert "--sbom=true" in call
        assert "--metadata-file" in call

    (docker / "there").write_text("\n".join(tags(calls)))
    again = called(project, docker, "make publish")
    (driver,) = tags(again)
    assert "cmi-bridge" not in driver, "a published tag must not change"


def test_both_can_be_built_for_this_machine_alone(project: Path, docker: Path) -> None:
    assert tags(called(project, docker, "make images")) == deployed(project)
