"""The worked example for AWS EC2, which the tutorial adds to a rendered project."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT, git, make


@pytest.mark.parametrize("driver", ["filled_in", "small"])
def test_it_passes_the_checks_of_every_project(driver: str, request: pytest.FixtureRequest) -> None:
    """The checks are format, lint, types, its own tests, and the conformance list with moto."""
    project: Path = request.getfixturevalue(driver)
    make(project, "format")
    assert git(project, "status", "--porcelain") == ""
    make(project, "lint", "types", "test")
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt"])
def test_it_pins_what_the_template_pins(filled_in: Path, lock: str) -> None:
    """The packages that only the example needs are pinned too, as in this repository's lock."""

    def pins(folder: Path) -> set[str]:
        text = (folder / "requirements" / lock).read_text()
        return set(re.findall(r"^[^#\s].*?==\S+", text, re.MULTILINE))

    assert pins(ROOT / "template") < pins(filled_in)
