"""Versions that work together: driver and bridge, the Go module, MCM and its definitions.

The last release is the newest tag, or the last commit until there is a tag.
"""

import json
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from copier import run_copy

from e2e.binaries import BRIDGE, LAST_BRIDGE
from e2e.cluster import Cluster, Machine
from e2e.process import await_value
from tests.driver import starting
from tests.support import ANSWERS, ROOT, TEMPLATE, check_out, commit, git, last_release, make


@pytest.fixture
def last_project(tmp_path: Path) -> Path:
    """A project rendered by the last release, installed with the packages locked now."""
    template = check_out(last_release(), tmp_path / "template")
    folder = tmp_path / "project"
    run_copy(str(template), folder, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")
    for lock in (ROOT / "template/requirements").iterdir():
        shutil.copy(lock, folder / "requirements")
    make(folder, "setup")
    return folder


def expect_a_life(cluster: Cluster) -> None:
    """Create a machine, and delete it."""
    cluster.start(nodes=False)
    cluster.apply("secret.yaml", "machine-class.yaml", "machine.yaml")
    await_value(cluster.phases, {"acme-machine": "Available"})
    cluster.delete(Machine, "acme-machine")
    await_value(cluster.phases, {})


def test_a_driver_of_the_last_release_under_the_new_bridge(
    binaries: None, last_project: Path, tmp_path: Path
) -> None:
    with ExitStack() as processes:
        start = starting(last_project, processes)
        expect_a_life(Cluster(tmp_path, last_project, start, processes))


def test_the_new_driver_under_a_bridge_of_the_last_release(cluster: Cluster) -> None:
    cluster.bridge_folder = LAST_BRIDGE
    expect_a_life(cluster)


def test_the_bridge_says_which_it_is(binaries: None) -> None:
    said = subprocess.run(
        [BRIDGE / "machine-controller", "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = (ROOT / "bridge/internal/bridge/version.go").read_text()
    (ours,) = re.findall(r'^const Version = "(.*)"$', version, re.MULTILINE)
    (mcm,) = re.findall(r"machine-controller-manager (v\S+)", (ROOT / "bridge/go.mod").read_text())
    assert said == (
        f"bridge of mcm-provider-template {ours}, with machine-controller-manager {mcm}\n"
    )


def test_go_finds_a_release_of_the_bridge(tmp_path: Path) -> None:
    """Go uses the tag that `make release` creates, and the path in `go.mod`."""
    repository = tmp_path / "repository"
    shutil.copytree(ROOT / "bridge", repository / "bridge", ignore=shutil.ignore_patterns("bin"))
    commit(repository, tag="0.1.0")
    git(repository, "tag", "bridge/v0.1.0")
    module = "github.com/ORG/mcm-provider-template/bridge"
    environment = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://{module.removesuffix('/bridge')}",
        "GOMODCACHE": str(tmp_path / "modules"),
        "GOFLAGS": "-modcacherw",
        "GOPRIVATE": module,
        "GOPROXY": "off",
        "GOVCS": "*:all",
    }
    found = subprocess.run(
        ["go", "mod", "download", "-json", f"{module}@v0.1.0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    folder = Path(json.loads(found.stdout)["Dir"])
    assert (folder / "cmd/machine-controller/main.go").is_file()
    # `go install` refuses modules that replace or exclude other modules.
    assert not re.search(r"^(replace|exclude)\b", (folder / "go.mod").read_text(), re.MULTILINE)


def test_the_definitions_of_a_project_are_those_of_mcm(binaries: None) -> None:
    """If this fails, run `make -C bridge crds`."""
    theirs = {
        path.name.rpartition("_")[2]: path.read_text() for path in (BRIDGE / "crds").iterdir()
    }
    ours = {path.name: path.read_text() for path in (TEMPLATE / "kubernetes/deploy/crds").iterdir()}
    assert ours == theirs
