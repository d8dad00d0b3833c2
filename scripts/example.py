"""Fill in a rendered project with the worked example, as docs/tutorials/add-a-provider.md does."""

import shutil
import sys
from pathlib import Path
from typing import Final

from copier import run_copy

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples/aws"
ANSWERS: Final = {"provider_name": "aws", "provider_title": "AWS"}
DEPENDENCIES: Final = {
    "the SDK of your cloud.": ("boto3>=1.40",),
    "what your tests need.": ("moto[ec2,server]>=5.1", "types-boto3[ec2]>=1.40"),
}
"""What is added to pyproject.toml, by the place that it keeps for it."""


def lay_over(project: Path) -> None:
    """Fill in a project that was rendered with `ANSWERS`: the dependencies, then the files."""
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text()
    for place, packages in DEPENDENCIES.items():
        before, comment, after = text.partition(f"# Yours: {place}")
        rest_of_line, _, others = after.partition("\n")
        added = "".join(f'  "{package}",\n' for package in packages)
        text = f"{before}{comment}{rest_of_line}\n{added}{others}"
    pyproject.write_text(text)
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(EXAMPLE, project, dirs_exist_ok=True, ignore=ignored)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_copy(str(ROOT), folder, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")
    lay_over(folder)
    print(f"The example is in {folder}: make -C {folder} test")
