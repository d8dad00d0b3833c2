"""The address of the template's repository: all places agree, and one command changes it."""

import re
import subprocess
from pathlib import Path

import pytest

from scripts.home import forms, home
from tests.support import ROOT, commit, files_of, run_script

ADDRESS = re.compile(r"(?:github\.com[/:]|gh:)([^/\s\"'`]+/mcm-provider-template)\b")
OWNER = "my-company"
PLACEHOLDER = "OR" + "G"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of this repository."""
    folder = tmp_path / "repository"
    for path in files_of(ROOT):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    commit(folder)
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in files_of(folder)
    }


def moved(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run_script(folder, "home.py", *arguments)


def test_all_addresses_name_the_same_place() -> None:
    found = {
        (name, place)
        for name, text in texts(ROOT).items()
        for place in ADDRESS.findall(text)
        if "{" not in place
    }
    assert {place for _, place in found} == {home()}, found


def test_the_placeholder_is_in_no_other_place() -> None:
    """The command finds the placeholder only where it is part of an address."""
    own, site = forms(home())
    rest = {name: text.replace(own, "").replace(site, "") for name, text in texts(ROOT).items()}
    assert [name for name, text in rest.items() if re.search(rf"\b{PLACEHOLDER}\b", text)] == []


def test_one_command_moves_it(repository: Path) -> None:
    before, new = home(), f"{OWNER}/drivers.template"
    assert moved(repository, new).returncode == 0
    after = texts(repository)
    for form in forms(before):
        assert [name for name, text in after.items() if form in text] == []
    assert f"github.com/{new}/bridge\n" in after["bridge/go.mod"]
    assert f"gh:{new} " in after["README.md"]
    assert moved(repository, before).returncode == 0
    assert texts(repository) == texts(ROOT)


@pytest.mark.parametrize("arguments", [(), ("owner",), ("https://github.com/owner/name",)])
def test_an_answer_that_is_no_place_is_one_line(
    repository: Path, arguments: tuple[str, ...]
) -> None:
    refused = moved(repository, *arguments)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: say where")
    assert len(refused.stderr.splitlines()) == 1
    assert texts(repository) == texts(ROOT)
