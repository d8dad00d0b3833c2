"""The framework keeps to its layers, and the check finds imports that break them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

BROKEN = {
    "the-kit-knows-the-server": ("conformance/kit.py", "from cmi.serving import server"),
    "the-client-knows-the-server": ("cli/output.py", "from cmi.serving import logs"),
    "the-rules-know-the-server": ("rules.py", "from cmi.serving import runner"),
    "the-facts-know-the-driver": ("contract.py", "from cmi.driver import Driver"),
    "the-errors-know-the-messages": ("errors.py", "from cmi import messages"),
}


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "template/cmi", tmp_path / "cmi", ignore=leave_out)
    return tmp_path


@pytest.mark.parametrize(("file", "line"), list(BROKEN.values()), ids=list(BROKEN))
def test_a_broken_layer_is_found(copy: Path, file: str, line: str) -> None:
    path = copy / "cmi" / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    ended = check(copy)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "BROKEN" in ended.stdout


def test_the_layers_are_kept(copy: Path) -> None:
    ended = check(copy)
    assert ended.returncode == 0, ended.stdout + ended.stderr
