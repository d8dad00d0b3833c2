"""Follows the README of a rendered project to the letter."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.conftest import Serve
from tests.docs.pages import blocks, follow, follows
from tests.support import ROOT, git

DEPLOY = "docs/how-to/deploy.md"
ELSEWHERE = {
    "Testing your code changes": "e2e/test_readme.py",
    "Run it": "tests/docs/test_how_to.py",  # the page about TLS contains the same commands
    "Deploy it": "e2e/test_real_project.py",
    "Update it": "tests/update/test_commands.py",
}
"""Headings whose commands another test runs, with the file of that test."""


@pytest.fixture
def project(folder: Path, installed: Path) -> Path:
    """A project in a git repository, whose package a test may change."""
    (folder / "acme").unlink()
    shutil.copytree(installed / "acme", folder / "acme")
    git(folder, "init", "--quiet")
    git(folder, "add", "acme")
    git(folder, "commit", "--quiet", "--message=Start")
    return folder


def commands(project: Path, heading: str) -> list[str]:
    page = str(project / "README.md")
    return [block.text for block in blocks(page, "sh") if block.heading == heading]


def test_all_commands_are_followed(installed: Path) -> None:
    headings = {block.heading for block in blocks(str(installed / "README.md"), "sh")}
    assert headings == {"Start", "Fill it in", *ELSEWHERE}
    for path in ELSEWHERE.values():
        assert (ROOT / path).is_file()


@follows(DEPLOY, "Publish the images", "Install and deploy", "Create machines", "Remove everything")
def test_the_page_about_deployment_has_the_same_commands(commands: list[str]) -> None:
    """Those of "Deploy it", which `e2e/test_real_project.py` follows."""
    readme = [
        block.text
        for block in blocks("template/README.md.jinja", "sh")
        if block.heading == "Deploy it"
    ]
    assert without_comments(commands) == without_comments(readme)


def without_comments(commands: list[str]) -> list[str]:
    return [line.partition(" #")[0].rstrip() for line in "".join(commands).splitlines()]


def test_start(folder: Path, serve: Serve) -> None:
    serve_and_test, talk = commands(folder, "Start")
    run, test = serve_and_test.splitlines()
    with serve(folder, run) as there:
        shown = follow(folder, talk, there)
    assert "CREATE_MACHINE" in shown
    assert re.search(r"m1 +acme:///north-1/srv-", shown)
    assert "volume-0001" in shown
    one = {"PYTEST_ADDOPTS": "-k test_volumes"}  # another test runs all of the rendered tests
    assert "1 passed" in follow(folder, test, one)


def test_what_to_write_is_three_rows(installed: Path) -> None:
    text = (installed / "README.md").read_text().partition("## Fill it in\n")[2]
    rows = re.findall(r"^\| (the [^|]+) \| `([^`]+)` \|", text, re.MULTILINE)
    assert [path for _, path in rows] == [
        "acme/apis/provider_spec.py",
        "acme/cloud.py",
        "acme/tests/",
    ]
    for _, path in rows:
        assert (installed / path).exists()


def test_the_types_name_a_method_that_is_missing(project: Path) -> None:
    cloud = project / "acme/cloud.py"
    cloud.write_text(cloud.read_text().replace("def stop_vm(", "def halt_vm("))
    assert 'abstract attribute "stop_vm"' in follow(project, "make types", {}, exit_code=2)


def test_the_types_name_what_uses_the_stand_in(project: Path) -> None:
    """tests/examples/ runs the `make test` of this section, with an adapter that calls an SDK."""
    (last,) = commands(project, "Fill it in")
    remove, types, _test = last.splitlines()
    follow(project, remove, {})
    shown = follow(project, types, {}, exit_code=2)
    used = {
        path.relative_to(project).as_posix()
        for path in (project / "acme").rglob("*.py")
        if re.search(
            r"^from .*import .*embedded_cloud|^from .*embedded_cloud",
            path.read_text(),
            re.MULTILINE,
        )
    }
    assert "acme/cloud.py" in used
    assert used <= set(re.findall(r"^(acme/\S+\.py):", shown, re.MULTILINE))
