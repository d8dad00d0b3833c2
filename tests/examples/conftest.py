"""The example, laid over a rendering."""

from pathlib import Path

import pytest
from copier import run_copy

from scripts.example import ANSWERS, LIBVIRT_ANSWERS, lay_over, lay_over_libvirt
from tests.support import commit


@pytest.fixture(scope="session")
def filled_in(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the example's files, committed."""
    return _project(template, tmp_path_factory.mktemp("aws"), is_small=False)


@pytest.fixture(scope="session")
def small(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with those of the small driver, with which the tutorial begins."""
    return _project(template, tmp_path_factory.mktemp("aws-small"), is_small=True)


@pytest.fixture(scope="session")
def on_libvirt(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the files of the example of libvirt."""
    folder = tmp_path_factory.mktemp("libvirt")
    run_copy(str(template), folder, LIBVIRT_ANSWERS, defaults=True, quiet=True)
    lay_over_libvirt(folder)
    commit(folder)
    return folder


def _project(template: Path, folder: Path, *, is_small: bool) -> Path:
    run_copy(str(template), folder, ANSWERS, defaults=True, quiet=True)
    lay_over(folder, is_small=is_small)
    commit(folder)
    return folder
