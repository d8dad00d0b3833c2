"""Rendered projects with the files of an example."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from copier import run_copy

from scripts.example import ANSWERS, LIBVIRT_ANSWERS, lay_over, lay_over_libvirt
from tests.support import commit


@pytest.fixture(scope="session")
def filled_in(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the files of the AWS example, committed."""
    return _project(template, tmp_path_factory.mktemp("aws"), ANSWERS, lay_over)


@pytest.fixture(scope="session")
def small(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the files of the small driver, which the tutorial begins with."""
    lay_over_small = partial(lay_over, is_small=True)
    return _project(template, tmp_path_factory.mktemp("aws-small"), ANSWERS, lay_over_small)


@pytest.fixture(scope="session")
def on_libvirt(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered project with the files of the libvirt example."""
    folder = tmp_path_factory.mktemp("libvirt")
    return _project(template, folder, LIBVIRT_ANSWERS, lay_over_libvirt)


def _project(
    template: Path, folder: Path, answers: dict[str, str], fill_in: Callable[[Path], None]
) -> Path:
    run_copy(str(template), folder, answers, defaults=True, quiet=True)
    fill_in(folder)
    commit(folder)
    return folder
