"""A project on release 1.0.0 of the template, while 2.0.0 is out."""

import shutil
from pathlib import Path

import pytest

from tests.support import commit
from tests.update.projects import render
from tests.update.release import make_next_release


@pytest.fixture(scope="session")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of the template with both releases."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    shutil.copytree(template, folder)
    make_next_release(folder)
    commit(folder, tag="2.0.0")
    return folder


@pytest.fixture(scope="session")
def rendered(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that 1.0.0 has rendered, committed. Tests only read it."""
    folder = tmp_path_factory.mktemp("rendered") / "project"
    render(releases, folder, "1.0.0")
    commit(folder)
    return folder


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    """A project on 1.0.0 that a test may change."""
    return shutil.copytree(rendered, tmp_path / "project")
