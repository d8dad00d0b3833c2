"""What several test files need: copies of this repository, and git."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return what it prints."""
    return subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def commit(folder: Path, *, tag: str | None = None) -> None:
    """Commit all that a folder holds."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "state")
    if tag:
        git(folder, "tag", tag)


def copy_repository(target: Path, *, template: bool) -> Path:
    """Copy the questions, and the template too if asked, without caches."""
    parts = ["questions", "licenses", *(["template"] if template else [])]
    for part in parts:
        shutil.copytree(
            ROOT / part,
            target / part,
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache", ".venv"),
        )
    shutil.copy(ROOT / "copier.yml", target)
    return target
