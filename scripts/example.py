"""Fill in a rendered project with a worked example, as docs/tutorials/add-a-provider.md does.

The tutorial first builds a small driver, which is in `examples/aws-small`, and then replaces it by
the complete one, `examples/aws`. The small one has the samples and some of the tests of that one.
`examples/libvirt` is laid over a project of its own.
"""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from copier import run_copy

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = "examples/aws"
SMALL: Final = "examples/aws-small"
TESTS_OF_SMALL: Final = (
    "__init__.py",
    "account.py",
    "conftest.py",
    "gate.py",
    "test_conformance.py",
    "test_process.py",
)
ANSWERS: Final = {"provider_name": "aws", "provider_title": "AWS", "github_org": "my-company"}
PLACES: Final = {"the SDK of your cloud.": "aws", "what your tests need.": "aws-tests"}
"""Where the example adds dependencies in pyproject.toml, and our own groups that list them."""
LIBVIRT: Final = "examples/libvirt"
LIBVIRT_ANSWERS: Final = ANSWERS | {"provider_name": "kvm", "provider_title": "libvirt"}
LIBVIRT_PLACES: Final = {"the SDK of your cloud.": "libvirt"}
FROM_SOURCE: Final = '\n[tool.uv]\nno-binary-package = ["libvirt-python"]\n'
"""What pyproject.toml says of an SDK that has no wheels."""


def lay_over(project: Path, root: Path = ROOT, *, is_small: bool = False) -> None:
    """Fill in a project that was rendered with `ANSWERS`: files, dependencies, locks.

    Args:
        project: Its folder.
        root: The template whose example it is; the locks are those of this one.
        is_small: Whether it becomes the small driver.
    """
    _add_dependencies(project, root, PLACES)
    example = root / EXAMPLE
    _copy(example / "kubernetes", project / "kubernetes")
    if is_small:
        _copy(root / SMALL, project)
        (project / "aws/tests/test_machines.py").unlink()
        for name in TESTS_OF_SMALL:
            shutil.copy(example / "aws/tests" / name, project / "aws/tests")
    else:
        _copy(example, project)
    (project / "aws/embedded_cloud.py").unlink()
    _lock(project, "dev")


def lay_over_libvirt(project: Path) -> None:
    """Fill in a project that was rendered with `LIBVIRT_ANSWERS`, in the same way."""
    _add_dependencies(project, ROOT, LIBVIRT_PLACES)
    with (project / "pyproject.toml").open("a") as pyproject:
        pyproject.write(FROM_SOURCE)
    _copy(ROOT / LIBVIRT, project)
    (project / "kvm/embedded_cloud.py").unlink()
    _lock(project, "dev", "libvirt")


def _add_dependencies(project: Path, root: Path, places: Mapping[str, str]) -> None:
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text()
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    for place, group in places.items():
        before, comment, after = text.partition(f"# Yours: {place}")
        rest_of_line, _, others = after.partition("\n")
        added = "".join(f'  "{package}",\n' for package in groups[group])
        text = f"{before}{comment}{rest_of_line}\n{added}{others}"
    pyproject.write_text(text)


def _lock(project: Path, *locks: str) -> None:
    """Lock what the example needs: our own locks pin all of it, and existing pins stay."""
    pins = "".join((ROOT / f"requirements/{lock}.txt").read_text() for lock in locks)
    for lock in ("run", "dev"):
        (project / f"requirements/{lock}.txt").write_text(pins)
    subprocess.run(["make", "--silent", "lock"], cwd=project, check=True)


def _copy(folder: Path, place: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(folder, place, dirs_exist_ok=True, ignore=ignored)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    is_libvirt = "libvirt" in sys.argv[2:]
    answers = LIBVIRT_ANSWERS if is_libvirt else ANSWERS
    run_copy(str(ROOT), folder, answers, defaults=True, quiet=True, vcs_ref="HEAD")
    (lay_over_libvirt if is_libvirt else lay_over)(folder)
    print(f"The example is in {folder}: make -C {folder} test")
