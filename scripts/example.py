"""Fill in a rendered project with the worked example, as docs/tutorials/add-a-provider.md does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from copier import run_copy

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples/aws"
ANSWERS: Final = {"provider_name": "aws", "provider_title": "AWS"}
DEPENDENCIES: Final = (
    ("boto3>=1.40",),
    ("--group=dev", "moto[ec2,server]>=5.1", "types-boto3[ec2]>=1.40"),
)


def lay_over(project: Path) -> None:
    """Fill in a project that was rendered with `ANSWERS`: the dependencies, then the files."""
    uv = os.environ.get("UV", str(ROOT / "build/uv/bin/uv"))
    for packages in DEPENDENCIES:
        subprocess.run([uv, "add", "--quiet", "--frozen", *packages], cwd=project, check=True)
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(EXAMPLE, project, dirs_exist_ok=True, ignore=ignored)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run_copy(str(ROOT), folder, ANSWERS, defaults=True, quiet=True, vcs_ref="HEAD")
    lay_over(folder)
    print(f"The example is in {folder}: make -C {folder} test")
