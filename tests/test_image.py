"""The image contains only the wheel and the locked dependencies. The tests need no docker."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import await_condition

DOCKER = """#!/bin/sh -e
# Stands for docker, over the environment that the Dockerfile makes.
PATH='{bin}':$PATH
cd '{folder}'
case $1 in
run) {driver} > log 2>&1 & echo $! | tee pid ;;
exec) shift 2; exec "$@" ;;
logs) cat log ;;
rm) kill "$(cat pid)" || true; echo removed > removed ;;
esac
"""


@pytest.fixture(scope="module")
def environment(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment created as in the Dockerfile, from requirements/run.txt and the wheel."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    shutil.copytree(installed, source, ignore=shutil.ignore_patterns(".venv", "build"))
    python = folder / "venv/bin/python"
    pip = [os.environ["UV"], "pip"]

    def run(*command: str | Path) -> None:
        subprocess.run(command, cwd=source, check=True, capture_output=True)

    build = "from hatchling.build import build_wheel; build_wheel('.')"
    run(installed / ".venv/bin/python", "-c", build)
    run(os.environ["UV"], "venv", f"--python={installed}/.venv", folder / "venv")
    run(*pip, "sync", "--require-hashes", f"--python={python}", "requirements/run.txt")
    (wheel,) = source.glob("*.whl")
    run(*pip, "install", "--no-deps", "--no-index", f"--python={python}", wheel)
    run(*pip, "check", f"--python={python}")
    shutil.rmtree(source)
    return folder / "venv"


def docker(environment: Path, folder: Path, driver: str) -> dict[str, str]:
    """Return variables with which `make` finds a script in place of docker."""
    (folder / "docker").write_text(
        DOCKER.format(bin=environment / "bin", folder=folder, driver=driver)
    )
    (folder / "docker").chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_it_is_called_once_it_is_built(installed: Path, environment: Path, tmp_path: Path) -> None:
    """The driver serves on the Unix socket that the client connects to."""
    variables = docker(environment, tmp_path, "python -m acme")
    variables["CMI_ENDPOINT"] = f"unix://{tmp_path}/driver.sock"
    checked = subprocess.run(
        ["make", "check-image"],
        cwd=installed,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "acme.gardener" in checked.stdout
    assert (tmp_path / "removed").exists()
    pid = int((tmp_path / "pid").read_text())
    await_condition(lambda: not Path(f"/proc/{pid}/cmdline").exists())


def test_what_a_driver_does_not_run_stays_out(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    assert (packages / "cmi/serving").is_dir()
    for name in ("pytest", "cmi/conformance", "cmi/testing", "acme/tests"):
        assert not (packages / name).exists(), name


def test_the_rest_needs_nothing_else(environment: Path) -> None:
    """Every module can be imported, except for the one that needs the extra `tracing`."""
    script = (
        "import importlib, pkgutil, acme, cmi\n"
        "for package in (acme, cmi):\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        if not module.name.endswith(('__main__', '.tracing')):\n"
        "            importlib.import_module(module.name)\n"
    )
    subprocess.run([environment / "bin/python", "-I", "-c", script], check=True)


def test_the_kit_that_is_not_there_is_one_line(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "class.yaml").write_text("")
    command = [str(environment / "bin/cmi"), "conformance", "--class=class.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "an installed driver has no conformance kit" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
