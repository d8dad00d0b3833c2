"""Each file has a copyright holder and a licence, as `reuse lint` requires.

This applies to this repository, and to a project for each answer. The tool itself has a wheel for
only one version of Python. So these tests do its checks: files without a holder, missing licence
texts, and texts that no file needs.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from copier import run_copy

from tests.support import ANSWERS, ROOT, commit, files_of

APACHE = (ROOT / "LICENSE").read_text()
OURS = "The mcm-provider-template authors"
THEIRS = "The machine-controller-manager-provider-acme authors"
GARDENERS = "SAP SE or an SAP affiliate company and Gardener contributors"
NONE = "LicenseRef-AllRightsReserved"


@pytest.fixture(params=["Apache-2.0", "MIT", "none"])
def project(request: pytest.FixtureRequest, template: Path, tmp_path: Path) -> tuple[Path, str]:
    """A rendered project, and its answer to the question about the licence."""
    folder = tmp_path / "project"
    answers = ANSWERS | {"license": request.param}
    run_copy(str(template), folder, answers, defaults=True, quiet=True)
    commit(folder)
    return folder, request.param


def claims(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the copyright holder and the licence of each file in a folder."""
    annotations = tomllib.loads((folder / "REUSE.toml").read_text())["annotations"]
    claimed = {}
    for path in files_of(folder):
        name = path.relative_to(folder).as_posix()
        for each in annotations:  # the last one that matches applies
            if any(pattern.fullmatch(name) for pattern in patterns(each["path"])):
                holder = each["SPDX-FileCopyrightText"]
                claimed[name] = (holder, each["SPDX-License-Identifier"])
    return claimed


def patterns(paths: str | list[str]) -> Iterator[re.Pattern[str]]:
    """Yield regular expressions for paths in REUSE.toml, which are all folders in this project."""
    for path in [paths] if isinstance(paths, str) else paths:
        assert path.endswith("**")
        yield re.compile(re.escape(path.removesuffix("**")) + ".*")


def texts(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "LICENSES").iterdir()}


def test_ours() -> None:
    claimed = claims(ROOT)
    assert claimed.keys() == {path.relative_to(ROOT).as_posix() for path in files_of(ROOT)}
    for name, claim in claimed.items():
        gardeners = name.startswith("template/kubernetes/deploy/crds/")
        assert claim == (GARDENERS if gardeners else OURS, "Apache-2.0"), name
    assert texts(ROOT) == {"Apache-2.0"}
    for name in ("LICENSES", "template/LICENSES", "includes/licenses"):
        assert (ROOT / name / "Apache-2.0.txt").read_text() == APACHE


def test_a_project_is_its_authors_and_the_framework_ours(project: tuple[Path, str]) -> None:
    folder, answer = project
    licence = NONE if answer == "none" else answer
    claimed = claims(folder)
    assert claimed.keys() == {path.relative_to(folder).as_posix() for path in files_of(folder)}
    for name, claim in claimed.items():
        expected = THEIRS, licence
        if name.startswith("cmi/"):
            expected = OURS, "Apache-2.0"
        elif name.startswith("kubernetes/deploy/crds/"):
            expected = GARDENERS, "Apache-2.0"
        assert claim == expected, name
    assert texts(folder) == {"Apache-2.0", licence}
    assert (folder / "LICENSES/Apache-2.0.txt").read_text() == APACHE
    if answer != "none":
        text = (folder / "LICENSES" / f"{answer}.txt").read_text()
        assert text == (folder / "LICENSE").read_text()
    assert "machine-spec" in (folder / "cmi/NOTICE").read_text()


def test_a_wheel_carries_its_licences(project: tuple[Path, str], tmp_path: Path) -> None:
    """It also declares them in the metadata of the package."""
    folder, answer = project
    build = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    unpack = [sys.executable, "-m", "zipfile", "--extract", str(wheel), str(tmp_path)]
    subprocess.run(unpack, check=True)
    (info,) = tmp_path.glob("*.dist-info")
    said = re.findall(r"^License-Expression: (.*)$", (info / "METADATA").read_text(), re.MULTILINE)
    expected = {"Apache-2.0": ["Apache-2.0"], "MIT": ["MIT AND Apache-2.0"], "none": []}
    assert said == expected[answer]
    assert {path.stem for path in (info / "licenses/LICENSES").iterdir()} == texts(folder)
    assert (tmp_path / "cmi/NOTICE").is_file()
