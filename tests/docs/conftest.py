"""Fixtures that the tests of pages share: the address of the template, and a project."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.docs.pages import address_leads_to, following
from tests.support import TEMPLATE, link

Serve: TypeAlias = Callable[..., AbstractContextManager[dict[str, str]]]
"""Starts a driver as a page says, and yields the environment in which a client finds it."""


@pytest.fixture
def address(template: Path, tmp_path: Path) -> dict[str, str]:
    """An environment in which the template's address on the pages leads to its first release."""
    return address_leads_to(shutil.copytree(template, tmp_path / "template"))


@pytest.fixture
def uvx(tmp_path: Path) -> dict[str, str]:
    """An environment in which `uvx` runs commands of the template's wheel from the working tree.

    The real `uvx` needs a network. `tests/conformance/test_wheel.py` builds the wheel.
    """
    script = tmp_path / "bin/uvx"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh -e\n"
        '[ "$1 $2" = "--from git+https://github.com/ORG/mcm-provider-template.git" ]\n'
        f'shift 2; exec {sys.executable} -m "$@"\n'
    )
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}", "PYTHONPATH": str(TEMPLATE)}


@pytest.fixture
def folder(installed: Path, tmp_path: Path) -> Path:
    """A folder with the contents of the installed project, into which a test may write."""
    folder = tmp_path / "project"
    folder.mkdir()
    link(installed, folder, "kubernetes")
    shutil.copytree(installed / "kubernetes", folder / "kubernetes")
    return folder


@pytest.fixture
def serve() -> Serve:
    """Start a driver on a free port. One variable is for `make run`, the other for the command."""

    @contextmanager
    def serve(folder: Path, commands: str) -> Iterator[dict[str, str]]:
        free = {"ENDPOINT": "tcp://127.0.0.1:0", "CMI_ENDPOINT": "tcp://127.0.0.1:0"}
        with following(folder, commands, free, until='"serving"') as line:
            yield {"CMI_ENDPOINT": json.loads(line)["endpoint"]}

    return serve
