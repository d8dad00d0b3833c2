"""A rendered project's `make install`, `deploy`, `undeploy` and `uninstall`.

The API server is real, but nothing runs Pods. So `make deploy` waits until it is stopped.
"""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

from e2e.binaries import KUBERNETES
from e2e.control_plane import ControlPlane
from e2e.process import Process, await_condition


class Project:
    """A rendered project with version 0.2.0, and an empty control plane."""

    def __init__(self, folder: Path, processes: ExitStack, installed: Path) -> None:
        self.control_plane = ControlPlane(folder, processes, definitions=False)
        self.folder = folder / "project"
        ignored = shutil.ignore_patterns(".venv", "build")
        shutil.copytree(installed, self.folder, ignore=ignored)
        pyproject = self.folder / "pyproject.toml"
        pyproject.write_text(
            pyproject.read_text().replace('version = "0.1.0"', 'version = "0.2.0"')
        )
        self.environment = {
            "KUBECONFIG": str(self.control_plane.kubeconfig),
            "PATH": f"{KUBERNETES}:{os.environ['PATH']}",
        }

    def make(self, target: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", target],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def images(self) -> set[str]:
        """Return the images in all deployments."""
        path = "{.items[*].spec.template.spec.containers[*].image}"
        found = self.control_plane.kubectl("get", "deployments", f"--output=jsonpath={path}")
        return {*found.split()}

    def definitions(self) -> int:
        return len([*self.control_plane.client.list(CustomResourceDefinition)])


def test_what_is_put_into_a_cluster_is_taken_back(
    binaries: None, tmp_path: Path, installed: Path
) -> None:
    with ExitStack() as processes:
        project = Project(tmp_path, processes, installed)
        assert project.make("install").returncode == 0
        assert project.definitions() == 4
        deploy = Process(
            ["make", "deploy"], tmp_path / "deploy.log", project.folder, project.environment
        )
        processes.enter_context(deploy)
        images = await_condition(
            project.images, lambda images: len(images) == 3, "two Deployments should be there"
        )
        (driver,) = (image for image in images if "provider-acme" in image)
        assert driver.endswith(":0.2.0")
        deploy.kill()

        project.control_plane.kubectl("apply", "-f", project.folder / "kubernetes/machine.yaml")
        for target in ("undeploy", "uninstall"):
            refused = project.make(target)
            assert refused.returncode != 0
            assert "error: there are machines; delete them first" in refused.stderr
        assert project.images() == images

        project.control_plane.kubectl("delete", "-f", project.folder / "kubernetes/machine.yaml")
        assert project.make("undeploy").returncode == 0
        assert project.make("uninstall").returncode == 0
        assert project.images() == set()
        assert project.definitions() == 0
