"""The commands of a rendered project that look for newer releases."""

import io
import os
import shutil
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

from tests.docs.pages import follow
from tests.support import commit, git, make
from tests.update.projects import recorded, render, status


def test_check_update_reports_a_newer_release(project: Path) -> None:
    assert "Current version is 1.0.0, latest version is 2.0.0." in follow(
        project, "make check-update", {}
    )
    assert status(project) == []
    assert '"make lock" pins' in follow(project, "make update OPTIONS=--defaults", {})
    assert recorded(project)["_commit"] == "2.0.0"
    assert "up-to-date" in follow(project, "make check-update", {})


def test_the_bridge_is_that_of_the_version_rendered_from(releases: Path, tmp_path: Path) -> None:
    """The bridge is not the newest one. Its source is fetched once."""
    repository = shutil.copytree(releases, tmp_path / "template")
    git(repository, "checkout", "--quiet", "-B", "main", "1.0.0")
    (repository / "Makefile").write_text("bridge:\n\t@echo built >> built; git describe --tags\n")
    commit(repository, tag="1.0.1")
    (repository / "Makefile").write_text("bridge:\n\tfalse\n")
    commit(repository, tag="1.0.2")
    project = tmp_path / "project"
    render(f"git+file://{repository}", project, "1.0.1")
    commit(project)
    assert "1.0.1" in follow(project, "make bridge", {})
    assert "1.0.1" in follow(project, "make bridge", {})
    assert (project / "build/template/built").read_text() == "built\nbuilt\n"
    assert "1.0.1" in (project / "README.md").read_text()
    assert status(project) == []

    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("_commit: 1.0.1", "_commit: 1.0.9"))
    assert "error: git can't get version 1.0.9 from file://" in follow(
        project, "make bridge", {}, exit_code=2
    )


def test_a_lock_that_lacks_a_dependency_is_named(project: Path) -> None:
    pyproject = project / "pyproject.toml"
    pyproject.write_text(
        pyproject.read_text().replace("conflict.\n]", 'conflict.\n  "plumbum",\n]')
    )
    result = subprocess.run(
        ["make", "setup"], cwd=project, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert (
        "error: requirements/ lacks dependencies of pyproject.toml: run 'make lock'"
        in result.stderr
    )
    make(project, "lock", "setup")
    changed = {line.split()[-1] for line in status(project)}
    assert changed == {"pyproject.toml", "requirements/dev.txt", "requirements/run.txt"}


BACKEND = """
from pathlib import Path

Path({evidence!r}).write_text("ran")
"""


def source_distribution(folder: Path, evidence: Path) -> str:
    """Create one whose code writes to a file when it runs; return the line that pins it."""
    contents = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: stray\nVersion: 1.0\n",
        "pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        ),
        "backend.py": BACKEND.format(evidence=str(evidence)),
    }
    archive = folder / "stray-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in contents.items():
            member = tarfile.TarInfo(f"stray-1.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return f"stray==1.0 --hash=sha256:{sha256(archive.read_bytes()).hexdigest()}\n"


def test_nothing_that_is_installed_is_built(project: Path, tmp_path: Path) -> None:
    """Building a package would run its code, with tools that no lock pins."""
    evidence = tmp_path / "evidence"
    pin = source_distribution(tmp_path, evidence)
    with (project / "requirements/dev.txt").open("a") as lock:
        lock.write(pin)
    result = subprocess.run(
        ["make", "setup"],
        cwd=project,
        env=os.environ | {"UV_FIND_LINKS": str(tmp_path), "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "stray" in result.stderr
    assert not evidence.exists()


def test_new_versions_of_dependencies_cool_down(project: Path) -> None:
    """`make revendor` takes no version younger than COOLDOWN; `make lock` keeps its pins."""
    make(project, "lock", "COOLDOWN=9000 days")
    assert status(project) == []
    result = subprocess.run(
        ["make", "revendor", "COOLDOWN=9000 days"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "exclude-newer" in result.stderr
