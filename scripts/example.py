"""Fill in a rendered project with the worked example, as docs/tutorials/add-a-provider.md does.

The tutorial first builds a small driver, which is in `examples/aws-small`, and then replaces it by
the complete one, `examples/aws`. The small one has the samples and some of the tests of that one.
"""

import shutil
import subprocess
import sys
import tomllib
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


def lay_over(project: Path, root: Path = ROOT, *, is_small: bool = False) -> None:
    """Fill in a project that was rendered with `ANSWERS`: files, dependencies, locks.

    Args:
        project: Its folder.
        root: The template whose example it is; the locks are those of this one.
        is_small: Whether it becomes the small driver.
    """
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text()
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    for place, group in PLACES.items():
        before, comment, after = text.partition(f"# Yours: {place}")
        rest_of_line, _, others = after.partition("\n")
        added = "".join(f'  "{package}",\n' for package in groups[group])
        text = f"{before}{comment}{rest_of_line}\n{added}{others}"
    pyproject.write_text(text)
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
    # Our own lock pins everything that the example needs, and existing pins stay.
    for lock in ("run", "dev"):
        shutil.copy(ROOT / "requirements/dev.txt", project / f"requirements/{lock}.txt")
    subprocess.run(["make", "--silent", "lock"], cwd=project, check=True)


def _copy(folder: Path, place: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(folder, place, dirs_exist_ok=True, ignore=ignored)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_copy(str(ROOT), folder, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")
    lay_over(folder)
    print(f"The example is in {folder}: make -C {folder} test")
