"""The kit without a clone: `uvx --from git+…` builds a wheel with the command `cmi`."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.driver import CloudFile, Start
from tests.support import ROOT


@pytest.fixture(scope="module")
def cmi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed independently of this repository and of rendered projects."""
    folder = tmp_path_factory.mktemp("wheel")
    python = folder / "environment/bin/python"
    uv = os.environ.get("UV", "uv")
    pip = [uv, "pip"]

    def run(*command: str | Path) -> None:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    run(uv, "build", "--quiet", "--wheel", f"--out-dir={folder}", f"--python={ROOT}/.venv", ROOT)
    run(uv, "venv", f"--python={ROOT}/.venv", folder / "environment")
    locked = ROOT / "template/requirements/dev.txt"
    run(*pip, "sync", "--quiet", "--require-hashes", f"--python={python}", locked)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", "--quiet", "--no-deps", f"--python={python}", wheel)
    run(*pip, "check", f"--python={python}")
    return python.with_name("cmi")


def test_it_checks_a_driver(
    cmi: Path, start: Start, cloud: CloudFile, installed: Path, tmp_path: Path
) -> None:
    samples = installed / "kubernetes"
    ended = subprocess.run(
        [
            *(cmi, "conformance", f"--endpoint={start(cloud).endpoint}"),
            f"--class={samples / 'machine-class.yaml'}",
            f"--secret={samples / 'secret.yaml'}",
            "--items=C2,C9,C29",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 passed, 0 FAILED, 0 skipped" in ended.stdout
    assert cloud.inventory() == []


def test_it_contains_the_framework_and_nothing_else(cmi: Path) -> None:
    (packages,) = cmi.parents[1].glob("lib/python*/site-packages")
    (record,) = packages.glob("mcm_provider_template-*.dist-info/RECORD")
    files = {line.partition(",")[0] for line in record.read_text().splitlines()}
    tops = {name.partition("/")[0] for name in files if not name.startswith("../")}
    assert tops == {"cmi", record.parent.name}
    sources = (ROOT / "template/cmi").rglob("*.py")
    assert {f"{path.relative_to(ROOT / 'template')}" for path in sources} <= files
