"""Fixtures for all tests: a neutral environment, the template, and running drivers."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from copier import run_copy

from tests.driver import CloudFile, Start, starting
from tests.forks import no_forks  # noqa: F401 - a fixture for every test
from tests.support import ANSWERS, ROOT, commit, copy_repository, make


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two workers per core, because tests mostly wait for processes and clouds."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the user's settings from copier and git."""
    # The background job of a shell ignores SIGINT, and all processes that it starts inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = tmp_path_factory.mktemp("home")
    (home / "settings.yml").write_text("{}\n")
    os.environ |= {
        "HOME": str(home),
        # `make setup` has filled uv's cache with everything that tests install or lock.
        "UV": os.environ.get("UV", str(ROOT / "build/uv/bin/uv")),
        "UV_CACHE_DIR": str(ROOT / "build/cache"),
        "UV_OFFLINE": "1",
        "COPIER_SETTINGS_PATH": str(home / "settings.yml"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
        },
    }


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, surroundings: None) -> Path:
    """The whole working tree as a release."""
    folder = copy_repository(tmp_path_factory.mktemp("template"), template=True)
    commit(folder, tag="1.0.0")
    return folder


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Path:
    """A rendered project of the provider `acme`, with its environment. Tests only read it."""
    folder = tmp_path_factory.mktemp("installed")
    run_copy(str(template), folder, ANSWERS, defaults=True, quiet=True)
    make(folder, "setup")
    return folder


@pytest.fixture
def start(installed: Path) -> Iterator[Start]:
    with ExitStack() as processes:
        yield starting(installed, processes)


@pytest.fixture(scope="module")
def start_for_all(installed: Path) -> Iterator[Start]:
    """The same as `start`, for drivers that several tests of a module call."""
    with ExitStack() as processes:
        yield starting(installed, processes)


@pytest.fixture
def cloud(tmp_path: Path) -> CloudFile:
    """The path of this test's cloud, which does not exist yet."""
    return CloudFile(tmp_path / "cloud.sqlite")
