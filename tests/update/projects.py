"""Functions that render, update and inspect projects in these tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from copier import run_copy, run_update

from tests.support import ANSWERS, git


def render(template: Path | str, folder: Path, version: str, **answers: str) -> None:
    """Render one version of a template, without trust."""
    run_copy(
        str(template),
        folder,
        ANSWERS | answers,
        defaults=True,
        quiet=True,
        unsafe=False,
        vcs_ref=version,
    )


def update(project: Path, version: str | None = None, **answers: str) -> None:
    """Update a project to the newest release or another version, without trust."""
    run_update(
        project,
        answers,
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=False,
        vcs_ref=version,
    )


def contents(
    folder: Path, *, leave_out: Callable[[str], bool] = lambda _: False
) -> dict[str, bytes]:
    """Return the contents of all files in a folder, by their paths in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {
        name: text
        for name, text in files.items()
        if not name.startswith(".git/") and not leave_out(name)
    }


def status(project: Path) -> list[str]:
    """Return the lines of `git status` in a project, sorted."""
    return sorted(git(project, "status", "--porcelain").splitlines())


def recorded(project: Path) -> dict[str, Any]:
    """Return the answers that a project has recorded, including its version (`_commit`)."""
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return answers
